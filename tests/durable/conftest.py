"""Fixtures for durable runs on a real server."""

from collections.abc import Iterator

import pytest

from support.runs import Runs
from support.servers import RedisServer


@pytest.fixture
def runs(redis_server: RedisServer, namespace: str) -> Iterator[Runs]:
    """A namespace of the shared server."""
    with Runs(redis_server.unix_url, namespace) as runs:
        yield runs
