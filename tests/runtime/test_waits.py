"""Waits in memory: what several of them, and other things beside them, mean for a run."""

import asyncio
from typing import Any

import pytest
from typing_extensions import override

from stepwell import Context, Workflow, step
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
)
from stepwell.retry_policy import retry_policy, wait_none


class First(HumanResponseEvent): ...


class Second(HumanResponseEvent): ...


class Item(Event):
    number: int


class OneWorker(Workflow):
    """The only worker of its step stands in two waits; who answers needs that worker."""

    @step
    async def begin(self, ev: StartEvent, ctx: Context) -> Item | None:
        for number in range(3):
            ctx.send_event(Item(number=number))

    @step(num_workers=1)
    async def work(self, ev: Item, ctx: Context) -> StopEvent | None:
        if ev.number == 0:
            await asyncio.gather(ctx.wait_for_event(First), ctx.wait_for_event(Second))
            return StopEvent(result="both")
        ctx.send_event(First() if ev.number == 1 else Second())
        return None


async def test_a_step_in_two_waits_has_no_worker_before_the_last_is_over() -> None:
    assert await OneWorker().run() == "both"


class GivesUp(Workflow):
    """Its first wait is cancelled when its answer is already there."""

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        waiting = asyncio.create_task(ctx.wait_for_event(First))
        await asyncio.sleep(0)
        ctx.send_event(First())
        waiting.cancel()
        await asyncio.wait([waiting])
        await ctx.wait_for_event(First)
        return StopEvent(result=waiting.cancelled())


async def test_an_answer_that_nobody_read_is_there_for_the_next_wait() -> None:
    assert await GivesUp().run() is True


class Asks(Workflow):
    """It writes its question to the stream, and waits for the answer."""

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> InputRequiredEvent | StopEvent:
        ctx.write_event_to_stream(InputRequiredEvent())
        await ctx.wait_for_event(HumanResponseEvent)
        return StopEvent(result=[name for name in ctx.to_dict() if name.startswith("question:")])


async def test_an_answer_to_a_wait_closes_the_question_that_was_written_to_the_stream() -> None:
    handler = Asks().run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            await handler.send_event(HumanResponseEvent())
    assert await handler == []


class Fatal(BaseException): ...


class RaisesNoException(Workflow):
    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        raise Fatal("over")


async def test_what_is_no_exception_ends_the_run_too() -> None:
    with pytest.raises(Fatal, match="over"):
        await RaisesNoException().run()


class Unequal(Event):
    """As an event with an array in it: it can't be compared."""

    @override
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Collects(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    @step
    async def begin(self, ev: StartEvent, ctx: Context) -> Unequal | None:
        ctx.send_event(Unequal())
        ctx.send_event(Unequal())

    @step(num_workers=1, retry_policy=retry_policy(wait=wait_none()))
    async def collect(self, ev: Unequal, ctx: Context) -> StopEvent | None:
        both: list[Any] | None = ctx.collect_events(ev, [Unequal, Unequal])
        self.attempts += 1
        if self.attempts == 1:
            raise ValueError("after the offer")
        return StopEvent(result=len(both)) if both else None


async def test_events_that_can_t_be_compared_are_collected_over_a_failure() -> None:
    assert await Collects().run() == 2
