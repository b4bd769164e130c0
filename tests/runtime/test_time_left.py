"""The time that a run may take, over several lives: it is spent where the run works, or sleeps."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from stepwell import Context, Workflow, step
from stepwell._engine.ticks import EventArrived
from stepwell._runtime.commits import Durability
from stepwell.errors import WorkflowTimeoutError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from support.clock import run_with_jumping_clock
from support.lives import Life, Shelf


def clock() -> float:
    """Unix time that goes on with the loop, over all lives of a run."""
    return 1_000_000.0 + asyncio.get_running_loop().time()


class Answer(HumanResponseEvent):
    pass


class Next(Event):
    n: int


class Chain(Workflow):
    """Steps of 3 seconds each."""

    @step
    async def begin(self, ev: StartEvent) -> Next:
        await asyncio.sleep(3)
        return Next(n=1)

    @step
    async def go_on(self, ev: Next) -> Next | StopEvent:
        await asyncio.sleep(3)
        return Next(n=ev.n + 1) if ev.n < 3 else StopEvent(result="done")


class Quick(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Next:
        await asyncio.sleep(0.1)
        return Next(n=1)

    @step
    async def go_on(self, ev: Next) -> StopEvent:
        await asyncio.sleep(0.1)
        return StopEvent(result="done")


class Sleeps(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await asyncio.sleep(0.5)
        await ctx.sleep(20)
        return StopEvent(result="slept")


class Waits(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await asyncio.sleep(0.5)
        await ctx.wait_for_event(Answer, timeout=None)
        await asyncio.sleep(2)
        return StopEvent(result="answered")


def stored(shelf: Shelf) -> dict[str, Any] | None:
    text = shelf.fields.get("timer:run")
    return None if text is None else json.loads(text)


def ever_stored(shelf: Shelf) -> bool:
    return any("timer:run" in commit.patch for commit in shelf.commits)


def lives(shelf: Shelf, workflow: Callable[[], Workflow]) -> Life:
    return Life(shelf, workflow(), clock=clock)


def test_a_short_run_says_nothing_of_its_time() -> None:
    async def main() -> None:
        shelf = Shelf()
        life = lives(shelf, lambda: Quick(timeout=45))
        life.begin()
        await life.end()
        assert not ever_stored(shelf)

    run_with_jumping_clock(main())


def test_a_run_that_may_take_for_ever_says_nothing_of_it() -> None:
    async def main() -> None:
        for workflow in (Chain, Sleeps):
            shelf = Shelf()
            life = lives(shelf, workflow)
            life.begin()
            await life.end()
            assert not ever_stored(shelf)

    run_with_jumping_clock(main())


def test_what_is_left_goes_along_with_the_commits_that_happen_anyway() -> None:
    async def main() -> None:
        with_timeout, without = Shelf(), Shelf()
        for shelf, timeout in ((with_timeout, 45), (without, None)):
            life = Life(shelf, Chain(timeout=timeout), clock=clock)
            life.begin()
            await life.end()
        assert len(with_timeout.commits) == len(without.commits)
        left = [
            json.loads(text)
            for commit in with_timeout.commits
            if (text := commit.patch.get("timer:run")) is not None
        ]
        assert left == [{"left": pytest.approx(at), "at": None} for at in (42, 39, 36)]
        assert stored(with_timeout) is None

    run_with_jumping_clock(main())


@pytest.mark.parametrize("durability", Durability)
def test_time_spent_before_a_crash_is_spent(durability: Durability) -> None:
    async def main() -> None:
        shelf = Shelf()
        first = Life(shelf, Chain(timeout=11), durability, clock)
        first.begin()
        await asyncio.sleep(7)
        await first.runner.drain() if durability is Durability.EXIT else None
        first.crash()
        begun = clock()
        second = lives(shelf, lambda: Chain(timeout=11))
        second.resume()
        with pytest.raises(WorkflowTimeoutError, match="after 11 seconds"):
            (await second.end()).result()
        spent = 9 if durability is Durability.EXIT else 6
        assert clock() - begun == pytest.approx(11 - spent)

    run_with_jumping_clock(main())


def test_time_in_which_nobody_executed_it_does_not_count() -> None:
    async def main() -> None:
        shelf = Shelf()
        first = lives(shelf, lambda: Chain(timeout=16))
        first.begin()
        await asyncio.sleep(7)
        first.crash()
        await asyncio.sleep(1000)
        second = lives(shelf, lambda: Chain(timeout=16))
        second.resume()
        assert (await second.end()).result() == "done"

    run_with_jumping_clock(main())


@pytest.mark.parametrize(("timeout", "in_time"), [(15, False), (22, True)])
def test_time_goes_on_while_a_run_sleeps_that_nobody_executes(timeout: int, in_time: bool) -> None:
    async def main() -> None:
        shelf = Shelf()
        first = lives(shelf, lambda: Sleeps(timeout=timeout))
        first.begin()
        await first.rest()
        assert stored(shelf) == {
            "left": pytest.approx(timeout - 0.5),
            "at": pytest.approx(1_000_000.5),
        }
        due = first.runner.next_due()
        assert due == pytest.approx(1_000_000 + (20.5 if in_time else 15))
        first.crash()
        await asyncio.sleep(cast("float", due) - clock())
        second = lives(shelf, lambda: Sleeps(timeout=timeout))
        second.resume(interrupted=False)
        outcome = await second.end()
        if in_time:
            assert outcome.result() == "slept"
        else:
            assert isinstance(outcome.error, WorkflowTimeoutError)
            assert clock() == pytest.approx(1_000_015)

    run_with_jumping_clock(main())


def test_a_run_that_waits_for_an_answer_has_its_time_afterwards() -> None:
    async def main() -> None:
        shelf = Shelf()
        first = lives(shelf, lambda: Waits(timeout=5))
        first.begin()
        await first.rest()
        assert stored(shelf) == {"left": pytest.approx(4.5), "at": None}
        assert first.runner.next_due() is None
        first.crash()
        await asyncio.sleep(1000)
        second = lives(shelf, lambda: Waits(timeout=5))
        second.resume(False, messages=[(1, EventArrived(Answer()))])
        assert (await second.end()).result() == "answered"

    run_with_jumping_clock(main())


def test_a_run_that_works_again_after_a_sleep_says_that_its_time_stands_still() -> None:
    class Works(Sleeps):
        @step
        async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
            await ctx.sleep(20)
            await ctx.checkpoint()
            await asyncio.sleep(1000)
            return StopEvent()

    async def main() -> None:
        shelf = Shelf()
        life = lives(shelf, lambda: Works(timeout=45))
        life.begin()
        await life.rest()
        await asyncio.sleep(21)
        assert stored(shelf) == {"left": pytest.approx(25), "at": None}
        life.crash()

    run_with_jumping_clock(main())


def test_a_run_that_is_started_again_after_its_end_has_all_its_time() -> None:
    async def main() -> None:
        shelf = Shelf()
        first = lives(shelf, lambda: Chain(timeout=7))
        first.begin()
        with pytest.raises(WorkflowTimeoutError):
            (await first.end()).result()
        second = lives(shelf, lambda: Chain(timeout=7))
        second.resume()
        assert (await second.end()).result() == "done"
        assert stored(shelf) is None

    run_with_jumping_clock(main())


def test_code_with_a_shorter_timeout_gives_a_run_no_more_than_that() -> None:
    async def main() -> None:
        shelf = Shelf()
        first = lives(shelf, lambda: Chain(timeout=100))
        first.begin()
        await asyncio.sleep(4)
        first.crash()
        second = lives(shelf, lambda: Chain(timeout=2))
        second.resume()
        with pytest.raises(WorkflowTimeoutError):
            (await second.end()).result()
        assert clock() == pytest.approx(1_000_006)

    run_with_jumping_clock(main())
