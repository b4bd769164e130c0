"""Where the data of a store are, and how to connect to it: taken from a URL, or from a client.

Of a client only its settings are used, never its sockets.
"""

from dataclasses import dataclass

from stepwell.redis.clients import Client, door_of_client
from stepwell.redis.doors import Door
from stepwell.redis.server import Connection
from stepwell.redis.slots import Node
from stepwell.redis.urls import door_of_url

__all__ = ["Client", "Connection", "Source"]


@dataclass(frozen=True)
class Source:
    """Where the data of a store are.

    Attributes:
        door: the way to a server that has them, or that knows who has.
    """

    door: Door

    @classmethod
    def of(cls, place: "str | Client") -> "Source":
        """Take the settings of a URL, or of a redis-py client of any kind.

        Raises:
            ValueError: the URL can't be read.
            TypeError: nothing can be connected to with such an object; the message says why.
        """
        return cls(door_of_url(place) if isinstance(place, str) else door_of_client(place))

    @property
    def address(self) -> str:
        """For messages, without user and password."""
        return self.door.address

    def at(self, node: Node) -> "Source":
        """One node of the cluster that this source leads to."""
        return Source(self.door.at(node))

    async def connect(self, seconds: float) -> Connection:
        """A new connection, ready for commands; the caller closes it.

        Args:
            seconds: for the connection and all that is exchanged first.

        Raises:
            RedisError: nobody answers, or it does not let us in.
            StoreUnavailable: the embedded server can't be started.
        """
        return await self.door.connect(seconds)
