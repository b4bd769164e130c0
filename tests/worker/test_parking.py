"""Runs that rest leave the memory of their worker, and come back when something moves them."""

import asyncio
import time
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client
from stepwell.errors import WorkflowTimeoutError
from stepwell.events import StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from support.clients import Answer
from support.places import Asks, Place, serving, until_true
from support.runs import Probe, TwoSteps

SLEEP = 0.2


class Sleeps(Workflow):
    """Notes when it begins and when it wakes."""

    def __init__(self, seconds: float = SLEEP, **options: Any) -> None:
        super().__init__(**options)
        self.at: list[float] = []
        self._seconds = seconds

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.increment("begun")
        await ctx.sleep(self._seconds)
        self.at.append(time.monotonic())
        return StopEvent(result=await ctx.store.get("begun"))


class Fails(Workflow):
    """Fails until its third attempt."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.at: list[float] = []

    @step(retry_policy=retry_policy(wait=wait_fixed(SLEEP), stop=stop_after_attempt(5)))
    async def only(self, ev: StartEvent) -> StopEvent:
        self.at.append(time.monotonic())
        if len(self.at) < 3:
            raise ConnectionError("not yet")
        return StopEvent(result=len(self.at))


class Slow(Workflow):
    """Waits for an answer, and then sleeps too long."""

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Answer, timeout=None)
        await ctx.sleep(3600)
        return StopEvent()


async def parked(place: Place, run_id: str, times: int = 1) -> None:
    """Return when the run was given back in peace so often, and nobody has it."""
    await until_true(
        lambda: place.happened(run_id).count("(parked)") == times and not place.run(run_id).owner
    )


async def test_nothing_of_a_parked_run_stays_in_its_worker(place: Place, client: Client) -> None:
    checkpointer = place.checkpointer()
    async with (
        serving(checkpointer, Asks(), idle_timeout=0) as worker,
        checkpointer.session() as session,
    ):
        run = await client.start(Asks)
        await parked(place, run.run_id)
        await until_true(lambda: worker.health().executing == 0)
        assert (worker.health().resting, session.executing) == (0, {})
        info = await run.info()
        assert (info.parked, info.claims, info.status) == (True, 0, "running")


async def test_a_run_that_waits_for_a_message_alone_is_never_due(
    place: Place, client: Client
) -> None:
    async with serving(place.checkpointer(), Asks(), idle_timeout=0):
        run = await client.start(Asks)
        await parked(place, run.run_id)
        assert place.run(run.run_id).due_at is None
        for number, value in enumerate([1, 2], start=1):
            await parked(place, run.run_id, number)
            await run.send_event(Answer(value=value))
        assert await run.result() == [1, 2]
    assert place.happened(run.run_id).count("(claimed)") == 3


async def test_a_message_that_nobody_waits_for_parks_the_run_again(
    place: Place, client: Client
) -> None:
    async with serving(place.checkpointer(), Asks(), idle_timeout=0):
        run = await client.start(Asks)
        await parked(place, run.run_id)
        await run.send_event(Answer(value=2))
        await parked(place, run.run_id, 2)
        assert not place.run(run.run_id).inbox
        await run.send_event(Answer(value=1))
        assert await run.result() == [1, 2]


@pytest.mark.parametrize(("make", "result"), [(Sleeps, 1), (Fails, 3)])
async def test_a_run_with_a_time_comes_back_in_time_and_never_early(
    place: Place, client: Client, make: type[Sleeps | Fails], result: int
) -> None:
    workflow, began = make(), time.monotonic()
    async with serving(place.checkpointer(), workflow, idle_timeout=0):
        run = await client.start(workflow)
        await parked(place, run.run_id)
        due_at = place.run(run.run_id).due_at
        assert due_at is not None
        assert 0 < due_at - place.now() <= SLEEP * 1000 + 1
        assert await run.result() == result
    pauses = [
        later - earlier for earlier, later in zip([began, *workflow.at], workflow.at, strict=False)
    ]
    assert min(pauses[-1:]) >= SLEEP
    assert max(pauses) < SLEEP + 1


async def test_a_run_that_comes_back_goes_on_elsewhere(place: Place, client: Client) -> None:
    async with serving(place.checkpointer(), Asks(), idle_timeout=0):
        run = await client.start(Asks)
        await parked(place, run.run_id)
    async with serving(place.checkpointer(), Asks()):
        await run.send_event(Answer(value=1))
        await run.send_event(Answer(value=2))
        assert await run.result() == [1, 2]
    assert (await run.info()).claims <= 1


async def test_a_run_rests_in_its_worker_until_the_idle_time_is_over(
    place: Place, client: Client
) -> None:
    async with serving(place.checkpointer(), Asks(), idle_timeout=0.1) as worker:
        run = await client.start(Asks)
        await until_true(lambda: worker.health().resting == 1)
        assert place.run(run.run_id).owner
        await run.send_event(Answer(value=1))
        await parked(place, run.run_id)
    answered, left = place.times(run.run_id, "ask", "(parked)")
    assert left - answered >= 100


async def test_a_message_that_comes_as_the_run_is_parked_is_not_lost(
    place: Place, client: Client
) -> None:
    """Sent at any moment around the parking, again and again."""
    async with serving(place.checkpointer(), Asks(), idle_timeout=0):
        for turns in range(30):
            run = await client.start(Asks)
            for value in (1, 2):
                for _ in range(turns):
                    await asyncio.sleep(0)
                await run.send_event(Answer(value=value))
            assert await run.result(timeout=10) == [1, 2]


async def test_the_time_of_a_run_stands_still_while_it_waits_and_counts_while_it_is_parked(
    place: Place, client: Client
) -> None:
    slow = Slow(timeout=50)
    checkpointer = place.checkpointer()
    async with serving(checkpointer, slow, idle_timeout=0):
        run = await client.start(slow)
        await parked(place, run.run_id)
        assert place.run(run.run_id).due_at is None
        await place.pass_time_for(checkpointer, 60)  # it waits for an answer: that does not count
        await run.send_event(Answer())
        await parked(place, run.run_id, 2)
        due_at = place.run(run.run_id).due_at
        assert due_at is not None
        assert 45_000 < due_at - place.now() <= 50_001
        await place.pass_time_for(checkpointer, 50)
        with pytest.raises(WorkflowTimeoutError):
            await run.result()


async def test_what_is_at_work_is_never_parked(place: Place, client: Client) -> None:
    probe = Probe(holds=["second"])
    two = TwoSteps(probe)
    async with serving(place.checkpointer(), two, Asks(), idle_timeout=0):
        run = await client.start(two, {"value": 1})
        await probe.reached.wait()
        other = await client.start(Asks)
        await parked(place, other.run_id)
        assert place.run(run.run_id).owner
        probe.go.set()
        assert await run.result() == [1, 2]
    assert "(parked)" not in place.happened(run.run_id)
