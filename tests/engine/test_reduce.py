"""The state machine: ticks in, commands out. `Drive` checks the laws of the state at each tick."""

from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._engine.commands import Command, Finish, Halt, Invoke, Publish, Warn
from stepwell._engine.routing import check_target
from stepwell._engine.state import RunState, Status, Work
from stepwell._engine.ticks import CancelAsked, EventArrived, RunResumed, StepReturned, TimedOut
from stepwell.collect import Collect, Take
from stepwell.decorators import step
from stepwell.errors import WorkflowCancelledByUser, WorkflowRuntimeError, WorkflowTimeoutError
from stepwell.events import (
    Event,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)
from support.engine import Drive, Steps, invoked, of_kind


class A(Event):
    n: int = 0


class ASub(A):
    pass


class B(Event):
    n: int = 0


class C(Event):
    n: int = 0


class D(Event):
    n: int = 0


class Ask(InputRequiredEvent):
    pass


# --- one step after the other ---

line = Steps()


@step(workflow=line)
def begin(ev: StartEvent) -> A | Ask | None: ...


@step(workflow=line, num_workers=2)
def middle(ev: A) -> B | StopEvent | None: ...


@step(workflow=line)
def also(ev: A | B) -> None: ...


@step(workflow=line, accept_event_subclasses=True)
def anything(ev: B | Ask) -> StopEvent | None: ...


@pytest.fixture
def run() -> Drive:
    return Drive(line.plan())


def test_a_run_begins_with_the_step_that_takes_its_start_event(run: Drive) -> None:
    event = StartEvent()
    assert list(invoked(run.start(event))) == [("begin", event)]
    assert run.state.status is Status.RUNNING
    assert run.state.input is event


def test_an_event_goes_to_every_step_that_takes_exactly_its_class(run: Drive) -> None:
    run.start()
    commands = run.returns(run.only("begin"), A(n=1))
    assert list(invoked(commands)) == [("middle", A(n=1)), ("also", A(n=1))]
    run.receives(ASub())
    assert len(run.running("middle")) == 1


def test_a_step_can_take_subclasses(run: Drive) -> None:
    class Sub(B):
        pass

    run.plan.codec.types.register(Sub)
    run.start()
    assert [name for name, _ in invoked(run.receives(Sub()))] == ["anything"]


def test_an_event_that_no_step_takes_is_the_end_of_its_branch(run: Drive) -> None:
    run.start()
    (told,) = of_kind(run.returns(run.only("begin"), C()), Publish)
    assert isinstance(told.event, UnhandledEvent)
    assert run.state.idle
    assert [kept.event for kept in run.state.kept.values()] == [C()]


def test_a_named_step_is_the_only_receiver(run: Drive) -> None:
    run.start()
    assert [name for name, _ in invoked(run.receives(A(), step="also"))] == ["also"]


def test_work_waits_for_a_free_worker_in_the_order_in_which_it_came(run: Drive) -> None:
    run.start()
    commands = [command for n in range(5) for command in run.receives(A(n=n), "middle")]
    assert [payload.n for _, payload in invoked(commands)] == [0, 1]
    commands = run.returns(run.running("middle")[1])
    commands += run.returns(run.running("middle")[0])
    commands += run.returns(run.running("middle")[1])
    assert [payload.n for _, payload in invoked(commands)] == [2, 3, 4]


def test_an_input_request_is_published_and_routed(run: Drive) -> None:
    run.start()
    ask = Ask()
    commands = run.returns(run.only("begin"), ask)
    assert of_kind(commands, Publish) == [Publish(ask)]
    assert list(invoked(commands)) == [("anything", ask)]


def test_the_first_stop_event_ends_the_run_and_leaves_nothing(run: Drive) -> None:
    run.start()
    run.returns(run.only("begin"), A())
    stop = StopEvent(result=1)
    commands = run.returns(run.only("middle"), stop)
    assert commands == [Halt(), Publish(stop), Finish()]
    assert run.state.status is Status.COMPLETED
    assert run.state.result is stop


