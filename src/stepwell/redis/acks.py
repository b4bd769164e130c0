"""Who has to have a commit before it counts: the server, its disk, or a replica.

WAIT and WAITAOF speak of what the connection wrote that asks, so they end each batch on the wire
that carries it; a commit that is sent again writes again, on its new connection.
https://valkey.io/commands/waitaof
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stepwell.errors import StoreRefused
from stepwell.redis.resp import Word

__all__ = ["Acks", "Confirmation", "Unacknowledged", "confirmation", "syncs_always"]

_TRUTHFUL: Mapping[str, tuple[float, float]] = {"redis": (8, 2)}
"""Servers whose WAITAOF waits for the disk although `appendfsync` is not `always`.

Valkey 9.1 answers at once while less than a second has passed since the last sync (seen by tracing
its system calls); Redis 8.2 waits. Older ones of both are not known to wait.
"""

_NEVER = (float("inf"), 0.0)


class Acks(StrEnum):
    """Who has to have what was written before it counts."""

    SERVER = "server"
    """The memory of the server; its disk follows as `appendfsync` says."""

    DISK = "disk"
    """The append-only file of the server, synced. Whether servers do so is looked up when a store
    is opened: all that may become masters need the same settings."""

    REPLICA = "replica"
    """The memory of the server and of one replica."""


class Unacknowledged(Exception):  # noqa: N818 - it says what happened
    """It was done on the server, and those who should have it too did not say so in time.

    Attributes:
        by: who.
    """

    def __init__(self, by: str, said: object) -> None:
        super().__init__(f"no acknowledgement by {by}: {said}")
        self.by = by


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The last command of a batch, which asks who has the batch.

    Attributes:
        by: who is asked for.
    """

    command: tuple[Word, ...]
    by: str

    def refusal(self, reply: Any) -> Unacknowledged | None:
        """Why the reply is not enough; None if it is."""
        if isinstance(reply, Exception):
            return Unacknowledged(self.by, reply)
        number: Any = reply if isinstance(reply, int) else reply[0]
        return None if number >= 1 else Unacknowledged(self.by, "none within the time of a try")


def confirmation(acks: Acks, seconds: float) -> Confirmation | None:
    """What to end a batch with; None if the server's own reply is enough.

    Args:
        acks: the level.
        seconds: that the server waits.
    """
    milliseconds = round(seconds * 1000)
    if acks is Acks.DISK:
        return Confirmation(("WAITAOF", 1, 0, milliseconds), "the disk")
    if acks is Acks.REPLICA:
        return Confirmation(("WAIT", 1, milliseconds), "a replica")
    return None


def syncs_always(address: str, program: tuple[str, str], settings: Mapping[str, str]) -> bool:
    """Whether a server syncs its disk before each reply, so that nothing has to be asked.

    Args:
        address: of the server, for messages.
        program: its name and version, as HELLO tells them.
        settings: of its append-only file; empty if it hides them.

    Raises:
        StoreRefused: it has no append-only file, or it does not tell the truth about it.
    """
    if settings.get("appendonly", "yes") != "yes":
        raise _refused(address, "keeps no append-only file", "appendonly yes")
    if settings.get("appendfsync") == "always":
        return True
    name, version = program
    if tuple(map(int, version.split(".")[:2])) < _TRUTHFUL.get(name, _NEVER):
        raise _refused(
            address,
            f"is {name} {version}, whose WAITAOF is missing or answers before the disk is synced",
            "appendfsync always",
        )
    return False


def _refused(address: str, fact: str, setting: str) -> StoreRefused:
    return StoreRefused(
        f"acks='disk': the server at {address} {fact}; nothing was changed. Set '{setting}' in "
        "its configuration, or open the store with acks='server' or 'replica'"
    )
