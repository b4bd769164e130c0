"""Waits in the engine: who gets an event, who keeps a worker, and what a crash leaves of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from stepwell._engine import routing, waiting
from stepwell._engine.commands import Command, Forget, Invoke, Publish, Remind, Wake, Warn
from stepwell._engine.state import Work
from stepwell._engine.ticks import CancelAsked, RunResumed
from stepwell.decorators import step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    UnhandledEvent,
)
from support.engine import Drive, Steps, invoked, of_kind


class Go(Event):
    n: int = 0


class Answer(HumanResponseEvent):
    n: object = None


class Better(Answer):
    pass


class Ask(InputRequiredEvent):
    n: int = 0


class Other(Event):
    n: int = 0


class Unlike:
    """Has no durable form."""


program = Steps()


@step(workflow=program)
def begin(ev: StartEvent) -> Go | Ask | None: ...


@step(workflow=program, num_workers=1)
def one(ev: Go) -> Other | StopEvent | None: ...


@step(workflow=program, num_workers=4)
def many(ev: Go) -> Answer | None: ...


@step(workflow=program, accept_event_subclasses=True)
def wide(ev: Other) -> None: ...


@step(workflow=program)
def taker(ev: Ask) -> None: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(program.plan())
    drive.start()
    return drive


def comes(run: Drive, step: str = "many") -> Work:
    """Work for a step that has a free worker."""
    cls = Other if step == "wide" else Go
    (started,) = of_kind(run.receives(cls(), step), Invoke)
    return started.work


def woken(commands: Sequence[Command]) -> list[Work]:
    return [command.work for command in of_kind(commands, Wake)]


# --- a wait begins ---


def test_a_step_that_waits_gives_its_worker_to_others(run: Drive) -> None:
    first = comes(run, "one")
    run.receives(Go(n=2), "one")
    assert list(invoked(run.waits(first, Answer))) == [("one", Go(n=2))]
    assert run.suspended("one") == [first]


def test_a_run_in_which_all_steps_wait_is_idle(run: Drive) -> None:
    run.returns(run.only("begin"))
    work = comes(run)
    assert not run.state.idle
    run.waits(work, Answer)
    assert run.state.idle


def test_a_wait_publishes_its_question_once_in_all_attempts(run: Drive) -> None:
    work = comes(run)
    assert of_kind(run.waits(work, Answer, question=Ask(n=1)), Publish) == [Publish(Ask(n=1))]
    run.suspends(work)
    run.receives(Answer())
    run.waits(work, Answer, name="second", question=Ask(n=2))
    run.suspends(work)
    assert of_kind(run.waits(work, Answer, name="second", question=Ask(n=2)), Publish) == []


def test_a_wait_with_a_time_out_is_reminded_of_it_once(run: Drive) -> None:
    work = comes(run)
    (remind,) = of_kind(run.waits(work, Answer, deadline=5.0), Remind)
    assert remind.delay == 5.0
    assert of_kind(run.waits(work, Answer, deadline=5.0), Remind) == []


# --- an event comes ---


def test_the_event_wakes_the_step_and_is_its_answer(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer)
    assert woken(run.receives(Answer(n=1))) == [work]
    assert work.progress.waiters["w"].answer == Answer(n=1)
    assert run.running("many") == [work]
    assert not run.state.waits


def test_one_event_is_the_answer_to_all_waits_that_it_fits(run: Drive) -> None:
    works = [comes(run), comes(run), comes(run, "one")]
    for work in works:
        run.waits(work, Answer)
    assert woken(run.receives(Answer())) == works


def test_a_step_that_waited_for_an_event_does_not_get_it_as_its_input_too(run: Drive) -> None:
    run.waits(comes(run), Go)
    commands = run.receives(Go(n=5))
    assert len(woken(commands)) == 1
    assert [name for name, _ in invoked(commands)] == ["one"]


@pytest.mark.parametrize(
    ("required", "given", "fits"),
    [
        ({}, Answer(n=1), True),
        ({"n": 1}, Answer(n=1), True),
        ({"n": 1}, Answer(n=2), False),
        ({"n": 1}, Answer(n=True), True),
        ({"n": [1]}, Answer(n=[1]), True),
        ({"n": [1]}, Answer(n=[2]), False),
        ({"n": frozenset({1})}, Answer(n={1}), True),
        ({"absent": None}, Answer(), True),
        ({"absent": 1}, Answer(), False),
        ({"n": 1, "absent": None}, Answer(n=1), True),
        ({"n": 1}, Better(n=1), False),
        ({}, Other(), False),
    ],
)
def test_an_event_fits_by_its_class_and_by_all_requirements(
    run: Drive, required: dict[str, Any], given: Event, fits: bool
) -> None:
    work = comes(run)
    run.waits(work, Answer, **required)
    assert waiting.fits_a_wait(run.plan, run.state, given) is fits
    assert (woken(run.receives(given)) == [work]) is fits


def test_a_step_that_takes_subclasses_waits_for_them_too(run: Drive) -> None:
    work = comes(run, "wide")
    run.waits(work, Answer, n=1)
    assert woken(run.receives(Better(n=1))) == [work]


def test_among_many_waits_each_event_finds_its_own(run: Drive) -> None:
    works = [comes(run) for _ in range(4)]
    for number, work in enumerate(works):
        run.waits(work, Answer, n=number)
    for number in (2, 0, 3, 1):
        assert woken(run.receives(Answer(n=number))) == [works[number]]


def test_an_event_for_one_step_wakes_no_other(run: Drive) -> None:
    work, other = comes(run), comes(run, "one")
    run.waits(work, Answer)
    run.waits(other, Answer)
    assert woken(run.receives(Answer(), step="many")) == [work]
    assert run.suspended("one") == [other]


def test_an_event_for_a_step_that_neither_takes_it_nor_waits_is_refused(run: Drive) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"'many' does not take Answer: it takes Go"):
        routing.check_target(run.plan, run.state, Answer(), "many")
    run.waits(comes(run), Answer)
    routing.check_target(run.plan, run.state, Answer(), "many")
    with pytest.raises(WorkflowRuntimeError, match="'one' does not take"):
        routing.check_target(run.plan, run.state, Answer(), "one")


def test_what_a_step_returns_or_sends_reaches_a_wait_too(run: Drive) -> None:
    waiter, other = comes(run), comes(run)
    run.waits(waiter, Answer)
    assert woken(run.sends(other, Answer(n=1))) == [waiter]
    run.waits(waiter, Answer, "again")
    assert woken(run.returns(other, Answer(n=2))) == [waiter]


def test_an_answered_step_goes_on_when_a_worker_is_free_before_all_others(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    busy = comes(run, "one")
    run.receives(Go(n=3), "one")
    assert run.receives(Answer()) == []
    assert work.is_held
    assert not run.state.kept
    (wake,) = run.returns(busy)
    assert wake == Wake(work, ("w",))


def test_an_event_that_woke_a_step_without_a_free_worker_was_taken(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    busy = comes(run, "one")
    run.receives(Answer(n=1))
    run.waits(busy, Answer)
    assert busy.progress.waiters["w"].answer is None


# --- several waits of one step ---


def test_a_step_with_two_waits_goes_on_with_the_first_answer(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer, "a")
    run.waits(work, Other, "b")
    assert woken(run.receives(Answer())) == [work]
    assert woken(run.receives(Other(), step="many")) == [work]
    assert run.running("many") == [work]


def test_a_step_in_line_that_waits_again_leaves_the_line_and_hears_of_its_answer(
    run: Drive,
) -> None:
    work = comes(run, "one")
    run.waits(work, Answer, "a")
    comes(run, "one")
    run.receives(Answer())
    assert run.waits(work, Other, "b") == [Wake(work, ("a",))]
    assert not run.state.queues["one"].woken
    assert run.suspended("one") == [work]


def test_a_step_that_stands_in_other_waits_too_needs_no_worker_for_an_answer(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer, "a")
    run.waits(work, Other, "b")
    comes(run, "one")
    assert run.receives(Answer()) == [Wake(work, ("a",))]
    assert run.suspended("one") == [work]


def test_an_event_that_was_kept_is_there_though_another_wait_of_the_step_is_open(
    run: Drive,
) -> None:
    work = comes(run)
    run.receives(Answer(n=1))
    run.waits(work, Other, "a")
    assert woken(run.waits(work, Answer, "b")) == [work]
    assert run.suspended("many") == [work]


@pytest.mark.parametrize("crashes", [False, True])
def test_a_step_may_return_although_it_left_a_wait_open(run: Drive, crashes: bool) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    next_one = comes(run, "one")
    run.returns(work, Other())
    assert run.running("one") == [next_one]
    assert not run.state.waits
    if crashes:
        run.crash()
    run.receives(Answer())
    assert len(run.state.kept) == 1


def test_a_step_may_return_while_it_is_in_line_for_a_worker(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    busy = comes(run, "one")
    run.receives(Answer())
    run.returns(work)
    assert run.waiting("one") == []
    assert run.running("one") == [busy]


def test_a_send_of_a_step_that_waits_at_the_same_time_is_counted(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    comes(run, "one")
    run.receives(Answer())
    run.sends(work, Other(), "d1")
    assert [sent.digest for sent in work.progress.sent] == ["d1"]


# --- waits that end without the event ---


def test_a_wait_that_took_too_long_lets_its_step_go_on(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer, deadline=5.0)
    assert woken(run.expires(work)) == [work]
    assert work.progress.waiters["w"].expired
    assert run.receives(Answer(n=1)) != []
    assert work.progress.waiters["w"].answer is None
    assert len(run.state.kept) == 1


def test_a_time_out_after_the_answer_means_nothing(run: Drive) -> None:
    work = comes(run)
    (remind,) = of_kind(run.waits(work, Answer, deadline=5.0), Remind)
    run.receives(Answer())
    assert run.tick(remind.tick) == []
    run.returns(work)
    assert run.tick(remind.tick) == []


def test_the_time_out_of_a_wait_that_was_dropped_does_not_end_the_next_of_its_name(
    run: Drive,
) -> None:
    work = comes(run)
    (remind,) = of_kind(run.waits(work, Answer, deadline=5.0), Remind)
    run.drops(work)
    run.waits(work, Answer, deadline=9.0)
    assert run.tick(remind.tick) == []
    assert work.progress.waiters["w"].is_open


def test_a_step_that_stops_waiting_goes_on_though_its_worker_is_taken(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    busy = comes(run, "one")
    run.receives(Go(), "one")
    assert run.drops(work) == []
    assert {*run.running("one")} == {work, busy}
    assert not work.progress.waiters
    assert run.returns(work) == []
    assert len(of_kind(run.returns(busy), Invoke)) == 1


def test_a_step_that_stops_waiting_while_it_is_in_line_leaves_the_line(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    comes(run, "one")
    run.receives(Answer(n=1))
    run.drops(work)
    assert not run.state.queues["one"].woken
    assert work.progress.waiters == {}


def test_an_event_that_only_a_dropped_wait_got_is_there_for_the_next(run: Drive) -> None:
    work = comes(run, "one")
    run.waits(work, Answer)
    comes(run, "one")
    run.receives(Answer(n=1))
    run.drops(work)
    assert [kept.event for kept in run.state.kept.values()] == [Answer(n=1)]
    assert woken(run.waits(work, Answer, "again")) == [work]


def test_an_event_that_a_step_never_read_is_there_for_others(run: Drive) -> None:
    one = comes(run)
    run.waits(one, Answer)
    run.receives(Answer(n=1))
    other = comes(run)
    run.waits(other, Answer)
    assert woken(run.returns(one)) == [other]


# --- run again from the first line ---


def test_a_step_that_left_in_a_wait_is_run_again_when_its_event_is_there(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer)
    assert run.suspends(work) == []
    commands = run.receives(Answer(n=1))
    assert of_kind(commands, Invoke) == [Invoke(work)]
    assert woken(commands) == []


def test_a_step_that_left_although_its_event_was_kept_is_run_again_at_once(run: Drive) -> None:
    run.receives(Answer())
    work = comes(run)
    run.waits(work, Answer)
    assert run.suspends(work) == [Invoke(work)]


def test_a_step_that_left_offers_again_what_it_had_collected(run: Drive) -> None:
    work = comes(run)
    assert run.collects(work, [Go, Go]) is None
    run.waits(work, Answer)
    run.suspends(work)
    run.receives(Answer())
    assert run.collects(work, [Go, Go]) is None
    other = comes(run)
    assert run.collects(other, [Go, Go]) == [Go(), Go()]
    assert not run.state.buffers


# --- a crash ---


def test_a_wait_survives_a_crash_and_its_event_is_there_before_the_step_asks_again(
    run: Drive,
) -> None:
    run.waits(comes(run), Answer, n=1)
    assert ("many", Go(n=0)) in list(invoked(run.crash()))
    (work,) = run.running("many")
    run.receives(Answer(n=1))
    assert work.progress.waiters["w"].answer == Answer(n=1)
    assert not run.state.kept


def test_a_step_that_comes_back_to_its_wait_after_a_crash_asks_nothing_anew(run: Drive) -> None:
    run.waits(comes(run), Answer, question=Ask(), deadline=5.0)
    run.crash()
    (work,) = run.running("many")
    assert run.waits(work, Answer, question=Ask(), deadline=5.0) == []
    assert woken(run.receives(Answer())) == [work]


def test_the_time_out_of_a_wait_that_is_over_is_forgotten(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer, deadline=5.0)
    waiter = work.progress.waiters["w"]
    assert of_kind(run.receives(Answer()), Forget) == [Forget(waiter)]


def test_a_crash_does_not_extend_a_time_out(run: Drive) -> None:
    run.waits(comes(run), Answer, deadline=5.0)
    (remind,) = of_kind(run.crash(now=4.0), Remind)
    assert remind.delay == 1.0
    run.tick(remind.tick)
    assert run.running("many")[0].progress.waiters["w"].expired


def test_a_time_out_that_passed_while_nobody_ran_is_due_at_once(run: Drive) -> None:
    run.waits(comes(run), Answer, deadline=5.0)
    (remind,) = of_kind(run.crash(now=99.0), Remind)
    assert remind.delay == 0.0


def test_the_question_of_an_open_wait_is_asked_again_after_a_crash(run: Drive) -> None:
    run.waits(comes(run), Answer, question=Ask(n=7))
    assert Publish(Ask(n=7)) in run.crash()
    run.receives(Answer())
    assert of_kind(run.crash(), Publish) == []


def test_an_answer_survives_a_crash_before_its_step_went_on(run: Drive) -> None:
    run.waits(comes(run), Answer)
    run.receives(Answer(n=1))
    run.crash()
    (work,) = run.running("many")
    assert work.progress.waiters["w"].answer == Answer(n=1)


def test_requirements_that_have_no_durable_form_are_told_by_running_the_step_again(
    run: Drive,
) -> None:
    secret = Unlike()
    run.waits(comes(run), Answer, n=secret)
    run.crash()
    (work,) = run.running("many")
    assert work.progress.waiters["w"].requirements is None
    run.receives(Answer(n=1))
    run.waits(work, Answer, n=1)
    assert work.progress.waiters["w"].answer == Answer(n=1)


def test_a_step_that_had_one_of_two_answers_is_run_again_after_a_crash(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer, "a")
    run.waits(work, Other, "b")
    run.receives(Answer())
    run.crash()
    assert len(run.running("many")) == 1


def test_a_step_that_does_something_else_beside_its_wait_is_run_again_after_a_crash(
    run: Drive,
) -> None:
    run.waits(comes(run), Answer, alone=False)
    run.crash()
    assert len(run.running("many")) == 1


def test_a_cancelled_run_keeps_its_waits(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer, question=Ask())
    run.tick(CancelAsked())
    commands = run.tick(RunResumed(1.0))
    assert Publish(Ask()) in commands
    assert Invoke(work) in commands
    run.receives(Answer())
    assert work.progress.waiters["w"].answer == Answer()


# --- events that come too early ---


def test_an_event_that_comes_before_its_wait_is_kept_for_it(run: Drive) -> None:
    run.receives(Answer(n=1))
    run.crash()
    work = comes(run)
    assert run.waits(work, Answer) == [Wake(work, ("w",))]
    assert work.progress.waiters["w"].answer == Answer(n=1)
    assert run.running("many") == [work]
    assert not run.state.kept


def test_kept_events_are_taken_in_the_order_in_which_they_came(run: Drive) -> None:
    for number in (1, 2, 1):
        run.receives(Answer(n=number))
    work = comes(run)
    run.waits(work, Answer, "a", n=2)
    run.waits(work, Answer, "b")
    assert [one.answer for one in work.progress.waiters.values()] == [Answer(n=2), Answer(n=1)]
    assert [kept.event for kept in run.state.kept.values()] == [Answer(n=1)]


def test_a_kept_event_is_told_as_unhandled(run: Drive) -> None:
    run.returns(run.only("begin"))
    (told,) = of_kind(run.receives(Answer()), Publish)
    assert isinstance(told.event, UnhandledEvent)
    assert told.event.event_type == "Answer"
    assert told.event.idle


def test_an_event_that_a_step_takes_is_not_kept(run: Drive) -> None:
    run.receives(Go())
    assert not run.state.kept


def test_no_more_than_so_many_events_are_kept(run: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "KEPT_MAX", 2)
    for _ in range(2):
        assert not of_kind(run.receives(Answer()), Warn)
    assert waiting.is_full(run.state)
    (warning,) = of_kind(run.receives(Answer(n=9)), Warn)
    assert "Answer is taken by no step, and 2 such events are kept" in warning.message
    assert len(run.state.kept) == 2


@pytest.mark.parametrize(
    ("event", "taken"), [(Go(), True), (Ask(), True), (StopEvent(), True), (Answer(), False)]
)
def test_an_event_is_of_use_if_a_step_takes_it(run: Drive, event: Event, taken: bool) -> None:
    assert routing.is_taken(run.plan, run.state, event) is taken


def test_an_event_is_of_use_if_a_step_waits_for_it(run: Drive) -> None:
    run.waits(comes(run), Answer, n=1)
    assert routing.is_taken(run.plan, run.state, Answer(n=1))
    assert not routing.is_taken(run.plan, run.state, Answer(n=2))


# --- questions ---


def questions(run: Drive) -> list[Event]:
    return [question.event for question in run.state.questions.values()]


def test_a_question_is_asked_again_after_a_crash_until_it_is_answered(run: Drive) -> None:
    run.returns(run.only("begin"), Ask(n=1))
    run.receives(Ask(n=2))
    assert of_kind(run.crash(), Publish) == [Publish(Ask(n=1)), Publish(Ask(n=2))]
    run.receives(Answer())
    assert questions(run) == [Ask(n=2)]
    run.receives(Answer())
    assert of_kind(run.crash(), Publish) == []


def test_what_is_no_answer_of_a_human_closes_no_question(run: Drive) -> None:
    run.receives(Ask())
    run.receives(Go())
    assert questions(run) == [Ask()]


def test_the_oldest_question_is_forgotten_when_there_are_too_many(
    run: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "KEPT_MAX", 2)
    for number in range(3):
        run.receives(Ask(n=number))
    assert questions(run) == [Ask(n=1), Ask(n=2)]


def test_a_step_that_is_done_waits_no_more(run: Drive) -> None:
    work = comes(run)
    run.waits(work, Answer)
    run.receives(Answer())
    run.returns(work)
    assert not [name for name in run.map if name.startswith("wait:")]


def test_a_completed_run_forgets_waits_kept_events_and_questions(run: Drive) -> None:
    run.receives(Answer())
    run.receives(Ask())
    run.waits(comes(run), Other)
    run.receives(StopEvent())
    assert not run.state.waits
    assert not run.state.kept
    assert not run.state.questions
