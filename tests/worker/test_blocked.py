"""Runs that the code at hand can't go on with: they wait for other code, and nothing spins."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from pydantic import BaseModel

from stepwell import Context, Workflow, step
from stepwell.client import Client, Run
from stepwell.durable.messages import cancel_message
from stepwell.errors import WorkflowCancelledByUser
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.storage.memory import MemoryStore
from stepwell.storage.names import partition_of
from stepwell.storage.records import Message
from stepwell.worker import claiming, sweeping
from support.clients import Answer
from support.places import Asks, Place, serving, until_true

NAME = "the-workflow"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "UNBLOCK_EVERY", 0.01)
    monkeypatch.setattr(claiming, "LOOK_EVERY", 0.01)


class Middle(Event):
    """From the first step to the second."""


class Complete(Workflow):
    """The code that knows everything."""

    @step
    async def first(self, ev: StartEvent, ctx: Context) -> Middle:
        await ctx.store.set("number", 1)
        return Middle()

    @step
    async def second(self, ev: Middle, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Answer, timeout=None)
        return StopEvent(result="done")


class WithoutStep(Workflow):
    """Other code of the same name, to which the second step is unknown."""

    @step
    async def first(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="wrong")


class State(BaseModel):
    """Is no state that the complete code has left."""

    number: list[str] = []


class OtherState(Workflow):
    """Other code of the same name, with another state."""

    @step
    async def first(self, ev: StartEvent) -> Middle:
        return Middle()

    @step
    async def second(self, ev: Middle, ctx: Context[State]) -> StopEvent:
        return StopEvent(result="wrong")


async def begun(place: Place, client: Client) -> Run:
    """A run whose second step waits, in nobody's hands."""
    complete = Complete(workflow_name=NAME)
    async with serving(place.checkpointer(), complete) as worker:
        run = await client.start(complete)
        await until_true(lambda: worker.health().resting == 1)
    return run


def is_blocked(place: Place, run: Run) -> Callable[[], bool]:
    return lambda: place.run(run.run_id).fields["status"] == "blocked"


async def until_tried(store: MemoryStore, partition: int) -> None:
    """Return when a worker has looked for blocked runs, and claimed what was due after that."""
    looks: list[str] = []

    def noted(verb: str) -> Callable[..., Awaitable[Any]]:
        look = getattr(store, verb)

        async def note(where: int, *others: Any) -> Any:
            found = await look(where, *others)
            if where == partition and (looks or verb == "unblock"):
                looks.append(verb)
            return found

        return note

    with pytest.MonkeyPatch.context() as patch:
        for verb in ("unblock", "due"):
            patch.setattr(store, verb, noted(verb))
        # The first may have been under way; what the second found is claimed before the third.
        await until_true(lambda: looks.count("due") == 3)


def unknown_event(place: Place, run: Run) -> None:
    """Make the event of the work one that nobody knows."""
    fields = place.run(run.run_id).fields
    work = next(name for name in fields if name.startswith("work:"))
    fields[work] = fields[work].replace("Middle", "Muddle")


def unreadable(place: Place, run: Run) -> None:
    """Make nonsense of a field."""
    place.run(run.run_id).fields["next"] = "many"


@pytest.mark.parametrize(
    ("wrong", "reason"), [(WithoutStep, "second"), (OtherState, r"number.*|State")]
)
async def test_a_run_waits_for_the_code_that_knows_it(
    place: Place, client: Client, wrong: type[Workflow], reason: str
) -> None:
    run = await begun(place, client)
    place.run(run.run_id).due_at = place.now()
    other = await client.start(wrong(workflow_name=NAME), run_id="other")
    checkpointer = place.checkpointer()
    async with serving(checkpointer, wrong(workflow_name=NAME)):
        await until_true(is_blocked(place, run))
        await until_true(lambda: place.happened("other")[-1] != "(enqueued)")
        before = place.happened(run.run_id).count("(claimed)")
        await until_tried(checkpointer.stores[0], partition_of(run.run_id, place.server.partitions))
        assert place.happened(run.run_id).count("(claimed)") == before
        with pytest.raises(TimeoutError, match=reason):
            await run.result(timeout=0)
        assert (await run.info()).claims == 0
    assert other.run_id == "other"
    async with serving(place.checkpointer(), Complete(workflow_name=NAME)):
        await until_true(lambda: not is_blocked(place, run)())
        await run.send_event(Answer())
        assert await run.result() == "done"


