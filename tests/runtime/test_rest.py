"""Rest: when a run may be given back, until when, and what is left of it for whoever comes next."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from stepwell import Context, Workflow, step
from stepwell._engine.ticks import EventArrived
from stepwell._runtime.commits import Durability
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from support.clock import run_with_jumping_clock
from support.lives import Life, Shelf


def clock() -> float:
    """Unix time that goes on with the loop, over all lives of a run."""
    return 1_000_000.0 + asyncio.get_running_loop().time()


class Answer(HumanResponseEvent):
    pass


class Go(Event):
    n: int = 0


class Done(Event):
    pass


class Waits(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Answer, timeout=None)
        return StopEvent(result="answered")


class Sleeps(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await asyncio.sleep(1)
        await ctx.sleep(10)
        await asyncio.sleep(1)
        await ctx.sleep(20)
        return StopEvent(result="slept")


class Fails(Workflow):
    @step(retry_policy=retry_policy(wait=wait_fixed(30), stop=stop_after_attempt(3)))
    async def work(self, ev: StartEvent) -> StopEvent:
        raise ValueError("no")


class Rests:
    """Counts how often a run came to rest."""

    def __init__(self, life: Life) -> None:
        self.at: list[float] = []
        self._life = life
        life.runner.watch_rest(self)

    def __call__(self) -> None:
        assert self._life.runner.rests
        self.at.append(asyncio.get_running_loop().time())


def test_whoever_watches_is_told_each_time_that_the_run_comes_to_rest() -> None:
    async def main() -> None:
        life = Life(Shelf(), Sleeps(), clock=clock)
        rests = Rests(life)
        life.begin()
        await life.end()
        assert rests.at == pytest.approx([1, 12])
        assert not life.runner.rests

    run_with_jumping_clock(main())


async def test_a_run_rests_when_all_is_durable_and_not_before() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    rests = Rests(life)
    life.begin()
    shelf.gate.clear()
    while not life.runner.internals.run.rests:
        shelf.gate.set()
        await asyncio.sleep(0)
        shelf.gate.clear()
    assert (life.runner.rests, rests.at) == (False, [])
    shelf.gate.set()
    await life.rest()
    assert any(name.startswith("wait:") for name in shelf.fields)
    assert len(rests.at) == 0  # another one watches now
    life.crash()


async def test_whoever_watches_a_run_that_rests_is_told_at_once() -> None:
    life = Life(Shelf(), Waits())
    life.begin()
    await life.rest()
    assert len(Rests(life).at) == 1
    life.crash()


async def test_a_run_without_a_store_rests_too() -> None:
    handler = Waits().run()
    await asyncio.sleep(0)
    runner = handler._execution  # pyright: ignore[reportPrivateUsage]  without a store it is the runner
    assert runner.rests  # type: ignore[attr-defined]
    await handler.send_event(Answer())
    assert await handler == "answered"
    assert not runner.rests  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("workflow", "due"),
    [
        (Waits, None),
        (lambda: Waits(timeout=50), None),
        (Sleeps, 1_000_011),
        (lambda: Sleeps(timeout=50), 1_000_011),
        (lambda: Sleeps(timeout=5), 1_000_005),
        (Fails, 1_000_030),
    ],
)
def test_what_is_due_next(workflow: Callable[[], Workflow], due: float | None) -> None:
    async def main() -> None:
        life = Life(Shelf(), workflow(), clock=clock)
        life.begin()
        await life.rest()
        assert life.runner.next_due() == (due if due is None else pytest.approx(due))
        life.crash()

    run_with_jumping_clock(main())


@pytest.mark.parametrize("durability", Durability)
def test_a_run_that_was_parked_goes_on_where_it_was(durability: Durability) -> None:
    async def main() -> None:
        shelf = Shelf()
        lives = 0
        while "result" not in shelf.fields:
            life = Life(shelf, Sleeps(), durability, clock)
            life.resume(False) if lives else life.begin()
            lives += 1
            rested = asyncio.ensure_future(life.rest())
            await asyncio.wait([rested, life.runner.ended], return_when=asyncio.FIRST_COMPLETED)
            rested.cancel()
            if due := life.runner.next_due():
                life.crash()
                await asyncio.sleep(due - clock())
        assert lives == 3
        assert asyncio.get_running_loop().time() == pytest.approx(1 + 10 + 1 + 1 + 20 + 1 + 1)

    run_with_jumping_clock(main())


def test_failed_attempts_are_durable_before_a_run_rests_however_seldom_it_commits() -> None:
    async def main() -> None:
        shelf = Shelf()
        life = Life(shelf, Fails(), Durability.EXIT, clock)
        life.begin()
        await asyncio.sleep(10)
        assert not life.runner.rests
        await life.runner.drain()
        assert life.runner.rests
        life.crash()
        (work,) = (text for name, text in shelf.fields.items() if name.startswith("work:"))
        assert '"count": 1' in work

    run_with_jumping_clock(main())


# --- drain ---


class Parts(Workflow):
    """Two parts side by side, of three; each is held until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.go = asyncio.Event()

    @step
    async def split(self, ev: StartEvent) -> list[Go]:
        return [Go(n=n) for n in range(3)]

    @step(num_workers=2)
    async def work(self, ev: Go) -> Done:
        self.begun.append(ev.n)
        await self.go.wait()
        return Done()

    @step
    async def join(self, evs: list[Done]) -> StopEvent:
        return StopEvent(result=len(evs))


