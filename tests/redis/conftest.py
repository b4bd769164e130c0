"""Fixtures for what speaks to Redis."""

from collections.abc import Iterator

import pytest

from support.lab import Lab
from support.servers import RedisServer


@pytest.fixture
def lab(redis_server: RedisServer, namespace: str) -> Iterator[Lab]:
    """A namespace in which scripts are called by hand."""
    with Lab(redis_server.unix_url, namespace) as lab:
        yield lab
