"""A master dies, and what it had acknowledged last dies with it: runs go on from what is there.

The replicas are cut off a moment before, so that commits are lost for certain. Their steps are
executed again; no run mixes what was lost with what was not, so that every sum comes out exact.
"""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from redis import RedisCluster as ClusterClient

from stepwell.redis.keys import Keys
from stepwell.redis.slots import slot_of
from support.fleet import Fleet
from support.history import Body, History
from support.runs import until
from support.servers import SERVER_KINDS, RedisServer, binary_or_skip
from support.topologies import RedisCluster, SentinelTrio
from support.workload import chain, mixture

pytestmark = pytest.mark.timeout(120)

LOST = 60
"""So many bodies begin after the replicas were cut off, and before their master dies."""


def cut_off(master: RedisServer, replicas: Iterable[RedisServer]) -> None:
    """Let replicas fall behind: they are disconnected, and refused when they come back."""
    for replica in replicas:
        with replica.client() as client:
            client.config_set("masterauth", "a password that nobody has")
    with master.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")


async def work_goes_on(fleet: Fleet) -> None:
    """Return when so many more bodies have begun."""
    before = len(fleet.bodies())
    await until(lambda: len(fleet.bodies()) >= before + LOST)


def forgotten(history: History) -> list[Body]:
    """The bodies that were executed again although their commit had been acknowledged."""
    first: dict[tuple[str, str], float] = {}
    for body in history.bodies:
        for token in body.after:
            first.setdefault((body.run_id, token), body.began)
    return [
        body
        for body in history.bodies
        if body.began > first.get((body.run_id, body.token), float("inf"))
    ]


async def test_a_master_of_a_cluster_dies(scene: Any, judged: Any) -> None:
    slot = slot_of(Keys("default", 16).due_news(0))
    with RedisCluster(binary_or_skip(SERVER_KINDS[0])) as cluster:
        async with scene(cluster.url) as (fleet, load):
            await load.start(mixture(60))
            await until(lambda: len(fleet.bodies()) >= LOST)
            async with fleet.hit("failover", forgets=True):
                await asyncio.to_thread(cluster.kill_master_of, slot)
                survivor = await asyncio.to_thread(cluster.master_of, slot)
            with ClusterClient(
                host="127.0.0.1", port=survivor.port, decode_responses=True, protocol=2
            ) as redis:
                await judged(fleet, load, redis, within=60)


async def test_a_master_of_a_cluster_dies_with_what_it_acknowledged(
    scene: Any, judged: Any
) -> None:
    slot = slot_of(Keys("default", 16).due_news(0))
    with RedisCluster(binary_or_skip(SERVER_KINDS[0])) as cluster:
        master, replica = cluster.master_of(slot), cluster.replica_of(slot)
        async with scene(master.url) as (fleet, load):
            await load.start([chain(f"run-{number}", 40, 0.1) for number in range(60)])
            await until(lambda: len(fleet.bodies()) >= LOST)
            async with fleet.hit("failover", forgets=True):
                cut_off(master, [replica])
                await work_goes_on(fleet)
                master.kill()
                survivor = await asyncio.to_thread(cluster.master_of, slot)
            assert survivor is replica
            with ClusterClient(
                host="127.0.0.1", port=survivor.port, decode_responses=True, protocol=2
            ) as redis:
                history = await judged(fleet, load, redis, within=60)
    assert forgotten(history)


async def test_a_master_that_sentinels_watch_dies_with_what_it_acknowledged(
    scene: Any, judged: Any
) -> None:
    with SentinelTrio(binary_or_skip(SERVER_KINDS[0])) as trio:
        master = trio.master
        replicas = [server for server in trio.servers if server is not master]
        async with scene(trio.url) as (fleet, load):
            await load.start([chain(f"run-{number}", 40, 0.1) for number in range(60)])
            await until(lambda: len(fleet.bodies()) >= LOST)
            async with fleet.hit("failover", forgets=True):
                cut_off(master, replicas)
                await work_goes_on(fleet)
                master.kill()
                await asyncio.to_thread(lambda: promoted(trio, master))
            with trio.master.client() as redis:
                history = await judged(fleet, load, redis, within=60)
    assert forgotten(history)


def promoted(trio: SentinelTrio, dead: RedisServer) -> RedisServer:
    """Who took over from the dead master."""
    while (master := trio.master) is dead:
        pass
    return master
