"""Where the server is, and how to connect to it: taken from a URL, or from a redis-py client.

Of a client only its settings are used, never its sockets; how replies are decoded, how long they
are waited for and what is sent again is decided here, whatever the client says.
"""

# redis-py leaves the arguments of its classes partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import redis.asyncio.connection as async_
import redis.connection as sync
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import SentinelConnectionPool

from stepwell.redis.embedded import ensure_server, parse_embedded

__all__ = ["Client", "Connection", "Source"]

Client = Redis | AsyncRedis


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


_SETTINGS = {
    "host", "port", "path", "db", "username", "password", "credential_provider", "client_name",
    "redis_connect_func", "socket_keepalive", "socket_keepalive_options", "socket_type",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_include_verify_flags",
    "ssl_exclude_verify_flags", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_check_hostname",
    "ssl_min_version", "ssl_ciphers", "ssl_password",
}  # fmt: skip
_POOL_OPTIONS = {"max_connections", "timeout"}
_OURS: Mapping[str, Any] = {
    "decode_responses": False,
    "driver_info": None,  # one exchange less for each connection
    "health_check_interval": 0,
    "protocol": 2,  # with 3, redis-py listens to maintenance messages of the server
    "socket_timeout": None,  # the wire looks at the clock itself
}


@dataclass(frozen=True)
class Source:
    """The server of a store.

    Attributes:
        address: for messages, without user and password.
        directory: of an embedded server, which is started when it is needed.
    """

    address: str
    connection_class: type[async_.AbstractConnection]
    settings: Mapping[str, Any] = field(repr=False)
    directory: Path | None = None

    @classmethod
    def of(cls, place: "str | Client") -> "Source":
        """Take the settings of a URL (`redis: rediss: unix: embedded:`) or of a redis-py client.

        Raises:
            ValueError: the URL can't be read.
            TypeError: nothing can be connected to with such an object; the message says why.
        """
        if not isinstance(place, str):
            return _of_client(place)
        if place.startswith("embedded:"):
            directory = parse_embedded(place)
            return cls(f"embedded:{directory}", async_.UnixDomainSocketConnection, {}, directory)
        return _of_url(place)

    async def connect(self, seconds: float) -> Connection:
        """A new connection, ready for commands; the caller closes it.

        Args:
            seconds: for the connection and all that is exchanged first.

        Raises:
            RedisError: nobody answers, or it does not let us in.
            StoreUnavailable: the embedded server can't be started.
        """
        connection = self.connection_class(**await self._all_settings())
        try:
            async with asyncio.timeout(seconds):
                await connection.connect()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError(f"no connection in {seconds:.1f} s") from error
            raise
        return cast("Connection", connection)

    async def _all_settings(self) -> dict[str, Any]:
        settings = {**self.settings, **_OURS, "retry": Retry(NoBackoff(), 0)}
        if self.directory is not None:
            settings |= async_.parse_url(await ensure_server(self.directory))
            del settings["connection_class"]
        return settings


def _of_url(url: str) -> Source:
    scheme = urlsplit(url).scheme
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError(
            f"a store can't be found by a URL with the scheme {scheme!r}: use "
            "redis://host:port/db, rediss:// (TLS), unix:///path or embedded:directory"
        )
    options = _options_of(url)
    connection_class = options.pop("connection_class", async_.Connection)
    known = inspect.signature(AsyncRedis).parameters.keys() | _SETTINGS | _POOL_OPTIONS
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"redis-py knows no option {', '.join(unknown)} in a URL: take it out")
    return _source(connection_class, options)


def _options_of(url: str) -> dict[str, Any]:
    """What redis-py reads in a URL, but for what it passes over."""
    parts = urlsplit(url)
    try:
        options = dict[str, Any](async_.parse_url(url))
    except ValueError as error:
        raise ValueError(
            f"the URL of the store can't be read: {error}. Write it as in redis://host:6379/0"
        ) from None
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError(
            f"the URL of the store names database {database!r}, and databases have numbers. Write "
            f"it as in redis://host:6379/0"
        )
    return options


def _of_client(client: Any) -> Source:
    if isinstance(client, RedisCluster | AsyncRedisCluster):
        raise TypeError(
            "a RedisCluster client can't be used yet: this version needs one server that holds all "
            "keys; pass a Redis client of such a server, or its URL"
        )
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise TypeError(
            f"{type(client).__name__} is no redis-py client: pass a redis.Redis, a "
            "redis.asyncio.Redis, or a URL"
        )
    _refuse_pools(client, pool)
    return _source(pool.connection_class, pool.connection_kwargs)


def _refuse_pools(client: Any, pool: Any) -> None:
    if isinstance(pool, SentinelConnectionPool | AsyncSentinelConnectionPool):
        raise TypeError(
            "a client made by Sentinel can't be used yet: pass a Redis client of the master itself"
        )
    origins = {base.__module__ for base in (*type(client).__mro__, *pool.connection_class.__mro__)}
    if any(origin.split(".")[0] == "fakeredis" for origin in origins):
        raise TypeError(
            "a fakeredis client can't be used: its server lives in this process only, so nothing "
            "would outlive it; use 'embedded:' for a real server without installation"
        )


def _source(connection_class: type[Any], options: Mapping[str, Any]) -> Source:
    if any(value and "ocsp" in name for name, value in options.items()):
        raise TypeError("redis-py can't check OCSP on async connections: pass a client without it")
    settings = {name: options[name] for name in _SETTINGS & options.keys()}
    async_class = _async_class(connection_class)
    hook = settings.get("redis_connect_func")
    if hook is not None and async_class is not connection_class:
        raise TypeError(
            "redis_connect_func of a synchronous client can't be used: pass a redis.asyncio client"
        )
    return Source(_address(async_class, settings), async_class, settings)


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


def _address(connection_class: type[async_.AbstractConnection], settings: Mapping[str, Any]) -> str:
    db = int(settings.get("db") or 0)
    if issubclass(connection_class, async_.UnixDomainSocketConnection):
        return f"unix://{settings.get('path')}" + (f"?db={db}" if db else "")
    scheme = "rediss" if issubclass(connection_class, async_.SSLConnection) else "redis"
    return f"{scheme}://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{db}"
