"""Ways to a server: where it is fixed, and where somebody else knows it.

A plain `Server` is one too.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import redis.asyncio.connection as async_
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from stepwell.redis.embedded import ensure_server
from stepwell.redis.server import Connection, Server, ask, ask_once
from stepwell.redis.slots import Node

__all__ = ["Door", "Embedded", "Remap", "Seeds", "Sentinels"]

Remap = Callable[[tuple[str, int]], tuple[str, int]]
"""Where a node is reached that announces itself at this host and port."""


class Door(Protocol):
    """A way to a server."""

    @property
    def address(self) -> str:
        """For messages: without user and password."""
        ...

    @property
    def seeds(self) -> Sequence[Server]:
        """The nodes to begin with, if it leads to a cluster."""
        ...

    def at(self, node: Node) -> Server:
        """A server that this one named."""
        ...

    async def connect(self, seconds: float) -> Connection:
        """A new connection, ready for commands; the caller closes it."""
        ...


@dataclass(frozen=True)
class Embedded:
    """The server of a directory, which is started when it is needed."""

    directory: Path

    @property
    def address(self) -> str:
        """For messages."""
        return f"embedded:{self.directory}"

    @property
    def seeds(self) -> Sequence[Server]:
        """None: it is no cluster."""
        return ()

    def at(self, node: Node) -> Server:
        """A server that this one named, which it never does."""
        return Server(async_.Connection, {"host": node.host, "port": node.port})

    async def connect(self, seconds: float) -> Connection:
        """A new connection; raises StoreUnavailable if the server can't be started."""
        options = dict(async_.parse_url(await ensure_server(self.directory)))
        return await Server.of(async_.UnixDomainSocketConnection, options).connect(seconds)


@dataclass(frozen=True)
class Seeds:
    """Some nodes of a cluster, of which any one will do to learn of the others.

    Attributes:
        servers: the nodes; one at least.
        remap: of a client that reaches the nodes elsewhere than where they think they are.
    """

    servers: Sequence[Server]
    remap: Remap | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """For messages."""
        scheme = self.servers[0].address.partition(":")[0]
        return f"{scheme}+cluster://{','.join(str(server.node) for server in self.servers)}"

    @property
    def seeds(self) -> Sequence[Server]:
        """The nodes to begin with."""
        return self.servers

    def at(self, node: Node) -> Server:
        """A node that another one named."""
        return self.servers[0].at(Node(*self.remap(node)) if self.remap else node)

    async def connect(self, seconds: float) -> Connection:
        """A connection to any of them."""
        share = seconds / len(self.servers)
        return await _first(self.servers, lambda server: server.connect(share))


@dataclass(frozen=True)
class Sentinels:
    """The master of a service, which the sentinels know.

    Every connection asks anew, and is believed only when the server itself says that it is a
    master: a sentinel may not have heard yet. https://valkey.io/topics/sentinel-clients

    Attributes:
        sentinels: to ask; one at least.
        service: the name under which they watch the master.
        master: how it is connected to, wherever it is.
    """

    sentinels: Sequence[Server]
    service: str
    master: Server

    @property
    def address(self) -> str:
        """For messages."""
        scheme, _, database = self.master.address.partition("://")
        hosts = ",".join(str(sentinel.node) for sentinel in self.sentinels)
        return f"{scheme}+sentinel://{hosts}/{self.service}/{database.partition('/')[2]}"

    @property
    def seeds(self) -> Sequence[Server]:
        """None: it is no cluster."""
        return ()

    def at(self, node: Node) -> Server:
        """A server that a sentinel named."""
        return self.master.at(node)

    async def connect(self, seconds: float) -> Connection:
        """A connection to the master."""
        share = seconds / len(self.sentinels) / 2
        return await _first(self.sentinels, lambda sentinel: self._by(sentinel, share))

    async def _by(self, sentinel: Server, seconds: float) -> Connection:
        master = self.at(await self._named_by(sentinel, seconds))
        connection = await master.connect(seconds)
        try:
            async with asyncio.timeout(seconds):
                self._check(await ask(connection, "ROLE"), master, sentinel)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _check(self, reply: Sequence[Any], master: Server, sentinel: Server) -> None:
        role = reply[0].decode()
        if role != "master":
            raise RedisConnectionError(
                f"{master.address} is a {role}, and the sentinel {sentinel.node} calls it the "
                f"master of {self.service!r}"
            )

    async def _named_by(self, sentinel: Server, seconds: float) -> Node:
        command = "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service
        found = await ask_once(sentinel, seconds, *command)
        if found is None:
            raise RedisConnectionError(
                f"the sentinel {sentinel.node} knows no master with the name {self.service!r}"
            )
        return Node(found[0].decode(), int(found[1]))


async def _first(
    servers: Sequence[Server], connect: Callable[[Server], Awaitable[Connection]]
) -> Connection:
    """The first connection that comes about; in random order, so that not all ask the same."""
    trouble: Exception | None = None
    for server in random.sample(servers, len(servers)):
        try:
            return await connect(server)
        except (RedisError, OSError) as error:
            trouble = error
    raise trouble or ValueError("no server to connect to")
