"""One connection, on which everything that is asked in one turn of the event loop leaves at once.

Commands are written in the order in which they were asked, and replies are read in that order, by
tasks of the wire's own. So a caller that is cancelled leaves nothing half done: its command goes
out, its reply is read, and nobody takes it for another's.

redis-py connects and parses (TLS, passwords, RESP); its pool and its own resending are not used.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stepwell.errors import StoreError
from stepwell.redis.acks import Confirmation
from stepwell.redis.home import Home
from stepwell.redis.resp import Word, is_reply, pack
from stepwell.redis.server import Connectable, Connection

__all__ = ["Disconnected", "Line", "Stats", "Wire", "Word", "pack"]

_BATCH_COMMANDS = 512
_BATCH_BYTES = 1 << 20
_TICKS = 4


class Line(Protocol):
    """What a command is sent on."""

    async def call(self, *command: Word) -> Any:
        """Send a command and return its reply, with bytes for strings."""
        ...


@dataclass(slots=True)
class Stats:
    """What a store did so far.

    Attributes:
        commits: acknowledged ones.
        commands: sent, those that were sent again included.
        writes: batches of commands; fewer than `commands` if some left together.
        bytes_sent: of all commands.
        connections: made for commands.
        retries: commands that had to be tried again.
    """

    commits: int = 0
    commands: int = 0
    writes: int = 0
    bytes_sent: int = 0
    connections: int = 0
    retries: int = 0


class Disconnected(Exception):  # noqa: N818 - it says what happened
    """The connection could not be made, or broke.

    Attributes:
        reason: what redis-py said.
        sent: whether the server may have got the command.
    """

    def __init__(self, reason: Exception, *, sent: bool) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.sent = sent


class _Answerable(Protocol):
    def answer(self, reply: Any) -> None:
        """Take the reply, or what came instead of it."""
        ...


@dataclass(slots=True, eq=False)
class _Exchange:
    packed: bytes
    reply: asyncio.Future[Any]

    def answer(self, reply: Any) -> None:
        if self.reply.done():  # its caller was cancelled
            return
        if isinstance(reply, Exception):
            self.reply.set_exception(reply)
        else:
            self.reply.set_result(reply)


@dataclass(slots=True, eq=False)
class _Held:
    """An exchange whose reply counts only when its batch is confirmed."""

    exchange: _Exchange
    reply: Any = None

    def answer(self, reply: Any) -> None:
        self.reply = reply
        if isinstance(reply, Exception):
            self.exchange.answer(reply)


@dataclass(slots=True, eq=False)
class _Confirming:
    """The end of a batch, which answers the whole batch."""

    confirmation: Confirmation
    batch: list[_Held]
    done: asyncio.Event

    def answer(self, reply: Any) -> None:
        for held in self.batch:
            held.exchange.answer(self._refusal(reply) or held.reply)
        self.done.set()

    def _refusal(self, reply: Any) -> Exception | None:
        return reply if isinstance(reply, Disconnected) else self.confirmation.refusal(reply)


class Wire:
    """A connection that is made when it is needed, and made again after it broke.

    Args:
        source: the server.
        stats: where to count.
        patience: seconds to wait for a connection, and for the oldest reply.
        confirmation: what every batch ends with, before its replies count. One batch is under way
            then at a time, so that all that is asked meanwhile shares the next one.
    """

    def __init__(
        self,
        source: Connectable,
        stats: Stats,
        patience: float,
        confirmation: Confirmation | None = None,
    ) -> None:
        self._source = source
        self._stats = stats
        self._patience = patience
        self._confirmation = confirmation
        self._home = Home()
        self._waiting = deque[_Exchange]()
        self._in_flight = deque[_Answerable]()
        self._asked = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._closing = False
        self._abandoned = False

    async def call(self, *command: Word, asking: bool = False) -> Any:
        """Send a command and return its reply, with bytes for strings.

        Args:
            command: its name and arguments.
            asking: whether the server has to be told that another one sent us (ASKING).

        Raises:
            Disconnected: there is no reply; `sent` tells whether the command may have been run.
            Unacknowledged: it was run, but not confirmed.
            RedisError: the reply is an error.
        """
        loop = self._home.loop()
        exchange = _Exchange(pack(command), loop.create_future())
        if asking:
            self._waiting.append(_Exchange(pack(["ASKING"]), _nobody(loop)))
        self._waiting.append(exchange)
        if self._session is None:
            self._session = self._start(loop)
        self._asked.set()
        return await exchange.reply

    async def close(self) -> None:
        """Close the connection; what has no reply yet fails."""
        self._home.leave()
        self._closing = True
        await self.drop()

    async def drop(self) -> None:
        """Close the connection; the next call makes another one."""
        session = self._session
        if session is not None:
            session.cancel()
            await asyncio.wait([session])

    def abandon(self) -> None:
        """Close the connection soon, for good; what has no reply, or is asked yet, fails."""
        self._abandoned = True
        if self._session is not None:
            self._session.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return loop.create_task(self._refuse() if self._abandoned else self._serve())

    async def _refuse(self) -> None:
        self._fail(RedisConnectionError("nothing lives at this server any more"))

    async def _serve(self) -> None:
        trouble: Exception = RedisConnectionError("the connection was closed on this side")
        try:
            connection = await self._source.connect(self._patience)
            self._stats.connections += 1
            await self._exchange(connection)
        except* (RedisError, OSError, StoreError) as troubles:
            trouble = troubles.exceptions[0]
        finally:
            self._fail(trouble)

    async def _exchange(self, connection: Connection) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection))
                tasks.create_task(self._read(connection))
                tasks.create_task(self._watch())
        finally:
            await connection.disconnect(nowait=not self._closing)

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                await self._write_batch(connection)

    async def _write_batch(self, connection: Connection) -> None:
        batch = self._batch()
        packed = [exchange.packed for exchange in batch]
        if self._confirmation is None:
            self._in_flight += batch
            await self._send(connection, packed)
            return
        held = [_Held(exchange) for exchange in batch]
        end = _Confirming(self._confirmation, held, asyncio.Event())
        self._in_flight += [*held, end]
        await self._send(connection, [*packed, pack(self._confirmation.command)])
        await end.done.wait()

    async def _send(self, connection: Connection, packed: list[bytes]) -> None:
        self._stats.commands += len(packed)
        self._stats.writes += 1
        self._stats.bytes_sent += sum(map(len, packed))
        await connection.send_packed_command(packed, check_health=False)

    def _batch(self) -> list[_Exchange]:
        """Take as many of the waiting as may leave at once."""
        batch, size = list[_Exchange](), 0
        while self._waiting and len(batch) < _BATCH_COMMANDS and size < _BATCH_BYTES:
            exchange = self._waiting.popleft()
            batch.append(exchange)
            size += len(exchange.packed)
        return batch

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except RedisError as error:
                if not (is_reply(error) and self._in_flight):
                    raise
                self._in_flight.popleft().answer(error)
            else:
                self._in_flight.popleft().answer(reply)

    async def _watch(self) -> None:
        """Give the connection up when a reply is late by the count of looks, not by the clock.

        After a step that blocked the event loop, the clock alone would blame the server.
        """
        oldest, looks = None, 0
        while looks <= _TICKS:
            await asyncio.sleep(self._patience / _TICKS)
            looks = looks + 1 if self._in_flight and self._in_flight[0] is oldest else 0
            oldest = self._in_flight[0] if self._in_flight else None
        raise RedisTimeoutError(f"no reply in {self._patience:.1f} s")

    def _fail(self, trouble: Exception) -> None:
        self._session = None
        for exchanges, sent in ((self._in_flight, True), (self._waiting, False)):
            while exchanges:
                exchanges.popleft().answer(Disconnected(trouble, sent=sent))


def _nobody(loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """A place for a reply that nobody waits for."""
    nobody = loop.create_future()
    nobody.cancel()
    return nobody
