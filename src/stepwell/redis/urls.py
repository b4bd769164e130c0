"""URLs as ways to a server.

    redis://host:port/db             one server, or any node of a cluster
    redis+cluster://host:port,...    a cluster, of which several nodes are known
    redis+sentinel://host:port,.../service/db
                                     the master that sentinels know by the name of its service
    unix:///path, embedded:dir       a server on this machine

`rediss` for `redis` means TLS. User, password and options are those of redis-py.
"""

# redis-py leaves the arguments of its classes partly untyped:
# pyright: reportUnknownMemberType=false

import inspect
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import redis.asyncio.connection as async_
from redis.asyncio import Redis

from stepwell.redis.doors import Door, Embedded, Seeds, Sentinels
from stepwell.redis.embedded import parse_embedded
from stepwell.redis.server import SETTINGS, Server
from stepwell.redis.slots import Node

__all__ = ["door_of_url"]

_POOL_OPTIONS = {"max_connections", "timeout"}
_REDIS_PORT = 6379
_SENTINEL_PORT = 26379
_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}


def door_of_url(url: str) -> Door:
    """The way that a URL tells.

    Raises:
        ValueError: it can't be read.
    """
    parts = urlsplit(url)
    family, _, kind = parts.scheme.partition("+")
    if parts.scheme == "embedded":
        return Embedded(parse_embedded(url))
    if parts.scheme in ("redis", "rediss", "unix"):
        return _server(url)
    if family in ("redis", "rediss") and kind == "cluster":
        return _cluster(parts)
    if family in ("redis", "rediss") and kind == "sentinel":
        return _sentinels(parts)
    raise ValueError(
        f"a store can't be found by a URL with the scheme {parts.scheme!r}: use "
        "redis://host:port/db, redis+cluster://host:port,host:port, "
        "redis+sentinel://host:port,host:port/service/db (rediss for TLS), unix:///path or "
        "embedded:directory"
    )


def _cluster(parts: SplitResult) -> Seeds:
    places = _places(parts, _REDIS_PORT)
    server = _server(_of_one(parts, parts.path))
    return Seeds([server.at(place) for place in places])


def _sentinels(parts: SplitResult) -> Sentinels:
    places = _places(parts, _SENTINEL_PORT)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError(
            f"the URL of the store names no service for the sentinels at "
            f"{','.join(map(str, places))}. Write it as in "
            "redis+sentinel://host:26379,host:26379/service/0"
        )
    options = _options(_of_one(parts, f"/{database}"))
    own = {ours: options.pop(name) for name, ours in _SENTINEL_OPTIONS.items() if name in options}
    master = _server_of(options)
    secret = {name: value for name, value in master.settings.items() if name.startswith("ssl_")}
    sentinel = Server(master.connection_class, {**secret, **own})
    return Sentinels([sentinel.at(place) for place in places], unquote(service), master)


def _places(parts: SplitResult, port: int) -> list[Node]:
    """The servers between the last @ and the path, each with a port or this one."""
    hosts = parts.netloc.rpartition("@")[2].split(",")
    try:
        split = [urlsplit(f"//{host}") for host in hosts]
        return [Node(one.hostname or "localhost", one.port or port) for one in split]
    except ValueError as error:
        raise _unreadable(error) from None


def _of_one(parts: SplitResult, path: str) -> str:
    """The URL of the first server, as redis-py knows it."""
    credentials, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    first = hosts.partition(",")[0]
    return parts._replace(scheme=scheme, netloc=f"{credentials}{at}{first}", path=path).geturl()


def _server(url: str) -> Server:
    return _server_of(_options(url))


def _server_of(options: dict[str, Any]) -> Server:
    known = inspect.signature(Redis).parameters.keys() | SETTINGS | _POOL_OPTIONS
    if unknown := sorted(options.keys() - known - {"connection_class"}):
        raise ValueError(f"redis-py knows no option {', '.join(unknown)} in a URL: take it out")
    return Server.of(options.pop("connection_class", async_.Connection), options)


def _options(url: str) -> dict[str, Any]:
    """What redis-py reads in a URL, but for what it passes over."""
    parts = urlsplit(url)
    try:
        options = dict[str, Any](async_.parse_url(url))
    except ValueError as error:
        raise _unreadable(error) from None
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError(
            f"the URL of the store names database {database!r}, and databases have numbers. Write "
            f"it as in redis://host:6379/0"
        )
    return options


def _unreadable(error: ValueError) -> ValueError:
    return ValueError(
        f"the URL of the store can't be read: {error}. Write it as in redis://host:6379/0"
    )
