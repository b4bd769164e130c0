"""How a run ended."""

from dataclasses import dataclass
from typing import Any

from stepwell.events import StopEvent

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last event of a run and, if it did not complete, the error that its handler raises."""

    event: StopEvent | None
    error: BaseException | None = None

    def result(self) -> Any:
        """The result of the run: of a plain StopEvent what it carries, else the event itself.

        Raises:
            BaseException: the error that ended the run.
        """
        if self.error is not None:
            raise self.error
        if type(self.event) is StopEvent:
            return self.event.result
        return self.event
