"""Failures in the engine: another attempt, at once or later; the error handler; the end."""

from collections.abc import Callable
from typing import Any

import pytest

from stepwell._engine.commands import Finish, Invoke, Publish, Remind
from stepwell._engine.state import Status, Work
from stepwell._engine.ticks import CancelAsked, RetryDue, RunResumed, StepFailed
from stepwell.decorators import catch_error, step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import (
    CollectionReleaseEvent,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    WorkflowFailedEvent,
)
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed, wait_none
from support.engine import Drive, Steps, of_kind


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class C(Event):
    n: int = 0


class D(Event):
    n: int = 0


class Wanted(Event):
    pass


class Watching:
    """A policy that remembers what it was asked, and answers what it was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, int, str, int | None]] = []
        self.answer: Any = None

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        self.asked.append((elapsed_time, attempts, str(error), seed))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


watching = Watching()
program = Steps()


@step(workflow=program)
def begin(ev: StartEvent) -> list[A]: ...


@step(
    workflow=program,
    num_workers=1,
    retry_policy=retry_policy(wait=wait_fixed(10), stop=stop_after_attempt(3)),
)
def later(ev: A) -> None: ...


@step(
    workflow=program,
    num_workers=1,
    retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)),
)
def at_once(ev: A) -> D | None: ...


@step(workflow=program, retry_policy=watching)
def watched(ev: A) -> None: ...


@step(workflow=program)
def joins(b: B, c: C) -> None: ...


@step(workflow=program)
def gathers(ev: list[D]) -> None: ...


@step(workflow=program)
def plain(ev: A) -> D | None: ...


class Handlers:
    @catch_error(for_steps=["plain"], max_recoveries=2)
    def scoped(self, ev: StepFailedEvent) -> A | StopEvent | None: ...

    @catch_error
    def wild(self, ev: StepFailedEvent) -> StopEvent | None: ...


program.add_class(Handlers)

unhandled = Steps()


@step(workflow=unhandled)
def start(ev: StartEvent) -> StopEvent: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(program.plan())
    drive.start()
    return drive


def comes(run: Drive, step: str, n: int = 0) -> Work:
    """Work for a step that has a free worker."""
    (started,) = of_kind(run.receives(A(n=n), step), Invoke)
    return started.work


# --- another attempt ---


def test_a_failed_step_is_tried_again_after_the_delay_of_its_policy(run: Drive) -> None:
    work = comes(run, "later")
    (remind,) = run.fails(work, now=100.0, took=2.0)
    assert isinstance(remind, Remind)
    assert remind.delay == 10.0
    assert run.delayed("later") == [work]
    assert work.failure is not None
    assert (work.failure.began, work.failure.at, work.failure.due) == (98.0, 100.0, 110.0)
    assert run.tick(remind.tick) == [Invoke(work)]
    assert (work.attempt, work.failure.count, work.failure.due) == (2, 1, None)


def test_a_step_that_is_to_be_tried_again_later_gives_its_worker_to_others(run: Drive) -> None:
    work = comes(run, "later")
    run.receives(A(n=2), "later")
    run.receives(A(n=3), "later")
    assert len(of_kind(run.fails(work), Invoke)) == 1
    assert run.retries(work) == []
    assert of_kind(run.returns(run.only("later")), Invoke) == [Invoke(work)]


def test_without_a_delay_a_step_is_tried_again_before_all_that_waits(run: Drive) -> None:
    work = comes(run, "at_once")
    run.receives(A(n=2), "at_once")
    assert run.fails(work) == [Invoke(work)]
    assert work.attempt == 2


def test_a_retry_that_comes_twice_or_too_late_means_nothing(run: Drive) -> None:
    work = comes(run, "later")
    run.fails(work)
    run.retries(work)
    assert run.retries(work) == []
    run.returns(work)
    assert run.retries(work) == []


def test_a_policy_is_asked_with_the_time_since_the_first_attempt_began(run: Drive) -> None:
    watching.asked.clear()
    watching.answer = 0
    work = comes(run, "watched")
    run.tick(StepFailed(work, ValueError("one"), now=100.0, took=3.0, seed=7))
    run.tick(StepFailed(work, ValueError("two"), now=150.0, took=1.0, seed=8))
    assert watching.asked == [(3.0, 1, "one", 7), (53.0, 2, "two", 8)]


def test_a_clock_that_was_set_back_gives_no_negative_time(run: Drive) -> None:
    watching.asked.clear()
    watching.answer = 0
    work = comes(run, "watched")
    run.fails(work, now=100.0, took=1.0)
    run.fails(work, now=5.0)
    assert watching.asked[-1][0] == 0.0


@pytest.mark.parametrize("answer", [RuntimeError("broken policy"), "soon", float("nan")])
def test_a_policy_that_is_broken_ends_the_run_with_its_own_error(run: Drive, answer: Any) -> None:
    watching.answer = answer
    error = ValueError("of the step")
    run.fails(comes(run, "watched"), error)
    assert run.state.status is Status.FAILED
    assert isinstance(run.state.error, RuntimeError | WorkflowRuntimeError)
    assert run.state.error.__cause__ is error
    assert run.state.failed_step == "watched"


def test_what_an_attempt_sent_stands_and_the_next_one_counts_anew(run: Drive) -> None:
    work = comes(run, "at_once")
    run.sends(work, A(), "d1")
    run.fails(work)
    assert (work.progress.sent, work.progress.position) == ([], 0)
    run.sends(work, A(), "d1")
    assert len(work.progress.sent) == 1


def test_an_answer_that_came_to_a_failed_attempt_is_there_for_the_next(run: Drive) -> None:
    work = comes(run, "later")
    run.waits(work, Wanted)
    run.receives(Wanted())
    run.fails(work)
    run.crash()
    (again,) = run.delayed("later")
    run.retries(again)
    assert again.progress.waiters["w"].answer == Wanted()


def test_a_step_may_fail_although_it_left_a_wait_open(run: Drive) -> None:
    work = comes(run, "at_once")
    run.waits(work, Wanted)
    assert run.fails(work) == [Invoke(work)]
    assert run.suspended("at_once") == []
    assert not work.is_held
    run.receives(Wanted())
    assert work.progress.waiters["w"].answer == Wanted()


def test_after_a_crash_a_step_that_failed_beside_its_wait_does_not_stay_in_it(run: Drive) -> None:
    work = comes(run, "at_once")
    run.waits(work, Wanted)
    run.fails(work)
    run.crash()
    assert len(run.running("at_once")) == 1


def test_an_answer_to_a_step_that_waits_for_its_next_attempt_is_kept_with_it(run: Drive) -> None:
    work = comes(run, "later")
    run.waits(work, Wanted)
    run.fails(work)
    run.receives(Wanted())
    assert run.delayed("later") == [work]
    assert work.progress.waiters["w"].answer == Wanted()
    assert not run.state.kept


# --- a crash ---


def test_a_retry_keeps_its_time_and_its_count_over_a_crash(run: Drive) -> None:
    run.fails(comes(run, "later"), now=100.0)
    commands = run.crash(now=104.0)
    (work,) = run.delayed("later")
    (remind,) = of_kind(commands, Remind)
    assert remind.delay == 6.0
    run.tick(remind.tick)
    run.fails(work, now=120.0)
    assert work.failure is not None
    assert work.failure.count == 2
    run.retries(work)
    run.fails(work, now=140.0)
    assert run.delayed("later") == []
    assert len(run.running("wild")) == 1


def test_a_retry_whose_time_passed_while_nobody_ran_is_due_at_once(run: Drive) -> None:
    run.fails(comes(run, "later"), now=100.0)
    (remind,) = of_kind(run.crash(now=999.0), Remind)
    assert remind.delay == 0.0


def test_an_attempt_that_was_cut_off_is_no_failure_but_counts_as_an_attempt(run: Drive) -> None:
    run.fails(comes(run, "later"), now=100.0)
    run.retries(run.delayed("later")[0])
    run.crash(now=120.0)
    work = run.only("later")
    assert work.failure is not None
    assert (work.attempt, work.failure.count) == (3, 1)


def test_a_run_that_is_started_again_tries_at_once_what_had_failed_and_with_all_attempts(
    run: Drive,
) -> None:
    work = comes(run, "later")
    run.fails(work, now=100.0)
    run.tick(CancelAsked())
    commands = run.tick(RunResumed(101.0))
    assert Invoke(work) in commands
    assert not of_kind(commands, Remind)
    assert work.failure is None
    assert work.attempt == 1


# --- the error handler ---


def test_the_handler_gets_what_failed_and_how(run: Drive) -> None:
    work = comes(run, "plain", n=5)
    error = ValueError("no")
    (invoke,) = of_kind(run.fails(work, error, now=100.0, took=3.0), Invoke)
    event = invoke.work.payload
    assert isinstance(event, StepFailedEvent)
    assert (event.step_name, event.input_event, event.exception) == ("plain", A(n=5), error)
    assert (event.attempts, event.elapsed_seconds) == (1, 3.0)
    assert event.failed_at.timestamp() == 100.0
    assert invoke.work.step == "scoped"
    assert run.running("plain") == []


def test_a_handler_is_called_as_often_as_it_may_on_one_line_of_events(run: Drive) -> None:
    work = comes(run, "plain")
    for count in (1, 2):
        run.fails(work)
        handler = run.only("scoped")
        assert handler.lineage.recoveries == {"scoped": count}
        run.returns(handler, A(n=count))
        run.crash()
        for name in ("later", "at_once", "watched"):
            for other in run.running(name):
                run.returns(other)
        work = run.only("plain")
    run.fails(work)
    assert run.state.status is Status.FAILED


def test_a_line_of_events_has_a_budget_of_its_own(run: Drive) -> None:
    for n in range(3):
        run.fails(comes(run, "plain", n))
    assert len(run.running("scoped") + run.waiting("scoped")) == 3


@pytest.mark.parametrize("how", ["sends", "returns"])
def test_the_budget_goes_with_all_events_that_a_handler_leads_to(run: Drive, how: str) -> None:
    run.fails(comes(run, "plain"))
    getattr(run, how)(run.only("scoped"), A(n=1))
    assert run.only("plain").lineage.recoveries == {"scoped": 1}


def test_a_join_inherits_the_largest_budget_that_its_parts_have_used(run: Drive) -> None:
    run.fails(comes(run, "plain"))
    run.sends(run.only("scoped"), B())
    run.crash()
    run.receives(C())
    assert run.only("joins").lineage.recoveries == {"scoped": 1}


def test_a_handler_that_fails_ends_the_run(run: Drive) -> None:
    run.fails(comes(run, "plain"))
    commands = run.fails(run.only("scoped"), RuntimeError("handler"))
    assert of_kind(commands, Finish)
    assert str(run.state.error) == "handler"


def test_the_handler_stays_in_the_stream_of_the_step_that_failed(run: Drive) -> None:
    run.fans_out(run.only("begin"), A(n=1), A(n=2))
    for name in ("later", "at_once", "watched"):
        for _ in range(2):
            run.returns(run.running(name)[0])
    first, second = run.running("plain")
    run.fails(first)
    run.returns(second, D(n=2))
    assert run.running("gathers") == []
    run.returns(run.only("scoped"))
    assert run.only("gathers").payload == [D(n=2)]


def test_a_handler_gets_the_list_that_a_step_had_gathered(run: Drive) -> None:
    run.fans_out(run.only("begin"))
    run.fails(run.only("gathers"))
    event = run.only("wild").payload
    assert isinstance(event, StepFailedEvent)
    assert isinstance(event.input_event, CollectionReleaseEvent)
    assert event.input_event.events == []


def test_a_handler_gets_the_event_that_completed_a_join(run: Drive) -> None:
    run.receives(C(n=1))
    run.receives(B(n=2))
    run.fails(run.only("joins"))
    event = run.only("wild").payload
    assert isinstance(event, StepFailedEvent)
    assert event.input_event == B(n=2)


def test_without_a_handler_the_run_fails_and_says_how() -> None:
    run = Drive(unhandled.plan())
    run.start()
    error = ValueError("no")
    commands = run.fails(run.only("start"), error, now=100.0, took=4.0)
    (told,) = of_kind(commands, Publish)
    assert isinstance(told.event, WorkflowFailedEvent)
    assert (told.event.step_name, told.event.exception) == ("start", error)
    assert (told.event.attempts, told.event.elapsed_seconds) == (1, 4.0)
    assert len(run.waiting("start")) == 1


# --- what a failed attempt had collected ---


def test_what_a_failed_step_took_is_there_for_its_next_attempt(run: Drive) -> None:
    giver, taker = comes(run, "watched", 1), comes(run, "watched", 2)
    watching.answer = 0
    run.collects(giver, [A, A])
    run.returns(giver)
    run.collects(taker, [A, A])
    run.fails(taker)
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=2)]


@pytest.mark.parametrize("crashes", [False, True])
def test_what_a_failed_step_took_from_one_that_is_still_at_work_is_there_too(
    run: Drive, crashes: bool
) -> None:
    giver, taker = comes(run, "watched", 1), comes(run, "watched", 2)
    watching.answer = 0
    run.collects(giver, [A, A])
    run.collects(taker, [A, A])
    run.fails(taker)
    run.returns(giver)
    if crashes:
        run.crash()
    (again,) = run.running("watched")
    assert run.collects(again, [A, A]) == [A(n=1), A(n=2)]


AfterFailure = Callable[[Drive, Work, Work], list[Any]]


def taker_returns(run: Drive, giver: Work, taker: Work) -> list[Any]:
    run.returns(taker)
    return [
        run.collects(giver, [A, A]),
        [one for b in run.state.buffers.values() for one in b.kept],
    ]


def giver_first(run: Drive, giver: Work, taker: Work) -> list[Any]:
    first = run.collects(giver, [A, A])
    run.returns(giver)
    run.returns(taker)
    return [first, [one for buffer in run.state.buffers.values() for one in buffer.kept]]


def crash(run: Drive, giver: Work, taker: Work) -> list[Any]:
    run.crash()
    giver, taker = run.running("watched")
    first = run.collects(giver, [A, A])
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=2)]
    run.returns(taker)
    return [first, [one for buffer in run.state.buffers.values() for one in buffer.kept]]


def both_fail(run: Drive, giver: Work, taker: Work) -> list[Any]:
    run.fails(taker)
    return crash(run, giver, taker)


@pytest.mark.parametrize("goes_on", [taker_returns, giver_first, crash, both_fail])
def test_what_others_took_from_a_failed_step_it_does_not_offer_again(
    run: Drive, goes_on: AfterFailure
) -> None:
    giver, taker = comes(run, "watched", 1), comes(run, "watched", 2)
    watching.answer = 0
    run.collects(giver, [A, A])
    run.collects(taker, [A, A])
    run.fails(giver)
    assert goes_on(run, giver, taker) == [None, []]


def test_a_retry_of_a_step_in_a_stream_keeps_the_stream_open(run: Drive) -> None:
    run.fans_out(run.only("begin"), A())
    for name in ("at_once", "watched", "plain"):
        run.returns(run.only(name))
    work = run.only("later")
    run.fails(work)
    assert len(run.state.streams) == 1
    run.retries(run.delayed("later")[0])
    run.returns(work)
    assert run.only("gathers").payload == []


def test_due_retries_are_told_by_their_own_work(run: Drive) -> None:
    work = comes(run, "later")
    (remind,) = of_kind(run.fails(work), Remind)
    assert remind.tick == RetryDue(work)
