"""watch and unwatch: a bell rings when there may be news of a topic."""

import asyncio

import pytest

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Topic
from support.stores import Place
from support.verbs import RUN, claim, create, deliver, end, enqueue, release


class Bell:
    """Counts how often it is rung."""

    def __init__(self) -> None:
        self.rung = 0
        self._news = asyncio.Event()

    def set(self) -> None:
        self.rung += 1
        self._news.set()

    async def wait(self) -> None:
        await self._news.wait()
        self._news.clear()


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


async def test_a_bell_rings_for_news_of_a_run(store: RunStore, other: RunStore, here: int) -> None:
    bell, mine = Bell(), await create(store)
    await other.watch(Topic("run", here, RUN), bell)
    await release(store, mine)
    await bell.wait()
    theirs = await claim(store, "bob", "")
    await bell.wait()
    await store.commit(end(theirs, 2, "failed"))
    await bell.wait()


async def test_a_bell_rings_when_a_run_becomes_due(
    store: RunStore, other: RunStore, here: int
) -> None:
    bell = Bell()
    await other.watch(Topic("due", here), bell)
    await enqueue(store, delay=9)
    await bell.wait()
    await release(store, await claim(store, "ann", ""))
    await bell.wait()


async def test_a_bell_rings_for_the_mail_of_an_owner(
    store: RunStore, other: RunStore, here: int
) -> None:
    bell = Bell()
    await create(store)
    await store.watch(Topic("mail", here, "ann"), bell)
    await deliver(other, "a")
    await bell.wait()


async def test_all_bells_ring(place: Place, store: RunStore, other: RunStore, here: int) -> None:
    bells = [Bell() for _ in range(4)]
    for bell, one in zip(bells, [store, store, other, other], strict=True):
        await one.watch(Topic("due", here), bell)
    await enqueue(store)
    await asyncio.gather(*(bell.wait() for bell in bells))


async def test_news_of_something_else_rings_no_bell(
    store: RunStore, other: RunStore, here: int
) -> None:
    quiet, loud = Bell(), Bell()
    for topic in (
        Topic("run", here, "d1~2"),
        Topic("mail", here, "bob"),
        Topic("due", (here + 1) % store.partitions),
    ):
        await other.watch(topic, quiet)
    await other.watch(Topic("run", here, RUN), loud)
    mine = await create(store)
    await deliver(store, "a")
    await release(store, mine)
    await loud.wait()
    assert quiet.rung == 0


async def test_who_listens_no_more_hears_nothing(
    store: RunStore, other: RunStore, here: int
) -> None:
    quiet, loud, topic = Bell(), Bell(), Topic("due", here)
    await other.watch(topic, quiet)
    await other.watch(topic, loud)
    other.unwatch(topic, quiet)
    other.unwatch(topic, quiet)
    await enqueue(store)
    await loud.wait()
    assert quiet.rung == 0


async def test_who_listens_for_nothing_may_stop(store: RunStore, here: int) -> None:
    store.unwatch(Topic("due", here), Bell())


async def test_all_bells_ring_when_the_store_is_closed(store: RunStore, here: int) -> None:
    bell = Bell()
    await store.watch(Topic("due", here), bell)
    await store.close()
    await bell.wait()
