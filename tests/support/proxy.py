"""A proxy between clients and a server that counts commands, and can cut between any two.

A crash test kills a client exactly before, or exactly after, its k-th command:

    def crash(command: Command, position: Position) -> bool:
        if (command.index, position) != (k, "before"):
            return False
        child.kill()
        return True  # cut here: the server never gets the command

    with Proxy(server.socket_path, on_command=crash) as proxy:
        async with Child(program, env={"STORE": proxy.url}) as child: ...
"""

import asyncio
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Literal, Self

from support.resp import Frames, arguments

__all__ = ["Command", "Hook", "Position", "Proxy"]

_CHUNK_BYTES = 65536
_SUBSCRIPTIONS = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"}
_HANDSHAKE = {"HELLO", "AUTH", "CLIENT", "SELECT", "PING"}

Position = Literal["before", "after"]
"""`before`: the server has not got the command. `after`: the client has not got the reply."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a client sent.

    Attributes:
        index: its number among all commands through the proxy, from 0.
        connection: the number of its connection, from 0, in the order in which they were opened.
        first: the name of the first command on that connection that is not about the connection
            itself (HELLO, AUTH, CLIENT, SELECT, PING): it tells a subscriber from a writer. As
            long as there is none, the name of the command itself.
        words: name and arguments.
        size: bytes on the wire.
    """

    index: int
    connection: int
    first: str
    words: tuple[bytes, ...]
    size: int

    @property
    def name(self) -> str:
        """Its first word in capitals."""
        return self.words[0].decode().upper()


Hook = Callable[[Command, Position], bool]
"""Called in the proxy's thread, which waits for it; True cuts all connections at this point."""


class Proxy:
    """Forwards every byte between its clients and a server, in a thread of its own.

    There is no `after` for a connection from its first subscription on, as replies can't be told
    from messages then. A cut ends the connections of that time; new ones are let in.

    Args:
        upstream: the server's Unix socket.
        on_command: asked before and after every command. What it raises is raised on leaving.
        tcp: listen on a port of 127.0.0.1 instead of a Unix socket.

    Attributes:
        commands: all commands that clients sent so far, those cut off included.
    """

    def __init__(
        self, upstream: Path, *, on_command: Hook | None = None, tcp: bool = False
    ) -> None:
        self.commands: list[Command] = []
        self.on_command: Hook = on_command or (lambda _command, _position: False)
        self._upstream = upstream
        self._tcp = tcp
        self._connections: dict[int, _Connection] = {}
        self._opened = 0
        self._failure: Exception | None = None
        self._address: Future[str] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._address.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def url(self) -> str:
        """Where it listens, for redis-py."""
        return self._address.result()

    def counts(self) -> Counter[str]:
        """How often each command was sent."""
        return Counter(command.name for command in self.commands)

    def bytes_sent(self) -> Counter[str]:
        """Bytes on the wire per command name; its `total()` is that of all."""
        sent = Counter[str]()
        for command in self.commands:
            sent[command.name] += command.size
        return sent

    def commands_by_connection(self) -> dict[int, list[Command]]:
        """The commands of each connection, in their order."""
        by_connection: dict[int, list[Command]] = {}
        for command in self.commands:
            by_connection.setdefault(command.connection, []).append(command)
        return by_connection

    def record(self, connection: int, first: str, words: list[bytes], size: int) -> Command:
        """Note a command that is about to be forwarded."""
        command = Command(len(self.commands), connection, first, tuple(words), size)
        self.commands.append(command)
        return command

    def cut(self) -> None:
        """End all connections. What was forwarded before still reaches the server."""
        for connection in self._connections.values():
            connection.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._address.done():
                raise
            self._address.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        directory = Path(tempfile.mkdtemp(prefix="sw"))
        try:
            async with await self._listen(directory / "p") as listener:
                await self._stopped.wait()
                listener.close()
                await self._close_connections()
        finally:
            rmtree(directory)

    async def _listen(self, path: Path) -> asyncio.Server:
        if self._tcp:
            listener = await asyncio.start_server(self._forward, "127.0.0.1", 0)
            address = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
        else:
            listener = await asyncio.start_unix_server(self._forward, path)
            address = f"unix://{path}"
        self._address.set_result(address)
        return listener

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._opened = self._opened, self._opened + 1
        client = _Peer(reader, writer)
        try:
            server = _Peer(*await asyncio.open_unix_connection(self._upstream))
        except OSError:  # the server is down, which the client is to see as such
            client.writer.close()
            return
        self._connections[number] = _Connection(self, number, client, server)
        try:
            await self._connections[number].forward()
        except Exception as error:  # noqa: BLE001 - of the hook: raised where the proxy was opened
            self._failure = self._failure or error
        del self._connections[number]

    async def _close_connections(self) -> None:
        while handlers := asyncio.all_tasks() - {asyncio.current_task()}:
            self.cut()  # also what was accepted while the others ended
            await asyncio.gather(*handlers)


@dataclass(frozen=True, slots=True)
class _Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Connection:
    def __init__(self, proxy: Proxy, number: int, client: _Peer, server: _Peer) -> None:
        self._proxy = proxy
        self._number = number
        self._client = client
        self._server = server
        self._first: str | None = None
        self._unanswered: deque[Command] | None = deque()
        self._open = True

    async def forward(self) -> None:
        try:
            await asyncio.gather(
                self._pump(self._client, self._server, self._on_command),
                self._pump(self._server, self._client, self._on_reply),
            )
        finally:
            self._server.writer.close()

    def close(self) -> None:
        """Take nothing more from the client. The server reads what was forwarded, then hangs up."""
        self._open = False
        self._client.writer.close()
        self._server.writer.write_eof()

    async def _pump(self, source: _Peer, target: _Peer, ask: Callable[[bytes], bool]) -> None:
        """Pass frames on until the source closes; drop them after a cut."""
        frames = Frames()
        try:
            while data := await source.reader.read(_CHUNK_BYTES):
                for frame in frames.feed(data):
                    if self._open and not self._asked_to_cut(ask, frame):
                        target.writer.write(frame)
                if self._open:
                    await target.writer.drain()
        except ConnectionError:
            return  # the other end learns of it below
        finally:
            self.close()

    def _asked_to_cut(self, ask: Callable[[bytes], bool], frame: bytes) -> bool:
        to_cut = ask(frame)
        if to_cut:
            self._proxy.cut()
        return to_cut

    def _on_command(self, frame: bytes) -> bool:
        command = self._recorded(frame)
        if command.name in _SUBSCRIPTIONS:
            self._unanswered = None
        if self._unanswered is not None:
            self._unanswered.append(command)
        return self._proxy.on_command(command, "before")

    def _recorded(self, frame: bytes) -> Command:
        words = arguments(frame)
        name = words[0].decode().upper()
        if self._first is None and name not in _HANDSHAKE:
            self._first = name
        return self._proxy.record(self._number, self._first or name, words, len(frame))

    def _on_reply(self, frame: bytes) -> bool:
        if not self._unanswered or frame.startswith(b">"):
            return False
        return self._proxy.on_command(self._unanswered.popleft(), "after")
