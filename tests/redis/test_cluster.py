"""A cluster: every key at its master, wherever that is, whatever happens to it meanwhile."""

# redis-py leaves the arguments of its clients partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.cluster import ClusterNode, LoadBalancingStrategy
from redis.exceptions import AskError

from stepwell.redis.gateway import Gateway
from stepwell.redis.listener import Listener
from stepwell.redis.scripts import Script
from stepwell.redis.slots import slot_of
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.topology import Topology
from stepwell.redis.wire import Stats
from support.servers import SERVER_KINDS, RedisServer, binary_or_skip
from support.topologies import RedisCluster

PUT = "#!lua\nredis.call('HSET', KEYS[1], 'text', ARGV[1])\nreturn {'OK', ARGV[1]}"
TAGS = [f"{{tag{number}}}" for number in range(16)]
SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(binary_or_skip(SERVER_KINDS[0])) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def only_script(monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
    """One that puts a text under its key; every test has one that no server has yet."""
    text = f"{PUT} -- {namespace}"
    put = Script("put", text, sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice

    def script(_name: str) -> Script:
        return put

    monkeypatch.setattr("stepwell.redis.gateway.script", script)


class Store:
    """As much of a store as is about servers."""

    def __init__(self, url: str) -> None:
        self.stats = Stats()
        topology = Topology(Source.of(url), patience=2.0)
        self.gateway = Gateway(topology, self.stats, SECONDS)
        self.listener = Listener(topology)

    async def put(self, key: str, text: str) -> None:
        assert await self.gateway.run("put", "putting", [key], [text]) == ["OK", text.encode()]

    async def text_of(self, key: str) -> str:
        return (await self.gateway.read("hash", "reading", "HGET", key, "text")).decode()


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Store]:
    store = Store(url)
    try:
        await store.gateway.greet("opening", 5.0)
        yield store
    finally:
        await store.listener.close()
        await store.gateway.close()


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncGenerator[Store]:
    async with opened(cluster.url) as store:
        yield store


@pytest.fixture
def keys(namespace: str) -> list[str]:
    """One for each of sixteen partitions."""
    return [f"{namespace}:{tag}" for tag in TAGS]


def other_master(cluster: RedisCluster, slot: int) -> RedisServer:
    served = {cluster.master_of(third).port: third for third in (0, 8000, 16000)}
    served.pop(cluster.master_of(slot).port, None)
    return cluster.master_of(next(iter(served.values())))


def maps_asked(cluster: RedisCluster) -> int:
    """How often all nodes told who serves what."""
    calls = 0
    for node in cluster.nodes:
        with node.client() as client:
            known = client.info("commandstats").get("cmdstat_cluster|slots", {"calls": 0})
            calls += known["calls"]
    return calls


CLIENTS: dict[str, Callable[[RedisCluster], Any]] = {
    "url of all nodes": lambda cluster: cluster.url,
    "url of one node": lambda cluster: cluster.nodes[0].url,
    "url of a replica": lambda cluster: cluster.nodes[5].url,
    "url of a socket": lambda cluster: cluster.nodes[0].unix_url,
    "url with a node that is not there": lambda cluster: (
        f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[1].port}"
    ),
    "sync": lambda cluster: redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port),
    "async": lambda cluster: redis.asyncio.RedisCluster(
        startup_nodes=[AsyncClusterNode("127.0.0.1", cluster.nodes[0].port)]
    ),
    "sync, reading from replicas": lambda cluster: redis.RedisCluster(
        startup_nodes=[ClusterNode("127.0.0.1", cluster.nodes[0].port)],
        load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN, decode_responses=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_store_opens_by_whatever_leads_to_a_node(
    kind: str, cluster: RedisCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the scripts of the store itself
    place = CLIENTS[kind](cluster)
    store = RedisStore(Source.of(place), namespace, stats=Stats())
    await store.open()
    try:
        assert await asyncio.gather(*(store.read(f"run{n}") for n in range(40))) == [None] * 40
    finally:
        await store.close()


async def test_every_key_is_at_its_master(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    await asyncio.gather(*(store.put(key, key) for key in keys))
    assert await asyncio.gather(*(store.text_of(key) for key in keys)) == keys
    for key in keys:
        with cluster.master_of(slot_of(key)).client() as client:
            assert client.hget(key, "text") == key
    assert store.stats.retries == 0
    assert store.stats.connections == 4  # one that was greeted, and each master


async def test_a_slot_that_moved_is_followed_and_the_map_learnt_again_once(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    await asyncio.gather(*(store.put(key, "before") for key in keys))
    slot = slot_of(keys[0])
    cluster.move(slot, other_master(cluster, slot))
    asked, commands = maps_asked(cluster), store.stats.commands
    await asyncio.gather(*(store.put(keys[0], "after") for _ in range(200)))
    assert await store.text_of(keys[0]) == "after"
    assert maps_asked(cluster) == asked + 1
    assert store.stats.commands - commands <= 402
    assert store.stats.retries == 0


async def test_only_the_command_that_is_sent_away_is_sent_again(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    await asyncio.gather(*(store.put(key, "before") for key in keys))
    slot = slot_of(keys[1])
    cluster.move(slot, other_master(cluster, slot))
    commands = store.stats.commands
    await asyncio.gather(*(store.put(key, "after") for key in keys))
    assert store.stats.commands - commands == len(keys) + 1


async def test_a_key_that_went_ahead_of_its_slot_is_found(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    key, slot = keys[2], slot_of(keys[2])
    await store.put(key, "before")
    target = other_master(cluster, slot)
    with cluster.migrating(slot, target):
        cluster.migrate_keys(slot, target)
        assert await store.text_of(key) == "before"
        await asyncio.gather(*(store.put(key, "on the way") for _ in range(600)))
        with cluster.master_of(slot).client() as giver, pytest.raises(AskError):
            giver.hget(key, "text")
        assert await store.text_of(key) == "on the way"
    assert cluster.master_of(slot) is target
    assert await store.text_of(key) == "on the way"


async def test_a_script_whose_keys_are_on_both_sides_waits_until_they_meet(
    cluster: RedisCluster, store: Store, namespace: str
) -> None:
    keys = [f"{namespace}:{{split}}:{number}" for number in range(2)]
    slot = slot_of(keys[0])
    await store.put(keys[0], "here")
    await store.put(keys[1], "there")
    target = other_master(cluster, slot)
    with cluster.migrating(slot, target):
        with cluster.master_of(slot).client() as giver:
            giver.migrate("127.0.0.1", target.port, keys[1], 0, 5000)
        both = asyncio.create_task(store.gateway.run("put", "putting", keys, ["met"]))
        while not store.stats.retries:  # noqa: ASYNC110 - a number has no event
            await asyncio.sleep(0)
        cluster.migrate_keys(slot, target)
    assert await both == ["OK", b"met"]


async def test_a_node_that_lost_its_scripts_gets_the_one_that_is_asked_for(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    await asyncio.gather(*(store.put(key, "first") for key in keys))
    with cluster.master_of(slot_of(keys[0])).client() as client:
        client.script_flush()
    await asyncio.gather(*(store.put(key, "second") for key in keys))
    assert await store.text_of(keys[0]) == "second"


@pytest.mark.parametrize("blow", ["kill", "freeze"])
async def test_a_call_goes_on_at_the_replica_that_took_over(
    blow: str, cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    await asyncio.gather(*(store.put(key, "before") for key in keys))
    slot = slot_of(keys[3])
    struck = await asyncio.to_thread(getattr(cluster, f"{blow}_master_of"), slot)
    try:
        await asyncio.gather(*(store.put(key, "after") for key in keys))
        texts = await asyncio.gather(*(store.text_of(key) for key in keys))
        promoted = await asyncio.to_thread(cluster.master_of, slot)
    finally:
        if blow == "freeze":
            struck.thaw()
        await asyncio.to_thread(cluster.heal)
    assert texts == ["after"] * len(keys)
    assert promoted is not struck


async def hear(store: Store, cluster: RedisCluster, channel: str) -> asyncio.Event:
    """Join, and see that a message comes through."""
    heard = asyncio.Event()
    await store.listener.join(channel, heard)
    await until_heard(cluster, channel, heard)
    return heard


async def until_heard(cluster: RedisCluster, channel: str, heard: asyncio.Event) -> None:
    """A message to the master of the channel wakes the hearer, once the listener is there."""
    heard.clear()
    while not heard.is_set():
        with cluster.master_of(slot_of(channel)).client() as client:
            listening = client.execute_command("SPUBLISH", channel, "news")
        if listening:
            await heard.wait()
        await asyncio.sleep(0.01)


async def test_channels_of_all_partitions_are_heard(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    for channel in keys:
        await hear(store, cluster, channel)


async def test_whoever_can_be_set_can_listen(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    class Bell:
        def __init__(self) -> None:
            self.rung = asyncio.Queue[str]()

        def set(self) -> None:
            self.rung.put_nowait("rung")

    bell = Bell()
    await store.listener.join(keys[0], bell)
    with cluster.master_of(slot_of(keys[0])).client() as client:
        assert client.execute_command("SPUBLISH", keys[0], "news") == 1
    assert await bell.rung.get() == "rung"
    store.listener.leave(keys[0], bell)


async def test_a_channel_whose_slot_moves_is_heard_at_its_new_place(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    heard = [await hear(store, cluster, channel) for channel in keys[:4]]
    for event in heard:
        event.clear()
    slot = slot_of(keys[0])
    await asyncio.to_thread(cluster.move, slot, other_master(cluster, slot))
    await heard[0].wait()  # something may have been missed
    for channel, event in zip(keys[:4], heard, strict=True):
        await until_heard(cluster, channel, event)


async def test_a_channel_is_heard_at_the_replica_that_took_over(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    heard = await hear(store, cluster, keys[4])
    heard.clear()
    await asyncio.to_thread(cluster.kill_master_of, slot_of(keys[4]))
    try:
        await heard.wait()
        await until_heard(cluster, keys[4], heard)
    finally:
        await asyncio.to_thread(cluster.heal)


async def test_what_calls_learn_of_a_frozen_master_moves_the_channels_too(
    cluster: RedisCluster, store: Store, keys: list[str]
) -> None:
    heard = await hear(store, cluster, keys[5])
    heard.clear()
    struck = await asyncio.to_thread(cluster.freeze_master_of, slot_of(keys[5]))
    try:
        await store.put(keys[5], "after")
        await heard.wait()
        await until_heard(cluster, keys[5], heard)
    finally:
        struck.thaw()
        await asyncio.to_thread(cluster.heal)


async def test_a_channel_is_found_without_a_map(cluster: RedisCluster, keys: list[str]) -> None:
    store = Store(cluster.nodes[0].url)  # nobody was greeted
    try:
        for channel in keys[:6]:
            await hear(store, cluster, channel)
    finally:
        await store.listener.close()
        await store.gateway.close()
