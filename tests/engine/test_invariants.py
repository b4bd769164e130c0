"""The laws of a run can be broken, each of them: a law that nothing breaks says nothing."""

from collections.abc import Callable
from typing import Annotated

import pytest

from stepwell._engine.invariants import Laws, broken
from stepwell._engine.state import (
    Buffer,
    Buffered,
    Failure,
    Gathered,
    Kept,
    Lineage,
    Parts,
    RunState,
    Status,
    Stream,
    Waiter,
    Work,
)
from stepwell._engine.waiting import KEPT_MAX, open_wait
from stepwell.collect import Collect, Take
from stepwell.decorators import catch_error, step
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent
from support.engine import Drive, Steps


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


program = Steps()


@step(workflow=program)
def begin(ev: StartEvent) -> list[A]: ...


@step(workflow=program, num_workers=1)
def part(ev: A) -> B | None: ...


@step(workflow=program)
def pair(a: A, b: B) -> StopEvent | None: ...


@step(workflow=program)
def gathers(ev: Annotated[list[B], Collect(Take(2))]) -> None: ...


class Handlers:
    @catch_error
    def wild(self, ev: StepFailedEvent) -> None: ...


program.add_class(Handlers)
PLAN = program.plan()
FAILED = Failure(1, ValueError("no"), 0.0, 0.0)

Break = Callable[[RunState], None]
BREAKS: dict[str, list[Break]] = {}


def breaks(law: Callable[[Laws], bool], *, at_rest: bool = False) -> Callable[[Break], Break]:
    """The function breaks this law, in a run that is at work or in one that was only loaded."""

    def add(function: Break) -> Break:
        function.__dict__["at_rest"] = at_rest
        BREAKS.setdefault(law.__name__, []).append(function)
        return function

    return add


def busy() -> RunState:
    """A run in a stream: one piece of work runs, one waits for a worker, a join has a part."""
    run = Drive(PLAN)
    run.start()
    run.fans_out(run.only("begin"), A(n=1), A(n=2))
    return run.state


def working(state: RunState) -> Work:
    (work,) = state.queues["part"].running.values()
    return work


def lined_up(state: RunState) -> Work:
    return state.queues["part"].waiting[0]


def suspended(state: RunState) -> Work:
    """Let the step that runs stand in a wait."""
    work = working(state)
    del state.queues["part"].running[work.id]
    state.queues["part"].suspended[work.id] = work
    work.is_held = True
    work.progress.waiters["w"] = Waiter(B, {})
    open_wait(state, work, "w")
    work.progress.standing.add("w")
    return work


def stream(state: RunState) -> Stream:
    (only,) = state.streams.values()
    return only


@breaks(Laws.work_is_in_one_place)
def two_places(state: RunState) -> None:
    state.queues["part"].waiting.append(working(state))


@breaks(Laws.numbers_are_new)
def an_old_number(state: RunState) -> None:
    state.next_id = working(state).id


@breaks(Laws.numbers_are_new)
def an_old_number_of_a_kept_event(state: RunState) -> None:
    state.kept[99] = Kept(A())


@breaks(Laws.work_is_with_its_step)
def work_of_another_step(state: RunState) -> None:
    working(state).step = "begin"


@breaks(Laws.work_is_with_its_step)
def a_part_of_another_stream(state: RunState) -> None:
    ((_, scope), parts), *_ = state.parts.items()
    state.parts = {("pair", (*scope, 77)): parts}


@breaks(Laws.work_is_known_by_its_number)
def work_under_another_number(state: RunState) -> None:
    queue = state.queues["part"]
    queue.running = {98: working(state)}


@breaks(Laws.nothing_waits_for_a_free_worker)
def an_idle_worker(state: RunState) -> None:
    queue = state.queues["part"]
    queue.waiting.append(queue.running.popitem()[1])


