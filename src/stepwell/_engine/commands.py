"""Commands: everything that the engine asks of the runner."""

from dataclasses import dataclass

from stepwell._engine.state import Work
from stepwell.events import Event

__all__ = ["Command", "Finish", "Halt", "Invoke", "Publish", "Warn"]


@dataclass(slots=True)
class Invoke:
    """Run a step on a piece of work."""

    work: Work


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


Command = Invoke | Publish | Halt | Finish | Warn
