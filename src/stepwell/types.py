"""Type variables that users of the library name in their own annotations."""

from typing import Any

from typing_extensions import TypeVar

from stepwell.events import StopEvent

__all__ = ["RunResultT", "StopEventT"]

StopEventT = TypeVar("StopEventT", bound=StopEvent)
RunResultT = TypeVar("RunResultT", default=Any)