def test_a_stop_event_ends_the_run_wherever_it_comes_from(run: Drive) -> None:
    run.start()
    assert of_kind(run.sends(run.only("begin"), StopEvent()), Finish)
    other = Drive(line.plan())
    other.start()
    assert of_kind(other.receives(StopEvent()), Finish)


def test_what_happens_after_the_end_is_ignored(run: Drive) -> None:
    run.start()
    work = run.only("begin")
    run.returns(work, StopEvent(result=1))
    assert run.tick(StepReturned(work, [StopEvent(result=2)])) == []
    assert run.tick(EventArrived(A())) == []
    assert run.tick(CancelAsked()) == []
    assert run.tick(TimedOut(1.0)) == []
    assert run.state.result is not None
    assert run.state.result.result == 1


# --- the other ends ---


def test_a_failing_step_ends_the_run_and_keeps_its_work(run: Drive) -> None:
    run.start()
    run.returns(run.only("begin"), A(n=7))
    error = ValueError("no")
    commands = run.fails(run.only("middle"), error)
    (published,) = of_kind(commands, Publish)
    assert isinstance(published.event, WorkflowFailedEvent)
    assert published.event.step_name == "middle"
    assert published.event.exception is error
    assert commands[-1] == Finish()
    assert (run.state.status, run.state.error) == (Status.FAILED, error)
    assert [work.step for work in run.state.works()] == ["middle", "also"]


def test_time_out_names_the_steps_that_were_running(run: Drive) -> None:
    run.start()
    run.returns(run.only("begin"), A())
    (published,) = of_kind(run.tick(TimedOut(2.0)), Publish)
    assert isinstance(published.event, WorkflowTimedOutEvent)
    assert published.event.active_steps == ["middle", "also"]
    assert isinstance(run.state.error, WorkflowTimeoutError)
    assert "2.0 seconds" in str(run.state.error)
    assert "middle, also" in str(run.state.error)


def test_cancelling_ends_the_run(run: Drive) -> None:
    run.start()
    (published,) = of_kind(run.tick(CancelAsked()), Publish)
    assert isinstance(published.event, WorkflowCancelledEvent)
    assert run.state.status is Status.CANCELLED
    assert isinstance(run.state.error, WorkflowCancelledByUser)


def test_a_run_that_failed_goes_on_with_all_attempts_before_it(run: Drive) -> None:
    run.start()
    run.receives(A(n=1), "also")
    run.fails(run.only("begin"))
    commands = run.tick(RunResumed())
    assert [(one.work.step, one.work.attempt) for one in of_kind(commands, Invoke)] == [
        ("begin", 1),
        ("also", 1),
    ]
    assert run.state.error is None
    assert run.state.failed_step is None


def test_an_interrupted_run_counts_one_more_attempt_of_what_was_running(run: Drive) -> None:
    run.start()
    for n in range(3):
        run.receives(A(n=n), "middle")
    commands = run.crash()
    assert [(one.work.step, one.work.attempt) for one in of_kind(commands, Invoke)] == [
        ("begin", 2),
        ("middle", 2),
        ("middle", 2),
    ]
    assert [work.attempt for work in run.state.queues["middle"].waiting] == [1]
    run.crash()
    assert [work.attempt for work in run.running("middle")] == [3, 3]


def test_an_interrupted_run_goes_on_in_the_same_process_too(run: Drive) -> None:
    run.start()
    run.receives(A(n=1), "also")
    commands = run.tick(RunResumed())
    assert sorted((one.work.step, one.work.attempt) for one in of_kind(commands, Invoke)) == [
        ("also", 2),
        ("begin", 2),
    ]


def test_work_keeps_its_order_when_the_run_is_interrupted(run: Drive) -> None:
    run.start()
    for n in range(5):
        run.receives(A(n=n), "middle")
    run.returns(run.running("middle")[0])
    run.tick(CancelAsked())
    assert [w.payload for w in run.state.queues["middle"].waiting] == [A(n=n) for n in (1, 2, 3, 4)]


