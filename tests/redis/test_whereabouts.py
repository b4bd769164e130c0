"""What a store remembers of runs, and how many round trips that saves."""

from collections.abc import AsyncGenerator

import pytest

from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.whereabouts import WhereaboutsMemory
from stepwell.redis.wire import Stats
from stepwell.storage.records import Lane
from support.servers import RedisServer
from support.verbs import LANE, RUN, claim, create, deliver, end, release

VIP = Lane("vip", "Letters")


@pytest.fixture
def stats() -> Stats:
    return Stats()


@pytest.fixture
async def store(
    redis_server: RedisServer, namespace: str, stats: Stats
) -> AsyncGenerator[RedisStore]:
    store = RedisStore(Source.of(redis_server.unix_url), namespace, partitions=4, stats=stats)
    await store.open()
    await create(store, run_id="d1~warm")
    await store.commit(end(await claim(store, "ann", "ann", "d1~warm"), 2, "failed"))
    await deliver_and_release(store, "d1~warm2")
    yield store
    await store.close()


async def deliver_and_release(store: RedisStore, run_id: str) -> None:
    """Let the server learn the scripts."""
    mine = await create(store, run_id=run_id)
    await deliver(store, "a", run_id=run_id)
    await release(store, mine)


async def test_a_short_run_is_one_round_trip_for_each_transition(
    store: RedisStore, stats: Stats
) -> None:
    before = stats.commands
    mine = await create(store)
    await deliver(store, "a")
    await deliver(store, "b")
    await release(store, mine)
    await store.commit(end(await claim(store, "bob", ""), 2, "failed"))
    assert stats.commands - before == 6


async def test_of_a_run_that_it_does_not_know_it_asks_once(
    redis_server: RedisServer, namespace: str, store: RedisStore, stats: Stats
) -> None:
    stranger = RedisStore(Source.of(redis_server.unix_url), namespace, partitions=4, stats=Stats())
    await stranger.open()
    await create(stranger)
    before = stats.commands
    await deliver(store, "a")
    assert stats.commands - before == 2
    await deliver(store, "b")
    assert stats.commands - before == 3
    await claim(stranger, "bob", "ann")
    await deliver(store, "c")
    assert stats.commands - before == 5
    await stranger.close()


def test_the_oldest_are_forgotten_first() -> None:
    memory = WhereaboutsMemory()
    for number in range(10_000):
        memory.note(f"r{number}", "ann", LANE)
    memory.note("r0", "bob", VIP)
    memory.note("one more", "ann", LANE)
    assert memory.of("r1") is None
    assert memory.of("r0") == ("bob", VIP)
    assert memory.of(RUN) is None


def test_what_is_over_is_forgotten() -> None:
    memory = WhereaboutsMemory()
    memory.note(RUN, "ann", LANE)
    memory.forget(RUN)
    memory.forget(RUN)
    assert memory.of(RUN) is None
