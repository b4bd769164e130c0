"""The time that a run may take: its steps' time counts, waiting for the outside does not."""

import asyncio

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowTimeoutError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    WorkflowTimedOutEvent,
)
from support.clock import run_with_jumping_clock


class Begun(Event):
    pass


class Slow(Workflow):
    @step
    async def quick(self, ev: StartEvent) -> Begun:
        return Begun()

    @step
    async def slow(self, ctx: Context, ev: Begun) -> StopEvent:
        await ctx.store.set("slept", False)
        await asyncio.sleep(10)
        await ctx.store.set("slept", True)
        return StopEvent(result="in time")


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Human(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Ask:
        await asyncio.sleep(3)
        return Ask()

    @step
    async def answered(self, ev: Answer) -> StopEvent:
        await asyncio.sleep(3)
        return StopEvent(result="answered")


class Queue(Workflow):
    @step
    async def fill(self, ev: StartEvent) -> list[Begun]:
        return [Begun() for _ in range(4)]

    @step(num_workers=1)
    async def one_by_one(self, ev: Begun) -> None:
        await asyncio.sleep(3)

    @step
    async def join(self, ev: list[Begun]) -> StopEvent:
        return StopEvent(result=len(ev))


def test_a_run_that_takes_too_long_ends_with_a_timeout() -> None:
    async def main() -> None:
        handler = Slow(timeout=5).run()
        with pytest.raises(WorkflowTimeoutError, match=r"5 seconds.*slow"):
            await handler
        stop = handler.get_stop_event()
        assert isinstance(stop, WorkflowTimedOutEvent)
        assert (stop.timeout, stop.active_steps) == (5, ["slow"])
        assert [type(event) async for event in handler.stream_events()] == [WorkflowTimedOutEvent]
        assert await handler.ctx.store.get("slept") is False
        assert not handler.ctx.is_running

    run_with_jumping_clock(main())


def test_without_a_timeout_a_run_may_take_for_ever() -> None:
    async def main() -> None:
        assert await Slow().run() == "in time"
        assert asyncio.get_running_loop().time() == pytest.approx(10)

    run_with_jumping_clock(main())


def test_a_run_in_time_is_left_alone_afterwards() -> None:
    async def main() -> None:
        handler = Slow(timeout=11).run()
        assert await handler == "in time"
        await asyncio.sleep(100)
        assert await handler == "in time"

    run_with_jumping_clock(main())


def test_waiting_for_an_outside_event_does_not_count() -> None:
    async def main() -> None:
        handler = Human(timeout=7).run()
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                await asyncio.sleep(1000)
                await handler.send_event(Answer())
        assert await handler == "answered"

    run_with_jumping_clock(main())


def test_the_time_of_all_steps_together_counts() -> None:
    async def main() -> None:
        handler = Human(timeout=5).run()
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                await asyncio.sleep(1000)
                await handler.send_event(Answer())
        with pytest.raises(WorkflowTimeoutError, match="answered"):
            await handler

    run_with_jumping_clock(main())


def test_the_time_of_work_that_waits_for_a_worker_counts() -> None:
    async def main() -> None:
        with pytest.raises(WorkflowTimeoutError, match="one_by_one"):
            await Queue(timeout=8).run()
        assert await Queue(timeout=13).run() == 4

    run_with_jumping_clock(main())


def test_each_run_on_a_context_has_the_whole_time() -> None:
    async def main() -> None:
        workflow = Slow(timeout=11)
        ctx = Context(workflow)
        for _ in range(3):
            assert await workflow.run(ctx=ctx) == "in time"

    run_with_jumping_clock(main())


def test_a_run_after_a_timed_out_one_begins_anew() -> None:
    async def main() -> None:
        workflow = Slow(timeout=5)
        handler = workflow.run()
        with pytest.raises(WorkflowTimeoutError):
            await handler
        assert await Slow(timeout=11).run(ctx=handler.ctx) == "in time"

    run_with_jumping_clock(main())


class Tidy(Workflow):
    @step
    async def hold(self, ev: StartEvent) -> StopEvent:
        try:
            await asyncio.sleep(1_000)
        finally:
            await asyncio.sleep(100)
        return StopEvent()


def test_a_step_that_tidies_up_for_long_holds_up_the_end_for_some_seconds_only() -> None:
    async def main() -> None:
        with pytest.raises(WorkflowTimeoutError):
            await Tidy(timeout=1).run()
        assert asyncio.get_running_loop().time() == pytest.approx(6)

    run_with_jumping_clock(main())
