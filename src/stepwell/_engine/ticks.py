"""Ticks: everything that can happen to a run. The engine learns of nothing else."""

from dataclasses import dataclass

from stepwell._engine.state import Waiter, Work
from stepwell.events import Event, StartEvent

__all__ = [
    "CancelAsked",
    "EventArrived",
    "EventSent",
    "RetryDue",
    "RunResumed",
    "RunStarted",
    "StepFailed",
    "StepReturned",
    "StepSuspended",
    "Tick",
    "TimedOut",
    "WaitBegun",
    "WaitDropped",
    "WaitExpired",
]


@dataclass(slots=True)
class RunStarted:
    """A new run was asked for."""

    event: StartEvent


@dataclass(slots=True)
class RunResumed:
    """A run that was interrupted, given back or ended goes on with the work that was left.

    `now` is Unix time in seconds, here and in all ticks. `interrupted` says whether the run was
    stopped in the middle of its steps, if it was not ended; None if it was, unless it is set aside.
    """

    now: float = 0.0
    interrupted: bool | None = None


@dataclass(slots=True)
class EventArrived:
    """An event came from outside the run; `step` names its only receiver, None all that take it."""

    event: Event
    step: str | None = None


@dataclass(slots=True)
class EventSent:
    """A running step sent an event; `digest` is given where sends must survive their sender."""

    work: Work
    event: Event
    step: str | None = None
    digest: str | None = None


@dataclass(slots=True)
class StepReturned:
    """A step ended well; `fanned_out` if its events came as a list."""

    work: Work
    events: list[Event]
    fanned_out: bool = False


@dataclass(slots=True)
class StepFailed:
    """A step raised, after `took` seconds; `seed` makes chance in a retry policy repeatable."""

    work: Work
    error: Exception
    now: float = 0.0
    took: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class RetryDue:
    """A step that failed is to be tried again."""

    work: Work


@dataclass(slots=True)
class WaitBegun:
    """A running step waits for an event, or sleeps; `timeout` is in seconds, None for ever."""

    work: Work
    name: str
    waiter: Waiter
    timeout: float | None = None


@dataclass(slots=True)
class WaitExpired:
    """A step has waited for as long as it wanted to; `waiter` tells the wait from later ones."""

    work: Work
    name: str
    waiter: Waiter


@dataclass(slots=True)
class WaitDropped:
    """A step stopped waiting by itself, and goes on."""

    work: Work
    name: str


@dataclass(slots=True)
class StepSuspended:
    """A step that waits has left: it is to be run again when its event is there."""

    work: Work


@dataclass(slots=True)
class TimedOut:
    """The run used up its time, in seconds."""

    timeout: float


@dataclass(slots=True)
class CancelAsked:
    """Somebody wants the run to end."""


Tick = (
    RunStarted
    | RunResumed
    | EventArrived
    | EventSent
    | StepReturned
    | StepFailed
    | StepSuspended
    | RetryDue
    | WaitBegun
    | WaitExpired
    | WaitDropped
    | TimedOut
    | CancelAsked
)
