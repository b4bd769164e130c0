"""A place in fakeredis: what it can do with the scripts of the store, which is nearly all.

A durable run can't be kept in fakeredis, and `Source.of` refuses its clients: its server lives and
dies with the process. But the scripts should not need more of a server than the commands they name,
and fakeredis is another reading of what these do.
"""

# its classes are partly untyped
# pyright: reportUnknownMemberType=false

from unittest.mock import patch

import pytest
from fakeredis import FakeAsyncRedisConnection, FakeRedis, FakeServer
from typing_extensions import override

from stepwell.redis.server import Server
from stepwell.redis.source import Source
from support.stores import RedisPlace

__all__ = ["FakePlace"]

_SHIM = """
local redis = setmetatable({
  acl_check_cmd = function() return true end,
  call = function(command, ...)
    return redis.call(command, ...) or (command == 'HRANDFIELD' and {})
  end,
}, {__index = redis})
"""
"""It has no permissions to look up, and tells nil of a missing hash, where servers tell an empty
list of fields."""


class FakePlace(RedisPlace):
    """A server of its own in fakeredis.

    A test that needs what it lacks is expected to fail, with the reason; and the store finds
    another version than that of a server, as fakeredis tells its own.
    """

    def __init__(self, namespace: str) -> None:
        server = FakeServer(server_type="redis", version=(7, 4))
        client = FakeRedis(server=server, decode_responses=True, protocol=2)
        source = Source(Server(FakeAsyncRedisConnection, {"server": server}))
        super().__init__(source, namespace, lambda _slot: client, _adapted)
        self._version = patch("stepwell.redis.store._SERVER_FLOOR", (2, 36))
        self._version.start()

    @override
    def restart(self) -> None:
        if not self.tells_its_lives_apart:
            pytest.xfail("fakeredis has no INFO, which tells one life of a server from another")
        super().restart()

    @override
    def until_absent(self, owner: str) -> None:
        if self.listens(owner):
            pytest.xfail(
                "fakeredis keeps the sharded subscriptions of a connection that was closed"
            )

    @override
    def close(self) -> None:
        self._version.stop()
        super().close()


def _adapted(text: str) -> str:
    """Without the first line, `#!lua`, which it can't parse."""
    return _SHIM + text.partition("\n")[2]