async def until(fact: Callable[[], object]) -> None:
    while not fact():  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0)


@pytest.mark.parametrize("durability", Durability)
async def test_a_drained_run_ends_its_steps_and_starts_no_more(durability: Durability) -> None:
    shelf, workflow = Shelf(), Parts()
    life = Life(shelf, workflow, durability)
    life.begin()
    await until(lambda: len(workflow.begun) == 2)
    drained = life.runner.drain()
    assert life.runner.drain() is drained
    await asyncio.sleep(0)
    assert not drained.done()
    workflow.go.set()
    await drained
    assert not life.runner.is_over
    life.crash()
    assert workflow.begun == [0, 1]
    assert len([name for name in shelf.fields if name.startswith("work:")]) == 1
    again = Parts()
    again.go.set()
    second = Life(shelf, again, durability)
    second.resume(interrupted=False)
    assert (await second.end()).result() == 3
    assert again.begun == [2]
    lines = [line for commit in shelf.commits for line in commit.log if line.startswith('"work"')]
    assert {line.split(",")[1] for line in lines} == {"1"}


async def test_a_run_that_stands_in_waits_is_drained_at_once() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin()
    await life.rest()
    number = len(shelf.commits)
    await life.runner.drain()
    assert len(shelf.commits) == number


async def test_an_answer_to_a_drained_run_wakes_no_step_and_is_kept_for_the_next_life() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin()
    await life.rest()
    drained = life.runner.drain()
    life.runner.feed(EventArrived(Answer()))
    await drained
    await life.runner.flush()
    assert not life.runner.is_over
    life.crash()
    second = Life(shelf, Waits())
    second.resume(interrupted=False)
    assert (await second.end()).result() == "answered"


async def test_draining_waits_for_what_is_under_way_to_the_store() -> None:
    shelf, workflow = Shelf(), Parts()
    life = Life(shelf, workflow)
    life.begin()
    await until(lambda: len(workflow.begun) == 2)
    shelf.gate.clear()
    workflow.go.set()
    await until(lambda: not life.runner.internals.run.queues["work"].waiting)
    drained = life.runner.drain()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not drained.done()
    shelf.gate.set()
    await drained
    life.crash()


async def test_a_run_that_ends_while_it_is_drained_has_ended() -> None:
    begun = asyncio.Event()

    class Ends(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            begun.set()
            return StopEvent(result="ended")

    life = Life(Shelf(), Ends())
    life.begin()
    await begun.wait()
    await life.runner.drain()
    assert life.runner.is_over
    assert (await life.end()).result() == "ended"


async def test_a_store_that_refuses_is_told_to_whoever_drains() -> None:
    class Refuses(Shelf):
        async def commit(self, commit: object) -> None:
            raise OSError("refused")

    workflow = Parts()
    life = Life(Refuses(), workflow, Durability.EXIT)
    life.begin()
    await until(lambda: len(workflow.begun) == 2)
    workflow.go.set()
    with pytest.raises(OSError, match="refused"):
        await life.runner.drain()
    with suppress(OSError):
        (await life.end()).result()
    assert isinstance(life.runner.failure, OSError)
