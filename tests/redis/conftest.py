"""Fixtures for what speaks to Redis."""

from collections.abc import Iterator

import pytest

from support.lab import Lab
from support.servers import SERVER_KINDS, RedisServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What needs a server is tried on each kind."""
    if "redis_server" in metafunc.fixturenames:
        metafunc.parametrize("redis_server", SERVER_KINDS, indirect=True, ids=str, scope="session")


@pytest.fixture
def lab(redis_server: RedisServer, namespace: str) -> Iterator[Lab]:
    """A namespace in which scripts are called by hand."""
    with Lab(redis_server.unix_url, namespace) as lab:
        yield lab
