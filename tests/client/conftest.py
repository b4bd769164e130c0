"""Fixtures for clients, and for a worker that a test plays by hand."""

from collections.abc import AsyncGenerator

import pytest

from stepwell.client import Client
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.redis import RedisCheckpointer
from stepwell.storage.memory import MemoryServer
from stepwell.storage.protocol import RunStore
from support.servers import RedisServer


@pytest.fixture(params=["memory", "redis"])
def checkpointer(request: pytest.FixtureRequest, namespace: str) -> Checkpointer:
    """A place of the test's own."""
    if request.param == "memory":
        return MemoryCheckpointer(MemoryServer())
    server: RedisServer = request.getfixturevalue("redis_server")
    return RedisCheckpointer(server.unix_url, namespace=namespace)


@pytest.fixture
async def client(checkpointer: Checkpointer) -> AsyncGenerator[Client]:
    """A client of that place."""
    async with Client(checkpointer) as client:
        yield client


@pytest.fixture
async def store(checkpointer: Checkpointer) -> AsyncGenerator[RunStore]:
    """A connection of somebody else."""
    store = checkpointer.connect()
    await store.open()
    yield store
    await store.close()
