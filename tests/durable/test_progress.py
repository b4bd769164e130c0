"""Where a step stands in its loops, and what it did once, after a crash in the middle."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import EncodingError, WorkflowRuntimeError
from stepwell.events import StartEvent, StopEvent
from support.runs import Done, Part, Probe, Runs, crash_after, interrupt

Body = Callable[[Context[Any], Probe], Awaitable[Any]]


class OneStep(Workflow):
    """Its only step does what a test says, and ends with the result of that."""

    def __init__(self, body: Body, probe: Probe | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._body = body
        self._probe = probe or Probe()

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(result=await self._body(ctx, self._probe))


async def crashed_and_resumed(runs: Runs, body: Body, at: str) -> tuple[Any, list[str]]:
    """Crash a step where it reaches the probe with `at`; return its result, and what it repeats."""
    probe, again = Probe(holds=[at]), Probe()
    held = OneStep(body, probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: held.run(run_id="the-run"), probe)
    resumed = OneStep(body, again, checkpointer=runs.checkpointer())
    return await resumed.run(run_id="the-run"), again.executed


async def once_only(runs: Runs, body: Body) -> Any:
    """The result of a step that nothing interrupts."""
    return await OneStep(body, checkpointer=runs.checkpointer()).run(run_id="the-run")


# --- loops in loops ---

PAGES = ["x1", "x2", "y1", "y2", "z1", "z2"]


@pytest.mark.parametrize("names", [(None, None), ("documents", "pages")])
@pytest.mark.parametrize("at", PAGES)
async def test_a_loop_in_a_loop_has_a_position_of_its_own_in_each_item(
    runs: Runs, at: str, names: tuple[str | None, str | None]
) -> None:
    outside, inside = names

    async def read(ctx: Context[Any], probe: Probe) -> list[str]:
        async for document in ctx.each(["x", "y", "z"], name=outside):
            async for page in ctx.each([1, 2], name=inside):
                await ctx.store.append("read", f"{document}{page}")
                await probe(f"{document}{page}")
        return await ctx.store.get("read")

    result, repeated = await crashed_and_resumed(runs, read, at)
    assert result == PAGES
    assert repeated == PAGES[PAGES.index(at) :]


@pytest.mark.parametrize("at", ["x end", "y end", "z end"])
async def test_a_map_in_a_loop_has_results_of_its_own_in_each_item(runs: Runs, at: str) -> None:
    everything = [f"{document}{what}" for document in "xyz" for what in ("1", "2", " end")]

    async def read(ctx: Context[Any], probe: Probe) -> list[str]:
        async for document in ctx.each(["x", "y", "z"]):

            async def page(number: int, document: str = document) -> str:
                await probe(f"{document}{number}")
                return f"{document}{number}"

            await ctx.store.append("read", *await ctx.map(page, [1, 2], concurrency=1))
            await probe(f"{document} end")
        return await ctx.store.get("read")

    result, repeated = await crashed_and_resumed(runs, read, at)
    assert result == PAGES
    assert repeated == everything[everything.index(at) :]


async def loop_twice(ctx: Context[Any], probe: Probe) -> None:
    """Two loops, one after the other, under one name."""
    async for _ in ctx.each([1, 2], name="pages"):
        await probe("first loop")
    async for _ in ctx.each([1, 2], name="pages"):
        await probe("second loop")


async def map_twice(ctx: Context[Any], probe: Probe) -> None:
    """Two maps, one after the other, under one name."""
    await ctx.map(asyncio.sleep, [0], name="pages")
    await ctx.map(asyncio.sleep, [0], name="pages")


@pytest.mark.parametrize("body", [loop_twice, map_twice])
async def test_a_loop_name_that_was_used_is_refused(runs: Runs, body: Body) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"two loops .* named 'pages'.* name of its own"):
        await once_only(runs, body)


# --- loops at the same time ---


@pytest.mark.parametrize("at", ["x2", "y2"])
async def test_loops_that_run_at_once_have_positions_of_their_own(runs: Runs, at: str) -> None:
    async def both(ctx: Context[Any], probe: Probe) -> None:
        async def loop(letter: str) -> None:
            async for item in ctx.each([f"{letter}{number}" for number in range(4)]):
                async for part in ctx.each(["", "b"]):
                    await probe(item + part)
                    await ctx.checkpoint()

        await asyncio.gather(loop("x"), loop("y"))

    everything = [f"{item}{part}" for item in ("x0", "x1", "x2", "x3") for part in ("", "b")]
    _, repeated = await crashed_and_resumed(runs, both, at)
    ours = [item for item in repeated if item[0] == at[0]]
    others = [item for item in repeated if item[0] != at[0]]
    assert [f"x{item[1:]}" for item in ours] == everything[4:]
    assert 0 < len(others) < len(everything)


async def test_a_map_in_a_task_of_an_item_belongs_to_that_item(runs: Runs) -> None:
    async def both(ctx: Context[Any], probe: Probe) -> list[str]:
        async def read(page: str) -> str:
            await probe(page)
            return page

        async for letter in ctx.each("xy", every=2):
            pages = [f"{letter}1", f"{letter}2"]
            await asyncio.gather(*[ctx.map(read, [page]) for page in pages])
            await probe(f"{letter} end")
        return []

    _, repeated = await crashed_and_resumed(runs, both, "y end")
    assert repeated == ["x end", "y end"]


# --- the position is never ahead of the state ---


async def test_an_effect_in_a_loop_does_not_carry_the_position_ahead_of_the_state(
    runs: Runs,
) -> None:
    paid: list[int] = []

    async def pay(number: int) -> None:
        paid.append(number)

    async def loop(ctx: Context[Any], probe: Probe) -> list[int]:
        async for number in ctx.each(range(6), every=3):
            await ctx.once(f"pay {number}", pay, number)
            await ctx.store.append("done", number)
            await probe(str(number))
        return await ctx.store.get("done")

    result, repeated = await crashed_and_resumed(runs, loop, "4")
    assert result == list(range(6))
    assert repeated == ["3", "4", "5"]
    assert paid == list(range(6))


class Sending(Workflow):
    """A loop sends an event for each item, and another step takes them in order."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def loop(self, ev: StartEvent, ctx: Context) -> Part:
        async for number in ctx.each(range(4), every=4):
            await ctx.store.append("done", number)
            ctx.send_event(Part(number=number))
            await self._probe(str(number))
        return Part(number=4)

    @step(num_workers=1)
    async def take(self, ev: Part, ctx: Context) -> StopEvent | None:
        if ev.number == 4:
            return StopEvent(result=[await ctx.store.get("done"), await ctx.store.get("taken")])
        await ctx.store.append("taken", ev.number)
        return None


