"""Clients of redis-py as ways to a server: their settings are read, their sockets stay theirs."""

# redis-py leaves the arguments of its classes partly untyped:
# pyright: reportUnknownMemberType=false

from typing import Any

import redis.asyncio.connection as async_
import redis.connection as sync
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.cluster import RedisCluster
from redis.sentinel import SentinelConnectionPool

from stepwell.redis.doors import Door, Seeds, Sentinels
from stepwell.redis.server import Server
from stepwell.redis.slots import Node

__all__ = ["Client", "door_of_client"]

Client = Redis | AsyncRedis | RedisCluster | AsyncRedisCluster


def door_of_client(client: Any) -> Door:
    """The way that a client goes.

    Raises:
        TypeError: nothing can be connected to with such an object; the message says why.
    """
    if isinstance(client, RedisCluster | AsyncRedisCluster):
        return _of_cluster(client)
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise TypeError(
            f"{type(client).__name__} is no redis-py client: pass a redis.Redis, a "
            "redis.asyncio.Redis, a RedisCluster of either, or a URL"
        )
    _refuse_fakes(client, pool)
    if isinstance(pool, SentinelConnectionPool | AsyncSentinelConnectionPool):
        return _of_sentinel(pool)
    return Server.of(pool.connection_class, pool.connection_kwargs)


def _of_cluster(client: Any) -> Seeds:
    if getattr(client, "user_on_connect_func", None):
        raise TypeError(
            "redis_connect_func of a cluster client can't be used: pass a client without it"
        )
    nodes = client.nodes_manager
    options = {**nodes.connection_kwargs, "redis_connect_func": None}  # it is the client's own
    over_tls = options.get("ssl") or options.get("connection_class") is async_.SSLConnection
    server = Server.of(async_.SSLConnection if over_tls else async_.Connection, options)
    places = [Node(node.host, int(node.port)) for node in nodes.startup_nodes.values()]
    return Seeds([server.at(place) for place in places], nodes.address_remap)


def _of_sentinel(pool: Any) -> Sentinels:
    if not pool.is_master:
        raise TypeError(
            "a client made by Sentinel.slave_for reads from replicas, and a store writes: pass "
            "one made by master_for"
        )
    pools = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    sentinels = [Server.of(pool.connection_class, pool.connection_kwargs) for pool in pools]
    over_tls = issubclass(pool.connection_class, sync.SSLConnection | async_.SSLConnection)
    plain_class = async_.SSLConnection if over_tls else async_.Connection
    master = Server.of(plain_class, pool.connection_kwargs)
    return Sentinels(sentinels, pool.service_name, master)


def _refuse_fakes(client: Any, pool: Any) -> None:
    origins = {base.__module__ for base in (*type(client).__mro__, *pool.connection_class.__mro__)}
    if any(origin.split(".")[0] == "fakeredis" for origin in origins):
        raise TypeError(
            "a fakeredis client can't be used: its server lives in this process only, so nothing "
            "would outlive it; use 'embedded:' for a real server without installation"
        )