@pytest.mark.parametrize("spoil", [unknown_event, unreadable])
async def test_a_run_that_nobody_can_read_is_blocked_and_others_go_on(
    place: Place, client: Client, spoil: Callable[[Place, Run], None]
) -> None:
    run = await begun(place, client)
    spoil(place, run)
    place.run(run.run_id).due_at = place.now()
    complete = Complete(workflow_name=NAME)
    async with serving(place.checkpointer(), complete) as worker:
        await until_true(is_blocked(place, run))
        other = await client.start(complete)
        await other.send_event(Answer())
        assert await other.result() == "done"
        await until_true(lambda: worker.health().executing == 0)
        assert place.happened(run.run_id).count("(claimed)") == 2


MESSAGES = [
    '{"event":{"$type":"nobody:Knows","value":{}},"step":null}',
    '{"event":5,"step":null}',
    '{"something":"else"}',
    "no JSON",
]


@pytest.mark.parametrize("text", MESSAGES)
@pytest.mark.parametrize("when", ["while it is held", "while nobody has it"])
async def test_a_message_that_nobody_can_read_blocks_its_run(
    place: Place, client: Client, text: str, when: str
) -> None:
    async with place.store() as store:
        async with serving(place.checkpointer(), Asks()) as worker:
            run = await client.start(Asks)
            await until_true(lambda: worker.health().resting == 1)
            if when == "while it is held":
                await store.deliver(Message(run.run_id, text, "key"))
                await until_true(is_blocked(place, run))
        if when != "while it is held":
            await store.deliver(Message(run.run_id, text, "key"))
        async with serving(place.checkpointer(), Asks()) as worker:
            await until_true(is_blocked(place, run))
            other = await client.start(Asks)
            for value in (1, 2):
                await other.send_event(Answer(value=value))
            assert await other.result() == [1, 2]
            await until_true(lambda: worker.health().executing == 0)
        assert [one.text for one in place.run(run.run_id).inbox] == [text]
        assert place.happened(run.run_id).count("(blocked)") == 1
        assert (await run.info()).claims == 0


@pytest.mark.parametrize("spoil", [unknown_event, unreadable])
async def test_a_blocked_run_can_be_cancelled_by_any_code(
    place: Place, client: Client, spoil: Callable[[Place, Run], None]
) -> None:
    run = await begun(place, client)
    spoil(place, run)
    place.run(run.run_id).due_at = place.now()
    async with serving(place.checkpointer(), Complete(workflow_name=NAME)):
        await until_true(is_blocked(place, run))
        async with place.store() as store:
            await store.deliver(cancel_message(run.run_id))
        with pytest.raises(WorkflowCancelledByUser):
            await run.result()
    assert place.run(run.run_id).fields["status"] == "cancelled"


class NoDefault(BaseModel):
    """Can't be made of nothing."""

    number: int


class NoState(Workflow):
    @step
    async def only(self, ev: StartEvent, ctx: Context[NoDefault]) -> StopEvent:
        return StopEvent()


class Lends(BaseModel):
    """Has a default that can't be stored."""

    model_config = {"arbitrary_types_allowed": True}
    lock: Any = object()


class NoForm(Workflow):
    @step
    async def only(self, ev: StartEvent, ctx: Context[Lends]) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize(
    ("workflow", "reason"), [(NoState, "number"), (NoForm, "lock.*object can't be stored")]
)
async def test_a_run_that_can_not_even_begin_is_blocked_and_stays_in_nobodys_hands(
    place: Place, client: Client, workflow: type[Workflow], reason: str
) -> None:
    name = cast("Any", workflow)(workflow_name=NAME).workflow_name
    async with serving(place.checkpointer(), workflow(workflow_name=NAME)) as worker:
        run = await client.start(name)
        await until_true(is_blocked(place, run))
        await until_true(lambda: worker.health().executing == 0)
        with pytest.raises(TimeoutError, match=f"(?s){reason}"):
            await run.result(timeout=0)
        assert place.run(run.run_id).owner == ""
        assert place.happened(run.run_id).count("(claimed)") == 1
