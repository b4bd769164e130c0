"""`ctx.each`: a loop over items that goes on, when the step runs again, where it stood."""

from asyncio import sleep
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import EncodingError, WorkflowRuntimeError
from stepwell.events import StartEvent, StopEvent


class Loops(Workflow):
    """Handles items, takes a snapshot at each, and can be told to fail at one of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.fail_at: Any = None
        self.handled: list[Any] = []
        self.snapshots: list[dict[str, str]] = []

    def items(self) -> Iterable[Any]:
        return ["a", "b", "c", "d"]

    @step
    async def loop(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async for item in ctx.each(self.items(), **self.options):
            self.snapshots.append(ctx.to_dict())
            if item == self.fail_at:
                raise ValueError(item)
            self.handled.append(item)
        return StopEvent(result=self.handled)


async def snapshot_of_failure(workflow: Loops, at: Any) -> dict[str, str]:
    workflow.fail_at = at
    with pytest.raises(ValueError, match=str(at)):
        await workflow.run()
    return workflow.snapshots[-1]


async def test_without_a_failure_it_is_a_loop() -> None:
    assert await Loops().run() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("at", ["a", "b", "c", "d"])
async def test_it_goes_on_at_the_item_that_was_not_finished(at: str) -> None:
    snapshot = await snapshot_of_failure(Loops(), at)
    again = Loops()
    order = ["a", "b", "c", "d"]
    assert await again.run(ctx=Context.from_dict(again, snapshot)) == order[order.index(at) :]


async def test_it_goes_on_after_several_failures() -> None:
    snapshot = await snapshot_of_failure(Loops(), "b")
    second = Loops()
    second.fail_at = "d"
    with pytest.raises(ValueError, match="d"):
        await second.run(ctx=Context.from_dict(second, snapshot))
    third = Loops()
    assert await third.run(ctx=Context.from_dict(third, second.snapshots[-1])) == ["d"]


async def test_items_may_come_from_anything_that_can_be_listed() -> None:
    class Generated(Loops):
        def items(self) -> Iterable[Any]:
            yield from range(3)

    assert await Generated().run() == [0, 1, 2]


async def test_no_items_are_no_turns() -> None:
    class Empty(Loops):
        def items(self) -> Iterable[Any]:
            return []

    assert await Empty().run() == []


def other(items: Iterable[Any]) -> type[Loops]:
    class Other(Loops):
        def items(self) -> Iterable[Any]:
            return items

    return Other


@pytest.mark.parametrize("items", [["a", "b", "d", "c"], ["a", "b", "c"], ["a", "b", "c", 4], []])
async def test_other_items_than_the_first_time_are_refused(items: list[Any]) -> None:
    snapshot = await snapshot_of_failure(Loops(), "c")
    again = other(items)()
    with pytest.raises(WorkflowRuntimeError, match=r"'loop'.*items of its loop '1'.*same items"):
        await again.run(ctx=Context.from_dict(Loops(), snapshot))


async def test_items_without_durable_form_need_a_key() -> None:
    with pytest.raises(EncodingError, match=r"the items of ctx\.each"):
        await other([object()])().run()
    things = [object(), object()]
    key: Callable[[Any], Any] = things.index
    snapshot = await snapshot_of_failure(other(things)(key=key), things[1])
    again = other(things)(key=key)
    assert await again.run(ctx=Context.from_dict(again, snapshot)) == [things[1]]


async def test_every_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match="every=0"):
        await Loops(every=0).run()


class Twice(Workflow):
    """Two loops, one in the other; `name` tells the inner ones apart."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_at: tuple[str, int] | None = None
        self.handled: list[tuple[str, int]] = []
        self.snapshot: dict[str, str] = {}

    @step
    async def loop(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async for letter in ctx.each("xy"):
            async for number in ctx.each([1, 2], name=letter):
                self.snapshot = ctx.to_dict()
                if (letter, number) == self.fail_at:
                    raise ValueError(letter)
                self.handled.append((letter, number))
        return StopEvent(result=self.handled)


@pytest.mark.parametrize("at", [("x", 1), ("x", 2), ("y", 1), ("y", 2)])
async def test_loops_in_loops_keep_their_places(at: tuple[str, int]) -> None:
    first = Twice()
    first.fail_at = at
    with pytest.raises(ValueError, match=at[0]):
        await first.run()
    again = Twice()
    rest = await again.run(ctx=Context.from_dict(again, first.snapshot))
    assert first.handled + rest == [("x", 1), ("x", 2), ("y", 1), ("y", 2)]


async def test_a_finished_loop_leaves_nothing_in_the_next_snapshot() -> None:
    workflow = Loops()
    handler = workflow.run()
    await handler
    assert any(name.startswith("each:") for name in workflow.snapshots[1])
    assert not any(name.startswith("each:") for name in handler.ctx.to_dict())


class Doing(Workflow):
    """Its only step does what a test says."""

    def __init__(self, body: Callable[[Context[Any]], Awaitable[Any]]) -> None:
        super().__init__()
        self._body = body

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self._body(ctx))


@pytest.mark.parametrize("key", ["report/header", "/report/0/header", "//report/0/1:0:x", "report"])
async def test_an_effect_that_is_named_like_a_loop_stays_for_the_whole_step(key: str) -> None:
    calls: list[int] = []

    async def call() -> None:
        calls.append(1)

    async def loop(ctx: Context[Any]) -> None:
        async for _ in ctx.each(range(3), name="report"):
            await ctx.once(key, call)

    await Doing(loop).run()
    assert calls == [1]


async def test_a_loop_that_is_named_like_a_place_in_another_one_is_none_of_it() -> None:
    async def loop(ctx: Context[Any]) -> list[str]:
        async for _ in ctx.each([1], name="report/0/pages"):
            async for _ in ctx.each([1], name="report"):
                pass
        async for _ in ctx.each([1], name="report"):
            async for _ in ctx.each([1], name="pages"):
                return [name for name in ctx.to_dict() if name.startswith("each:")]
        raise AssertionError

    assert len(await Doing(loop).run()) == 3


@pytest.mark.parametrize("leave", ["break", "raise"])
async def test_a_loop_that_was_left_in_the_middle_has_no_loops_inside_any_more(leave: str) -> None:
    async def left(ctx: Context[Any]) -> None:
        async for _ in ctx.each([1, 2]):
            async for _ in ctx.each([1, 2]):
                if leave == "raise":
                    raise ValueError
                break
            break

    async def body(ctx: Context[Any]) -> dict[str, str]:
        with suppress(ValueError):
            await left(ctx)
        async for _ in ctx.each(["after"], name="after"):
            return ctx.to_dict()
        raise AssertionError

    names = [name for name in await Doing(body).run() if name.startswith("each:")]
    assert any(name.endswith(":/after") for name in names)


async def test_what_was_in_an_item_is_gone_when_the_item_is_done() -> None:
    async def left_in(ctx: Context[Any]) -> set[str]:
        names: set[str] = set()
        async for letter in ctx.each("xyz"):
            names = {name for name in ctx.to_dict() if name.startswith(("each:", "once:"))}
            async for _ in ctx.each([1, 2]):
                await ctx.map(sleep, [0, 0])
                await ctx.once(f"mine {letter}", sleep, 0)
                if letter == "y":
                    break
        return names

    names = sorted(name.split(":", 2)[2] for name in await Doing(left_in).run())
    assert names == ["/1", "mine x", "mine y"]
