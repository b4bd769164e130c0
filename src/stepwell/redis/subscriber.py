"""The subscriptions at one server, on one connection of their own, which comes back by itself.

Whatever is not as expected ends the connection, and all hearers are told: with the next one every
channel is subscribed to where it lives then. A server that takes a slot away says so unasked.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError

from stepwell.errors import StoreError
from stepwell.redis.channels import Channel
from stepwell.redis.errors import is_final
from stepwell.redis.patience import pause_seconds
from stepwell.redis.resp import pack
from stepwell.redis.server import Connection
from stepwell.redis.slots import Node, Redirect
from stepwell.redis.topology import Topology

__all__ = ["Subscriber"]

_SUBSCRIBE = "SSUBSCRIBE"
_UNSUBSCRIBE = "SUNSUBSCRIBE"


class _Dismissed(RedisConnectionError):  # noqa: N818 - it says what happened
    """The server ended a subscription: it serves the slot no more."""


class Subscriber:
    """Listens at one place.

    Args:
        topology: tells where channels live; it is asked after each loss, and may take some away.
        place: to listen at.
        refused: is called with a channel and the error when it can't be subscribed to, ever.

    Attributes:
        trouble: why there was no connection the last time; None while there is one.
    """

    def __init__(
        self,
        topology: Topology,
        place: Node | None,
        refused: Callable[[Channel, Exception], None],
    ) -> None:
        self.trouble: Exception | None = None
        self._topology = topology
        self._place = place
        self._refused = refused
        self._channels: dict[str, Channel] = {}
        self._outbox = deque[tuple[str, str]]()
        self._filled = asyncio.Event()
        self._asked = deque[tuple[str, str]]()
        self._losses = 0
        self._connection: Connection | None = None
        self._serving: asyncio.Task[None] | None = None

    def add(self, channel: Channel) -> None:
        """Subscribe to a channel."""
        self._channels[channel.name] = channel
        self._send(_SUBSCRIBE, channel.name)
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve())

    def remove(self, channel: Channel) -> None:
        """Listen to it no more."""
        if self._channels.pop(channel.name, None) is not None:
            self._send(_UNSUBSCRIBE, channel.name)

    async def restart(self) -> None:
        """Take another connection, unless this one is still new."""
        if self._connection is not None and not self._asked:
            await self._connection.disconnect(nowait=True)

    def abandon(self) -> None:
        """Close the connection soon."""
        if self._serving is not None:
            self._serving.cancel()

    async def close(self) -> None:
        """Close the connection."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    def _send(self, verb: str, channel: str) -> None:
        self._outbox.append((verb, channel))
        self._filled.set()

    async def _serve(self) -> None:
        try:
            while self._channels:
                try:
                    await self._listen()
                except* (RedisError, OSError, StoreError) as troubles:
                    self._lost(troubles.exceptions[0])
                self._losses += 1
                await asyncio.sleep(pause_seconds(self._losses))
                await self._topology.look(self._who_knows())
        finally:
            self._serving = None

    async def _listen(self) -> None:
        source = self._topology.source_of(self._place)
        self._connection = connection = await source.connect(self._topology.patience)
        self._asked.clear()
        self._outbox = deque((_SUBSCRIBE, name) for name in self._channels)
        self._filled.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection))
                tasks.create_task(self._read(connection))
        finally:
            self._connection = None
            await connection.disconnect(nowait=bool(self._channels))

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            words, self._outbox = list(self._outbox), deque[tuple[str, str]]()
            self._asked += words
            await connection.send_packed_command([pack(w) for w in words], check_health=False)

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                message = await connection.read_response(disconnect_on_error=False)
            except ResponseError as error:
                self._hear_error(error)
            else:
                self._hear(message)

    def _hear_error(self, error: ResponseError) -> None:
        if not (self._asked and (is_final(error) or self._asked[0][0] == _UNSUBSCRIBE)):
            raise error
        verb, name = self._asked.popleft()
        channel = self._channels.get(name)
        if verb == _SUBSCRIBE and channel is not None:
            self._refuse(channel, error)

    def _hear(self, message: list[Any]) -> None:
        verb, name = message[0].decode().upper(), message[1].decode()
        channel = self._channels.get(name)
        if verb == "SMESSAGE":
            if channel is not None:
                channel.wake()
            return
        if not self._asked or self._asked[0] != (verb, name):
            raise _Dismissed(f"the server ended the subscription to {name}")
        self._asked.popleft()
        if verb == _SUBSCRIBE:
            self._confirm(channel)

    def _confirm(self, channel: Channel | None) -> None:
        self._losses, self.trouble = 0, None
        if channel is not None:
            channel.confirm()

    def _lost(self, trouble: Exception) -> None:
        """All may have missed something; nobody is subscribed, and some reasons are for good."""
        self.trouble = trouble
        for channel in list(self._channels.values()):
            channel.miss()
            if is_final(trouble):
                self._refuse(channel, trouble)
        if isinstance(trouble, MovedError):
            self._topology.follow(Redirect.of(trouble, self._topology.place_of(self._place)))

    def _refuse(self, channel: Channel, error: Exception) -> None:
        self._channels.pop(channel.name, None)
        self._refused(channel, error)

    def _who_knows(self) -> Node | None:
        """Who takes a slot away knows where it went; a server that is silent knows nothing."""
        return self._place if isinstance(self.trouble, _Dismissed) else None
