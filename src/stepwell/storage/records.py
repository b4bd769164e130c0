"""What travels between a run and its store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["BOOKKEEPING", "Claim", "Commit", "NewRun", "Presence", "RunInfo"]

BOOKKEEPING = ("token", "owner", "seq", "cid", "digest", "created_at", "ended_at")
"""Fields that a store keeps in a run beside the fields of its context."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created, already owned.

    Attributes:
        digest: tells its workflow and input from others.
        fields: the first state of its context.
    """

    run_id: str
    digest: str
    owner: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What can be said of a stored run without loading it; `owner` is empty if nobody has it."""

    workflow: str
    status: str
    digest: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to commit to a run, until somebody else gets it.

    Attributes:
        token: `epoch:nonce`; every commit shows it.
        seq: the number of the last commit.
        fields: the context as it was claimed.
    """

    run_id: str
    token: str
    seq: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """One patch and what goes with it: all of it becomes durable, or none.

    Attributes:
        seq: its number; one more than the last.
        cid: its own random name, kept when it has to be sent again.
        patch: texts by field; None deletes a field.
        log: JSON fragments `"step",attempt,took_ms,"outcome"`, one for each boundary in it.
        ended: the status, if the run ends with it.
    """

    run_id: str
    token: str
    seq: int
    cid: str
    patch: Mapping[str, str | None]
    log: Sequence[str] = field(default=())
    ended: str | None = None


class Presence(StrEnum):
    """Whether an owner still lives."""

    PRESENT = "present"
    """Its channel has a subscriber, or its lease lasts and nothing speaks against it."""
    SUSPECT = "suspect"
    """Its channel has no subscriber; look again after a while."""
    GONE = "gone"
    """It had no subscriber twice, or its lease is over."""
