"""Section 17: what was observed to be weak in the other engine, and is not here."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import fakeredis
import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import ContextSerdeError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from support.clock import run_with_jumping_clock


class Progress(Event):
    number: int


class Snapshots(Workflow):
    """1. It writes its context into a hash from inside of its step."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.set("done", [1, 2])
        self.redis.hset("ctx", mapping=ctx.to_dict())
        return StopEvent(result="done")


async def test_a_step_writes_its_context_into_a_hash() -> None:
    redis: Any = fakeredis.FakeRedis()
    await Snapshots(redis).run()
    ctx = Context.from_dict(Snapshots(redis), redis.hgetall("ctx"))
    assert await ctx.store.get("done") == [1, 2]
    assert ctx.is_running


class Asks(Workflow):
    """5. What stands before its wait happens once."""

    entered = 0

    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        self.entered += 1
        ctx.write_event_to_stream(Progress(number=self.entered))
        answer = await ctx.wait_for_event(HumanResponseEvent, timeout=None)
        return StopEvent(result=answer.response)


async def test_what_stands_before_a_wait_happens_once_and_an_early_answer_is_kept() -> None:
    handler = Asks().run()
    await handler.send_event(HumanResponseEvent(response="yes"))
    assert await handler == "yes"
    shown = [event async for event in handler.stream_events() if isinstance(event, Progress)]
    assert shown == [Progress(number=1)]


VALUES: list[Any] = [
    (1, 2),
    {1: "one"},
    {1, 2},
    b"bytes",
    datetime(2026, 1, 2, tzinfo=UTC),
    Decimal("1.10"),
    UUID(int=7),
    Progress(number=3),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_values_keep_their_types_in_a_map(value: Any) -> None:
    workflow = Asks()
    ctx: Context[Any] = Context(workflow)
    await ctx.store.set("value", value)
    again = await Context.from_dict(workflow, ctx.to_dict()).store.get("value")
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("garbage", [{"foo": "1"}, {"version": "2"}, {"format": "99"}])
def test_what_is_no_context_is_refused(garbage: dict[str, str]) -> None:
    with pytest.raises(ContextSerdeError):
        Context.from_dict(Asks(), garbage)


class InAThread(Workflow):
    """10. A step that is no coroutine sends and streams too."""

    @step
    def begin(self, ev: StartEvent, ctx: Context) -> Progress | None:
        ctx.write_event_to_stream(Progress(number=1))
        ctx.send_event(Progress(number=2))

    @step
    def end(self, ev: Progress) -> StopEvent:
        return StopEvent(result=ev.number)


async def test_sync_steps_send_and_stream() -> None:
    handler = InAThread().run()
    assert await handler == 2
    assert Progress(number=1) in [event async for event in handler.stream_events()]


class TakesTime(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await asyncio.sleep(0.3)
        return StopEvent(result=await ctx.store.increment("runs", 1))


def test_each_run_on_a_context_has_all_of_its_time() -> None:
    """11. Six runs of 0.3 s with a limit of 1 s each."""

    async def runs() -> int:
        workflow = TakesTime(timeout=1.0)
        ctx: Context[Any] = Context(workflow)
        return [await workflow.run(ctx=ctx) for _ in range(6)][-1]

    assert run_with_jumping_clock(runs()) == 6


async def test_two_readers_of_a_stream_both_see_all_of_it() -> None:
    handler = InAThread().run()

    async def read() -> list[str]:
        return [type(event).__name__ async for event in handler.stream_events()]

    one, other = await asyncio.gather(read(), read())
    assert one == other == ["Progress", "StopEvent"]
