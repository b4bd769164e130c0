"""The state of a run as the engine holds it: live Python objects, and which facts changed.

A *fact* is what one small field of the durable map says: a piece of work, an open stream, an event
that was gathered, how far a loop has come. The engine notes the facts that it changes; the snapshot
module gives them names and text. A run without a checkpointer notes nothing.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

from stepwell._empty import empty
from stepwell._engine.matching import Index
from stepwell.events import Event, StartEvent, StopEvent

__all__ = [
    "ROOT",
    "Buffer",
    "Buffered",
    "Cursor",
    "Effect",
    "Fact",
    "Failure",
    "Gathered",
    "Kept",
    "Lineage",
    "Parts",
    "Payload",
    "Progress",
    "Question",
    "RunState",
    "Scope",
    "Sent",
    "Status",
    "StepQueue",
    "Stream",
    "TimeLeft",
    "Waiter",
    "Work",
]

Payload = Event | list[Event]
Scope = tuple[int, ...]


class Status(StrEnum):
    """Where a run stands. Of the ends only `COMPLETED` is for good."""

    NEW = "new"
    PENDING = "pending"
    """Somebody asked for it, and nobody has begun it."""
    RUNNING = "running"
    BLOCKED = "blocked"
    """Set aside until code comes that can go on with it."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    QUARANTINED = "quarantined"
    """Set aside because it kills its workers, until somebody starts it again."""

    @property
    def ended(self) -> bool:
        """Whether nothing runs any more."""
        return self not in _GOES_ON


_GOES_ON = frozenset({Status.NEW, Status.PENDING, Status.RUNNING, Status.BLOCKED})


@dataclass(frozen=True, slots=True)
class Lineage:
    """What an event inherits from the work that made it.

    Attributes:
        scope: the streams that it belongs to, innermost last.
        recoveries: how often each error handler was called on the way to it.
    """

    scope: Scope = ()
    recoveries: Mapping[str, int] = field(default_factory=empty(dict[str, int]))

    def joined(self, others: Iterable[Mapping[str, int]]) -> "Lineage":
        """The lineage of what several lines of one scope lead to: the recoveries of all count."""
        recoveries = dict(self.recoveries)
        for other in others:
            for handler, count in other.items():
                recoveries[handler] = max(count, recoveries.get(handler, 0))
        return Lineage(self.scope, recoveries) if recoveries else self


ROOT = Lineage()
"""Of what comes from outside of the run."""


@dataclass(slots=True)
class Cursor:
    """How far a durable loop of a step has come; `digest` tells its items from others."""

    digest: str
    done: int


@dataclass(slots=True)
class Effect:
    """What a step did once: with its result when it is done, else only the intention."""

    done: bool
    result: Any = None


@dataclass(slots=True)
class Sent:
    """An event that a running step sent; `digest` tells it from another one."""

    digest: str


@dataclass(slots=True)
class Gathered:
    """An event that a stream gathers for a step that takes lists, until that step is done."""

    step: str
    event: Event
    recoveries: Mapping[str, int]


@dataclass(slots=True, eq=False)
class Buffered:
    """An event kept by `collect_events`, and the work that offered it as its n-th.

    Attributes:
        giver: that work; None if it was done in an earlier life of the run.
    """

    step: str
    buffer: str
    event: Event
    work: int
    position: int
    giver: "Work | None" = field(default=None, compare=False, repr=False)

    @property
    def stands(self) -> bool:
        """Whether no step will offer it again."""
        giver = self.giver
        return giver is None or giver.is_done or self.position in giver.progress.settled


@dataclass(slots=True)
class Kept:
    """An event that nobody took: a wait that begins later may be for it."""

    event: Event


@dataclass(slots=True)
class Question:
    """An event that asks a human for something, as long as no answer has come."""

    event: Event


