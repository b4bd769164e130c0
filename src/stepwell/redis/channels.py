"""A channel that is listened to: who hears it, and whether the server knows."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from stepwell._empty import empty
from stepwell.redis.slots import Node

__all__ = ["Channel", "Hearer"]


class Hearer(Protocol):
    """Somebody who wants to know that something happened; an Event of asyncio is one."""

    def set(self) -> object:
        """Something happened, or may have; it must not block or raise."""
        ...


@dataclass(slots=True, eq=False)
class Channel:
    """A sharded channel.

    Attributes:
        place: where it is, or should be, subscribed to.
        confirmed: done as long as the server says so.
    """

    name: str
    place: Node | None
    confirmed: asyncio.Future[None]
    hearers: set[Hearer] = field(default_factory=empty(set[Hearer]))

    def wake(self) -> None:
        """Tell all hearers."""
        for hearer in list(self.hearers):
            hearer.set()

    def confirm(self) -> None:
        """The server delivers its messages from now on."""
        if not self.confirmed.done():
            self.confirmed.set_result(None)

    def miss(self) -> None:
        """The server does not deliver, or did not for a while."""
        if self.confirmed.done():
            self.confirmed = self.confirmed.get_loop().create_future()
        self.wake()

    def refuse(self, error: Exception) -> None:
        """The server never will."""
        self.miss()
        self.confirmed.set_exception(error)
        self.confirmed.exception()  # there need not be anybody who waits for it
