"""Short words for what is asked of a store over and over: about the run `RUN` of the owner ann."""

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit, NewRun, Presence

__all__ = ["FIELDS", "RUN", "claim", "commit", "create", "end", "presence_after_looks"]

RUN = "d1~1"
FIELDS = {"format": "1", "workflow": "Letters", "status": "running"}


async def create(store: RunStore, owner: str = "ann", run_id: str = RUN, **fields: str) -> Claim:
    """Create a run, which has to work."""
    claim = await store.create(NewRun(run_id, "d1", owner, {**FIELDS, **fields}))
    assert claim is not None
    return claim


async def claim(store: RunStore, owner: str, was: str, run_id: str = RUN) -> Claim:
    """Claim a run, which has to work."""
    claim = await store.claim(run_id, owner, was)
    assert claim is not None
    return claim


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