@dataclass(slots=True)
class Waiter:
    """A wait of a step for an event, or for nothing but time.

    Attributes:
        event_type: the class of the event; None if the step sleeps until the deadline.
        requirements: attributes that the event must have; None if they could not be stored: they
            are known again when the step has come back to the wait.
        question: what was published when the wait began.
        deadline: when it is given up, or slept enough, in seconds of Unix time.
        answer: the event, once it is there.
        is_sole: no other wait was answered by that event.
        is_read: the step has had it.
        expired: its deadline has passed.
    """

    event_type: type[Event] | None
    requirements: Mapping[str, Any] | None
    question: Event | None = None
    deadline: float | None = None
    answer: Event | None = None
    is_sole: bool = False
    is_read: bool = False
    expired: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is still waited for."""
        return self.answer is None and not self.expired


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How long a run may still work, in seconds.

    Attributes:
        at: since when that time runs on while nobody executes the run, in seconds of Unix time;
            None if it stands still then.
    """

    left: float
    at: float | None = None

    def after(self, now: float) -> float:
        """What is left of it when somebody executes the run again."""
        return max(0.0, self.left - max(0.0, now - self.at) if self.at is not None else self.left)


@dataclass(frozen=True, slots=True)
class Failure:
    """The failed attempts of one piece of work. All times are seconds of Unix time.

    Attributes:
        count: how many there were.
        error: that of the last one.
        began: when the first one began.
        at: when the last one failed.
        due: when the next attempt is to start, as long as that lies ahead.
    """

    count: int
    error: Exception
    began: float
    at: float
    due: float | None = None


@dataclass(slots=True)
class Buffer:
    """The events that one `collect_events` waits with, and how many there are of each class."""

    kept: list[Buffered] = field(default_factory=empty(list[Buffered]))
    counts: dict[type[Event], int] = field(default_factory=empty(dict[type[Event], int]))

    def add(self, one: Buffered) -> None:
        """Keep one more event."""
        cls = type(one.event)
        self.counts[cls] = self.counts.get(cls, 0) + 1
        self.kept.append(one)

    def remove(self, one: Buffered) -> None:
        """Give one event back."""
        self.counts[type(one.event)] -= 1
        self.kept.remove(one)

    def holds(self, expected: Sequence[type[Event]]) -> bool:
        """Whether all that is expected is there.

        More may be there: what a stopped step had taken is put back beside what came after it.
        """
        return len(self.kept) >= len(expected) and all(
            self.counts.get(cls, 0) >= number for cls, number in Counter(expected).items()
        )

    def take(self, expected: Sequence[type[Event]]) -> list[Buffered]:
        """Take out what is expected, in that order; of each class those that came first."""
        by_class: dict[type[Event], deque[Buffered]] = {}
        for one in self.kept:
            by_class.setdefault(type(one.event), deque()).append(one)
        taken = [by_class[cls].popleft() for cls in expected]
        gone = {id(one) for one in taken}
        self.kept = [one for one in self.kept if id(one) not in gone]
        self.counts = {cls: len(rest) for cls, rest in by_class.items()}
        return taken


@dataclass(slots=True)
class Progress:
    """What a step has done so far for one piece of work; most steps just return.

    Attributes:
        position: how many events it has sent since it was started or checkpointed.
        sent: the events that it is known to have sent, by position.
        cursors: its durable loops, by name.
        effects: what it did once, by key.
        waiters: what it waited for, or still does, by name.
        standing: the waits that it stands in, here and now.
        over: those that have ended since it was last told.
        offers: how many events it has offered to buffers since it was started.
        offered: those that were kept, by position.
        taken: what it took out of buffers; final only when it is done.
        settled: offers that are out of its hands though it is not done: not to be made again.
    """

    position: int = 0
    sent: list[Sent] = field(default_factory=empty(list[Sent]))
    cursors: dict[str, Cursor] = field(default_factory=empty(dict[str, Cursor]))
    effects: dict[str, Effect] = field(default_factory=empty(dict[str, Effect]))
    waiters: dict[str, Waiter] = field(default_factory=empty(dict[str, Waiter]))
    standing: set[str] = field(default_factory=empty(set[str]))
    over: list[str] = field(default_factory=empty(list[str]))
    offers: int = 0
    offered: dict[int, Buffered] = field(default_factory=empty(dict[int, Buffered]))
    taken: list[Buffered] = field(default_factory=empty(list[Buffered]))
    settled: set[int] = field(default_factory=empty(set[int]))


