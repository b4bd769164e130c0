"""What a step can do while it runs: sync or async, its context, resources, surroundings."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import ResourceError, WorkflowRuntimeError, WorkflowValidationError
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.resource import Resource

request_id = ContextVar("request_id", default="none")


class Item(Event):
    n: int


class Go(Event):
    pass


# --- sync steps ---


class Sync(Workflow):
    """A sync step sends, streams and collects; it runs in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    @step
    def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        self.threads.add(threading.get_ident())
        for n in range(3):
            ctx.write_event_to_stream(Item(n=n))
            ctx.send_event(Item(n=n))

    @step
    def gather(self, ctx: Context, ev: Item) -> StopEvent | None:
        self.threads.add(threading.get_ident())
        found = ctx.collect_events(ev, [Item] * 3)
        return None if found is None else StopEvent(result=sorted(one.n for one in found))


async def test_a_sync_step_sends_streams_and_collects_from_its_thread() -> None:
    workflow = Sync()
    handler = workflow.run()
    assert await handler == [0, 1, 2]
    assert threading.get_ident() not in workflow.threads
    shown = [event.n async for event in handler.stream_events() if isinstance(event, Item)]
    assert shown == [0, 1, 2]


async def test_a_sync_step_does_not_hold_up_the_others() -> None:
    class Both(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.released = threading.Event()

        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [Item(n=1), Go()]

        @step
        def block(self, ev: Item) -> StopEvent:
            assert self.released.wait(60)
            return StopEvent(result="released")

        @step
        async def release(self, ev: Go) -> None:
            self.released.set()

    assert await Both().run() == "released"


async def test_errors_of_the_context_reach_the_sync_step() -> None:
    class Wrong(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with pytest.raises(WorkflowRuntimeError, match="no step 'nowhere'"):
                ctx.send_event(Item(n=1), step="nowhere")
            ctx.send_event(StopEvent(result="sent"))
            return StopEvent(result="late")

    assert await Wrong().run() == "sent"


async def test_a_sync_step_that_outlives_its_run_can_do_nothing_any_more() -> None:
    class Outlives(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.blocked, self.released = asyncio.Event(), threading.Event()
            self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        @step
        def block(self, ctx: Context, ev: StartEvent) -> StopEvent:
            loop = self.done.get_loop()
            loop.call_soon_threadsafe(self.blocked.set)
            assert self.released.wait(60)
            try:
                ctx.write_event_to_stream(Item(n=1))
                outcome = "written"
            except WorkflowRuntimeError as error:
                outcome = str(error)
            loop.call_soon_threadsafe(self.done.set_result, outcome)
            return StopEvent()

    workflow = Outlives()
    handler = workflow.run()
    await workflow.blocked.wait()
    await handler.cancel_run()
    workflow.released.set()
    assert "'block' goes on although its run is over" in await workflow.done
    assert [event async for event in handler.stream_events() if isinstance(event, Item)] == []


# --- surroundings ---


class Surroundings(Workflow):
    @step
    async def in_async(self, ctx: Context, ev: StartEvent) -> Item:
        assert Context.get_step_context() is ctx
        assert ctx.is_running
        return Item(n=len(request_id.get()))

    @step
    def in_sync(self, ctx: Context, ev: Item) -> StopEvent:
        assert Context.get_step_context() is ctx
        return StopEvent(result=(ev.n, request_id.get(), ctx.run_id))


async def test_steps_see_their_context_and_the_context_variables_of_run() -> None:
    request_id.set("seven")
    handler = Surroundings().run(run_id="r1")
    request_id.set("changed")
    assert await handler == (5, "seven", "r1")


async def test_context_variables_that_a_step_sets_stay_in_it() -> None:
    class Sets(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            request_id.set("mine")
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=request_id.get())

    request_id.set("outer")
    assert await Sets().run() == "outer"


async def test_the_idempotency_key_tells_works_apart() -> None:
    class Keys(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ctx: Context, ev: Item) -> Item | None:
            assert ctx.idempotency_key == ctx.idempotency_key
            await ctx.store.append("keys", ctx.idempotency_key)

        @step
        async def end(self, ctx: Context, ev: list[Item]) -> StopEvent:
            return StopEvent(result=await ctx.store.get("keys"))

    keys = await Keys(disable_validation=True).run(run_id="r1")
    assert len(set(keys)) == 3
    assert all(key.startswith("r1/") for key in keys)


async def test_any_parameter_may_be_the_context_and_others_are_left_out() -> None:
    class Odd(Workflow):
        @step
        async def begin(
            self,
            state: Context,
            ev: StartEvent,
            other: str = "default",
        ) -> StopEvent:
            await state.store.set("other", other)
            return StopEvent(result=await state.store.get("other"))

    assert await Odd().run() == "default"


# --- classes of steps ---


class Named(Workflow):
    @step
    async def name(self, ev: StartEvent) -> StopEvent:
        task = asyncio.current_task()
        return StopEvent(result=task.get_name() if task else None)


async def test_the_task_of_a_step_says_what_it_does() -> None:
    handler = Named(workflow_name="names").run(run_id="the-run")
    assert await handler == "names.name of run the-run"


class Base(Workflow):
    pass


@step(workflow=Base)
async def begin_unbound(ev: StartEvent) -> Item:
    return Item(n=ev.n)


class Derived(Base):
    factor = 1

    @step
    async def end(self, ev: Item) -> StopEvent:
        return StopEvent(result=ev.n * self.factor)


class MoreDerived(Derived):
    factor = 10


class Replaced(Derived):
    @step
    async def end(self, ev: Item) -> StopEvent:
        return StopEvent(result="replaced")


@pytest.mark.parametrize(
    ("workflow", "result"), [(Derived, 3), (MoreDerived, 30), (Replaced, "replaced")]
)
async def test_steps_are_inherited_and_replaced(workflow: type[Workflow], result: object) -> None:
    assert await workflow().run(n=3) == result


async def test_a_step_added_later_is_a_step_of_instances_that_are_there() -> None:
    class Grows(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent | Go:
            return Go() if ev.get("go") else StopEvent(result="before")

        @step
        async def end(self, ev: Go) -> StopEvent:
            return StopEvent(result="end")

    workflow = Grows()
    assert await workflow.run() == "before"

    @step(workflow=Grows)
    async def also(ctx: Context, ev: Go) -> None:
        await ctx.store.set("also", True)
        ctx.write_event_to_stream(Item(n=1))

    handler = workflow.run(go=True)
    assert await handler == "end"


def test_a_step_can_t_be_added_twice_or_undecorated() -> None:
    class Full(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    async def begin(ev: StartEvent) -> StopEvent:
        return StopEvent()

    with pytest.raises(WorkflowValidationError, match="no step: decorate it"):
        Full.add_step(begin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the point
    with pytest.raises(WorkflowValidationError, match="has a step 'begin' already"):
        step(workflow=Full)(begin)


async def test_a_class_that_forgets_to_call_super_works_with_the_defaults() -> None:
    class Forgets(Workflow):
        def __init__(self, word: str) -> None:
            self.word = word

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.word)

    assert await Forgets("word").run() == "word"


# --- resources ---


class Journal:
    def __init__(self) -> None:
        self.lines: list[str] = []


journals: list[Journal] = []


def new_journal() -> Journal:
    journals.append(Journal())
    return journals[-1]


async def opened(journal: Annotated[Journal, Resource(new_journal)]) -> AsyncIterator[Journal]:
    journal.lines.append("open")
    yield journal
    journal.lines.append("close")


def broken() -> Journal:
    raise OSError("no disk")


class Resourceful(Workflow):
    @step
    async def begin(self, ev: StartEvent, journal: Annotated[Journal, Resource(opened)]) -> Item:
        journal.lines.append("begin")
        return Item(n=1)

    @step
    def end(
        self, ctx: Context, ev: Item, journal: Annotated[Journal, Resource(opened)]
    ) -> StopEvent:
        journal.lines.append("end")
        return StopEvent(result=journal)


async def test_resources_are_shared_by_steps_and_closed_with_the_run() -> None:
    workflow = Resourceful()
    first, second = await workflow.run(), await workflow.run()
    assert first is second
    assert first.lines == ["open", "begin", "end", "close"] * 2
    assert await Resourceful().run() is not first


async def test_resources_are_closed_after_the_steps_that_use_them() -> None:
    class Cancelled(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, journal: Annotated[Journal, Resource(opened)]
        ) -> StopEvent:
            try:
                ev.entered.set_result(journal)
                await asyncio.Event().wait()
            finally:
                journal.lines.append("left")
            return StopEvent()

    entered: asyncio.Future[Journal] = asyncio.get_running_loop().create_future()
    handler = Cancelled().run(entered=entered)
    journal = await entered
    await handler.cancel_run()
    assert journal.lines == ["open", "left", "close"]


async def test_a_factory_that_fails_is_a_failure_of_the_step() -> None:
    class Breaks(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, journal: Annotated[Journal, Resource(broken)]
        ) -> StopEvent:
            return StopEvent()

    with pytest.raises(OSError, match="no disk") as caught:
        await Breaks().run()
    assert any("'broken'" in note for note in caught.value.__notes__)


def never_ends() -> Any:
    """A generator whose end fails."""
    yield Journal()
    raise OSError("can't close")


async def test_a_resource_that_fails_to_close_fails_the_handler() -> None:
    class Leaves(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, journal: Annotated[Journal, Resource(never_ends)]
        ) -> StopEvent:
            return StopEvent(result=1)

    with pytest.raises(ResourceError, match="can't close"):
        await Leaves().run()
