"""The subscriptions of a store, on one connection of their own, which come back by themselves."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError, ResponseError

from stepwell.errors import StoreError, StoreUnavailable
from stepwell.redis.errors import is_final
from stepwell.redis.home import Home
from stepwell.redis.patience import pause_seconds
from stepwell.redis.source import Connection, Source
from stepwell.redis.wire import pack

__all__ = ["Listener"]


@dataclass(slots=True)
class _Channel:
    """Who listens to a channel, and whether the server knows."""

    confirmed: asyncio.Future[None]
    hearers: set[asyncio.Event] = field(default_factory=set[asyncio.Event])

    def wake(self) -> None:
        for hearer in self.hearers:
            hearer.set()

    def confirm(self) -> None:
        if not self.confirmed.done():
            self.confirmed.set_result(None)

    def unconfirm(self) -> None:
        if self.confirmed.done():
            self.confirmed = self.confirmed.get_loop().create_future()

    def refuse(self, error: Exception) -> None:
        self.unconfirm()
        self.confirmed.set_exception(error)
        self.confirmed.exception()  # there need not be anybody who waits for it


class Listener:
    """Listens to sharded channels.

    Args:
        source: the server.
        patience: seconds to wait for a connection.

    Attributes:
        trouble: why there was no connection the last time.
    """

    def __init__(self, source: Source, patience: float) -> None:
        self.trouble: Exception | None = None
        self._source = source
        self._patience = patience
        self._home = Home()
        self._channels: dict[str, _Channel] = {}
        self._outbox = deque[tuple[str, str]]()
        self._filled = asyncio.Event()
        self._unconfirmed = deque[str]()
        self._losses = 0
        self._connection: Connection | None = None
        self._serving: asyncio.Task[None] | None = None

    async def join(self, channel: str, hearer: asyncio.Event) -> None:
        """Subscribe, and return when the server confirmed it, which may take for ever.

        Args:
            channel: its name.
            hearer: is set by every message, and whenever one may have been missed.

        Raises:
            RedisError: the server refuses.
            StoreError: there is none, for good.
        """
        loop = self._home.loop()
        known = self._channels.get(channel)
        if known is None:
            known = self._channels[channel] = _Channel(loop.create_future())
            self._send("SSUBSCRIBE", channel)
        known.hearers.add(hearer)
        if self._serving is None:
            self._serving = loop.create_task(self._serve())
        try:
            await asyncio.shield(known.confirmed)
        except BaseException:
            self.leave(channel, hearer)
            raise

    def leave(self, channel: str, hearer: asyncio.Event) -> None:
        """Listen no more."""
        known = self._channels.get(channel)
        if known is None:
            return
        known.hearers.discard(hearer)
        if not known.hearers:
            del self._channels[channel]
            self._send("SUNSUBSCRIBE", channel)

    async def restart(self) -> None:
        """Take another connection: of this one the server does not know any more."""
        if self._connection is not None and not self._unconfirmed:
            await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """End all subscriptions."""
        self._home.leave()
        for channel in list(self._channels):
            self._refuse(channel, StoreUnavailable("the store was closed meanwhile"))
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
        finally:
            self._serving = None

    async def _listen(self) -> None:
        self._connection = connection = await self._source.connect(self._patience)
        self._unconfirmed.clear()
        self._outbox = deque(("SSUBSCRIBE", channel) for channel in self._channels)
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
            self._unconfirmed += (channel for verb, channel in words if verb == "SSUBSCRIBE")
            await connection.send_packed_command([pack(w) for w in words], check_health=False)

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                message = await connection.read_response(disconnect_on_error=False)
            except ResponseError as error:
                if not (self._unconfirmed and is_final(error)):
                    raise
                self._refuse(self._unconfirmed.popleft(), error)
            else:
                self._hear(message)

    def _hear(self, message: list[Any]) -> None:
        known = self._channels.get(message[1].decode())
        if message[0] == b"ssubscribe":
            self._unconfirmed.popleft()
            self._losses = 0
            if known is not None:
                known.confirm()
        elif message[0] == b"smessage" and known is not None:
            known.wake()

    def _refuse(self, channel: str, error: Exception) -> None:
        known = self._channels.pop(channel, None)
        if known is not None:
            known.refuse(error)
            known.wake()

    def _lost(self, trouble: Exception) -> None:
        """All may have missed something; nobody is subscribed, and some reasons are for good."""
        self.trouble = trouble
        for channel, known in list(self._channels.items()):
            known.unconfirm()
            known.wake()
            if is_final(trouble):
                self._refuse(channel, trouble)
