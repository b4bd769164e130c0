"""Ticks: everything that can happen to a run. The engine learns of nothing else."""

from dataclasses import dataclass

from stepwell._engine.state import Work
from stepwell.events import Event, StartEvent

__all__ = [
    "CancelAsked",
    "EventArrived",
    "EventSent",
    "RunResumed",
    "RunStarted",
    "StepFailed",
    "StepReturned",
    "Tick",
    "TimedOut",
]


@dataclass(slots=True)
class RunStarted:
    """A new run was asked for."""

    event: StartEvent


@dataclass(slots=True)
class RunResumed:
    """A run that was interrupted, or failed, goes on with the work that was left."""


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
    """A step raised."""

    work: Work
    error: BaseException


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
    | TimedOut
    | CancelAsked
)
