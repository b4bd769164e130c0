"""One connection, on which everything that is asked in one turn of the event loop leaves at once.

Commands are written in the order in which they were asked, and replies are read in that order, by
tasks of the wire's own. So a caller that is cancelled leaves nothing half done: its command goes
out, its reply is read, and nobody takes it for another's.

redis-py connects and parses (TLS, passwords, RESP); its pool and its own resending are not used.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stepwell.errors import StoreError
from stepwell.redis.acks import Confirmation
from stepwell.redis.home import Home
from stepwell.redis.resp import Word, is_reply, pack
from stepwell.redis.server import Connectable, Connection

__all__ = ["Answer", "Disconnected", "Interrupted", "Line", "Stats", "Wire", "Word", "pack"]

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
        commits: that were asked for.
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


class Interrupted(RedisConnectionError):  # noqa: N818 - it says what happened
    """The session of a wire was cancelled by others, as all tasks are when `asyncio.run` ends."""


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


Answer = Callable[[Any], None]
"""Takes a reply, or the exception that came instead of it, once."""


@dataclass(slots=True, eq=False)
class _Held:
    """An answer whose reply counts only when its batch is confirmed."""

    answer: Answer
    reply: Any = None

    def hear(self, reply: Any) -> None:
        self.reply = reply

    def confirm(self, refusal: Exception | None) -> None:
        stands = refusal is None or isinstance(self.reply, Exception)
        self.answer(self.reply if stands else refusal)


@dataclass(slots=True, eq=False)
class _Confirming:
    """The end of a batch, which answers the whole batch."""

    confirmation: Confirmation
    batch: list[_Held]
    done: asyncio.Event

    def hear(self, reply: Any) -> None:
        refusal = self._refusal(reply)
        for held in self.batch:
            held.confirm(refusal)
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
        self._waiting = deque[tuple[bytes, Answer]]()
        self._in_flight = deque[Answer]()
        self._asked = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._closing = False
        self._dropped = False
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
        reply = self._home.loop().create_future()
        self.send(command, partial(_give, reply), asking=asking)
        return await reply

    def send(self, command: Sequence[Word], answer: Answer, *, asking: bool = False) -> None:
        """Send a command; its reply, or what `call` would raise, goes to `answer` when it is there.

        Raises:
            UnicodeEncodeError: a word is no Unicode.
            StoreUnavailable: it was closed.
        """
        loop = self._home.loop()
        packed = pack(command)
        if asking:
            self._waiting.append((pack(["ASKING"]), lambda _: None))
        self._waiting.append((packed, answer))
        if self._session is None:
            self._session = self._start(loop)
        self._asked.set()

    async def close(self) -> None:
        """Close the connection; what has no reply yet fails."""
        self._home.leave()
        self._closing = True
        await self.drop()

    async def drop(self) -> None:
        """Close the connection; the next call makes another one."""
        session = self._session
        if session is not None:
            self._end(session)
            await asyncio.wait([session])

    def abandon(self) -> None:
        """Close the connection soon, for good; what has no reply, or is asked yet, fails."""
        self._abandoned = True
        if self._session is not None:
            self._end(self._session)

    def _end(self, session: asyncio.Task[None]) -> None:
        self._dropped = True
        session.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        self._dropped = False
        return loop.create_task(self._refuse() if self._abandoned else self._serve())

    async def _refuse(self) -> None:
        self._fail(RedisConnectionError("nothing lives at this server any more"))

    async def _serve(self) -> None:
        trouble: Exception = Interrupted("the connection was closed with its event loop")
        try:
            connection = await self._source.connect(self._patience)
            self._stats.connections += 1
            await self._exchange(connection)
        except* (RedisError, OSError, StoreError) as troubles:
            trouble = troubles.exceptions[0]
        finally:
            self._fail(_dropped() if self._dropped else trouble)

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
        packed, answers = self._batch()
        if self._confirmation is None:
            self._in_flight += answers
            await self._send(connection, packed)
            return
        held = [_Held(answer) for answer in answers]
        end = _Confirming(self._confirmation, held, asyncio.Event())
        self._in_flight += [*(one.hear for one in held), end.hear]
        await self._send(connection, [*packed, pack(self._confirmation.command)])
        await end.done.wait()

    async def _send(self, connection: Connection, packed: list[bytes]) -> None:
        self._stats.commands += len(packed)
        self._stats.writes += 1
        self._stats.bytes_sent += sum(map(len, packed))
        await connection.send_packed_command(packed, check_health=False)

    def _batch(self) -> tuple[list[bytes], list[Answer]]:
        """Take as many of the waiting as may leave at once."""
        batch, answers, size = list[bytes](), list[Answer](), 0
        while self._waiting and len(batch) < _BATCH_COMMANDS and size < _BATCH_BYTES:
            packed, answer = self._waiting.popleft()
            batch.append(packed)
            answers.append(answer)
            size += len(packed)
        return batch, answers

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except RedisError as error:
                if not (is_reply(error) and self._in_flight):
                    raise
                self._in_flight.popleft()(error)
            else:
                self._in_flight.popleft()(reply)

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
        while self._in_flight:
            self._in_flight.popleft()(Disconnected(trouble, sent=True))
        while self._waiting:
            self._waiting.popleft()[1](Disconnected(trouble, sent=False))


def _dropped() -> RedisConnectionError:
    return RedisConnectionError("the connection was closed on this side")


def _give(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)
