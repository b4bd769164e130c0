"""One connection, on which everything that is asked in one turn of the event loop leaves at once.

Commands are written in the order in which they were asked, and replies are read in that order, by
tasks of the wire's own. So a caller that is cancelled leaves nothing half done: its command goes
out, its reply is read, and nobody takes it for another's.

redis-py connects and parses (TLS, passwords, RESP); its pool and its own resending are not used.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stepwell.errors import StoreError
from stepwell.redis.home import Home
from stepwell.redis.source import Connection, Source

__all__ = ["Disconnected", "Stats", "Wire", "Word", "is_reply", "pack"]

Word = str | bytes | int

_BATCH_COMMANDS = 512
_BATCH_BYTES = 1 << 20
_TICKS = 4


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


@dataclass(slots=True, eq=False)
class _Exchange:
    packed: bytes
    reply: asyncio.Future[Any]


class Wire:
    """A connection that is made when it is needed, and made again after it broke.

    Args:
        source: the server.
        stats: where to count.
        patience: seconds to wait for a connection, and for the oldest reply.
    """

    def __init__(self, source: Source, stats: Stats, patience: float) -> None:
        self._source = source
        self._stats = stats
        self._patience = patience
        self._home = Home()
        self._waiting = deque[_Exchange]()
        self._in_flight = deque[_Exchange]()
        self._asked = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._closing = False

    async def call(self, *command: Word) -> Any:
        """Send a command and return its reply, with bytes for strings.

        Raises:
            Disconnected: there is no reply; `sent` tells whether the command may have been run.
            RedisError: the reply is an error.
        """
        loop = self._home.loop()
        exchange = _Exchange(pack(command), loop.create_future())
        self._waiting.append(exchange)
        if self._session is None:
            self._session = loop.create_task(self._serve())
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
                await connection.send_packed_command(self._batch(), check_health=False)

    def _batch(self) -> list[bytes]:
        """Move as many of the waiting as may leave at once in flight."""
        batch, size = list[bytes](), 0
        while self._waiting and len(batch) < _BATCH_COMMANDS and size < _BATCH_BYTES:
            exchange = self._waiting.popleft()
            self._in_flight.append(exchange)
            batch.append(exchange.packed)
            size += len(exchange.packed)
        self._stats.commands += len(batch)
        self._stats.writes += 1
        self._stats.bytes_sent += size
        return batch

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except RedisError as error:
                if not (is_reply(error) and self._in_flight):
                    raise
                _answer(self._in_flight.popleft(), error)
            else:
                _answer(self._in_flight.popleft(), reply)

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
                _answer(exchanges.popleft(), Disconnected(trouble, sent=sent))


def pack(command: Sequence[Word]) -> bytes:
    """A command in RESP, the protocol of Redis."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    bulks = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%b" % (len(words), b"".join(bulks))


def is_reply(error: RedisError) -> bool:
    """Whether the server sent this error; otherwise the connection is at fault."""
    return isinstance(error, ResponseError) or error.status_code is not None


def _answer(exchange: _Exchange, reply: Any) -> None:
    if exchange.reply.done():  # its caller was cancelled
        return
    if isinstance(reply, Exception):
        exchange.reply.set_exception(reply)
    else:
        exchange.reply.set_result(reply)
