"""What travels between a run and its store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from stepwell._empty import empty

__all__ = [
    "BOOKKEEPING",
    "Claim",
    "Commit",
    "Due",
    "DueRun",
    "Lane",
    "Message",
    "NewRun",
    "Presence",
    "Received",
    "Release",
    "Renewal",
    "RunInfo",
    "Swept",
    "Topic",
]

BOOKKEEPING = (
    "token", "owner", "seq", "cid", "digest", "queue", "tags", "created_at", "ended_at",
    "claims", "sends", "parked", "staged",
)  # fmt: skip
"""Fields that a store keeps in a run beside the fields of its context."""


class Lane(NamedTuple):
    """The line in which runs of one workflow wait for a worker: those of one queue."""

    queue: str
    workflow: str


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created.

    Attributes:
        digest: tells its workflow and input from others.
        owner: who executes it; empty if nobody does yet.
        fields: the first state of its context.
        queue: whose workers take it when nobody has it.
        tags: what its creator wants to know of it.
    """

    run_id: str
    digest: str
    owner: str
    fields: Mapping[str, str]
    queue: str = "default"
    tags: Mapping[str, str] = field(default_factory=empty(dict[str, str]))


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What can be said of a stored run without loading it. All instants are ms since 1970.

    Attributes:
        owner: who executes it; empty if nobody does.
        parked: nobody has it, and nothing is wrong with it: it waits to be begun, for its time, or
            for a message.
        claims: how often it was claimed since it last made progress.
        epoch: the number of its last owner: one more than that of the owner before.
    """

    run_id: str
    workflow: str
    status: str
    digest: str
    owner: str
    queue: str = "default"
    parked: bool = False
    claims: int = 0
    created_at: int = 0
    ended_at: int | None = None
    tags: Mapping[str, str] = field(default_factory=empty(dict[str, str]))
    epoch: int = 1

    @property
    def lane(self) -> Lane:
        """Where it waits for a worker when nobody has it."""
        return Lane(self.queue, self.workflow)


class Received(NamedTuple):
    """A message in the inbox of a run: the n-th that was sent to it."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to commit to a run, until somebody else gets it.

    Attributes:
        token: `epoch:nonce`; every commit shows it.
        seq: the number of the last commit.
        fields: the context as it was claimed.
        queue: whose workers take it when it is given back.
        inbox: the messages that no commit has taken yet.
        claims: how often it was claimed since it last made progress, with this time.
        parked: it had been given back in peace, or was not begun.
    """

    run_id: str
    token: str
    seq: int
    fields: Mapping[str, str]
    queue: str = "default"
    inbox: Sequence[Received] = ()
    claims: int = 0
    parked: bool = False

    @property
    def lane(self) -> Lane:
        """Where it waits for a worker when nobody has it."""
        return Lane(self.queue, self.fields["workflow"])


class Commit(NamedTuple):
    """One patch and what goes with it: all of it becomes durable, or none.

    Attributes:
        seq: its number; one more than the last.
        cid: its own name, which no other commit has; kept when it has to be sent again.
        patch: texts by field; None deletes a field.
        log: JSON fragments `"step",attempt,took_ms,"outcome"`, one for each boundary in it.
        ended: the status, if the run ends with it.
        taken: all messages up to this number are consumed with it.
        progress: a step got further, so the claims before this one killed nobody.
    """

    run_id: str
    token: str
    seq: int
    cid: str
    patch: Mapping[str, str | None]
    log: Sequence[str] = ()
    ended: str | None = None
    taken: int = 0
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """How the holder of a run gives it back before it ended.

    Attributes:
        lane: where it waits for a worker.
        due_at: when somebody should go on with it, in ms since 1970, 0 for now; None if only a
            message can move it.
        parked: it is given back in peace: a start with the same input does not mean it.
        counted: the claim stays counted: something in the run ended it here.
    """

    run_id: str
    token: str
    lane: Lane
    due_at: int | None = 0
    parked: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to a run from outside.

    Attributes:
        text: is for the run; a store does not read it.
        key: by which it is known when it is sent again, by the sender or by the network.
        urgent: a run that is not begun yet does not wait for its time any more.
        open_wait: a field, and the text in it, without which it is refused: the wait that it is
            meant for is as its sender saw it.
    """

    run_id: str
    text: str
    key: str
    urgent: bool = False
    open_wait: tuple[str, str] | None = None


class DueRun(NamedTuple):
    """A run that somebody should go on with.

    Attributes:
        since: when it became due, in ms since 1970.
    """

    run_id: str
    lane: Lane
    since: int


class Due(NamedTuple):
    """What waits in some lanes: runs that are due, and in how many ms the next one is."""

    runs: Sequence[DueRun]
    next_in: int | None


class Renewal(NamedTuple):
    """What the owner of a renewed lease must know.

    Attributes:
        now: the time of the store, in ms since 1970, not later than when it was asked.
        lapsed: the lease was over, somewhere: its runs may have been given to others.
    """

    now: int
    lapsed: bool


class Swept(NamedTuple):
    """What a look for owners that are gone came to.

    Attributes:
        orphaned: how many of their runs were made due; if 100, there may be more.
        owners: how many have a lease that is not over.
    """

    orphaned: int
    owners: int


class Topic(NamedTuple):
    """What one can listen for in a partition: `mail` of an owner, `due` runs, news of a `run`."""

    kind: str
    partition: int
    name: str = ""


class Presence(StrEnum):
    """Whether an owner still lives."""

    PRESENT = "present"
    """Its channel has a subscriber, or its lease lasts and nothing speaks against it."""
    SUSPECT = "suspect"
    """Its channel has no subscriber; look again after a while."""
    GONE = "gone"
    """It had no subscriber twice, or its lease is over."""
