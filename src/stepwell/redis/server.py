"""One server: how it is connected to, with settings that redis-py knows.

How replies are decoded, how long they are waited for and what is sent again is decided here,
whatever a client says whose settings are taken.
"""

# redis-py leaves the arguments of its classes partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import redis.asyncio.connection as async_
import redis.connection as sync
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

from stepwell.redis.resp import Word, pack
from stepwell.redis.slots import Node

__all__ = ["SETTINGS", "Connectable", "Connection", "Server", "ask", "ask_once"]

SETTINGS = {
    "host", "port", "path", "db", "username", "password", "credential_provider", "client_name",
    "redis_connect_func", "socket_keepalive", "socket_keepalive_options", "socket_type",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_include_verify_flags",
    "ssl_exclude_verify_flags", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_check_hostname",
    "ssl_min_version", "ssl_ciphers", "ssl_password",
}  # fmt: skip
"""What is taken over from a URL or a client."""

_OURS: Mapping[str, Any] = {
    "decode_responses": False,
    "driver_info": None,  # one exchange less for each connection
    "health_check_interval": 0,
    "protocol": 2,  # with 3, redis-py listens to maintenance messages of the server
    "socket_timeout": None,  # the wire looks at the clock itself
}


class Connection(Protocol):
    """What is used of a connection of redis-py, which types it in part only."""

    async def send_packed_command(self, command: Iterable[bytes], check_health: bool = ...) -> None:
        """Write; it waits only when the other side is slow to read."""
        ...

    async def read_response(self, *, disconnect_on_error: bool) -> Any:
        """The next reply; an error reply is raised."""
        ...

    async def disconnect(self, nowait: bool = ...) -> None:
        """Close it."""
        ...


async def ask(connection: Connection, *command: Word) -> Any:
    """The reply to a command on a connection on which nothing else is asked meanwhile."""
    await connection.send_packed_command([pack(command)], check_health=False)
    return await connection.read_response(disconnect_on_error=False)


class Connectable(Protocol):
    """What gives connections."""

    async def connect(self, seconds: float) -> Connection:
        """A new connection, ready for commands; the caller closes it."""
        ...


async def ask_once(place: Connectable, seconds: float, *command: Word) -> Any:
    """The reply to a command on a connection that is made for it."""
    connection = await place.connect(seconds)
    try:
        async with asyncio.timeout(seconds):
            return await ask(connection, *command)
    finally:
        await connection.disconnect(nowait=True)


@dataclass(frozen=True)
class Server:
    """A server at a fixed place.

    Attributes:
        connection_class: of redis-py: TCP, TLS or a Unix socket.
        settings: for its constructor.
    """

    connection_class: type[async_.AbstractConnection]
    settings: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, connection_class: type[Any], options: Mapping[str, Any]) -> "Server":
        """Take over what redis-py would connect with.

        Raises:
            TypeError: our connections can't do what is asked of them.
        """
        if any(value and "ocsp" in name for name, value in options.items()):
            raise TypeError(
                "redis-py can't check OCSP on async connections: pass a client without it"
            )
        settings = {name: options[name] for name in SETTINGS & options.keys()}
        async_class = _async_class(connection_class)
        hook = settings.get("redis_connect_func")
        if hook is not None and async_class is not connection_class:
            raise TypeError(
                "redis_connect_func of a synchronous client can't be used: pass a redis.asyncio "
                "client"
            )
        return cls(async_class, settings)

    @property
    def address(self) -> str:
        """For messages: without user and password."""
        settings = self.settings
        db = int(settings.get("db") or 0)
        if issubclass(self.connection_class, async_.UnixDomainSocketConnection):
            return f"unix://{settings.get('path')}" + (f"?db={db}" if db else "")
        scheme = "rediss" if issubclass(self.connection_class, async_.SSLConnection) else "redis"
        return f"{scheme}://{self.node}/{db}"

    @property
    def node(self) -> Node:
        """Its place on TCP."""
        return Node(self.settings.get("host", "localhost"), int(self.settings.get("port", 6379)))

    @property
    def seeds(self) -> Sequence["Server"]:
        """The nodes to begin with, if it is one of a cluster."""
        return (self,)

    def at(self, node: Node) -> "Server":
        """Another server, for which the same settings hold."""
        settings = {name: value for name, value in self.settings.items() if name != "path"}
        on_tcp = not issubclass(self.connection_class, async_.UnixDomainSocketConnection)
        connection_class = self.connection_class if on_tcp else async_.Connection
        return Server(connection_class, {**settings, "host": node.host, "port": node.port})

    async def connect(self, seconds: float) -> Connection:
        """A new connection, ready for commands; the caller closes it.

        Args:
            seconds: for the connection and all that is exchanged first.

        Raises:
            RedisError: nobody answers, or it does not let us in.
        """
        settings: dict[str, Any] = {**self.settings, **_OURS, "retry": Retry(NoBackoff(), 0)}
        connection = self.connection_class(**settings)
        try:
            async with asyncio.timeout(seconds):
                await connection.connect()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError(
                    f"no connection to {self.address} in {seconds:.1f} s"
                ) from error
            raise
        return cast("Connection", connection)


def _async_class(connection_class: type[Any]) -> type[async_.AbstractConnection]:
    if issubclass(connection_class, async_.AbstractConnection):
        return connection_class
    for base, counterpart in (
        (sync.UnixDomainSocketConnection, async_.UnixDomainSocketConnection),
        (sync.SSLConnection, async_.SSLConnection),
        (sync.Connection, async_.Connection),
    ):
        if issubclass(connection_class, base):
            return counterpart
    raise TypeError(f"connections of the class {connection_class.__name__} can't be used")
