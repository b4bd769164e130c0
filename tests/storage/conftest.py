"""One suite, every store: what `stepwell.storage.protocol` says, tried on all of them.

Each process of pytest starts what its tests need when the first of them needs it, and all tests
after that share it: a cluster or three sentinels are there within three seconds.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from stepwell.redis.source import Source
from stepwell.storage.protocol import RunStore
from support.fakes import FakePlace
from support.servers import SERVER_KINDS, RedisServer, ServerKind, binary_or_skip
from support.stores import MemoryPlace, Place, RedisPlace
from support.topologies import RedisCluster, SentinelTrio

Founder = Callable[[str], Place]
"""Makes a place, given a namespace that nobody else uses."""

_SILENCE_MS = 60_000
"""So that nobody takes a server for dead because the machine is busy."""


_KINDS = ["memory", "fakeredis", *map(str, SERVER_KINDS), "cluster", "sentinel"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What needs a place is tried on each kind; a test may name kinds of its own."""
    parametrized = metafunc.definition.iter_markers("parametrize")
    if "founder" in metafunc.fixturenames and not any("founder" in m.args[0] for m in parametrized):
        metafunc.parametrize("founder", _KINDS, indirect=True)


@pytest.fixture
def founder(request: pytest.FixtureRequest, on_server: Callable[[ServerKind], Founder]) -> Founder:
    """Where the runs of a test are kept: in memory, on one server, or on several."""
    kind: str = request.param
    if kind == "memory":
        return lambda _namespace: MemoryPlace()
    if kind == "fakeredis":
        return FakePlace
    if kind in ("cluster", "sentinel"):
        return request.getfixturevalue(f"on_{kind}")
    return on_server(next(one for one in SERVER_KINDS if one.name == kind))


@pytest.fixture(scope="session")
def on_server(
    server_of: Callable[[ServerKind], RedisServer],
) -> Iterator[Callable[[ServerKind], Founder]]:
    """One server of a kind."""
    with ExitStack() as clients:

        @cache
        def found(kind: ServerKind) -> Founder:
            server = server_of(kind)
            client = clients.enter_context(server.client())
            source = Source.of(server.unix_url)
            return lambda namespace: RedisPlace(source, namespace, lambda _slot: client)

        yield found


@pytest.fixture(scope="session")
def on_cluster() -> Iterator[Founder]:
    """Three masters, each with a replica; the partitions of a place are spread over them."""
    binary, silence = binary_or_skip(SERVER_KINDS[0]), str(_SILENCE_MS)
    with RedisCluster(binary, cluster_node_timeout=silence) as cluster, ExitStack() as stack:
        clients = {
            slots: stack.enter_context(master.client()) for slots, master in cluster.masters.items()
        }

        def client_of(slot: int) -> Any:
            return next(client for slots, client in clients.items() if slot in slots)

        source = Source.of(cluster.url)
        yield lambda namespace: RedisPlace(source, namespace, client_of)


@pytest.fixture(scope="session")
def on_sentinel() -> Iterator[Founder]:
    """A master with two replicas, which stores find by asking sentinels."""
    binary = binary_or_skip(SERVER_KINDS[0])
    with SentinelTrio(binary, _SILENCE_MS) as trio, trio.master.client() as client:
        source = Source.of(trio.url)
        yield lambda namespace: RedisPlace(source, namespace, lambda _slot: client)


@pytest.fixture
def place(founder: Founder, namespace: str) -> Generator[Place]:
    """Where the runs of a test are kept."""
    place = founder(namespace)
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