@breaks(Laws.only_what_failed_is_delayed)
def delayed_without_failure(state: RunState) -> None:
    queue = state.queues["part"]
    work = queue.waiting.popleft()
    queue.delayed[work.id] = work


@breaks(Laws.only_what_failed_is_delayed)
def due_but_not_delayed(state: RunState) -> None:
    lined_up(state).failure = Failure(1, ValueError("no"), 0.0, 0.0, due=5.0)


@breaks(Laws.streams_count_their_pieces)
def a_stream_that_lost_count(state: RunState) -> None:
    stream(state).open += 1


@breaks(Laws.streams_count_their_pieces)
def a_stream_without_work(state: RunState) -> None:
    state.streams[99] = Stream(99, "begin")


@breaks(Laws.streams_are_nested)
def work_of_a_stream_that_is_gone(state: RunState) -> None:
    state.streams.clear()


@breaks(Laws.streams_are_nested)
def a_stream_in_another_one_than_its_work_says(state: RunState) -> None:
    stream(state).lineage = Lineage((55,))


@breaks(Laws.a_batch_is_handed_out_once)
def gathered_after_the_list_was_given(state: RunState) -> None:
    stream(state).fired.add("gathers")
    stream(state).batches["gathers"] = {}


@breaks(Laws.batches_are_for_steps_that_gather)
def gathered_for_a_step_that_takes_no_lists(state: RunState) -> None:
    stream(state).arrived = 1
    stream(state).batches["part"] = {1: Gathered("part", B(), {})}


@breaks(Laws.batches_are_for_steps_that_gather)
def an_empty_batch(state: RunState) -> None:
    stream(state).batches["gathers"] = {}


@breaks(Laws.batches_are_for_steps_that_gather)
def gathered_and_not_counted(state: RunState) -> None:
    stream(state).batches["gathers"] = {1: Gathered("gathers", B(), {})}


@breaks(Laws.takers_get_what_they_asked_for)
def a_list_that_was_complete_and_not_given(state: RunState) -> None:
    stream(state).arrived = 2
    gathered = {n: Gathered("gathers", B(), {}) for n in (1, 2)}
    stream(state).batches["gathers"] = gathered


@breaks(Laws.parts_lack_something)
def a_join_that_is_complete(state: RunState) -> None:
    (key,) = state.parts
    state.parts[key].add(Work(1000, "pair", B(), Lineage(key[1])))


@breaks(Laws.parts_lack_something)
def a_join_without_parts(state: RunState) -> None:
    state.parts["pair", ()] = Parts()


@breaks(Laws.parts_only_wait)
def a_part_that_failed(state: RunState) -> None:
    (parts,) = state.parts.values()
    next(parts.works()).failure = FAILED


@breaks(Laws.suspended_work_waits)
def suspended_for_nothing(state: RunState) -> None:
    suspended(state).progress.standing.clear()


@breaks(Laws.open_waits_are_found)
def a_wait_that_nobody_finds(state: RunState) -> None:
    suspended(state)
    state.waits.clear()


@breaks(Laws.open_waits_are_found)
def a_wait_that_is_found_though_it_is_over(state: RunState) -> None:
    suspended(state).progress.waiters["w"].answer = B()


@breaks(Laws.open_waits_are_found)
def a_wait_that_is_found_under_another_class(state: RunState) -> None:
    suspended(state)
    state.waits = {A: state.waits[B]}


@breaks(Laws.held_work_can_go_on)
def held_and_running(state: RunState) -> None:
    working(state).is_held = True


@breaks(Laws.held_work_can_go_on)
def held_in_line_without_an_answer(state: RunState) -> None:
    lined_up(state).is_held = True


@breaks(Laws.unfinished_work_is_not_done)
def done_and_running(state: RunState) -> None:
    working(state).is_done = True


@breaks(Laws.buffers_count_their_events)
def a_buffer_that_lost_count(state: RunState) -> None:
    buffer = state.buffers["part", "x"] = Buffer()
    buffer.add(Buffered("part", "x", A(), 1, 0))
    buffer.counts[A] = 2


