"""A master that sentinels watch: whoever it is, every connection goes there."""

# redis-py leaves the arguments of its clients partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
import redis
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from stepwell.errors import StoreRefused, StoreUnavailable
from stepwell.redis.gateway import Gateway
from stepwell.redis.listener import Listener
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.topology import Topology
from stepwell.redis.wire import Stats
from support.servers import SERVER_KINDS, binary_or_skip
from support.topologies import SentinelTrio

SECONDS = 30.0


@pytest.fixture(scope="module")
def trio() -> Iterator[SentinelTrio]:
    with SentinelTrio(binary_or_skip(SERVER_KINDS[0])) as trio:
        yield trio


@pytest.fixture
def topology(trio: SentinelTrio) -> Topology:
    return Topology(Source.of(trio.url), patience=2.0)


@pytest.fixture
async def gateway(topology: Topology) -> AsyncGenerator[Gateway]:
    gateway = Gateway(topology, Stats(), SECONDS)
    yield gateway
    await gateway.close()


def places(trio: SentinelTrio) -> list[tuple[str, int]]:
    return [("127.0.0.1", sentinel.port) for sentinel in trio.sentinels]


CLIENTS: dict[str, Callable[[SentinelTrio], Any]] = {
    "url": lambda trio: trio.url,
    "url with a sentinel that is not there": lambda trio: trio.url.replace("//", "//127.0.0.1:1,"),
    "sync": lambda trio: Sentinel(places(trio)).master_for(trio.service),
    "sync, decoding": lambda trio: Sentinel(
        places(trio), decode_responses=True, socket_timeout=0.00001
    ).master_for(trio.service),
    "async": lambda trio: AsyncSentinel(places(trio)).master_for(trio.service),
}


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_store_opens_by_whatever_knows_the_sentinels(
    kind: str, trio: SentinelTrio, namespace: str
) -> None:
    store = RedisStore(Source.of(CLIENTS[kind](trio)), namespace, stats=Stats())
    await store.open()
    await store.close()
    with trio.master.client() as client:
        assert client.exists(f"stepwell:{{{namespace}}}:meta")


async def test_a_call_and_a_channel_go_on_at_the_replica_that_took_over(
    trio: SentinelTrio, topology: Topology, gateway: Gateway, namespace: str
) -> None:
    listener, heard = Listener(topology), asyncio.Event()
    await listener.join(namespace, heard)
    assert await gateway.read("string", "reading", "GET", namespace) is None
    struck = await asyncio.to_thread(trio.kill_master)
    try:
        await heard.wait()  # something may have been missed
        assert await gateway.read("string", "reading", "GET", namespace) is None
        await listener.join(namespace, asyncio.Event())
        heard.clear()
        with trio.master.client() as client:
            assert client.execute_command("SPUBLISH", namespace, "news") == 1
        await heard.wait()
        assert trio.master is not struck
    finally:
        await listener.close()
        await asyncio.to_thread(trio.heal)


async def test_a_master_that_became_a_replica_is_left(
    trio: SentinelTrio, gateway: Gateway, namespace: str
) -> None:
    keys, words = [f"stepwell:{{{namespace}}}:meta"], ["1", "1", f"{{{namespace}}}"]
    assert await gateway.run("open", "opening", keys, words) == ["OK"]
    await asyncio.to_thread(trio.fail_over)
    assert await gateway.run("open", "opening", keys, words) == ["OK"]
    with trio.master.client() as client:
        assert client.exists(*keys)
    await asyncio.to_thread(trio.heal)


async def test_a_service_that_no_sentinel_knows_is_told_so(
    trio: SentinelTrio, namespace: str
) -> None:
    url = trio.url.replace(f"/{trio.service}/", "/nothing/")
    store = RedisStore(Source.of(url), namespace, stats=Stats())
    with pytest.raises(StoreUnavailable, match="knows no master with the name 'nothing'"):
        await store.open()


async def test_a_replica_that_a_sentinel_calls_master_is_not_believed(trio: SentinelTrio) -> None:
    replica = next(server for server in trio.servers if server is not trio.master)

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            port = str(replica.port).encode()
            said = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%b\r\n" % (len(port), port)
            writer.write(said if b"SENTINEL" in data else b"+OK\r\n" * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(lie, "127.0.0.1", 0) as liar:
        place = liar.sockets[0].getsockname()[1]
        source = Source.of(f"redis+sentinel://127.0.0.1:{place}/main")
        with pytest.raises(redis.ConnectionError, match="is a slave, and the sentinel"):
            await source.connect(5.0)


async def test_a_sentinel_taken_for_the_server_is_told_apart(
    trio: SentinelTrio, namespace: str
) -> None:
    store = RedisStore(Source.of(trio.sentinels[0].url), namespace, stats=Stats())
    with pytest.raises(StoreRefused, match=r"is a sentinel.*redis\+sentinel://"):
        await store.open()
