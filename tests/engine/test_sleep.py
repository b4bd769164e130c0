"""Sleeps in the engine: waits that only time ends."""

import pytest

from stepwell._engine.commands import Forget, Invoke, Remind, Wake
from stepwell._engine.resting import next_due
from stepwell._engine.state import Work
from stepwell._engine.ticks import CancelAsked, WaitExpired
from stepwell.decorators import step
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, wait_fixed
from support.engine import Drive, Steps, of_kind


class Go(Event):
    n: int = 0


class Answer(HumanResponseEvent):
    n: int = 0


program = Steps()


@step(workflow=program)
def begin(ev: StartEvent) -> Go | None: ...


@step(
    workflow=program,
    num_workers=1,
    accept_event_subclasses=True,
    retry_policy=retry_policy(wait=wait_fixed(30)),
)
def work(ev: Go) -> StopEvent | Answer | None: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(program.plan())
    drive.start()
    drive.returns(drive.only("begin"), Go())
    return drive


def test_a_step_that_sleeps_gives_its_worker_to_others(run: Drive) -> None:
    sleeper = run.only("work")
    run.receives(Go(n=2))
    told = run.sleeps(sleeper, until=10.0)
    assert [one.work.payload for one in of_kind(told, Invoke)] == [Go(n=2)]
    (remind,) = of_kind(told, Remind)
    assert remind.delay == 10
    assert run.suspended("work") == [sleeper]


def test_it_goes_on_when_the_time_is_over(run: Drive) -> None:
    sleeper = run.only("work")
    run.sleeps(sleeper, until=10.0)
    told = run.expires(sleeper, "s")
    assert [one.waits for one in of_kind(told, Wake)] == [("s",)]
    assert run.running("work") == [sleeper]


@pytest.mark.parametrize("event", [Answer(), Event()])
def test_no_event_ends_a_sleep(run: Drive, event: Event) -> None:
    sleeper = run.only("work")
    run.sleeps(sleeper, until=10.0)
    told = run.receives(event)
    assert not of_kind(told, Wake)
    assert sleeper.progress.waiters["s"].is_open
    assert [kept.event for kept in run.state.kept.values()] == [event]


def test_an_event_that_is_kept_ends_no_sleep_that_begins(run: Drive) -> None:
    run.receives(Answer())
    run.sleeps(run.only("work"), until=10.0)
    assert len(run.state.kept) == 1


@pytest.mark.parametrize(("now", "left"), [(4.0, 6.0), (10.0, 0.0), (99.0, 0.0)])
def test_after_a_crash_the_sleep_lasts_for_what_is_left(
    run: Drive, now: float, left: float
) -> None:
    run.sleeps(run.only("work"), until=10.0)
    told = run.crash(now)
    (remind,) = of_kind(told, Remind)
    assert (remind.delay, type(remind.tick)) == (left, WaitExpired)
    again = run.only("work")
    assert not of_kind(run.sleeps(again, until=now + 10, now=now), Remind)
    assert again.progress.waiters["s"].deadline == 10


def test_a_sleep_that_is_over_stays_so_over_a_crash(run: Drive) -> None:
    sleeper = run.only("work")
    run.sleeps(sleeper, until=10.0)
    run.expires(sleeper, "s")
    told = run.crash(11.0)
    assert not of_kind(told, Remind)
    assert not run.only("work").progress.waiters["s"].is_open


def test_a_sleep_that_was_stopped_is_forgotten(run: Drive) -> None:
    sleeper = run.only("work")
    run.sleeps(sleeper, until=10.0)
    assert of_kind(run.drops(sleeper, "s"), Forget)
    assert run.running("work") == [sleeper]
    assert next_due(run.state) is None


def test_a_step_may_sleep_and_wait_at_once(run: Drive) -> None:
    both = run.only("work")
    run.sleeps(both, until=10.0)
    run.waits(both, Answer)
    told = run.receives(Answer())
    assert [one.waits for one in of_kind(told, Wake)] == [("w",)]
    assert run.suspended("work") == [both]
    run.expires(both, "s")
    assert run.running("work") == [both]


def test_a_step_that_ends_sleeps_no_more(run: Drive) -> None:
    sleeper = run.only("work")
    run.sleeps(sleeper, until=10.0)
    run.returns(sleeper)
    assert not run.state.waits
    assert run.expires(sleeper, "s") == []


def test_a_cancelled_run_that_is_started_again_sleeps_on(run: Drive) -> None:
    run.sleeps(run.only("work"), until=10.0)
    run.tick(CancelAsked())
    (remind,) = of_kind(run.crash(3.0), Remind)
    assert remind.delay == 7


# --- rest ---


def test_a_run_that_sleeps_rests_but_expects_nothing(run: Drive) -> None:
    run.sleeps(run.only("work"), until=10.0)
    state = run.state
    assert (state.rests, state.idle, state.expects_answer) == (True, False, False)


def test_a_run_that_waits_rests_and_expects_an_answer(run: Drive) -> None:
    run.waits(run.only("work"), Answer)
    state = run.state
    assert (state.rests, state.idle, state.expects_answer) == (True, True, True)


def test_a_run_that_sleeps_and_waits_is_moved_by_time(run: Drive) -> None:
    both = run.only("work")
    run.waits(both, Answer)
    run.sleeps(both, until=10.0)
    assert (run.state.rests, run.state.idle, run.state.expects_answer) == (True, False, True)


def test_a_run_in_which_a_step_runs_does_not_rest(run: Drive) -> None:
    run.receives(Go(n=2))
    run.sleeps(run.only("work"), until=10.0)
    assert not run.state.rests
    run.sleeps(run.only("work"), until=20.0)
    assert run.state.rests


def test_a_run_whose_only_step_is_tried_again_later_rests(run: Drive) -> None:
    run.fails(run.only("work"), now=5.0)
    assert (run.state.rests, run.state.idle) == (True, False)
    assert next_due(run.state) == 35


def test_what_is_due_next_is_the_earliest_of_all(run: Drive) -> None:
    def comes() -> Work:
        run.receives(Go())
        return run.only("work")

    assert next_due(run.state) is None
    run.fails(run.only("work"), now=10.0)
    assert next_due(run.state) == 40
    run.waits(comes(), Answer)
    assert next_due(run.state) == 40
    run.waits(comes(), Answer, deadline=50.0)
    assert next_due(run.state) == 40
    run.sleeps(comes(), until=30.0)
    assert next_due(run.state) == 30
    run.waits(comes(), Answer, deadline=20.0)
    assert next_due(run.state) == 20
    run.receives(Answer())
    assert next_due(run.state) == 30
