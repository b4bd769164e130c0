"""wait_for_end: until a run ends or changes hands, or for so long."""

import asyncio

import pytest

from stepwell.errors import StoreUnavailable
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim
from support.stores import Place
from support.verbs import LANE, RUN, commit, create, end, release


async def change(store: RunStore, mine: Claim, how: str) -> None:
    if how == "release":
        await release(store, mine)
    elif how == "claim":
        await store.claim(RUN, "bob", "ann", LANE)
    else:
        await store.commit(end(mine, 2, how))


@pytest.mark.parametrize("how", ["completed", "failed", "release", "claim"])
async def test_all_who_wait_wake_when_a_run_ends_or_changes_hands(
    place: Place, store: RunStore, other: RunStore, how: str
) -> None:
    mine = await create(store)
    waiting = [asyncio.create_task(other.wait_for_end(RUN, 3600)) for _ in range(3)]
    await place.until_waited_for(RUN)
    await change(store, mine, how)
    await asyncio.gather(*waiting)


async def test_those_who_change_it_themselves_hear_of_it_too(place: Place, store: RunStore) -> None:
    mine = await create(store)
    waiting = asyncio.create_task(store.wait_for_end(RUN, 3600))
    await place.until_waited_for(RUN)
    await store.commit(end(mine, 2, "completed"))
    await waiting


async def test_news_of_other_runs_and_commits_wake_nobody(
    place: Place, store: RunStore, other: RunStore
) -> None:
    mine, another = await create(store), await create(store, run_id="d1~2")
    waiting = asyncio.create_task(other.wait_for_end(RUN, 3600))
    await place.until_waited_for(RUN)
    await store.commit(commit(mine, 2))
    await store.commit(end(another, 2, "completed"))
    await other.peek(RUN)
    assert not waiting.done()
    await release(store, mine)
    await waiting


async def test_nobody_waits_for_what_is_over(store: RunStore) -> None:
    await store.wait_for_end(RUN, 3600)
    mine = await create(store)
    await store.commit(end(mine, 2, "failed"))
    await store.wait_for_end(RUN, 3600)


async def test_nobody_waits_for_a_run_that_nobody_executes(store: RunStore) -> None:
    await release(store, await create(store))
    await store.wait_for_end(RUN, 3600)


async def test_waiting_has_a_limit(store: RunStore) -> None:
    await create(store)
    await store.wait_for_end(RUN, 0.01)


async def test_whoever_waits_is_not_forgotten_when_the_store_is_closed(
    place: Place, store: RunStore
) -> None:
    await create(store)
    waiting = asyncio.create_task(store.wait_for_end(RUN, 3600))
    await place.until_waited_for(RUN)
    await store.close()
    (result,) = await asyncio.gather(waiting, return_exceptions=True)
    assert result is None or isinstance(result, StoreUnavailable)
