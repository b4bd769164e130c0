"""Short words for what is asked of a store over and over: about the run `RUN` of the owner ann."""

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import (
    Claim,
    Commit,
    Lane,
    Message,
    NewRun,
    Presence,
    Release,
)

__all__ = [
    "FIELDS",
    "LANE",
    "PENDING",
    "RUN",
    "claim",
    "commit",
    "create",
    "deliver",
    "end",
    "enqueue",
    "presence_after_looks",
    "release",
]

RUN = "d1~1"
FIELDS = {"format": "1", "workflow": "Letters", "status": "running"}
PENDING = {**FIELDS, "status": "pending"}
LANE = Lane("default", "Letters")


async def create(store: RunStore, owner: str = "ann", run_id: str = RUN, **fields: str) -> Claim:
    """Create a run, which has to work."""
    claim = await store.create(NewRun(run_id, "d1", owner, {**FIELDS, **fields}))
    assert claim is not None
    return claim


async def claim(store: RunStore, owner: str, was: str, run_id: str = RUN) -> Claim:
    """Claim a run, which has to work."""
    claim = await store.claim(run_id, owner, was, LANE)
    assert claim is not None
    return claim


async def enqueue(store: RunStore, run_id: str = RUN, delay: float = 0.0, **fields: str) -> None:
    """Enqueue a run, which has to work."""
    assert await store.enqueue(NewRun(run_id, "d1", "", {**PENDING, **fields}), delay)


async def deliver(store: RunStore, text: str, *, run_id: str = RUN, urgent: bool = False) -> None:
    """Send a message that is its own key, which has to work."""
    assert await store.deliver(Message(run_id, text, text, urgent))


async def release(
    store: RunStore, claim: Claim, *, due_at: int | None = 0, parked: bool = False
) -> None:
    """Give a run back."""
    await store.release(Release(claim.run_id, claim.token, LANE, due_at, parked))


def commit(claim: Claim, seq: int, **patch: str | None) -> Commit:
    """A commit with a line for the log."""
    log = (f'"step",{seq},0,"returned"',)
    return Commit(claim.run_id, claim.token, seq, f"c{seq}", patch, log)


def end(claim: Claim, seq: int, status: str) -> Commit:
    """The commit with which a run ends."""
    return Commit(claim.run_id, claim.token, seq, f"c{seq}", {"status": status}, (), status)


async def presence_after_looks(store: RunStore, owner: str) -> Presence:
    """What several looks come to."""
    found = await store.presence(owner, RUN)
    while found is Presence.SUSPECT:
        found = await store.presence(owner, RUN)
    return found
