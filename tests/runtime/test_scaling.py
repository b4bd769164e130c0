"""Cost grows with the work, not with its square: counted in function calls, not in seconds."""

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed


class Item(Event):
    n: int = 0


class Done(Event):
    n: int = 0


class FanOut(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.number)]

    @step
    async def work(self, ev: Item) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result=len(ev))


class Loop(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Item:
        return Item(n=ev.number)

    @step
    async def work(self, ctx: Context, ev: Item) -> Item | StopEvent:
        await ctx.store.append("done", ev.n)
        return Item(n=ev.n - 1) if ev.n else StopEvent()


class Collect(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        for _ in range(ev.number):
            ctx.send_event(Item(n=ev.number))

    @step
    async def join(self, ctx: Context, ev: Item) -> StopEvent | None:
        return StopEvent() if ctx.collect_events(ev, [Item] * ev.n) else None


class Stream(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(ev.number):
            ctx.write_event_to_stream(Item(n=n))
            await asyncio.sleep(0)
        return StopEvent()


class Wanted(Event):
    n: int


class All(Event):
    n: int


class Waits(Workflow):
    """As many steps wait at once as the run is large, each for an event of its own."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=ev.number) for _ in range(ev.number)]

    @step
    async def wait(self, ctx: Context, ev: Item) -> Done | All:
        number = await ctx.store.increment("waiting")
        if number == ev.n:
            ctx.send_event(All(n=ev.n))
        answer = await ctx.wait_for_event(Wanted, requirements={"n": number}, timeout=60)
        return Done(n=answer.n)

    @step
    async def answer(self, ctx: Context, ev: All) -> None:
        await asyncio.sleep(0)
        for n in range(ev.n):
            ctx.send_event(Wanted(n=n + 1))

    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result=len(ev))


class Retries(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.number)]

    @step(retry_policy=retry_policy(wait=wait_fixed(0.001), stop=stop_after_attempt(2)))
    async def work(self, ctx: Context, ev: Item) -> Done:
        if not ctx.retry_info().retry_number:
            raise ValueError("once")
        return Done(n=ev.n)

    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result=len(ev))


class Parts(Workflow):
    """All events for one parameter of a join come before those for the other."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | Done | None:
        for _ in range(ev.number):
            ctx.send_event(Item(n=ev.number))
        for _ in range(ev.number):
            ctx.send_event(Done(n=ev.number))

    @step
    async def pair(self, ctx: Context, one: Item, other: Done) -> StopEvent | None:
        return StopEvent() if await ctx.store.increment("pairs") == one.n else None


async def nothing() -> None:
    pass


class Effects(Workflow):
    """A loop over as many items, with effects, a map and a loop in each."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async for number in ctx.each(range(ev.number)):
            await ctx.once(f"effect {number}", nothing)
            await ctx.map(asyncio.sleep, [0])
            async for part in ctx.each(range(2)):
                await ctx.once(f"effect {number} {part}", nothing)
        return StopEvent()


async def run_and_read(workflow: Workflow, number: int) -> None:
    handler = workflow.run(number=number)
    async for _ in handler.stream_events():
        pass
    await handler


def calls_of(workflow: Workflow, number: int) -> int:
    """How many functions a run calls, those written in C too."""
    calls = 0

    def count(_frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    async def main() -> None:
        sys.setprofile(count)
        try:
            await run_and_read(workflow, number)
        finally:
            sys.setprofile(None)

    asyncio.run(main())
    return calls


@pytest.mark.parametrize("make", [FanOut, Loop, Collect, Stream, Waits, Retries, Parts, Effects])
def test_twice_the_work_costs_twice_the_calls(make: Callable[[], Workflow]) -> None:
    calls_of(make(), 10)
    small, large = calls_of(make(), 200), calls_of(make(), 400)
    assert large / small < 2.1
