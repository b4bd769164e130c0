"""The time of the store counts: nothing is due early, whatever a wall clock says."""

import asyncio
import time
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.durable.clock import StoreClock
from stepwell.events import StartEvent, StopEvent
from support.places import Place, serving, until_true

DAY = 86_400.0


class Sleeps(Workflow):
    """Sleeps for a while."""

    def __init__(self, seconds: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.sleep(self._seconds)
        return StopEvent()


def test_it_tells_the_time_that_it_was_told_and_goes_on_from_there() -> None:
    clock = StoreClock()
    clock.adjust(1_000_000)
    began = time.monotonic()
    assert 1000 <= clock() <= 1000 + (time.monotonic() - began) + 0.01


def test_until_it_is_told_it_tells_the_time_of_this_machine() -> None:
    assert StoreClock()() == pytest.approx(time.time(), abs=1)


def test_a_wall_clock_that_is_set_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StoreClock()
    before = clock()
    monkeypatch.setattr(time, "time", lambda: DAY)
    assert 0 <= clock() - before < 5


@pytest.mark.parametrize("jump", [-DAY, DAY])
@pytest.mark.parametrize("idle_timeout", [0.0, 60.0])
async def test_a_sleep_takes_its_time_however_the_wall_clock_of_a_worker_jumps(
    monkeypatch: pytest.MonkeyPatch, jump: float, idle_timeout: float
) -> None:
    place, now, began = Place(), time.time, time.monotonic()
    async with (
        place.client() as client,
        serving(place.checkpointer(), Sleeps(), idle_timeout=idle_timeout),
    ):
        run = await client.start(Sleeps)
        await until_true(lambda: "only" in place.happened(run.run_id))
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        await run.result()
    assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize("offset", [-DAY, DAY])
@pytest.mark.parametrize("idle_timeout", [0.0, 60.0])
async def test_deadlines_are_those_of_the_store_whatever_time_it_is_there(
    offset: float, idle_timeout: float
) -> None:
    place, began = Place(), time.monotonic()
    place.pass_time(offset)
    async with (
        place.client() as client,
        serving(place.checkpointer(), Sleeps(), idle_timeout=idle_timeout),
    ):
        run = await client.start(Sleeps)
        await run.result()
    assert 0.2 <= time.monotonic() - began < 2


async def test_a_store_whose_time_jumps_moves_a_parked_run_at_once() -> None:
    """Else it is claimed as due, and parked as not due, until the lease is renewed: in 200 s."""
    place, sleeps = Place(), Sleeps(1000)
    async with place.client() as client, serving(place.checkpointer(), sleeps, idle_timeout=0):
        run = await client.start(sleeps)
        await until_true(lambda: "(parked)" in place.happened(run.run_id))
        place.pass_time(1001)
        await asyncio.wait_for(run.result(), 10)
    assert place.happened(run.run_id).count("(parked)") < 50


async def test_a_sleep_that_was_begun_here_ends_elsewhere_at_its_time() -> None:
    place, first = Place(), Sleeps(30)
    checkpointer = place.checkpointer()
    async with place.client() as client:
        async with serving(checkpointer, first):
            run = await client.start(first)
            await until_true(lambda: "only" in place.happened(run.run_id))
            slept = place.now()
            await checkpointer.cut()
        await place.find_the_dead()
        place.pass_time(28)
        second = place.checkpointer()
        async with serving(second, Sleeps(30)) as worker:
            await until_true(lambda: worker.health().resting == 1)
            await run.result()
        assert 30_000 <= place.now() - slept < 33_000


async def test_the_time_of_a_run_counts_on_where_it_is_taken_over() -> None:
    place, first = Place(), Sleeps(3600, timeout=100)
    checkpointer = place.checkpointer()
    async with place.client() as client:
        async with serving(checkpointer, first):
            run = await client.start(first)
            await until_true(lambda: "only" in place.happened(run.run_id))
            await checkpointer.cut()
        await place.find_the_dead()
        place.pass_time(97.5)
        async with serving(place.checkpointer(), Sleeps(3600, timeout=100)):
            with pytest.raises(Exception, match="100"):
                await asyncio.wait_for(run.result(), 10)
    assert place.run(run.run_id).fields["status"] == "timed_out"