@dataclass(slots=True, eq=False)
class Work:
    """One delivery to a step: of an event, of a gathered list, or of the events of a join.

    Attributes:
        payload: an event, or events in order of arrival.
        stream: the stream whose list it has.
        batch: what that stream gathered for it, by number: its payload, and what is stored of that.
        attempt: 1 at first; one more each time that its step was interrupted or failed.
        failure: its failed attempts, if there were any.
        is_held: its step stands in a wait, here and now, and goes on from there.
        is_done: its step has returned, or its error was handed over.
        begun: its progress, if there is any to speak of.
    """

    id: int
    step: str
    payload: Payload
    lineage: Lineage = ROOT
    stream: int | None = None
    attempt: int = 1
    failure: Failure | None = None
    is_held: bool = False
    is_done: bool = False
    begun: Progress | None = None
    batch: "dict[int, Gathered] | None" = None

    @property
    def progress(self) -> Progress:
        """What its step has done so far."""
        if self.begun is None:
            self.begun = Progress()
        return self.begun

    def gather(self, number: int, gathered: "Gathered") -> None:
        """Put what is stored of its payload into it, in the order of the numbers."""
        assert isinstance(self.payload, list)  # noqa: S101  a list was gathered
        assert self.batch is not None  # noqa: S101  as above
        self.batch[number] = gathered
        self.payload.append(gathered.event)

    def facts(self) -> "Iterator[tuple[str, Fact]]":
        """All that is noted about it, by field name."""
        yield f"work:{self.id}", self
        for number, gathered in (self.batch or {}).items():
            yield f"join:{self.stream}:{number}", gathered
        if self.begun is None:
            return
        for position, sent in enumerate(self.begun.sent):
            yield f"sent:{self.id}:{position}", sent
        for name, cursor in self.begun.cursors.items():
            yield f"each:{self.id}:{name}", cursor
        for key, effect in self.begun.effects.items():
            yield f"once:{self.id}:{key}", effect
        for name, waiter in self.begun.waiters.items():
            yield f"wait:{self.id}:{name}", waiter

    @property
    def scope(self) -> Scope:
        """The streams that it belongs to, innermost last."""
        return self.lineage.scope


@dataclass(slots=True)
class StepQueue:
    """The work of one step, first come, first served.

    Attributes:
        waiting: for a free worker.
        running: by id; each has a worker.
        suspended: whose steps wait for events, or sleep; they have no worker.
        woken: whose waits are over; they are first in line for a worker.
        delayed: whose steps failed, and are to be tried again later.
    """

    waiting: deque[Work] = field(default_factory=empty(deque[Work]))
    running: dict[int, Work] = field(default_factory=empty(dict[int, Work]))
    suspended: dict[int, Work] = field(default_factory=empty(dict[int, Work]))
    woken: list[Work] = field(default_factory=empty(list[Work]))
    delayed: dict[int, Work] = field(default_factory=empty(dict[int, Work]))

    def works(self) -> Iterator[Work]:
        """All of it, what runs first."""
        return chain(
            self.running.values(),
            self.woken,
            self.waiting,
            self.delayed.values(),
            self.suspended.values(),
        )

    def holds(self, work: Work) -> bool:
        """Whether the step of this work is running, or stands in a wait."""
        return work.id in self.running or work.id in self.suspended or work.is_held

    def release(self, work: Work) -> None:
        """Let go of work whose step left; it may have left a wait open behind it."""
        if not (self.running.pop(work.id, None) or self.suspended.pop(work.id, None)):
            self.woken.remove(work)
        work.is_held = False

    def clear(self) -> None:
        """Forget all of it."""
        self.waiting.clear()
        self.woken.clear()
        for works in (self.running, self.suspended, self.delayed):
            works.clear()


@dataclass(slots=True)
class Parts:
    """The events that a step with several event parameters has so far, by class.

    Each is a piece of work of its own, until the join is complete and one work has them all.
    """

    by_class: dict[type[Event], deque[Work]] = field(
        default_factory=empty(dict[type[Event], deque[Work]])
    )

    def add(self, part: Work) -> None:
        """Keep one more."""
        self.by_class.setdefault(type(part.payload), deque()).append(part)  # type: ignore[arg-type]  a part has one event

    def works(self) -> Iterator[Work]:
        """All that are there."""
        return chain.from_iterable(self.by_class.values())


