"""A small program as a data structure: stages in a row, each with pipelines of stages inside.

Every stage takes one token (an event with a number) and leads to one token, or to none where it
may die. So programs end, and what they do adds up to the same whatever order their steps ran in.
"""

import re
from dataclasses import dataclass

__all__ = [
    "Act",
    "Arms",
    "Branch",
    "Loop",
    "Pass",
    "Pipeline",
    "Program",
    "Scatter",
    "Spread",
    "Stage",
    "Trouble",
]


@dataclass(frozen=True)
class Trouble:
    """A step that fails, and what is done about it.

    Attributes:
        fails: how many attempts fail.
        attempts: how many the retry policy allows; 1 is no policy.
        odd_only: only tokens with an odd number fail.
        recoveries: the budget of its handler; None without a handler.
    """

    fails: int
    attempts: int
    odd_only: bool = False
    recoveries: int | None = None


@dataclass(frozen=True)
class Act:
    """What a step does besides passing its token on.

    Attributes:
        pauses: how often it gives way to others first.
        asks: it waits for a human's answer.
        notes: it writes to the stream.
        adds: what it adds to a sum in the state; 0 for nothing.
        keeps: it sets a key of the state that no other token sets.
        sync: it is a plain function, so it does none of the above.
        workers: `num_workers`.
        trouble: how it fails.
    """

    pauses: int = 0
    asks: bool = False
    notes: bool = False
    adds: int = 0
    keeps: bool = False
    sync: bool = False
    workers: int = 4
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Pass:
    """A step to the next; some tokens may die here, and another step may take each token too."""

    act: Act
    dies_at: int | None = None
    aside: Act | None = None


@dataclass(frozen=True)
class Branch:
    """Odd numbers go one way, even ones another."""

    act: Act
    odd: "Pipeline"
    even: "Pipeline"


@dataclass(frozen=True)
class Loop:
    """The body is done some times, and comes back."""

    act: Act
    turns: int
    body: "Pipeline"
    back: Act


@dataclass(frozen=True)
class Spread:
    """A list is returned, of events of one or two classes, and gathered.

    Attributes:
        size: how many; None if it depends on the token.
        parts: one pipeline for each class.
        take: gather only the first so many.
    """

    act: Act
    size: int | None
    parts: tuple["Pipeline", ...]
    take: int | None
    join: Act


@dataclass(frozen=True)
class Scatter:
    """Events are sent, and collected with `collect_events`."""

    act: Act
    size: int
    parts: tuple["Pipeline", ...]
    join: Act


@dataclass(frozen=True)
class Arms:
    """Several steps take each token, and a step with several parameters joins them.

    Attributes:
        alone: there is one token at a time here, so that the join can tell whose parts it has.
        alike: the arms lead to events of one class.
    """

    arms: tuple["Pipeline", ...]
    join: Act
    alone: bool
    alike: bool


Stage = Pass | Branch | Loop | Spread | Scatter | Arms
Pipeline = tuple[Stage, ...]


@dataclass(frozen=True)
class Program:
    """All of it.

    Attributes:
        number: the first token's.
        wildcard: the budget of one handler for all troubles; None for one handler each.
        end: the step that stops the run.
    """

    stages: Pipeline
    number: int
    end: Act
    wildcard: int | None = None

    @property
    def asks(self) -> bool:
        """Whether a step waits for an answer."""
        return "asks=True" in repr(self)

    @property
    def recovers_across_waits(self) -> bool:
        """Whether a handler may be called twice on a line of events, with a wait in between.

        The other engine forgets the first call at the wait, and may call it more often than
        `max_recoveries` says.
        """
        told = repr(self)
        again = "Loop(" in told or self.wildcard is not None
        return self.asks and again and re.search(r"recoveries=\d", told) is not None

    @property
    def is_sequential(self) -> bool:
        """Whether one step runs at a time."""
        return not any(_forks(stage) for stage in self.stages)


def _forks(stage: Stage) -> bool:
    match stage:
        case Pass():
            return stage.aside is not None
        case Branch():
            return any(map(_forks, (*stage.odd, *stage.even)))
        case Loop():
            return any(map(_forks, stage.body))
        case _:
            return True
