"""Fixtures for everybody: a shared server, servers to break, and names that nobody else uses."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any
from uuid import uuid4

import pytest

from support.servers import SERVER_KINDS, RedisServer, ServerKind, binary_or_skip


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[ServerKind], RedisServer]]:
    """Servers that all tests share, by their kind: `server_of(kind)` starts it at its first use."""
    with ExitStack() as servers:

        @cache
        def start(kind: ServerKind) -> RedisServer:
            return servers.enter_context(RedisServer(binary_or_skip(kind)))

        yield start


@pytest.fixture(scope="session")
def redis_server(
    request: pytest.FixtureRequest, server_of: Callable[[ServerKind], RedisServer]
) -> RedisServer:
    """A server that all tests share: write under `namespace` only, and leave it running.

    It is the one that Stepwell would choose; a folder of tests may ask for each of SERVER_KINDS.
    """
    return server_of(getattr(request, "param", SERVER_KINDS[0]))


@pytest.fixture
def own_server() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own, to stop, kill and restart: `own_server(password="x")`."""
    with ExitStack() as servers:

        def start(**options: Any) -> RedisServer:
            return servers.enter_context(RedisServer(**options))

        yield start


@pytest.fixture
def namespace() -> str:
    """A key prefix that no other test uses."""
    return f"t{uuid4().hex[:12]}"
