"""`collect_events` in the engine: what is kept, what is dropped, and who has it after a crash.

Several invocations of the collecting step run at once. What one of them offered or took is final
when it is done; until then it may be stopped, and is then as if it had never been.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._engine.state import Work
from stepwell._engine.ticks import CancelAsked, RunResumed
from stepwell.decorators import step
from stepwell.events import Event, StartEvent, StopEvent
from support.engine import Drive, Steps


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


collecting = Steps()


@step(workflow=collecting)
def begin(ev: StartEvent) -> A | B: ...


@step(workflow=collecting, num_workers=100)
def join(ev: A | B) -> StopEvent | None: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(collecting.plan())
    drive.start()
    return drive


def comes(run: Drive, event: Event) -> Work:
    """An event arrives; its invocation is running."""
    run.receives(event)
    return run.running("join")[-1]


def joins(run: Drive, event: Event, *expected: type[Event]) -> list[Event] | None:
    """An event arrives, is collected, and its invocation ends."""
    work = comes(run, event)
    collected = run.collects(work, expected)
    run.returns(work)
    return collected


def kept(run: Drive) -> list[Event]:
    return [one.event for buffer in run.state.buffers.values() for one in buffer.kept]


# --- one after the other ---


def test_nothing_is_expected_and_that_is_there_at_once(run: Drive) -> None:
    assert joins(run, A()) == []
    assert kept(run) == []


def test_the_last_event_completes_the_collection(run: Drive) -> None:
    assert joins(run, A(n=1), A, A) is None
    assert joins(run, A(n=2), A, A) == [A(n=1), A(n=2)]
    assert kept(run) == []


def test_events_come_in_the_order_of_what_is_expected(run: Drive) -> None:
    expected = (B, A, A)
    assert joins(run, A(n=1), *expected) is None
    assert joins(run, B(n=2), *expected) is None
    assert joins(run, A(n=3), *expected) == [B(n=2), A(n=1), A(n=3)]


def test_an_event_that_is_not_needed_any_more_is_neither_kept_nor_returned(run: Drive) -> None:
    assert joins(run, A(n=1), B, A) is None
    assert joins(run, A(n=2), B, A) is None
    assert joins(run, B(n=1), B, A) == [B(n=1), A(n=1)]
    assert joins(run, B(n=2), B, A) is None
    assert kept(run) == [B(n=2)]


def test_an_event_that_is_not_expected_is_not_kept(run: Drive) -> None:
    assert joins(run, B(), A, A) is None
    assert kept(run) == []


def test_buffers_are_apart_by_name(run: Drive) -> None:
    one, two = comes(run, A(n=1)), comes(run, A(n=2))
    assert run.collects(one, [A, A], "x") is None
    assert run.collects(two, [A, A], "y") is None
    assert run.collects(comes(run, A(n=3)), [A, A], "x") == [A(n=1), A(n=3)]


def test_what_was_kept_is_there_after_a_crash(run: Drive) -> None:
    joins(run, A(n=1), A, A, A)
    joins(run, A(n=2), A, A, A)
    run.crash()
    assert joins(run, A(n=3), A, A, A) == [A(n=1), A(n=2), A(n=3)]


# --- several at once ---


def test_an_offer_of_a_step_that_is_not_done_is_made_again_after_a_crash(run: Drive) -> None:
    run.collects(comes(run, A(n=1)), [A, A])
    run.crash()
    assert kept(run) == []
    (again,) = run.running("join")
    assert run.collects(again, [A, A]) is None
    assert kept(run) == [A(n=1)]


def test_a_giver_whose_taker_was_done_before_it_does_not_offer_again(run: Drive) -> None:
    giver, taker = comes(run, A(n=1)), comes(run, A(n=2))
    run.collects(giver, [A, A])
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=2)]
    run.returns(taker)
    run.crash()
    (again,) = run.running("join")
    assert run.collects(again, [A, A]) is None
    assert kept(run) == []


def test_what_a_stopped_step_took_is_there_for_its_next_attempt(run: Drive) -> None:
    joins(run, A(n=1), A, A)
    taker = comes(run, A(n=2))
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=2)]
    run.tick(CancelAsked())
    run.tick(RunResumed())
    (again,) = run.running("join")
    assert run.collects(again, [A, A]) == [A(n=1), A(n=2)]


def test_a_giver_and_its_taker_are_stopped_together(run: Drive) -> None:
    giver, taker = comes(run, A(n=1)), comes(run, A(n=2))
    run.collects(giver, [A, A])
    run.collects(taker, [A, A])
    run.crash()
    giver, taker = run.running("join")
    assert run.collects(giver, [A, A]) is None
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=2)]


def interrupted_while_taking(run: Drive) -> Work:
    """A2 took A1; A3 came and was kept; then the process was lost. Returns A2's next attempt."""
    joins(run, A(n=1), A, A)
    run.collects(comes(run, A(n=2)), [A, A])
    joins(run, A(n=3), A, A)
    run.crash()
    (taker,) = run.running("join")
    return taker