# --- targets ---

targets = Steps()


@step(workflow=targets)
def opens(ev: StartEvent) -> list[A]: ...


@step(workflow=targets)
def gathers(ev: list[A]) -> StopEvent: ...


@pytest.mark.parametrize(
    ("event", "name", "message"),
    [
        (A(), "nowhere", "has no step 'nowhere'.*opens, gathers"),
        (B(), "opens", "'opens' does not take B: it takes StartEvent"),
        (A(), "gathers", "'gathers' takes lists.*A can't be sent"),
    ],
)
def test_a_target_that_can_t_take_the_event_is_refused(
    event: Event, name: str, message: str
) -> None:
    plan = targets.plan()
    state = RunState.of_steps(list(plan.steps))
    with pytest.raises(WorkflowRuntimeError, match=message):
        check_target(plan, state, event, name)


# --- streams ---

streams = Steps()


@step(workflow=streams)
def spread(ev: StartEvent) -> list[A] | None: ...


@step(workflow=streams, num_workers=2)
def part(ev: A) -> list[B] | C | None: ...


@step(workflow=streams)
def detail(ev: B) -> D | None: ...


@step(workflow=streams)
def inner(ev: list[D]) -> C: ...


@step(workflow=streams)
def outer(ev: list[C]) -> StopEvent: ...


@step(workflow=streams)
def first_two(ev: Annotated[list[C], Collect(Take(2))]) -> None: ...


@pytest.fixture
def spreading() -> Drive:
    run = Drive(streams.plan())
    run.start()
    return run


def batches(commands: list[Command]) -> dict[str, list[int]]:
    return {
        one.work.step: numbers_of(one.work)
        for one in of_kind(commands, Invoke)
        if isinstance(one.work.payload, list)
    }


def test_a_list_starts_a_branch_for_each_element(spreading: Drive) -> None:
    commands = spreading.fans_out(spreading.only("spread"), A(n=1), A(n=2), A(n=3))
    assert [payload.n for _, payload in invoked(commands)] == [1, 2]
    assert len(spreading.state.queues["part"].waiting) == 1


def test_an_empty_list_gives_the_gathering_steps_empty_lists(spreading: Drive) -> None:
    commands = spreading.fans_out(spreading.only("spread"))
    assert batches(commands) == {"outer": [], "first_two": []}
    assert spreading.state.streams == {}


def test_none_opens_no_stream(spreading: Drive) -> None:
    assert spreading.returns(spreading.only("spread")) == []
    assert spreading.state.idle


def test_a_list_is_gathered_in_the_order_of_arrival_when_all_branches_are_done(
    spreading: Drive,
) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1), A(n=2), A(n=3))
    one, two = spreading.running("part")
    assert batches(spreading.returns(two, C(n=2))) == {}
    assert batches(spreading.returns(one)) == {}
    commands = spreading.returns(spreading.only("part"), C(n=3))
    assert batches(commands) == {"first_two": [2, 3], "outer": [2, 3]}


def test_take_fires_with_the_nth_event_and_only_once(spreading: Drive) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1), A(n=2), A(n=3))
    spreading.returns(spreading.running("part")[0], C(n=1))
    commands = spreading.returns(spreading.running("part")[0], C(n=2))
    assert batches(commands) == {"first_two": [1, 2]}
    spreading.returns(spreading.only("part"), C(n=3))
    assert spreading.only("outer").payload == [C(n=1), C(n=2), C(n=3)]
    assert spreading.only("first_two").payload == [C(n=1), C(n=2)]


def test_an_inner_stream_is_joined_before_the_outer_one(spreading: Drive) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1))
    commands = spreading.fans_out(spreading.only("part"), B(n=1), B(n=2))
    assert [name for name, _ in invoked(commands)] == ["detail", "detail"]
    for work in spreading.running("detail"):
        commands = spreading.returns(work, D(n=work.id))
    gathered = batches(commands)
    assert len(gathered.pop("inner")) == 2
    assert gathered == {"first_two": [], "outer": []}, "the list might have held a C"
    for name in gathered:
        spreading.returns(spreading.only(name))
    commands = spreading.returns(spreading.only("inner"), C(n=9))
    assert batches(commands) == {"first_two": [9], "outer": [9]}


