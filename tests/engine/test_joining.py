"""Steps with several event parameters: who gets which event, and what waits for the others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._engine import joining
from stepwell._engine.commands import Warn
from stepwell._engine.state import Status, Work
from stepwell.decorators import step
from stepwell.events import Event, StartEvent, StopEvent
from support.engine import Drive, Steps, of_kind


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class SubA(A):
    pass


class SubSubA(SubA):
    pass


class Branch(Event):
    n: int = 0


pairs = Steps()


@step(workflow=pairs)
def begin(ev: StartEvent) -> list[Branch]: ...


@step(workflow=pairs, num_workers=100)
def branch(ev: Branch) -> A | B | None: ...


@step(workflow=pairs, num_workers=100)
def pair(left: A, right: B) -> StopEvent | None: ...


@step(workflow=pairs, num_workers=100)
def gathers(ev: list[Branch]) -> None: ...


three = Steps()


@step(workflow=three)
def starts(ev: StartEvent) -> A | B: ...


@step(workflow=three)
def twice(first: A, b: B, second: A) -> StopEvent | None: ...


wide = Steps()


@step(workflow=wide)
def opens(ev: StartEvent) -> A | SubA | SubSubA: ...


@step(workflow=wide, accept_event_subclasses=True, num_workers=100)
def subclasses(narrow: SubA, broad: A) -> StopEvent | None: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(pairs.plan())
    drive.start()
    return drive


def joined(work: Work, drive: Drive) -> list[Event]:
    """The events of a join as its parameters get them."""
    assert isinstance(work.payload, list)
    return joining.arrange(drive.plan.steps[work.step], work.payload)


def test_a_join_runs_when_there_is_an_event_for_each_parameter(run: Drive) -> None:
    assert run.receives(B(n=2)) == []
    run.receives(A(n=1))
    assert joined(run.only("pair"), run) == [A(n=1), B(n=2)]
    assert not run.state.parts


def test_the_work_of_a_join_has_its_events_in_the_order_in_which_they_came(run: Drive) -> None:
    run.receives(B(n=2))
    run.receives(A(n=1))
    assert run.only("pair").payload == [B(n=2), A(n=1)]


def test_events_that_come_too_many_wait_for_the_next_join(run: Drive) -> None:
    for n in range(3):
        run.receives(A(n=n))
    run.receives(B(n=0))
    run.receives(B(n=1))
    assert [joined(work, run) for work in run.running("pair")] == [
        [A(n=0), B(n=0)],
        [A(n=1), B(n=1)],
    ]
    assert [part.payload for part in run.state.works() if part.step == "pair"][2:] == [A(n=2)]


@pytest.mark.parametrize("crashes", [False, True])
def test_parameters_of_one_class_get_their_events_in_order_of_arrival(crashes: bool) -> None:
    run = Drive(three.plan())
    run.start()
    run.returns(run.only("starts"), A(n=1))
    run.receives(A(n=2))
    if crashes:
        run.crash()
    run.receives(B(n=3))
    assert joined(run.only("twice"), run) == [A(n=1), B(n=3), A(n=2)]


def test_parts_survive_a_crash_in_their_order(run: Drive) -> None:
    run.returns(run.only("begin"))
    for n in range(12):
        run.receives(A(n=n))
    run.crash()
    run.receives(B())
    assert joined(run.only("pair"), run) == [A(n=0), B()]


def test_a_complete_join_survives_a_crash_as_one_piece_of_work(run: Drive) -> None:
    run.receives(A(n=1))
    run.receives(B(n=2))
    run.crash()
    assert joined(run.only("pair"), run) == [A(n=1), B(n=2)]


def test_an_event_for_a_join_by_name_is_a_part(run: Drive) -> None:
    run.receives(A(n=1), step="pair")
    run.receives(B(n=2), step="pair")
    assert joined(run.only("pair"), run) == [A(n=1), B(n=2)]


# --- streams ---


def test_streams_never_mix_their_parts(run: Drive) -> None:
    run.receives(A(n=100))
    run.fans_out(run.only("begin"), Branch(n=1), Branch(n=2))
    first, second = run.running("branch")
    run.returns(first, B(n=1))
    assert run.running("pair") == []
    run.returns(second, A(n=2))
    assert joined(run.only("pair"), run) == [A(n=2), B(n=1)]
    assert run.only("pair").scope != ()


def test_a_part_keeps_its_stream_open_and_a_join_is_one_piece_of_it(run: Drive) -> None:
    run.fans_out(run.only("begin"), Branch(n=1), Branch(n=2))
    (stream,) = run.state.streams.values()
    first, second = run.running("branch")
    run.returns(first, A())
    run.returns(second, B())
    assert stream.open == 1
    run.returns(run.only("pair"))
    assert not run.state.streams


def test_parts_that_never_found_the_others_are_left_over_when_their_stream_ends(run: Drive) -> None:
    run.fans_out(run.only("begin"), Branch(n=1), Branch(n=2))
    first, second = run.running("branch")
    run.returns(first, A())
    assert run.state.parts
    (warning,) = of_kind(run.returns(second, A()), Warn)[:1]
    assert "A was left over: step 'pair' takes it together with others" in warning.message
    assert not run.state.parts
    assert not run.state.streams


def test_parts_outside_of_all_streams_may_wait_for_ever(run: Drive) -> None:
    run.receives(A())
    run.returns(run.only("begin"))
    assert run.state.status is Status.RUNNING


# --- subclasses ---


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([SubA(n=1), A(n=2)], [SubA(n=1), A(n=2)]),
        ([A(n=1), SubA(n=2)], [SubA(n=2), A(n=1)]),
        ([SubA(n=1), SubSubA(n=2)], [SubA(n=1), SubSubA(n=2)]),
        ([SubSubA(n=1), SubA(n=2)], [SubSubA(n=1), SubA(n=2)]),
        ([SubA(n=1), SubA(n=2)], [SubA(n=1), SubA(n=2)]),
        ([A(n=1), A(n=2)], None),
        ([A(n=1), A(n=2), SubA(n=3)], [SubA(n=3), A(n=1)]),
    ],
)
def test_an_event_of_a_subclass_goes_where_nothing_else_fits(
    events: list[Event], expected: list[Event] | None
) -> None:
    run = Drive(wide.plan())
    run.start()
    for event in events:
        run.receives(event)
    works = run.running("subclasses")
    assert [joined(work, run) for work in works] == ([expected] if expected else [])


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from([A, SubA, SubSubA]), max_size=12), crash_at=st.integers(0, 12)
)
def test_every_part_is_used_once_in_whatever_order_they_come(
    kinds: list[type[A]], crash_at: int
) -> None:
    run = Drive(wide.plan())
    run.start()
    run.returns(run.only("opens"))
    for n, kind in enumerate(kinds):
        if n == crash_at:
            run.crash()
        run.receives(kind(n=n))
    used = [joined(work, run) for work in run.running("subclasses")]
    assert all(isinstance(narrow, SubA) for narrow, _ in used)
    left = [part.payload for parts in run.state.parts.values() for part in parts.works()]
    numbers = [
        event.n
        for event in [*(one for pair in used for one in pair), *left]
        if isinstance(event, A)
    ]
    assert sorted(numbers) == list(range(len(kinds)))
    assert not (any(isinstance(one, SubA) for one in left) and len(left) > 1)
