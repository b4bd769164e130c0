"""What happened to many runs in many processes, as its witnesses tell it.

Clients tell what they asked for and what they were answered, step bodies what they did (in files
outside of Redis, see `support.journal`), the one who injects faults what was broken and when, and
the store how the runs stand in the end. `support.laws` says what must be true of it.

All instants are seconds of the machine's monotonic clock, which all its processes share.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = [
    "ANYTHING",
    "Answer",
    "Body",
    "Fault",
    "Final",
    "History",
    "Line",
    "Send",
    "Start",
    "Way",
    "journals",
    "read_bodies",
]

ANYTHING = object()
"""The result of a run that its input alone does not tell."""


class Answer(StrEnum):
    """What a client was told about something that it asked for."""

    OK = "ok"
    """It is done."""
    REFUSED = "refused"
    """It is not done, and never will be."""
    UNKNOWN = "unknown"
    """Nobody knows."""


class Way(StrEnum):
    """How a body ended."""

    RETURNED = "returned"
    FAILED = "failed"
    RESTED = "rested"
    """It was cut off while it stood in a wait or a sleep, which a release does."""
    CUT = "cut"
    """It was cut off while it worked."""


@dataclass(frozen=True, slots=True)
class Start:
    """A client asked for a run.

    Attributes:
        result: what the run has to end with.
        sums: what these keys of its state have to be in the end.
        tokens: the bodies that it takes.
    """

    run_id: str
    answer: Answer
    result: Any = ANYTHING
    sums: Mapping[str, int] = field(default_factory=dict[str, int])
    tokens: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Send:
    """A client sent a token to a run; the order of one sender's is that in the history."""

    run_id: str
    token: str
    answer: Answer
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """One execution of a step, or of an item in a durable loop.

    Attributes:
        token: what it is about, the same whenever that is executed again.
        after: the tokens whose commits made it possible.
        ended: when; None if nothing was heard of it any more.
    """

    run_id: str
    token: str
    pid: int
    began: float
    after: tuple[str, ...] = ()
    ended: float | None = None
    way: Way | None = None

    def __str__(self) -> str:
        end = f"{self.way} at {self.ended:.3f}" if self.ended is not None else "never ended"
        return f"{self.token} in {self.pid}: began at {self.began:.3f}, {end}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was broken, from `began` until its consequences were `over`.

    Attributes:
        pids: of the processes that it hit; None for all.
        freezes: they stood still, and went on without knowing.
        forgets: the store may have lost what it had acknowledged just before.
    """

    kind: str
    began: float
    over: float
    pids: frozenset[int] | None = None
    freezes: bool = False
    forgets: bool = False

    def hits(self, *bodies: Body) -> bool:
        """Whether it hit the process of one of these bodies."""
        return self.pids is None or any(body.pid in self.pids for body in bodies)

    def lies_between(self, first: Body, again: Body) -> bool:
        """Whether the first of two executions may have been cut off by it, for the second."""
        in_time = first.began <= self.over and self.began <= again.began
        return in_time and self.hits(first, again)


@dataclass(frozen=True, slots=True)
class Line:
    """A line in the log of a run; `attempt` is the epoch where `step` is none, as `(claimed)`."""

    seq: int
    at: int
    step: str
    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Final:
    """How a run stands in the store in the end.

    Attributes:
        state: its keys that hold numbers.
        received: the tokens that it says it was sent, in the order in which it had them.
    """

    run_id: str
    status: str
    result: Any = None
    state: Mapping[str, int] = field(default_factory=dict[str, int])
    received: Sequence[str] = ()
    log: Sequence[Line] = ()

    def lines(self, step: str) -> int:
        """How often something is in its log."""
        return sum(line.step == step for line in self.log)


@dataclass(slots=True)
class History:
    """All that is known.

    Attributes:
        results: what clients were told that a run ended with, each time.
    """

    starts: list[Start] = field(default_factory=list[Start])
    sends: list[Send] = field(default_factory=list[Send])
    results: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    bodies: list[Body] = field(default_factory=list[Body])
    faults: list[Fault] = field(default_factory=list[Fault])
    finals: dict[str, Final] = field(default_factory=dict[str, Final])


def journals(directory: Path) -> list[Path]:
    """The journals in a directory."""
    return sorted(directory.glob("*.journal"))


def read_bodies(directory: Path) -> list[Body]:
    """The bodies in all journals of a directory, by the instant at which they began."""
    lines = [
        json.loads(line) for file in journals(directory) for line in file.read_text().splitlines()
    ]
    ends = {(line["pid"], line["number"]): line for line in lines if line["what"] != "began"}
    bodies = [
        _body(line, ends.get((line["pid"], line["number"])))
        for line in lines
        if line["what"] == "began"
    ]
    return sorted(bodies, key=lambda body: body.began)


def _body(begun: Mapping[str, Any], ended: Mapping[str, Any] | None) -> Body:
    return Body(
        run_id=begun["run"],
        token=begun["token"],
        pid=begun["pid"],
        began=begun["at"],
        after=tuple(begun["after"]),
        ended=ended["at"] if ended else None,
        way=Way(ended["what"]) if ended else None,
    )