def test_an_event_that_is_sent_joins_no_stream(spreading: Drive) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1))
    commands = spreading.sends(spreading.only("part"), C(n=5))
    warnings = of_kind(commands, Warn)
    assert len(warnings) == 2
    assert "C was sent outside of any stream: step 'outer'" in warnings[0].message
    commands = spreading.returns(spreading.only("part"))
    assert batches(commands) == {"outer": [], "first_two": []}


def test_a_stop_event_in_a_list_ends_the_run_before_the_rest_of_it(spreading: Drive) -> None:
    commands = spreading.fans_out(spreading.only("spread"), A(), StopEvent(), A())
    assert commands[-1] == Finish()


def test_a_stream_survives_a_crash_in_the_middle(spreading: Drive) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1), A(n=2))
    spreading.returns(spreading.running("part")[1], C(n=2))
    spreading.crash()
    commands = spreading.returns(spreading.only("part"), C(n=1))
    assert batches(commands) == {"first_two": [2, 1], "outer": [2, 1]}


def test_a_fired_take_does_not_fire_again_after_a_crash(spreading: Drive) -> None:
    spreading.fans_out(spreading.only("spread"), A(n=1), A(n=2), A(n=3))
    spreading.returns(spreading.running("part")[0], C(n=1))
    spreading.returns(spreading.running("part")[0], C(n=2))
    spreading.returns(spreading.only("first_two"))
    spreading.crash()
    commands = spreading.returns(spreading.only("part"), C(n=3))
    assert batches(commands) == {"outer": [1, 2, 3]}


# --- any program, any order ---


class Model:
    """What the gathering steps have to get: each stream's events in the order of arrival."""

    def __init__(self) -> None:
        self.run = Drive(streams.plan())
        self.arrived: dict[int, list[int]] = {}
        self.gathered: list[list[int]] = []
        self._count = 0

    def advance(self, work: Work, cls: type[A | B | C | D], number: int, *, in_list: bool) -> None:
        """Let a step return so many new events."""
        events = [cls(n=self._count + i + 1) for i in range(number)]
        self._count += number
        if not in_list and work.scope:
            self.arrived.setdefault(work.scope[-1], []).extend(event.n for event in events)
        if work.step in ("outer", "inner"):
            self.gathered.append(numbers_of(work))
        self.run.returns(work, *events, fanned_out=in_list)


def numbers_of(work: Work) -> list[int]:
    return [event.n for event in work.payload] if isinstance(work.payload, list) else []


MAY_RETURN: dict[str, list[tuple[type[A | B | C | D], int, bool]]] = {
    "spread": [(A, number, True) for number in range(4)],
    "part": [*((B, number, True) for number in range(4)), (C, 0, False), (C, 1, False)],
    "detail": [(D, 0, False), (D, 1, False)],
    "inner": [(C, 1, False)],
    "outer": [(C, 0, False)],
    "first_two": [(C, 0, False)],
}
"""What a step may return: the class, how many, and whether in a list."""


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_steps_return_each_stream_is_gathered_once_and_whole(
    data: st.DataObject,
) -> None:
    model = Model()
    run = model.run
    run.start()
    while works := [work for name in run.plan.steps for work in run.running(name)]:
        work = data.draw(st.sampled_from(works))
        if data.draw(st.integers(0, 9)) == 9:
            run.crash()
            continue
        cls, number, in_list = data.draw(st.sampled_from(MAY_RETURN[work.step]))
        model.advance(work, cls, number, in_list=in_list)
    assert run.state.idle
    assert run.state.streams == {}
    assert sorted(filter(None, model.gathered)) == sorted(filter(None, model.arrived.values()))