async def test_a_send_in_a_loop_does_not_carry_the_position_ahead_of_the_state(runs: Runs) -> None:
    probe = Probe(holds=["2"])
    held = Sending(probe, checkpointer=runs.checkpointer())
    await crash_after(["take", "take", "take"], runs, lambda: held.run(run_id="the-run"), probe)
    again = Probe()
    resumed = Sending(again, checkpointer=runs.checkpointer())
    assert await resumed.run(run_id="the-run") == [list(range(4)), list(range(4))]
    assert again.executed == ["0", "1", "2", "3"]


class LoopWithSibling(Workflow):
    """One step loops; when it is in the middle of that, another one ends."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=0), Part(number=1)]

    @step(num_workers=2)
    async def part(self, ev: Part, ctx: Context) -> Done:
        if ev.number == 1:
            await self._probe.reached.wait()
            await ctx.store.set("sibling", "ended")
            return Done(number=1)
        async for number in ctx.each(range(6), every=100):
            await ctx.store.append("done", number)
            await self._probe(str(number))
        return Done(number=0)

    @step
    async def join(self, ev: list[Done], ctx: Context) -> StopEvent:
        return StopEvent(result=[await ctx.store.get("done"), await ctx.store.get("sibling")])


async def test_the_commit_of_a_sibling_does_not_carry_the_position_ahead_of_the_state(
    runs: Runs,
) -> None:
    probe = Probe(holds=["4"])
    held = LoopWithSibling(probe, checkpointer=runs.checkpointer())
    await crash_after(["split", "part"], runs, lambda: held.run(run_id="the-run"), probe)
    assert "state:sibling" in runs.fields("the-run")
    again = Probe()
    resumed = LoopWithSibling(again, checkpointer=runs.checkpointer())
    assert await resumed.run(run_id="the-run") == [list(range(6)), "ended"]
    assert again.executed == [str(number) for number in range(6)]


@pytest.mark.parametrize("every", [1, 2])
async def test_an_item_whose_value_could_not_be_stored_is_not_skipped(
    runs: Runs, every: int
) -> None:
    def collect(third: object) -> Body:
        async def loop(ctx: Context[Any], probe: Probe) -> list[Any]:
            if await ctx.store.get("list", None) is None:
                await ctx.store.set("list", [])
            async for number in ctx.each(range(4), every=every):
                (await ctx.store.get("list")).append(third if number == 2 else number)
            return await ctx.store.get("list")

        return loop

    with pytest.raises(EncodingError, match="list"):
        await once_only(runs, collect(object()))
    assert await once_only(runs, collect(2)) == [0, 1, 2, 3]


# --- inside edit_state ---


async def each_inside(ctx: Context[Any]) -> None:
    async for _ in ctx.each([1]):
        pass


async def once_inside(ctx: Context[Any]) -> None:
    await ctx.once("sleep", asyncio.sleep, 0)


async def map_inside(ctx: Context[Any]) -> None:
    await ctx.map(asyncio.sleep, [0])


async def checkpoint_inside(ctx: Context[Any]) -> None:
    await ctx.checkpoint()


@pytest.mark.parametrize("use", [each_inside, once_inside, map_inside, checkpoint_inside])
async def test_nothing_is_committed_inside_of_an_edit(
    runs: Runs, use: Callable[[Context[Any]], Awaitable[None]]
) -> None:
    async def edit(ctx: Context[Any], probe: Probe) -> Any:
        async with ctx.store.edit_state() as state:
            state["edited"] = True
            name = use.__name__.removesuffix("_inside")  # pyright: ignore[reportFunctionMemberAccess]  each of them is a function
            with pytest.raises(RuntimeError, match=rf"ctx\.{name}\(\).*inside edit_state.*'work'"):
                await use(ctx)
        return await ctx.store.get("edited")

    assert await once_only(runs, edit) is True


# --- effects at the same time ---


async def test_one_effect_asked_for_twice_at_a_time_happens_once(runs: Runs) -> None:
    calls: list[int] = []

    async def pay() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return len(calls)

    async def pay_twice(ctx: Context[Any], probe: Probe) -> list[int]:
        return list(await asyncio.gather(ctx.once("pay", pay), ctx.once("pay", pay)))

    assert await once_only(runs, pay_twice) == [1, 1]
    assert calls == [1]
