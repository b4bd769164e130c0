"""How a step that takes a list waits for it: `Annotated[list[E], Collect(Take(3))]`."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["All", "Cardinality", "Collect", "Take"]


@dataclass(frozen=True)
class All:
    """Wait until every branch of the stream is done, and take all events that arrived."""


@dataclass(frozen=True)
class Take:
    """Take the first `n` events; fewer if the stream ends before. The branches go on.

    Args:
        n: how many events, at least 1.

    Raises:
        ValueError: `n` is not a whole number of at least 1.
    """

    n: int

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 1:
            raise ValueError(f"Take(n) needs a whole number of at least 1, not {self.n!r}.")


Cardinality: TypeAlias = All | Take


@dataclass(frozen=True)
class Collect:
    """Marks a `list[E]` parameter of a step.

    Args:
        cardinality: when the list is full: `All()` (the default) or `Take(n)`.
    """

    cardinality: Cardinality = All()
