"""Steps that block the event loop: they are named, and lose their runs only after a long time."""

import asyncio
import logging
import re
import threading
import time
from pathlib import Path

import pytest

from stepwell import Workflow, step
from stepwell.durable import lease, watchdog
from stepwell.durable.watchdog import Watchdog
from stepwell.events import Event, StartEvent, StopEvent
from support.places import Place, serving, until_true
from support.runs import Probe, TwoSteps


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "REPORT_AFTER", 0.1)
    monkeypatch.setattr(lease, "WATCH_EVERY", 0.05)


class Blocks(Workflow):
    """Sleeps where it should not, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(workflow_name="blocks")
        self.begun = 0
        self.go = threading.Event()
        self.blocks = True

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        self.begun += 1
        if self.blocks:
            self.go.wait()
        return StopEvent(result="done")


def after(seconds: float, workflow: Blocks) -> threading.Timer:
    """Let a blocked step go on by and by."""
    timer = threading.Timer(seconds, workflow.go.set)
    timer.start()
    return timer


async def test_a_step_that_blocks_the_loop_is_named_and_keeps_its_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place, workflow = Place(), Blocks()
    place.checkpointer(lease=1).attach(workflow)
    with caplog.at_level(logging.WARNING, "stepwell"):
        timer = after(1.3, workflow)
        assert await workflow.run(run_id="the-run") == "done"
    timer.join()
    assert place.happened("the-run") == ["(created)", "only"]
    told = [record.getMessage() for record in caplog.records if "blocked" in record.getMessage()]
    here = re.escape(Path(__file__).name)
    assert re.search(r"blocks\.only of run the-run has blocked the event loop for 0\.\d s", told[0])
    assert re.search(rf"{here}:\d+, in only|threading\.py:\d+, in wait", told[0])
    assert "plain function" in told[0]
    assert 2 <= len(told) <= 4  # after twice as long each time


class Wide(Workflow):
    """Returns so much that to write it down takes long."""

    class Item(Event):
        """One of many."""

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [self.Item() for _ in range(20_000)]

    @step
    async def done(self, ev: list[Item]) -> StopEvent:
        return StopEvent()


async def test_a_step_is_not_blamed_for_what_it_did_not_do(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "REPORT_AFTER", 0.0)
    monkeypatch.setattr(lease, "WATCH_EVERY", 0.01)
    workflow = Place().checkpointer(lease=1).attach(Wide())
    with caplog.at_level(logging.WARNING, "stepwell"):
        await workflow.run()
    told = [record.getMessage() for record in caplog.records if "split" in record.getMessage()]
    assert any("takes long to write down" in line for line in told)


async def test_beyond_the_limit_the_run_goes_elsewhere_and_what_was_computed_is_refused() -> None:
    place, stuck, other = Place(), Blocks(), Blocks()
    other.blocks = False
    place.checkpointer(lease=1, stall_limit=1).attach(stuck)
    helper = threading.Thread(target=_executed_elsewhere, args=(place, other, stuck))
    handler = stuck.run(run_id="the-run")
    helper.start()
    assert await handler == "done"
    helper.join()
    assert (stuck.begun, other.begun) == (1, 1)
    assert place.happened("the-run").count("only") == 1


def _executed_elsewhere(place: Place, other: Blocks, stuck: Blocks) -> None:
    async def main() -> None:
        async with serving(place.checkpointer(), other):
            await until_true(lambda: other.begun)
            await until_true(lambda: place.run("the-run").ended_at is not None)
        stuck.go.set()

    asyncio.run(main())


async def test_a_loop_that_answers_is_never_reported(caplog: pytest.LogCaptureFixture) -> None:
    place, probe = Place(), Probe(holds=["second"])
    checkpointer = place.checkpointer(lease=1)
    two = checkpointer.attach(TwoSteps(probe))
    with caplog.at_level(logging.WARNING, "stepwell"):
        handler = two.run(value=1)
        await probe.reached.wait()
        async with checkpointer.session() as session:
            renewed = session.lease.renewed_at
            await until_true(lambda: session.lease.renewed_at != renewed)
        probe.go.set()
        assert await handler == [1, 2]
    assert "blocked" not in caplog.text


async def test_it_says_that_a_callback_blocks(caplog: pytest.LogCaptureFixture) -> None:
    dog, done = Watchdog(stall_limit=100), threading.Event()

    def look() -> None:
        assert dog.look()
        time.sleep(0.15)
        assert dog.look()
        done.set()

    thread = threading.Thread(target=look)
    with caplog.at_level(logging.WARNING, "stepwell"):
        thread.start()
        done.wait()
    thread.join()
    assert "has blocked the event loop" in caplog.text


async def test_a_loop_that_is_blocked_beyond_the_limit_counts_as_dead() -> None:
    dog, alive = Watchdog(stall_limit=0.1), list[bool]()

    def look() -> None:
        alive.append(dog.look())
        time.sleep(0.15)
        alive.append(dog.look())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert alive == [True, False]
    await until_true(dog.look)
