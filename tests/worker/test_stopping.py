"""The end of a worker: its runs go on elsewhere, from where they were."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell.client import Client
from stepwell.errors import StoreUnavailable
from stepwell.events import StartEvent, StopEvent
from stepwell.storage.records import Commit
from stepwell.worker import Worker
from support.clients import Answer
from support.places import Asks, Place, serving, until_true
from support.runs import Probe, TwoSteps


class Serving:
    """A worker for two steps, the first or second of which is held."""

    def __init__(self, place: Place, holds: str, **options: Any) -> None:
        self.probe = Probe(holds=[holds])
        self.checkpointer = place.checkpointer()
        self.workflow = TwoSteps(self.probe)
        self.worker = Worker(self.checkpointer, [self.workflow], **options)
        self.task = asyncio.create_task(self.worker.run(handle_signals=False))

    async def holds(self, client: Client) -> Any:
        """Start a run; return it when its step is held."""
        run = await client.start(self.workflow, {"value": 7})
        await self.probe.reached.wait()
        return run


def released(place: Place, run_id: str) -> bool:
    """Whether nobody has the run, and the next one may have it now."""
    run = place.run(run_id)
    return not run.owner and run.due_at is not None and run.due_at <= place.now()


async def test_a_stopped_worker_ends_its_steps_and_the_next_ones_start_elsewhere(
    place: Place, client: Client
) -> None:
    first = Serving(place, "first")
    run = await first.holds(client)
    first.worker.stop()
    late = await client.start(first.workflow, {"value": 8})
    for _ in range(100):  # turns of the event loop, in which the worker comes to the drain
        await asyncio.sleep(0)
    first.probe.go.set()
    await first.task
    assert first.probe.executed == ["first"]
    assert place.happened(run.run_id)[-2:] == ["first", "(parked)"]
    assert released(place, run.run_id)
    assert (await run.info()).claims == 0
    assert (await late.info()).status == "pending"
    again = Probe()
    async with serving(place.checkpointer(), TwoSteps(again)):
        assert [await run.result(), await late.result()] == [[7, 2], [8, 2]]
    assert sorted(again.executed) == ["first", "second", "second"]
    assert attempts(place, run.run_id) == {"first": 1, "second": 1}


def attempts(place: Place, run_id: str) -> dict[str, int]:
    """The attempt in which each step was done."""
    return {name: attempt for name, attempt in place.boundaries(run_id) if name.isidentifier()}


async def test_a_run_that_rests_is_given_back_as_it_is(place: Place, client: Client) -> None:
    async with serving(place.checkpointer(), Asks()) as worker:
        run = await client.start(Asks)
        await until_true(lambda: worker.health().resting == 1)
        worker.stop()
    assert place.run(run.run_id).due_at is None
    async with serving(place.checkpointer(), Asks()):
        for value in (1, 2):
            await run.send_event(Answer(value=value))
        assert await run.result() == [1, 2]


@pytest.mark.parametrize("how", ["the grace is over", "stop(now=True)", "stop() twice", "cancel"])
async def test_a_worker_in_a_hurry_gives_its_runs_back_in_the_middle_of_a_step(
    place: Place, client: Client, how: str
) -> None:
    first = Serving(place, "second", grace=0.05 if how == "the grace is over" else 3600)
    run = await first.holds(client)
    match how:
        case "stop(now=True)":
            first.worker.stop(now=True)
        case "cancel":
            first.task.cancel()
        case "stop() twice":
            first.worker.stop()
            await until_true(lambda: first.worker.health().draining)
            first.worker.stop()
        case _:
            first.worker.stop()
    with suppress(asyncio.CancelledError):
        await first.task
    assert first.task.cancelled() == (how == "cancel")
    assert released(place, run.run_id)
    assert (await run.info()).claims == 0
    again = Probe()
    async with serving(place.checkpointer(), TwoSteps(again)):
        assert await run.result() == [7, 2]
    assert again.executed == ["second"]


class Queued(Workflow):
    """One at a time."""

    def __init__(self) -> None:
        super().__init__(num_concurrent_runs=1)
        self.begun = asyncio.Event()
        self.count = 0

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        self.count += 1
        self.begun.set()
        await asyncio.Event().wait()
        return StopEvent()


async def test_runs_that_wait_for_their_turn_are_given_back_untouched(
    place: Place, client: Client
) -> None:
    queued = Queued()
    async with serving(place.checkpointer(), queued) as worker:
        runs = [await client.start(queued) for _ in range(3)]
        await until_true(lambda: worker.health().executing == 3)
        await queued.begun.wait()
    assert queued.count == 1
    for run in runs:
        info = await run.info()
        assert (info.owner, info.claims, released(place, run.run_id)) == ("", 0, True)
    begun = [run for run in runs if "(begun)" in place.happened(run.run_id)]
    assert len(begun) == 1


async def test_a_run_whose_commit_fails_does_not_hurry_the_others(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Probe(holds=["first"]), Probe(holds=["first"])
    checkpointer = place.checkpointer()
    workflows = TwoSteps(bad, workflow_name="bad"), TwoSteps(good, workflow_name="good")
    worker = Worker(checkpointer, workflows)
    serving = asyncio.create_task(worker.run(handle_signals=False))
    broken = await client.start(workflows[0], {"value": 1})
    whole = await client.start(workflows[1], {"value": 2})
    await asyncio.gather(bad.reached.wait(), good.reached.wait())
    commit = checkpointer.stores[0].commit

    async def fail(one: Commit) -> None:
        if one.run_id == broken.run_id:
            raise StoreUnavailable("no answer")
        await commit(one)

    monkeypatch.setattr(checkpointer.stores[0], "commit", fail)
    worker.stop()
    bad.go.set()
    await until_true(lambda: not place.run(broken.run_id).owner)
    assert place.run(whole.run_id).owner
    good.go.set()
    await serving
    assert "first" in place.happened(whole.run_id)
    assert "first" not in place.happened(broken.run_id)


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_worker_and_is_handled_no_more_afterwards(
    place: Place, client: Client, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    worker = Worker(place.checkpointer(), [Asks()])
    serving = asyncio.create_task(worker.run())
    await until_true(lambda: signal.getsignal(number) != before)
    run = await client.start(Asks)
    await until_true(lambda: worker.health().resting == 1)
    os.kill(os.getpid(), number)
    await serving
    assert not place.run(run.run_id).owner
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


async def test_the_second_signal_ends_the_patience(place: Place, client: Client) -> None:
    probe = Probe(holds=["first"])
    two = TwoSteps(probe)
    worker = Worker(place.checkpointer(), [two], grace=3600)
    serving = asyncio.create_task(worker.run())
    await client.start(two, {"value": 1})
    await probe.reached.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await until_true(lambda: worker.health().draining)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    assert probe.executed == ["first"]


async def test_signals_are_left_alone_where_that_was_asked_for(place: Place) -> None:
    handlers: list[Callable[[int, Any], Any] | int | None] = []
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    async with serving(place.checkpointer(), Asks()) as worker:
        await until_true(lambda: worker.health().last_sweep_seconds is not None)
        handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    assert handlers == before


async def test_a_worker_says_how_many_runs_it_gives_back(
    place: Place, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "stepwell"):
        async with serving(place.checkpointer(), Asks()) as worker:
            await client.start(Asks)
            await until_true(lambda: worker.health().resting == 1)
    assert "stopping: 1 runs have up to 30 s" in caplog.text
