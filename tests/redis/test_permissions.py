"""What a user must be granted where there is more than one server: no more than the docs list.

That it is enough on one server is tried in `test_store.py`.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stepwell.errors import StoreRefused
from stepwell.redis.acks import Acks
from stepwell.redis.keys import Keys
from stepwell.redis.slots import slot_of
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from support.servers import SERVER_KINDS, RedisServer, binary_or_skip
from support.topologies import RedisCluster, SentinelTrio
from support.verbs import RUN, commit, create, end

_LAYOUT = Path(__file__).parents[2] / "docs" / "redis-layout.md"
_BLOCKS = re.findall(r"^```acl\n(.*?)^```", _LAYOUT.read_text(), re.DOTALL | re.MULTILINE)
ALWAYS, ON_CLUSTER, WATCHED, ON_SENTINEL, FOR_REPLICA, FOR_DISK = map(str.split, _BLOCKS)

VALKEY, TRUTHFUL, _ = SERVER_KINDS


def admit(servers: Iterable[RedisServer], *rules: str) -> None:
    """Make the user `clerk` known, who may do only what the rules allow."""
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "clerk", "reset", "on", ">pw", *rules)


def denied(servers: Iterable[RedisServer]) -> list[str]:
    """What the servers would not let the user do, also if nobody complained."""
    found = list[str]()
    for server in servers:
        with server.client() as client:
            found += [entry["object"] for entry in client.acl_log()]
    return found


def as_clerk(url: str) -> str:
    return url.replace("://", "://clerk:pw@", 1)


@asynccontextmanager
async def opened(url: str, acks: Acks = Acks.SERVER) -> AsyncGenerator[RedisStore]:
    store = RedisStore(Source.of(as_clerk(url)), "n", lease=5.0, stats=Stats(), acks=acks)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def live(store: RedisStore) -> None:
    """A run from its beginning to its end."""
    await store.appear("ann", store.partition_of(RUN))
    claim = await create(store)
    await store.commit(commit(claim, 2))
    await store.commit(end(claim, 3, "completed"))
    await store.disappear("ann")


async def test_on_a_cluster() -> None:
    with RedisCluster(binary_or_skip(VALKEY)) as cluster:
        admit(cluster.nodes, *ALWAYS, *ON_CLUSTER)
        async with opened(cluster.url) as store:
            await live(store)
            slot = slot_of(Keys("n", store.partitions).run("other"))
            target = next(one for slots, one in cluster.masters.items() if slot not in slots)
            with cluster.migrating(slot, target):
                assert await store.peek("other") is None
        assert not denied(cluster.nodes)


async def test_a_cluster_whose_map_may_not_be_asked_for_is_refused_at_the_start() -> None:
    with RedisCluster(binary_or_skip(VALKEY)) as cluster:
        admit(cluster.nodes, *ALWAYS, "+asking")
        with pytest.raises(StoreRefused, match=r"refuses: NOPERM .*'cluster\|slots'.*redis-layout"):
            async with opened(cluster.url):
                pass
        admit(cluster.nodes[:1], *ALWAYS, *ON_CLUSTER)
        async with opened(cluster.url) as store:  # one who tells is enough
            assert await store.peek("other") is None


async def test_behind_sentinels() -> None:
    with SentinelTrio(binary_or_skip(VALKEY)) as trio:
        admit(trio.servers, *ALWAYS, *WATCHED)
        admit(trio.sentinels, *ON_SENTINEL)
        async with opened(f"{trio.url}?sentinel_username=clerk&sentinel_password=pw") as store:
            await live(store)
        assert not denied([*trio.servers, *trio.sentinels])


async def test_to_wait_for_a_replica(own_server: Callable[..., RedisServer]) -> None:
    binary = binary_or_skip(VALKEY)
    master = own_server(binary=binary, repl_diskless_sync_delay="0")
    with own_server(binary=binary).client() as replica:
        replica.replicaof("127.0.0.1", master.port)
    admit([master], *ALWAYS, *FOR_REPLICA)
    async with opened(master.url, Acks.REPLICA) as store:
        await live(store)
    assert not denied([master])


async def test_to_wait_for_the_disk(own_server: Callable[..., RedisServer]) -> None:
    server = own_server(binary=binary_or_skip(TRUTHFUL))
    admit([server], *ALWAYS, *FOR_DISK)
    async with opened(server.url, Acks.DISK) as store:
        await live(store)
    assert not denied([server])


async def test_to_see_that_the_disk_is_always_synced(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server(binary=binary_or_skip(VALKEY), appendfsync="always")
    admit([server], *ALWAYS, "+config|get")
    async with opened(server.url, Acks.DISK) as store:
        await live(store)


async def test_the_disk_needs_no_look_at_the_configuration_where_the_server_may_be_asked(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server(binary=binary_or_skip(TRUTHFUL))
    admit([server], *ALWAYS, "+waitaof")
    async with opened(server.url, Acks.DISK) as store:
        await live(store)
