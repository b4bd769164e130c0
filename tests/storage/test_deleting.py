"""delete: a run is forgotten, unless a living process executes it."""

import asyncio

import pytest

from stepwell.errors import RunNotFound, StoreRefused
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Received, Topic
from support.stores import Place
from support.verbs import LANE, RUN, claim, commit, create, deliver, end, enqueue, release


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


@pytest.mark.parametrize("state", ["due", "parked", "blocked", "ended", "orphaned"])
async def test_nothing_is_left_of_it(place: Place, store: RunStore, state: str) -> None:
    mine = await create(store)
    if state == "due":
        await release(store, mine)
    elif state == "parked":
        await release(store, mine, due_at=None, parked=True)
    elif state == "blocked":
        await store.block(mine, "print", "{}")
    elif state == "ended":
        await store.commit(end(mine, 2, "failed"))
    assert await store.delete(RUN)
    kept = place.contents()
    assert not any((kept.runs, kept.due, kept.owned, kept.same))
    assert await store.peek(RUN) is None
    assert await store.read(RUN) is None
    assert list(await store.runs(10)) == []
    assert list(await store.same_input("d1")) == []
    assert await store.claim(RUN, "ann", "", LANE) is None


async def test_a_run_that_a_living_process_executes_stays(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    before = place.contents()
    with pytest.raises(StoreRefused, match=f"{RUN} is executed"):
        await other.delete(RUN)
    assert place.contents() == before
    place.let_pass(15)
    assert await other.delete(RUN)


async def test_who_executes_it_all_the_same_is_told_so(store: RunStore) -> None:
    mine = await create(store)
    await store.delete(RUN)
    with pytest.raises(RunNotFound, match=RUN):
        await store.commit(commit(mine, 2))
    assert await store.read(RUN) is None


async def test_what_is_not_there_is_not_deleted(store: RunStore) -> None:
    assert not await store.delete(RUN)
    await create(store)
    assert await store.delete(RUN)
    assert not await store.delete(RUN)


async def test_whoever_waits_for_it_hears_of_it(store: RunStore, here: int) -> None:
    await create(store)
    bell = asyncio.Event()
    await store.watch(Topic("run", here, RUN), bell)
    await store.delete(RUN)
    await bell.wait()


async def test_its_name_is_free_and_the_next_run_inherits_nothing(
    place: Place, store: RunStore, other: RunStore
) -> None:
    await enqueue(store)
    await deliver(other, "a")
    await store.delete(RUN)
    await create(store)
    await deliver(other, "a")
    assert list(await store.inbox(RUN, 0)) == [Received(1, "a")]
    assert not place.contents().due


async def test_another_process_that_deletes_it_sees_where_it_is_now(
    store: RunStore, other: RunStore
) -> None:
    mine = await create(store)
    await other.peek(RUN)
    await release(store, mine)
    await claim(store, "bob", "")
    assert await other.delete(RUN)
