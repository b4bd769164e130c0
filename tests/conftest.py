"""Fixtures for everybody: a shared server, servers to break, and names that nobody else uses."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.servers import RedisServer, server_binaries


@pytest.fixture(scope="session", params=server_binaries(), ids=lambda binary: binary.name)
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server that all tests share: write under `namespace` only, and leave it running."""
    binary: Path = request.param
    with RedisServer(binary) as server:
        yield server


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
