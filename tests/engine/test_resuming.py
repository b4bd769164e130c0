"""How a run goes on: after it was interrupted, given back in peace, set aside, or ended."""

import pytest

from stepwell._engine.commands import Remind
from stepwell._engine.loading import load
from stepwell._engine.state import Status, TimeLeft
from stepwell._engine.ticks import RunResumed
from stepwell.decorators import step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, wait_fixed
from support.engine import Drive, Steps, of_kind, snapshot_of


class Go(Event):
    n: int = 0


program = Steps()


@step(workflow=program)
def begin(ev: StartEvent) -> list[Go]: ...


@step(workflow=program, num_workers=1, retry_policy=retry_policy(wait=wait_fixed(30)))
def work(ev: Go) -> StopEvent | None: ...


@pytest.fixture
def run() -> Drive:
    """One piece of work runs, one is in line, and one is to be tried again at 35."""
    drive = Drive(program.plan())
    drive.start()
    drive.fans_out(drive.only("begin"), Go(n=1), Go(n=2), Go(n=3))
    drive.fails(drive.only("work"), now=5.0)
    return drive


def attempts(run: Drive) -> dict[int, int]:
    return {
        work.payload.n: work.attempt for work in run.state.works() if isinstance(work.payload, Go)
    }


@pytest.mark.parametrize(
    ("status", "interrupted", "of_those_that_start"),
    [
        (Status.RUNNING, None, 2),
        (Status.RUNNING, True, 2),
        (Status.RUNNING, False, 1),
        (Status.BLOCKED, None, 1),
        (Status.BLOCKED, True, 1),
        (Status.PENDING, True, 1),
    ],
)
def test_attempts_are_counted_where_a_step_may_have_begun(
    run: Drive, status: Status, interrupted: bool | None, of_those_that_start: int
) -> None:
    run.state.status = status
    told = run.crash(15.0, interrupted)
    assert run.state.status is Status.RUNNING
    assert attempts(run) == {1: 2, 2: of_those_that_start, 3: 1}
    assert [one.delay for one in of_kind(told, Remind)] == [20]


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMED_OUT, Status.QUARANTINED])
@pytest.mark.parametrize("interrupted", [None, True, False])
def test_a_run_that_ended_has_all_attempts_before_it(
    run: Drive, status: Status, interrupted: bool | None
) -> None:
    run.state.status = status
    told = run.crash(15.0, interrupted)
    assert [work.payload for work in run.running("work")] == [Go(n=1)]
    assert run.only("work").failure is None
    assert attempts(run) == {1: 1, 2: 1, 3: 1}
    assert not of_kind(told, Remind)


def test_nothing_changes_when_a_run_goes_on_that_was_given_back_in_peace(run: Drive) -> None:
    run.state = run.reload()
    run.state.changed = {}
    before = snapshot_of(run.plan, run.state)
    run.state.changed = {}
    run.tick(RunResumed(15, interrupted=False))
    assert snapshot_of(run.plan, run.state) == before


GOES_ON = {"new", "pending", "running", "blocked"}


@pytest.mark.parametrize("status", Status)
def test_every_status_is_read(status: Status) -> None:
    state = load(program.plan(), {"status": status.value})
    assert state.status is status
    assert status.ended == (status.value not in GOES_ON)


# --- the time that is left ---


@pytest.mark.parametrize(
    ("time_left", "now", "left"),
    [
        (TimeLeft(7.0), 1000.0, 7.0),
        (TimeLeft(7.0, 1000.0), 1003.0, 4.0),
        (TimeLeft(7.0, 1000.0), 1010.0, 0.0),
        (TimeLeft(7.0, 1000.0), 990.0, 7.0),
    ],
)
def test_time_goes_on_where_the_run_rests_in_a_sleep(
    time_left: TimeLeft, now: float, left: float
) -> None:
    assert time_left.after(now) == left


def note_time_left(run: Drive, time_left: TimeLeft) -> None:
    run.state.time_left = time_left
    run.state.note("timer:run", time_left)
    run.receives(Go(n=4))  # any tick: what is noted becomes durable with it


@pytest.mark.parametrize("interrupted", [None, False])
def test_the_time_that_is_left_survives(run: Drive, interrupted: bool | None) -> None:
    note_time_left(run, TimeLeft(7.0, 3.0))
    run.crash(15.0, interrupted)
    assert run.state.time_left == TimeLeft(7.0, 3.0)


def test_a_run_that_ended_has_all_its_time_before_it(run: Drive) -> None:
    note_time_left(run, TimeLeft(7.0))
    run.state.status = Status.QUARANTINED
    run.crash(15.0)
    assert run.state.time_left is None
    assert "timer:run" not in run.map
