"""The handler of a run: its result, its stream, its end."""

import asyncio
import gc
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import ContextStateError, WorkflowCancelledByUser, WorkflowRuntimeError
from stepwell.events import (
    Event,
    StartEvent,
    StopEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
)
from stepwell.handler import WorkflowHandler


class Token(Event):
    n: int


class Go(Event):
    pass


class Answer(StopEvent):
    text: str


class Talks(Workflow):
    """Writes three tokens; waits in the middle until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = asyncio.Event()
        self.go_on = asyncio.Event()

    @step
    async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Token(n=0))
        ctx.write_event_to_stream(None)
        self.middle.set()
        await self.go_on.wait()
        ctx.write_event_to_stream(Token(n=1))
        if ev.get("fails"):
            raise KeyError("talk")
        return StopEvent(result="said")


@pytest.fixture
def free() -> Talks:
    workflow = Talks()
    workflow.go_on.set()
    return workflow


async def shown(handler: Any) -> list[Any]:
    return [
        event.n if isinstance(event, Token) else type(event)
        async for event in handler.stream_events()
    ]


# --- results ---


async def test_a_handler_can_be_awaited_again_and_by_many(free: Talks) -> None:
    handler = free.run()
    assert await asyncio.gather(handler, handler, handler) == ["said"] * 3
    assert await handler == "said"
    assert (await handler.stop_event_result()).result == "said"
    assert await asyncio.wait_for(handler, 10) == "said"


async def test_a_stop_event_of_its_own_class_is_the_result() -> None:
    class Answers(Workflow):
        @step
        async def answer(self, ev: StartEvent) -> Answer:
            return Answer(text="42")

    handler = Answers().run()
    result = await handler
    assert isinstance(result, Answer)
    assert result.text == "42"
    assert handler.get_stop_event() is result


async def test_the_stop_event_is_there_only_at_the_end(free: Talks) -> None:
    handler = free.run()
    assert handler.get_stop_event() is None
    assert not handler.is_done()
    await handler
    stop = handler.get_stop_event()
    assert handler.is_done()
    assert stop is not None
    assert stop.result == "said"


async def test_a_waiter_that_gives_up_does_not_stop_the_run() -> None:
    workflow = Talks()
    handler = workflow.run()
    waiting = asyncio.ensure_future(handler.stop_event_result())
    await workflow.middle.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    workflow.go_on.set()
    assert await handler == "said"


async def test_a_run_goes_on_although_nobody_awaits_it() -> None:
    workflow = Talks()
    ctx = Context(workflow)
    workflow.run(ctx=ctx)
    await workflow.middle.wait()
    gc.collect()
    workflow.go_on.set()
    assert [type(event) async for event in ctx.stream_events()][-1] is StopEvent


async def test_the_exception_of_a_step_is_what_the_handler_raises(free: Talks) -> None:
    handler = free.run(fails=True)
    errors: list[BaseException] = []
    for _ in range(2):
        with pytest.raises(KeyError, match="talk") as caught:
            await handler
        errors.append(caught.value)
    assert errors[0] is errors[1]
    stop = handler.get_stop_event()
    assert isinstance(stop, WorkflowFailedEvent)
    assert (stop.step_name, stop.exception, stop.attempts) == ("talk", errors[0], 1)


async def test_a_failure_that_nobody_awaits_makes_no_noise(free: Talks) -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    handler = free.run(fails=True)
    assert (await shown(handler))[-1] is WorkflowFailedEvent
    del handler
    gc.collect()
    await asyncio.sleep(0)
    assert noise == []


async def test_its_text_tells_workflow_run_and_result(free: Talks) -> None:
    handler = free.run(run_id="r1")
    assert "Talks" in str(handler)
    assert "r1: running" in str(handler)
    await handler
    assert "said" in str(handler)


# --- the stream ---


async def test_events_are_streamed_in_order_and_the_stop_event_is_last(free: Talks) -> None:
    assert await shown(free.run()) == [0, 1, StopEvent]


async def test_a_stream_can_be_read_afterwards_and_by_many(free: Talks) -> None:
    handler = free.run()
    both = await asyncio.gather(shown(handler), shown(handler))
    await handler
    assert both == [[0, 1, StopEvent]] * 2
    assert await shown(handler) == [0, 1, StopEvent]


async def test_events_are_streamed_while_the_step_runs() -> None:
    workflow = Talks()
    handler = workflow.run()
    events = handler.stream_events()
    assert await anext(events) == Token(n=0)
    assert not handler.is_done()
    workflow.go_on.set()
    assert await anext(events) == Token(n=1)
    await handler


async def test_the_last_event_of_a_failed_run_says_so(free: Talks) -> None:
    assert await shown(free.run(fails=True)) == [0, 1, WorkflowFailedEvent]


# --- cancelling ---


async def test_a_cancelled_run_raises_and_says_so_in_its_stream() -> None:
    workflow = Talks()
    handler = workflow.run()
    await workflow.middle.wait()
    await handler.cancel_run()
    await handler.cancel_run()
    assert handler.is_done()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert await shown(handler) == [0, WorkflowCancelledEvent]
    assert isinstance(handler.get_stop_event(), WorkflowCancelledEvent)
    assert not handler.ctx.is_running


async def test_a_run_can_be_cancelled_before_its_first_step(free: Talks) -> None:
    handler = free.run()
    await handler.cancel_run()
    assert await shown(handler) == [WorkflowCancelledEvent]


async def test_cancelling_after_the_end_changes_nothing(free: Talks) -> None:
    handler = free.run()
    await handler
    await handler.cancel_run()
    assert await handler == "said"


class Siblings(Workflow):
    """One step ends the run in the very turn in which it wakes the others."""

    def __init__(self) -> None:
        super().__init__()
        self.wake = asyncio.Event()
        self.waiting = asyncio.Event()
        self.heard: list[str] = []

    @step
    async def begin(self, ev: StartEvent) -> list[Token | Go]:
        return [Token(n=1), Token(n=2), Go()]

    @step
    async def wait(self, ctx: Context, ev: Token) -> StopEvent:
        try:
            self.waiting.set()
            await self.wake.wait()
            self.heard.append("went on")
            ctx.write_event_to_stream(ev)
        except asyncio.CancelledError:
            self.heard.append("cancelled")
            for late in (
                lambda: ctx.write_event_to_stream(ev),
                lambda: ctx.send_event(StopEvent(result="late")),
            ):
                with pytest.raises(WorkflowRuntimeError, match="its run is over"):
                    late()
            raise
        return StopEvent(result="late")

    @step
    async def end(self, ctx: Context, ev: Go) -> StopEvent:
        await self.waiting.wait()
        self.wake.set()
        return StopEvent(result="first")


async def test_a_stop_event_cancels_the_other_steps_at_once() -> None:
    workflow = Siblings()
    handler = workflow.run()
    assert await handler == "first"
    assert workflow.heard == ["cancelled", "cancelled"]
    assert await shown(handler) == [StopEvent]


async def test_a_step_that_returns_although_it_was_cancelled_changes_nothing() -> None:
    class Deaf(Siblings):
        @step
        async def wait(self, ctx: Context, ev: Token) -> StopEvent:
            try:
                self.waiting.set()
                await self.wake.wait()
            except asyncio.CancelledError:
                self.heard.append("ignored")
            return StopEvent(result="late")

    workflow = Deaf()
    assert await workflow.run() == "first"
    assert workflow.heard == ["ignored", "ignored"]


async def test_a_failing_step_cancels_the_other_steps() -> None:
    class Fails(Siblings):
        @step
        async def end(self, ctx: Context, ev: Go) -> StopEvent:
            await self.waiting.wait()
            raise KeyError("end")

    workflow = Fails()
    with pytest.raises(KeyError, match="end"):
        await workflow.run()
    assert workflow.heard == ["cancelled", "cancelled"]


# --- from outside of the steps ---


class Listens(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Go | None:
        return None

    @step
    async def hear(self, ev: Token) -> StopEvent:
        return StopEvent(result=ev.n)

    @step
    async def go(self, ev: Go) -> StopEvent:
        return StopEvent(result="gone")


@pytest.fixture
def listening() -> Listens:
    return Listens(disable_validation=True)


async def test_an_event_can_be_sent_before_the_first_step_has_run(listening: Listens) -> None:
    handler = listening.run()
    handler.ctx.send_event(Token(n=3))
    assert await handler == 3


async def test_an_event_can_be_sent_to_a_named_step(listening: Listens) -> None:
    handler = listening.run()
    await handler.send_event(Go(), step="go")
    assert await handler == "gone"


async def test_a_send_to_a_step_that_does_not_take_it_is_refused(listening: Listens) -> None:
    handler = listening.run()
    with pytest.raises(WorkflowRuntimeError, match="'go' does not take Token"):
        await handler.send_event(Token(n=1), step="go")
    with pytest.raises(WorkflowRuntimeError, match="no step 'nowhere'"):
        handler.ctx.send_event(Token(n=1), step="nowhere")
    await handler.cancel_run()


async def test_what_belongs_into_a_step_is_refused_outside(listening: Listens) -> None:
    handler = listening.run()
    for use in (
        lambda: handler.ctx.write_event_to_stream(Go()),
        lambda: handler.ctx.collect_events(Go(), [Go]),
        lambda: handler.ctx.each([1]),
        lambda: handler.ctx.idempotency_key,
    ):
        with pytest.raises(ContextStateError, match="outside of a step"):
            use()
    with pytest.raises(WorkflowRuntimeError, match="outside of a step"):
        Context.get_step_context()
    await handler.cancel_run()


async def test_the_running_steps_and_the_state_can_be_seen_from_outside() -> None:
    workflow = Talks()
    handler = workflow.run()
    await workflow.middle.wait()
    assert await handler.ctx.running_steps() == ["talk"]
    assert handler.ctx.is_running
    await handler.ctx.store.set("seen", 1)
    workflow.go_on.set()
    await handler
    assert await handler.ctx.running_steps() == []
    assert not handler.ctx.is_running
    assert await handler.ctx.store.get("seen") == 1


async def test_an_event_sent_after_the_end_is_refused(free: Talks) -> None:
    handler = free.run()
    await handler
    with pytest.raises(WorkflowRuntimeError, match="is over"):
        await handler.send_event(Token(n=1))


@pytest.mark.filterwarnings("ignore:WorkflowHandler.cancel:DeprecationWarning")
def test_a_run_can_be_cancelled_while_its_loop_does_not_run() -> None:
    """As in a notebook, or from the callback of a window."""

    class Waits(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return await asyncio.Future()

    async def begun() -> WorkflowHandler[Any]:
        handler = Waits().run()
        await asyncio.sleep(0)
        return handler

    async def ended(handler: WorkflowHandler[Any]) -> None:
        with pytest.raises(WorkflowCancelledByUser):
            await handler

    with asyncio.Runner() as loop:
        handler = loop.run(begun())
        handler.cancel()
        loop.run(ended(handler))