@dataclass(slots=True)
class Stream:
    """What one list return set in motion, and what came of it for the steps that gather.

    Attributes:
        lineage: of the list return itself.
        open: pieces of work, and inner streams, that are not done yet.
        batches: gathered events by gathering step, in order of arrival.
        fired: gathering steps that have had their list.
        arrived: how many events were gathered, fired ones included.
    """

    id: int
    producer: str
    lineage: Lineage = ROOT
    open: int = 0
    batches: dict[str, dict[int, Gathered]] = field(
        default_factory=empty(dict[str, dict[int, Gathered]])
    )
    fired: set[str] = field(default_factory=empty(set[str]))
    arrived: int = 0

    @property
    def scope(self) -> Scope:
        """The streams around it, innermost last."""
        return self.lineage.scope


Fact = (
    Work
    | Stream
    | Gathered
    | Buffered
    | Cursor
    | Effect
    | Sent
    | Waiter
    | Kept
    | Question
    | TimeLeft
)


@dataclass(slots=True)
class RunState:
    """All that the engine knows of one run.

    Attributes:
        parts: incomplete joins, by step and streams.
        waits: the open waits, by the class of the event, None for sleeps: a step's work and the
            name of its waiter.
        kept: events that nobody has taken, by number.
        questions: what humans were asked and have not answered, by number.
        time_left: of a run that has a time-out; None if that has not been noted yet.
        changed: facts by field name since they were last taken, None for a fact that is no more;
            None instead of the dictionary when nobody keeps them.
    """

    queues: dict[str, StepQueue]
    status: Status = Status.NEW
    input: StartEvent | None = None
    result: StopEvent | None = None
    error: BaseException | None = None
    failed_step: str | None = None
    streams: dict[int, Stream] = field(default_factory=empty(dict[int, Stream]))
    buffers: dict[tuple[str, str], Buffer] = field(
        default_factory=empty(dict[tuple[str, str], Buffer])
    )
    parts: dict[tuple[str, Scope], Parts] = field(
        default_factory=empty(dict[tuple[str, Scope], Parts])
    )
    waits: dict[type[Event] | None, Index[tuple[int, str], Work]] = field(
        default_factory=empty(dict[type[Event] | None, Index[tuple[int, str], Work]])
    )
    kept: dict[int, Kept] = field(default_factory=empty(dict[int, Kept]))
    questions: dict[int, Question] = field(default_factory=empty(dict[int, Question]))
    time_left: TimeLeft | None = None
    next_id: int = 1
    changed: dict[str, Fact | None] | None = None

    @classmethod
    def of_steps(cls, steps: list[str]) -> "RunState":
        """A run in which nothing has happened yet."""
        return cls(queues={name: StepQueue() for name in steps})

    def new_id(self) -> int:
        """A number that no work and no stream of this run had before."""
        self.next_id += 1
        return self.next_id - 1

    def works(self) -> Iterator[Work]:
        """All work that is not done, in order of arrival within each step."""
        for queue in self.queues.values():
            yield from queue.works()
        for parts in self.parts.values():
            yield from parts.works()

    @property
    def rests(self) -> bool:
        """Whether no step runs outside of its waits: only time or the outside can move the run."""
        for queue in self.queues.values():  # `any` takes twice as long, and this is asked often
            if queue.running or queue.woken or queue.waiting:
                return False
        return True

    @property
    def idle(self) -> bool:
        """Whether no step runs, and none will after a while: only the outside can move the run."""
        return (
            None not in self.waits
            and self.rests
            and not any(queue.delayed for queue in self.queues.values())
        )

    @property
    def expects_answer(self) -> bool:
        """Whether somebody outside was asked for something, or a step waits for an event."""
        return bool(self.questions) or len(self.waits) > (None in self.waits)

    def clear(self) -> None:
        """Forget everything that was still to come."""
        for queue in self.queues.values():
            queue.clear()
        for facts in (self.streams, self.buffers, self.parts, self.waits, self.kept):
            facts.clear()
        self.questions.clear()
        self.time_left = None

    def active_steps(self) -> list[str]:
        """The names of the steps that are running."""
        return [name for name, queue in self.queues.items() if queue.running]

    def note(self, name: str, fact: Fact | None) -> None:
        """Remember that a fact changed, or is no more."""
        if self.changed is not None:
            self.changed[name] = fact
