"""`ctx.sleep`: a step stands still for a time that goes on without it."""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell._runtime.commits import Durability
from stepwell.context.state_models import DictState
from stepwell.errors import ContextStateError, WorkflowRuntimeError, WorkflowTimeoutError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    WorkflowIdleEvent,
)
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from support.clock import run_with_jumping_clock
from support.lives import Life, Shelf


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def clock() -> float:
    """Unix time that goes on with the loop, over all lives of a run."""
    return 1_000_000.0 + loop_time()


class Sleeps(Workflow):
    """Sleeps twice; remembers when it came where."""

    def __init__(self, *seconds: Any, **options: Any) -> None:
        super().__init__(**options)
        self.seconds = seconds
        self.came: list[float] = []

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        self.came.append(loop_time())
        for seconds in self.seconds:
            await ctx.sleep(seconds)
            self.came.append(loop_time())
        return StopEvent(result="slept")


def test_a_step_sleeps() -> None:
    async def main() -> None:
        workflow = Sleeps(10, 20.5)
        assert await workflow.run() == "slept"
        assert workflow.came == pytest.approx([0, 10, 30.5])

    run_with_jumping_clock(main())


def test_no_time_at_all_is_one_turn_of_the_loop() -> None:
    class Yields(Workflow):
        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            turns: list[str] = []
            asyncio.get_running_loop().call_soon(turns.append, "another")
            await ctx.sleep(0)
            return StopEvent(result=[turns, [name for name in ctx.to_dict() if "wait" in name]])

    async def main() -> None:
        assert await Yields().run() == [["another"], []]

    run_with_jumping_clock(main())


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, "5", None, True, 1j])
async def test_what_is_no_time_is_refused(seconds: Any) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"sleep\(.*\): give a number of seconds"):
        await Sleeps(seconds).run()


async def test_only_a_step_can_sleep() -> None:
    with pytest.raises(ContextStateError, match=r"sleep is not available before.*inside a step"):
        await Context(Sleeps(1)).sleep(1)
    handler = Sleeps(0).run()
    with pytest.raises(ContextStateError, match="sleep is not available outside of a step"):
        await handler.ctx.sleep(1)
    await handler


async def test_nobody_sleeps_while_editing_the_state() -> None:
    class Edits(Workflow):
        @step
        async def work(self, ev: StartEvent, ctx: Context[DictState]) -> StopEvent:
            async with ctx.store.edit_state():
                await ctx.sleep(1)
            return StopEvent()

    with pytest.raises(RuntimeError, match=r"ctx\.sleep\(\) was called inside edit_state"):
        await Edits().run()


class Item(Event):
    pass


class Awake(Event):
    pass


def test_who_sleeps_needs_no_worker() -> None:
    class Naps(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item() for _ in range(3)]

        @step(num_workers=1)
        async def work(self, ev: Item, ctx: Context) -> Awake:
            await ctx.sleep(10)
            return Awake()

        @step
        async def join(self, evs: list[Awake]) -> StopEvent:
            return StopEvent(result=[len(evs), loop_time()])

    async def main() -> None:
        assert await Naps().run() == [3, pytest.approx(10)]

    run_with_jumping_clock(main())


class Answer(HumanResponseEvent):
    pass


class SleepsAndTakes(Workflow):
    """It may stand still for a human, but does not while it sleeps."""

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.sleep(100)
        return StopEvent(result="slept")

    @step
    async def take(self, ev: Answer) -> None:
        pass


def test_the_time_of_a_run_goes_on_while_it_sleeps() -> None:
    async def main() -> None:
        with pytest.raises(WorkflowTimeoutError):
            await SleepsAndTakes(timeout=50).run()
        assert loop_time() == pytest.approx(50)
        assert await SleepsAndTakes(timeout=101).run() == "slept"

    run_with_jumping_clock(main())


def test_a_run_that_sleeps_is_not_idle() -> None:
    async def main() -> None:
        handler = SleepsAndTakes().run()
        told = [type(event) async for event in handler.stream_events(expose_internal=True)]
        assert await handler == "slept"
        assert WorkflowIdleEvent not in told

    run_with_jumping_clock(main())


def test_a_sleep_may_be_given_up() -> None:
    class Impatient(Workflow):
        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await ctx.sleep(1000)
            await ctx.sleep(3)
            return StopEvent(result=loop_time())

    async def main() -> None:
        assert await Impatient().run() == pytest.approx(8)

    run_with_jumping_clock(main())


def test_several_tasks_of_a_step_may_sleep_at_once() -> None:
    class Crowd(Workflow):
        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            await asyncio.gather(*(ctx.sleep(seconds) for seconds in (5, 7, 6)))
            return StopEvent(result=loop_time())

    async def main() -> None:
        assert await Crowd().run() == pytest.approx(7)

    run_with_jumping_clock(main())


