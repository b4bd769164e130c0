"""Commands: everything that the engine asks of the runner."""

from dataclasses import dataclass

from stepwell._engine.state import Waiter, Work
from stepwell._engine.ticks import RetryDue, WaitExpired
from stepwell.events import Event

__all__ = [
    "Command",
    "Finish",
    "Forget",
    "Halt",
    "Invoke",
    "Publish",
    "Queued",
    "Remind",
    "Wake",
    "Warn",
]


@dataclass(slots=True)
class Invoke:
    """Run a step on a piece of work."""

    work: Work


@dataclass(slots=True)
class Wake:
    """Let a step go on in waits that are over: their events are there, or they were given up."""

    work: Work
    waits: tuple[str, ...]


@dataclass(slots=True)
class Remind:
    """Feed this tick after so many seconds."""

    delay: float
    tick: RetryDue | WaitExpired


@dataclass(slots=True)
class Forget:
    """Feed no more what was to be said of this wait: it is over."""

    waiter: Waiter


@dataclass(slots=True)
class Publish:
    """Put an event into the stream of the run."""

    event: Event


@dataclass(slots=True)
class Halt:
    """Cancel all steps that are running, at once."""


@dataclass(slots=True)
class Finish:
    """The run is over: its state says how."""


@dataclass(slots=True)
class Warn:
    """Tell the user's log about something that was ignored."""

    message: str


@dataclass(slots=True)
class Queued:
    """Work waits for a free worker: there is nothing to do but to tell those who watch."""

    work: Work


Command = Invoke | Wake | Remind | Forget | Publish | Halt | Finish | Warn | Queued
