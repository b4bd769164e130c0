"""Damage to what one dead owner left is told, and holds up nobody else's runs."""

import logging
from collections.abc import AsyncGenerator

import pytest

from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.records import Swept
from support.lab import RUN, Lab
from support.servers import RedisServer
from support.verbs import claim, create

OTHER = "d1~2"


@pytest.fixture
async def store(redis_server: RedisServer, namespace: str) -> AsyncGenerator[RedisStore]:
    """A connection to the namespace of the lab."""
    source = Source.of(redis_server.unix_url)
    store = RedisStore(source, namespace, partitions=4, stats=Stats())
    await store.open()
    yield store
    await store.close()


@pytest.fixture(autouse=True)
async def dead(store: RedisStore) -> None:
    """Ann and bob died, each with a run."""
    await create(store, "ann")
    await create(store, "bob", OTHER)


def damage(lab: Lab, what: str) -> None:
    """Damage the run of ann, or what belongs to it."""
    if what == "queue":
        lab.redis.hset(lab.run_key, "queue", b"\xff")
    elif what == "token":
        lab.redis.hset(lab.run_key, "token", "x")
    else:
        key = {"run": lab.run_key, "log": lab.log_key, "owned": lab.owned("ann")}[what]
        lab.redis.delete(key)
        lab.redis.set(key, "not ours")


@pytest.mark.parametrize("what", ["queue", "token", "run", "log", "owned"])
async def test_the_runs_of_others_are_found_and_the_damage_is_told_once(
    store: RedisStore, lab: Lab, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(lab, what)
    caplog.set_level(logging.WARNING, "stepwell")
    assert await store.sweep(lab.partition) == Swept(orphaned=1, owners=0)
    assert await store.sweep(lab.partition) == Swept(orphaned=0, owners=0)
    (told,) = caplog.messages
    assert ("owner ann" if what == "owned" else f"run {RUN}") in told


@pytest.mark.parametrize("what", ["queue", "token", "run"])
async def test_what_can_not_be_read_is_on_no_list_any_more_and_its_owner_is_buried(
    store: RedisStore, lab: Lab, what: str
) -> None:
    damage(lab, what)
    before = lab.contents()[lab.run_key]
    await store.sweep(lab.partition)
    assert not lab.redis.exists(lab.owned("ann"))
    assert lab.contents()[lab.run_key] == before
    lab.redis.zadd(lab.owners_key, {"ann": 1})
    await store.sweep(lab.partition)
    assert "ann" not in lab.redis.zrange(lab.owners_key, 0, -1)


async def test_what_can_not_be_read_is_told_with_a_remedy_that_works(
    store: RedisStore, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    damage(lab, "queue")
    await store.sweep(lab.partition)
    assert "once it is restored, start it again by its id" in caplog.text
    lab.redis.hset(lab.run_key, "queue", "default")
    assert (await claim(store, "cid", "ann")).run_id == RUN


async def test_a_run_beside_which_something_is_damaged_is_found_after_it_was_mended(
    store: RedisStore, lab: Lab
) -> None:
    damage(lab, "log")
    await store.sweep(lab.partition)
    lab.redis.delete(lab.log_key)
    assert (await store.sweep(lab.partition)).orphaned == 1


async def test_an_owner_that_can_not_be_buried_is_told_once_and_others_are_buried(
    store: RedisStore, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    damage(lab, "owned")
    lab.redis.zadd(lab.owners_key, {"ann": 1, "dan": 2})
    await store.sweep(lab.partition)
    await store.sweep(lab.partition)
    assert set(lab.redis.zrange(lab.owners_key, 0, -1)) == {"ann", "bob"}
    assert len(caplog.messages) == 1


async def test_an_index_of_another_type_is_told(
    store: RedisStore, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.redis.zadd(lab.ended_key, {RUN: 1})
    lab.redis.delete(lab.same_key)
    lab.redis.set(lab.same_key, "not ours")
    assert (await store.sweep(lab.partition)).orphaned == 2
    assert any(lab.same_key in message for message in caplog.messages)