def test_what_is_slept_in_a_durable_loop_is_forgotten_with_its_item() -> None:
    class Looks(Workflow):
        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            known: list[int] = []
            async for _ in ctx.each(range(5)):
                await ctx.sleep(10)
                known.append(sum(name.startswith("wait:") for name in ctx.to_dict()))
            return StopEvent(result=[known, loop_time()])

    async def main() -> None:
        assert await Looks().run() == [[1] * 5, pytest.approx(50)]

    run_with_jumping_clock(main())


def test_verbose_tells_of_a_sleep(capsys: pytest.CaptureFixture[str]) -> None:
    run_with_jumping_clock(waited_for(lambda: Sleeps(10, verbose=True)))
    assert "[work:0] sleeps" in capsys.readouterr().out


async def waited_for(workflow: Callable[[], Workflow]) -> None:
    await workflow().run()


# --- over crashes ---


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize(("down", "ends"), [(4, 10), (6, 10), (100, 103)])
def test_after_a_crash_a_sleep_lasts_for_what_is_left(
    durability: Durability, down: float, ends: float
) -> None:
    async def main() -> None:
        shelf = Shelf()
        first = Life(shelf, Sleeps(10), durability, clock)
        first.begin()
        await asyncio.sleep(3)
        first.crash()
        assert len([name for name in shelf.fields if name.startswith("wait:")]) == 1
        await asyncio.sleep(down)
        again = Sleeps(10)
        second = Life(shelf, again, durability, clock)
        second.resume()
        assert (await second.end()).result() == "slept"
        assert again.came == pytest.approx([3 + down, ends])

    run_with_jumping_clock(main())


def test_a_sleep_is_committed_once_and_says_when_it_ends() -> None:
    async def main() -> None:
        shelf = Shelf()
        life = Life(shelf, Sleeps(10, 20), clock=clock)
        life.begin()
        await life.rest()
        number = len(shelf.commits)
        (name,) = (name for name in shelf.fields if name.startswith("wait:"))
        assert name.endswith(":/sleep#1")
        record = json.loads(shelf.fields[name])
        assert (record["for"], record["deadline"]) == (None, 1_000_010.0)
        await asyncio.sleep(9)
        assert len(shelf.commits) == number
        await life.end()
        assert not [name for name in shelf.fields if name.startswith("wait:")]

    run_with_jumping_clock(main())


def test_sleeps_with_names_are_found_in_any_order() -> None:
    class Named(Workflow):
        def __init__(self, *names: str) -> None:
            super().__init__()
            self.names = names
            self.came: list[float] = []

        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            for name in self.names:
                await ctx.sleep(10, name=name)
                self.came.append(loop_time())
            return StopEvent()

    async def main() -> None:
        shelf = Shelf()
        first = Life(shelf, Named("a/b", "b", "b"), clock=clock)
        first.begin()
        await asyncio.sleep(15)
        first.crash()
        again = Named("b", "a/b", "b")
        second = Life(shelf, again, clock=clock)
        second.resume()
        await second.end()
        assert again.came == pytest.approx([20, 20, 30])

    run_with_jumping_clock(main())


def test_with_replayed_waits_a_sleep_leaves_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_REPLAY_WAITS", "1")

    async def main() -> None:
        workflow = Sleeps(10, 20)
        assert await workflow.run() == "slept"
        assert workflow.came == pytest.approx([0, 10, 10, 30, 30, 30])

    run_with_jumping_clock(main())


# --- the clock ---


def test_a_sleep_is_never_over_early_by_the_clock_of_the_run() -> None:
    async def main() -> None:
        workflow = Sleeps(10)
        life = Life(Shelf(), workflow, clock=lambda: loop_time() / 2)
        life.begin()
        await life.end()
        assert workflow.came == pytest.approx([0, 20])
        assert workflow.came[1] / 2 >= 10 - 1e-6

    run_with_jumping_clock(main())


def test_nothing_is_tried_again_early_by_the_clock_of_the_run() -> None:
    class Fails(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.came: list[float] = []

        @step(retry_policy=retry_policy(wait=wait_fixed(10), stop=stop_after_attempt(2)))
        async def work(self, ev: StartEvent) -> StopEvent:
            self.came.append(loop_time())
            raise ValueError("no")

    async def main() -> None:
        workflow = Fails()
        life = Life(Shelf(), workflow, clock=lambda: loop_time() / 2)
        life.begin()
        await life.end()
        assert workflow.came == pytest.approx([0, 20])

    run_with_jumping_clock(main())


def test_the_clock_may_be_set_before_the_run_begins() -> None:
    async def main() -> None:
        workflow = Sleeps(10)
        life = Life(Shelf(), workflow)
        life.runner.clock = lambda: loop_time() / 2
        life.begin()
        await life.rest()
        assert life.runner.next_due() == 10
        await life.end()
        assert workflow.came == pytest.approx([0, 20])

    run_with_jumping_clock(main())
