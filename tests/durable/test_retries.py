"""Failures of durable runs: their attempts, their handlers and their joins survive a crash."""

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import pytest

from stepwell import Context, Workflow, catch_error, step
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent, WorkflowFailedEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from support.runs import Probe, Runs, interrupt, until

DELAY = 0.5


class Retrying(Workflow):
    """Fails twice, each time with the same delay before the next attempt."""

    def __init__(self, times: list[float], **options: Any) -> None:
        super().__init__(**options)
        self._times = times

    @step(retry_policy=retry_policy(wait=wait_fixed(DELAY), stop=stop_after_attempt(3)))
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        self._times.append(time.time())
        info = ctx.retry_info()
        if info.retry_number < 2:
            raise ValueError(f"failure {info.retry_number}")
        assert isinstance(info.last_exception, ValueError)
        return StopEvent(result=[info.retry_number, str(info.last_exception)])


def failures(runs: Runs) -> int:
    return sum(line[3] == "StepFailed" for line in runs.log("the-run"))


async def test_a_retry_keeps_its_delay_and_its_count_in_another_life(runs: Runs) -> None:
    times: list[float] = []

    def start() -> Any:
        return Retrying(times, checkpointer=runs.checkpointer()).run(run_id="the-run")

    async def main(failed: int) -> None:
        start()
        await until(lambda: failures(runs) == failed)

    for failed in (1, 2):
        await asyncio.to_thread(asyncio.run, main(failed))
    assert await start() == [2, "failure 1"]
    assert len(times) == 3
    assert all(later - earlier >= DELAY for earlier, later in pairwise(times))


async def test_a_run_that_failed_says_how(runs: Runs) -> None:
    class Failing(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(2)))
        async def work(self, ev: StartEvent) -> StopEvent:
            raise ValueError("no")

    handler = Failing(checkpointer=runs.checkpointer()).run(run_id="the-run")
    told = [one async for one in handler.stream_events() if isinstance(one, WorkflowFailedEvent)]
    with pytest.raises(ValueError, match="no"):
        await handler
    assert [(one.step_name, one.attempts) for one in told] == [("work", 2)]
    assert told[0].elapsed_seconds is not None
    assert json.loads(runs.fields("the-run")["error"])["step"] == "work"


# --- error handlers ---


class Again(Event):
    n: int


class Handled(Workflow):
    """Its step always fails; the handler may send it an event twice."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def begin(self, ev: StartEvent) -> Again:
        return Again(n=0)

    @step
    async def work(self, ev: Again) -> StopEvent:
        await self._probe(f"work {ev.n}")
        raise ValueError(f"failure {ev.n}")

    @catch_error(for_steps=["work"], max_recoveries=2)
    async def handle(self, ev: StepFailedEvent) -> Again:
        await self._probe(f"handle {ev.exception}")
        assert isinstance(ev.input_event, Again)
        return Again(n=ev.input_event.n + 1)


ALL = ["work 0", "handle failure 0", "work 1", "handle failure 1", "work 2"]


@pytest.mark.parametrize("at", ALL)
async def test_a_handler_is_called_as_often_as_it_may_in_all_lives(runs: Runs, at: str) -> None:
    probe, again = Probe(holds=[at]), Probe()
    held = Handled(probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: held.run(run_id="the-run"), probe)
    with pytest.raises(ValueError, match="failure 2"):
        await Handled(again, checkpointer=runs.checkpointer()).run(run_id="the-run")
    assert probe.executed[:-1] + again.executed == ALL


# --- joins ---


class Left(Event):
    n: int


class Right(Event):
    n: int


class Joining(Workflow):
    """The second part of its join comes late."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def left(self, ev: StartEvent) -> Left:
        return Left(n=1)

    @step
    async def right(self, ev: StartEvent) -> Right:
        await self._probe("right")
        return Right(n=2)

    @step
    async def join(self, second: Right, first: Left) -> StopEvent:
        await self._probe("join")
        return StopEvent(result=[first.n, second.n])


@pytest.mark.parametrize("at", ["right", "join"])
async def test_the_parts_of_a_join_survive_a_crash(runs: Runs, at: str) -> None:
    probe, again = Probe(holds=[at]), Probe()

    async def main() -> None:
        Joining(probe, checkpointer=runs.checkpointer()).run(run_id="the-run")
        await probe.reached.wait()
        await until(lambda: "left" in [line[1] for line in runs.log("the-run")])

    await asyncio.to_thread(asyncio.run, main())
    workflow = Joining(again, checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == [1, 2]
    assert again.executed == (["right", "join"] if at == "right" else ["join"])
