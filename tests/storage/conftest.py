"""One suite, every store: what `stepwell.storage.protocol` says, tried on all of them."""

from collections.abc import AsyncGenerator, Callable, Generator

import pytest

from stepwell.storage.protocol import RunStore
from support.servers import SERVER_KINDS, RedisServer, ServerKind
from support.stores import MemoryPlace, Place, RedisPlace


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What needs a place is tried in memory and on each kind of server."""
    if "place" in metafunc.fixturenames:
        kinds = ["memory", *SERVER_KINDS]
        metafunc.parametrize("place", kinds, indirect=True, ids=str)


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    server_of: Callable[[ServerKind], RedisServer],
    namespace: str,
) -> Generator[Place]:
    """Where the runs of a test are kept."""
    kind: ServerKind | str = request.param
    if isinstance(kind, str):
        place: Place = MemoryPlace()
    else:
        place = RedisPlace(server_of(kind).unix_url, namespace)
    yield place
    place.close()


@pytest.fixture
async def store(place: Place) -> AsyncGenerator[RunStore]:
    """A connection to the place."""
    store = place.connect()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(place: Place) -> AsyncGenerator[RunStore]:
    """A connection of another process."""
    other = place.connect()
    await other.open()
    yield other
    await other.close()
