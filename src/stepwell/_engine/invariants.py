"""The laws of a run: what holds between any two ticks, whatever came before.

The tests check all of them after every tick. Each law is a question to the state; its first line
says it.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sized
from dataclasses import dataclass
from itertools import chain

from stepwell._engine.plan import Plan
from stepwell._engine.state import RunState, Status, Waiter, Work
from stepwell._engine.waiting import KEPT_MAX

__all__ = ["Laws", "broken"]


def broken(plan: Plan, state: RunState, *, at_rest: bool = False) -> list[str]:
    """Return the laws that a run breaks, in words.

    Args:
        plan: its workflow.
        state: the run.
        at_rest: it was loaded and not yet started.
    """
    laws = Laws(plan, state)
    other = laws.nothing_waits_for_a_free_worker if at_rest else laws.nothing_runs_yet
    return [law.__doc__ or "" for law in laws.all() if law != other and not law()]


@dataclass(frozen=True)
class Laws:
    """The laws of one run."""

    plan: Plan
    state: RunState

    def all(self) -> list[Callable[[], bool]]:
        """Every law."""
        names = [name for name in vars(Laws) if name != "all" and not name.startswith("_")]
        return [getattr(self, name) for name in names]

    def work_is_in_one_place(self) -> bool:
        """A piece of work is in exactly one place."""
        return _all_different(work.id for work in self.state.works())

    def numbers_are_new(self) -> bool:
        """A number that is given out next was never given out before."""
        state = self.state
        works = (work.id for work in state.works())
        return all(
            number < state.next_id
            for number in chain(works, state.streams, state.kept, state.questions)
        )

    def work_is_with_its_step(self) -> bool:
        """A piece of work is in the queue of its own step, or among the parts of its join."""
        queued = all(
            work.step == name for name, queue in self.state.queues.items() for work in queue.works()
        )
        return queued and all(
            (part.step, part.scope) == key
            for key, parts in self.state.parts.items()
            for part in parts.works()
        )

    def work_is_known_by_its_number(self) -> bool:
        """Work is found under its own number."""
        return all(
            number == work.id
            for queue in self.state.queues.values()
            for places in (queue.running, queue.suspended, queue.delayed)
            for number, work in places.items()
        )

    def nothing_waits_for_a_free_worker(self) -> bool:
        """Work waits only while all workers of its step are busy."""
        return self.state.status is not Status.RUNNING or all(
            len(queue.running) >= self.plan.steps[name].num_workers
            for name, queue in self.state.queues.items()
            if queue.waiting or queue.woken
        )

    def only_what_failed_is_delayed(self) -> bool:
        """What is to be tried again later has failed and says when, and nothing else does."""
        return all(
            (work.failure is not None and work.failure.due is not None)
            == (work.id in self.state.queues[work.step].delayed)
            for work in self.state.works()
        )

    def streams_count_their_pieces(self) -> bool:
        """A stream counts what is open in it, and is closed with its last piece."""
        queued = (work for queue in self.state.queues.values() for work in queue.works())
        inside = [*queued, *self.state.streams.values()]
        return all(
            stream.open == sum(one.scope[-1:] == (stream.id,) for one in inside) > 0
            for stream in self.state.streams.values()
        )

    def streams_are_nested(self) -> bool:
        """The streams around anything are open, each in the next."""
        streams = self.state.streams
        return all(
            one.scope[-1] in streams and streams[one.scope[-1]].scope == one.scope[:-1]
            for one in (*self.state.works(), *streams.values())
            if one.scope
        )

    def a_batch_is_handed_out_once(self) -> bool:
        """A step that has had the list of a stream gathers nothing more of it."""
        streams = self.state.streams.values()
        return all(stream.fired.isdisjoint(stream.batches) for stream in streams)

    def parts_lack_something(self) -> bool:
        """A join that could run has run: each one that is kept has a part, and lacks another."""
        return all(
            any(parts.by_class.values()) and not _has_all(step.joins_on, parts.by_class)
            for (name, _), parts in self.state.parts.items()
            if not (step := self.plan.steps[name]).subclasses
        )

    def suspended_work_waits(self) -> bool:
        """What has no worker because it waits stands in a wait."""
        return all(
            work.begun is not None and work.begun.standing
            for queue in self.state.queues.values()
            for work in queue.suspended.values()
        )

    def open_waits_are_found(self) -> bool:
        """The index of waits has the open waits of unfinished work, and no others."""
        listed = {
            (cls, *key): work.id
            for cls, waits in self.state.waits.items()
            for key, work in waits.entries.items()
        }
        return all(waits.entries for waits in self.state.waits.values()) and listed == {
            (waiter.event_type, work.id, name): work.id
            for work in self.state.works()
            for name, waiter in _waiters(work).items()
            if waiter.is_open
        }

    def steps_stand_in_open_waits(self) -> bool:
        """A step stands only in waits that are open."""
        begun = (work.begun for work in self.state.works() if work.begun is not None)
        return all(
            progress.waiters[name].is_open for progress in begun for name in progress.standing
        )

    def held_work_can_go_on(self) -> bool:
        """A step that stands in a wait is suspended, or has its event and waits for a worker."""
        queues = self.state.queues.values()
        elsewhere = (
            work
            for queue in queues
            for work in (*queue.running.values(), *queue.waiting, *queue.delayed.values())
        )
        woken = (work for queue in queues for work in queue.woken)
        return not any(work.is_held for work in elsewhere) and all(
            work.is_held and _is_answered(work) for work in woken
        )

    def parts_only_wait(self) -> bool:
        """A part of a join never runs by itself: it has one event, and was never tried."""
        return not any(
            isinstance(part.payload, list) or part.failure or _waiters(part) or part.is_held
            for parts in self.state.parts.values()
            for part in parts.works()
        )

    def unfinished_work_is_not_done(self) -> bool:
        """What is still to be done is not done."""
        return not any(work.is_done for work in self.state.works())

    def batches_are_for_steps_that_gather(self) -> bool:
        """What a stream gathered is for a step that takes lists of it, and is counted."""
        return all(
            batch
            and self.plan.steps[name].gathers
            and all(one.step == name and number <= stream.arrived for number, one in batch.items())
            for stream in self.state.streams.values()
            for name, batch in stream.batches.items()
        )

    def takers_get_what_they_asked_for(self) -> bool:
        """A step that takes the first n of a stream has them as soon as they are there."""
        return all(
            (take := self.plan.steps[name].take) is None or len(batch) < take
            for stream in self.state.streams.values()
            for name, batch in stream.batches.items()
        )

    def buffers_count_their_events(self) -> bool:
        """A buffer counts what it keeps by class, and keeps something."""
        return all(
            buffer.kept
            and Counter({cls: n for cls, n in buffer.counts.items() if n})
            == Counter(type(one.event) for one in buffer.kept)
            and all((one.step, one.buffer) == key for one in buffer.kept)
            for key, buffer in self.state.buffers.items()
        )

    def an_offer_is_in_one_place(self) -> bool:
        """An event that was offered is in one buffer, or was taken by one step."""
        kept = (one for buffer in self.state.buffers.values() for one in buffer.kept)
        begun = (work.begun for work in self.state.works() if work.begun is not None)
        taken = (one for progress in begun for one in progress.taken)
        return _all_different((one.work, one.position) for one in chain(kept, taken))

    def recoveries_are_within_the_budget(self) -> bool:
        """An error handler is called no more often on one line of events than it may be."""
        lineages = [
            *(work.lineage.recoveries for work in self.state.works()),
            *(stream.lineage.recoveries for stream in self.state.streams.values()),
        ]
        return all(
            0 < count <= self.plan.steps[handler].max_recoveries
            for recoveries in lineages
            for handler, count in recoveries.items()
        )

    def what_is_kept_is_bounded(self) -> bool:
        """Events that nobody took, and questions, do not pile up."""
        return len(self.state.kept) <= KEPT_MAX and len(self.state.questions) <= KEPT_MAX

    def a_completed_run_is_empty(self) -> bool:
        """Of a completed run nothing is left to do."""
        state = self.state
        left = (state.streams, state.buffers, state.parts, state.waits, state.kept, state.questions)
        return state.status is not Status.COMPLETED or not (
            list(state.works()) or any(left) or state.time_left
        )

    def an_ended_run_stands_still(self) -> bool:
        """Nothing of a run that has ended runs."""
        running = any(queue.running for queue in self.state.queues.values())
        return not (self.state.status.ended and running)

    def only_the_end_of_time_ends_a_sleep(self) -> bool:
        """A sleep says when it ends, and no event answers it."""
        return all(
            waiter.deadline is not None and waiter.answer is None and waiter.question is None
            for work in self.state.works()
            for waiter in _waiters(work).values()
            if waiter.event_type is None
        )

    def nothing_runs_yet(self) -> bool:
        """Nothing of a run that was only loaded runs, or stands anywhere in its step."""
        return not any(
            queue.running or queue.suspended or queue.woken for queue in self.state.queues.values()
        )


def _all_different(numbers: Iterable[Hashable]) -> bool:
    listed = list(numbers)
    return len(set(listed)) == len(listed)


def _waiters(work: Work) -> Mapping[str, Waiter]:
    return work.begun.waiters if work.begun is not None else {}


def _is_answered(work: Work) -> bool:
    return any(not waiter.is_open for waiter in _waiters(work).values())


def _has_all(wanted: tuple[type, ...], have: Mapping[type, Sized]) -> bool:
    return all(wanted.count(cls) <= len(have.get(cls, ())) for cls in wanted)
