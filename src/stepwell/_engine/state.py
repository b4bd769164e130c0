"""The state of a run as the engine holds it: live Python objects, and which facts changed.

A *fact* is what one small field of the durable map says: a piece of work, an open stream, an event
that was gathered, how far a loop has come. The engine notes the facts that it changes; the snapshot
module gives them names and text. A run without a checkpointer notes nothing.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

from stepwell.events import Event, StartEvent, StopEvent

__all__ = [
    "Buffer",
    "Buffered",
    "Cursor",
    "Effect",
    "Fact",
    "Gathered",
    "Payload",
    "RunState",
    "Sent",
    "Status",
    "StepQueue",
    "Stream",
    "Work",
]

Payload = Event | list[Event]
Scope = tuple[int, ...]


class Status(StrEnum):
    """Where a run stands. All but the first two are ends; only `COMPLETED` is for good."""

    NEW = "new"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def ended(self) -> bool:
        """Whether nothing runs any more."""
        return self not in (Status.NEW, Status.RUNNING)


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
    """An event that waits in a stream for a step that takes lists."""

    step: str
    event: Event


@dataclass(slots=True)
class Buffered:
    """An event kept by `collect_events`, and the work that brought it."""

    step: str
    buffer: str
    event: Event
    work: int


@dataclass(slots=True)
class Buffer:
    """The events that one `collect_events` waits with, and how many there are of each class."""

    kept: list[Buffered] = field(default_factory=list[Buffered])
    counts: dict[type[Event], int] = field(default_factory=dict[type[Event], int])

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
class Work:
    """One delivery of an event (or of a gathered list) to a step.

    Attributes:
        scope: the streams it belongs to, innermost last.
        attempt: 1 at first; one more each time that its step was interrupted or failed.
        position: how many events its step has sent since it was started or checkpointed.
        sent: the events that it is known to have sent, by position.
        cursors: the durable loops of its step, by name.
        effects: what its step did once, by key.
        offered: what its step put into buffers, by buffer.
        taken: what its step took out of buffers; final only when the step is done.
        settled: buffers whose taker was done before this work was: not to be offered again.
    """

    id: int
    step: str
    payload: Payload
    scope: Scope = ()
    attempt: int = 1
    position: int = 0
    sent: list[Sent] = field(default_factory=list[Sent])
    cursors: dict[str, Cursor] = field(default_factory=dict[str, Cursor])
    effects: dict[str, Effect] = field(default_factory=dict[str, Effect])
    offered: dict[str, Buffered] = field(default_factory=dict[str, Buffered])
    taken: list[Buffered] = field(default_factory=list[Buffered])
    settled: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class StepQueue:
    """The work of one step, first come, first served."""

    waiting: deque[Work] = field(default_factory=deque[Work])
    running: dict[int, Work] = field(default_factory=dict[int, Work])


@dataclass(slots=True)
class Stream:
    """What one list return set in motion, and what came of it for the steps that gather.

    Attributes:
        scope: the streams that the list return itself belonged to.
        open: pieces of work, and inner streams, that are not done yet.
        batches: gathered events by gathering step, in order of arrival.
        fired: gathering steps that have had their list.
        arrived: how many events were gathered, fired ones included.
    """

    id: int
    producer: str
    scope: Scope = ()
    open: int = 0
    batches: dict[str, dict[int, Gathered]] = field(default_factory=dict[str, dict[int, Gathered]])
    fired: set[str] = field(default_factory=set[str])
    arrived: int = 0


Fact = Work | Stream | Gathered | Buffered | Cursor | Effect | Sent


@dataclass(slots=True)
class RunState:
    """All that the engine knows of one run.

    Attributes:
        changed: facts by field name since they were last taken, None for a fact that is no more;
            None instead of the dictionary when nobody keeps them.
    """

    queues: dict[str, StepQueue]
    status: Status = Status.NEW
    input: StartEvent | None = None
    result: StopEvent | None = None
    error: BaseException | None = None
    failed_step: str | None = None
    streams: dict[int, Stream] = field(default_factory=dict[int, Stream])
    buffers: dict[tuple[str, str], Buffer] = field(default_factory=dict[tuple[str, str], Buffer])
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
            yield from chain(queue.running.values(), queue.waiting)

    @property
    def idle(self) -> bool:
        """Whether no step runs and none is about to: only the outside can move the run."""
        return not any(queue.running or queue.waiting for queue in self.queues.values())

    def active_steps(self) -> list[str]:
        """The names of the steps that are running."""
        return [name for name, queue in self.queues.items() if queue.running]

    def note(self, name: str, fact: Fact | None) -> None:
        """Remember that a fact changed, or is no more."""
        if self.changed is not None:
            self.changed[name] = fact
