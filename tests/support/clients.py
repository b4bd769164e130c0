"""Workflows that clients start, and a worker that a test plays by hand."""

from stepwell import Context, Workflow, step
from stepwell.client import Run
from stepwell.events import HumanResponseEvent, StartEvent, StopEvent
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit

__all__ = [
    "Answer",
    "Asking",
    "Greet",
    "Greeting",
    "Note",
    "Order",
    "Sharper",
    "claimed",
    "commit",
    "end",
]

OWNER = "worker-1"


class Order(StartEvent):
    """What a greeting is made of."""

    name: str
    times: int = 1


class Greeting(StopEvent):
    """A result of a class of its own."""

    text: str


class Greet(Workflow):
    """Takes a typed start event, and needs no arguments."""

    @step
    async def greet(self, ev: Order) -> Greeting:
        return Greeting(text=f"Hello, {ev.name}!" * ev.times)


class Answer(HumanResponseEvent):
    """What a step waits for."""

    value: int = 0


class Sharper(Answer):
    """Derived from what a step waits for."""


class Note(HumanResponseEvent):
    """What a step takes by its signature."""


class Asking(Workflow):
    """Waits for two answers, one after the other, and for nothing in its other step."""

    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        first = await ctx.wait_for_event(Answer, requirements={"value": 1})
        second = await ctx.wait_for_event(Answer, requirements={"value": 2})
        return StopEvent(result=[first.value, second.value])

    @step
    async def never(self, ev: Note) -> None:
        """Takes no context, so that it can't wait."""


async def claimed(store: RunStore, run: Run) -> Claim:
    """Claim a run as a worker does."""
    info = await run.info()
    await store.appear(OWNER, store.partition_of(run.run_id))
    claim = await store.claim(run.run_id, OWNER, info.owner, info.lane)
    assert claim is not None
    return claim


async def commit(store: RunStore, claim: Claim, **patch: str) -> None:
    """Commit to a run, as its first commit after the claim."""
    first = Commit(claim.run_id, claim.token, claim.seq + 1, "c1", {"status": "running", **patch})
    await store.commit(first)


async def end(store: RunStore, run: Run, status: str, **patch: str) -> None:
    """End a run as a worker does."""
    claim = await claimed(store, run)
    last = Commit(
        run.run_id, claim.token, claim.seq + 1, "end", {"status": status, **patch}, ended=status
    )
    await store.commit(last)