def test_nothing_is_lost_when_more_was_kept_than_one_collection_needs(run: Drive) -> None:
    taker = interrupted_while_taking(run)
    assert run.collects(taker, [A, A]) == [A(n=1), A(n=3)]
    run.returns(taker)
    assert joins(run, A(n=4), A, A) == [A(n=2), A(n=4)]


def test_another_event_may_complete_what_a_stopped_step_left(run: Drive) -> None:
    taker = interrupted_while_taking(run)
    assert joins(run, A(n=4), A, A) == [A(n=1), A(n=3)]
    assert run.collects(taker, [A, A]) == [A(n=4), A(n=2)]
    assert kept(run) == []


def test_too_many_of_one_class_do_not_stand_for_another(run: Drive) -> None:
    joins(run, A(n=1), A, B, B)
    joins(run, B(n=2), A, B, B)
    assert run.collects(comes(run, B(n=3)), [A, B, B]) is not None
    joins(run, A(n=4), A, B, B)
    run.crash()
    assert kept(run) == [A(n=1), B(n=2), A(n=4)]
    (taker,) = run.running("join")
    assert run.collects(taker, [A, B, B]) == [A(n=1), B(n=2), B(n=3)]
    assert kept(run) == [A(n=4)]


class Interleaving:
    """Many invocations of a step that collects `needed` events of one class."""

    def __init__(self, needed: int) -> None:
        self.run = Drive(collecting.plan())
        self.run.start()
        self.run.returns(self.run.only("begin"))
        self.came = 0
        self.used: list[list[int]] = []
        self._needed = needed
        self._seen: dict[int, list[Event] | None] = {}

    def come(self, pick: int) -> None:
        comes(self.run, A(n=self.came))
        self.came += 1
        if pick:
            self.collect(pick)

    def collect(self, pick: int) -> None:
        if fresh := [work for work in self.run.running("join") if work.id not in self._seen]:
            work = fresh[pick % len(fresh)]
            self._seen[work.id] = self.run.collects(work, [A] * self._needed)

    def end(self, pick: int) -> None:
        if ready := [work for work in self.run.running("join") if work.id in self._seen]:
            work = ready[pick % len(ready)]
            if collected := self._seen.pop(work.id):
                self.used.append(numbers(collected))
            self.run.returns(work)

    def crash(self, _: int) -> None:
        self.run.crash()
        self._seen.clear()

    def stop(self, _: int) -> None:
        self.run.tick(CancelAsked())
        self.run.tick(RunResumed())
        self._seen.clear()

    def finish(self) -> None:
        while self.run.running("join"):
            self.collect(0)
            self.end(0)


def numbers(events: list[Event]) -> list[int]:
    return [event.n for event in events if isinstance(event, A)]


WEIGHTED = ["come"] * 8 + ["end"] * 6 + ["collect"] * 2 + ["crash", "stop"]
"""With equal chances, crashes would leave hardly anything standing to be lost."""

ACTION = st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 5))


@settings(max_examples=50, deadline=None)
@given(
    needed=st.integers(1, 4),
    actions=st.lists(
        st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 5)), min_size=20, max_size=60
    ),
)
def test_no_event_is_lost_or_used_twice_however_invocations_interleave(
    needed: int, actions: list[tuple[str, int]]
) -> None:
    program = Interleaving(needed)
    for name, pick in actions:
        getattr(program, name)(pick)
    program.finish()
    left = numbers(kept(program.run))
    assert sorted([n for batch in program.used for n in batch] + left) == list(range(program.came))
    assert [len(batch) for batch in program.used] == [needed] * (program.came // needed)