@breaks(Laws.buffers_count_their_events)
def an_empty_buffer(state: RunState) -> None:
    state.buffers["part", "x"] = Buffer()


@breaks(Laws.buffers_count_their_events)
def a_buffer_of_another_step(state: RunState) -> None:
    state.buffers["part", "x"] = Buffer()
    state.buffers["part", "x"].add(Buffered("begin", "x", A(), 1, 0))


@breaks(Laws.an_offer_is_in_one_place)
def kept_and_taken(state: RunState) -> None:
    one = Buffered("part", "x", A(), 1, 0)
    state.buffers["part", "x"] = Buffer()
    state.buffers["part", "x"].add(one)
    working(state).progress.taken = [one]


@breaks(Laws.recoveries_are_within_the_budget)
def a_handler_that_was_called_too_often(state: RunState) -> None:
    working(state).lineage = Lineage(working(state).scope, {"wild": 2})


@breaks(Laws.recoveries_are_within_the_budget)
def a_stream_of_a_handler_that_was_called_too_often(state: RunState) -> None:
    stream(state).lineage = Lineage((), {"wild": 2})


@breaks(Laws.what_is_kept_is_bounded)
def too_many_kept_events(state: RunState) -> None:
    state.kept = {-n: Kept(A()) for n in range(KEPT_MAX + 1)}


@breaks(Laws.a_completed_run_is_empty)
def work_in_a_completed_run(state: RunState) -> None:
    state.status = Status.COMPLETED


@breaks(Laws.a_completed_run_is_empty)
def a_buffer_in_a_completed_run(state: RunState) -> None:
    state.clear()
    state.status = Status.COMPLETED
    state.buffers["part", "x"] = Buffer()


@breaks(Laws.an_ended_run_stands_still)
def a_failed_run_that_runs(state: RunState) -> None:
    state.status = Status.FAILED


@breaks(Laws.nothing_runs_yet, at_rest=True)
def a_loaded_run_that_runs(state: RunState) -> None:
    assert working(state)


@breaks(Laws.nothing_runs_yet, at_rest=True)
def a_wait_that_stands_although_the_run_was_only_loaded(state: RunState) -> None:
    suspended(state)


@breaks(Laws.steps_stand_in_open_waits)
def standing_in_a_wait_that_is_over(state: RunState) -> None:
    suspended(state).progress.waiters["w"].expired = True


@breaks(Laws.only_the_end_of_time_ends_a_sleep)
def a_sleep_that_an_event_ended(state: RunState) -> None:
    working(state).progress.waiters["s"] = Waiter(None, None, None, 1.0, answer=A())


@breaks(Laws.only_the_end_of_time_ends_a_sleep)
def a_sleep_without_end(state: RunState) -> None:
    work = working(state)
    work.progress.waiters["s"] = Waiter(None, None)
    open_wait(state, work, "s")


@breaks(Laws.held_work_can_go_on)
def woken_without_an_answer(state: RunState) -> None:
    work = suspended(state)
    queue = state.queues[work.step]
    queue.woken.append(queue.suspended.pop(work.id))


CASES = [(law, function) for law, functions in BREAKS.items() for function in functions]


def test_the_run_that_is_broken_was_whole() -> None:
    assert broken(PLAN, busy()) == []


@pytest.mark.parametrize(
    ("law", "damage"), [pytest.param(*case, id=case[1].__name__) for case in CASES]
)
def test_a_broken_law_is_told(law: str, damage: Break) -> None:
    state = busy()
    damage(state)
    told = broken(PLAN, state, at_rest=damage.__dict__["at_rest"])
    assert getattr(Laws, law).__doc__ in told


def test_every_law_can_be_broken() -> None:
    laws = Laws(PLAN, busy()).all()
    assert {law.__name__ for law in laws} == {*BREAKS}
