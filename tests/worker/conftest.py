"""Fixtures for workers: a place in memory, and a client of it."""

from collections.abc import AsyncGenerator

import pytest

from stepwell.client import Client
from support.places import Place


@pytest.fixture(params=[2])
def place(request: pytest.FixtureRequest) -> Place:
    """A place of the test's own; a test may ask for another number of partitions."""
    return Place(request.param)


@pytest.fixture
async def client(place: Place) -> AsyncGenerator[Client]:
    """A client of that place."""
    async with place.client() as client:
        yield client
