"""Parts of a value that are good to have, and that nothing depends on."""

import logging
from dataclasses import dataclass
from typing import Any, cast

from stepwell._serialization.forms import Encoder, Json, Refusal, Walker

__all__ = ["BestEffort"]

log = logging.getLogger("stepwell")


@dataclass(frozen=True, slots=True)
class BestEffort:
    """What a codec returns for a part that it can do without: stored if it can be, else None.

    The first part of each class that is left out is reported in the log.

    Attributes:
        value: the part.
        what: what it is, for the log: "the raw output of tool 'search'".
    """

    value: Any
    what: str


def encoder_of_best_effort() -> Encoder:
    """Return what writes such parts; it remembers which classes it has reported."""
    reported: set[type] = set()

    def encode(walker: Walker, part: BestEffort, depth: int) -> Json:
        try:
            return walker.encode_value(part.value, depth - 1)
        except (Refusal, RecursionError, ValueError) as error:  # ValueError: of Pydantic
            _report(part, error, reported)
            return None

    return encode


def _report(part: BestEffort, error: Exception, reported: set[type]) -> None:
    kind = cast("type[Any]", type(part.value))
    if kind not in reported:
        reported.add(kind)
        log.warning("%s is not stored, and is None after a crash: %s", part.what, error)
