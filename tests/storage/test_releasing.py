"""release: a run is given back before it ended."""

import pytest

from stepwell.errors import LeaseLost, RunNotFound
from stepwell.storage.protocol import RunStore
from support.stores import Place
from support.verbs import RUN, claim, create, end


async def test_a_released_run_has_no_owner_and_is_due_at_once(
    place: Place, store: RunStore
) -> None:
    mine = await create(store)
    place.let_pass(1)
    await store.release(RUN, mine.token)
    kept = place.contents()
    run = kept.runs[RUN]
    assert (run.owner, run.token, run.due_at) == ("", "1:", place.now_ms())
    assert (run.fields["status"], run.ended_at, run.days_left) == ("running", None, None)
    assert not kept.owned


async def test_a_released_run_may_be_claimed_at_once(store: RunStore) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await store.release(RUN, (await create(store)).token)
    assert await store.claim(RUN, "bob", "ann") is None
    assert await store.claim(RUN, "bob", "") is not None


async def test_the_log_tells_of_it(place: Place, store: RunStore) -> None:
    await store.release(RUN, (await create(store)).token)
    now = place.now_ms()
    assert place.contents().runs[RUN].log[-1] == [1, now, "(released)", 1, 0, "running"]


async def test_sent_again_it_happens_once(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await store.release(RUN, mine.token)
    before = place.contents()
    place.let_pass(1)
    await store.release(RUN, mine.token)
    assert place.contents() == before


async def test_a_run_that_ended_is_not_made_due(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await store.commit(end(mine, 2, "failed"))
    before = place.contents()
    await store.release(RUN, mine.token)
    assert place.contents() == before


@pytest.mark.parametrize("token", ["1:another", "1:", "nonsense", ""])
async def test_a_run_is_released_by_its_holder_only(
    place: Place, store: RunStore, token: str
) -> None:
    await create(store)
    before = place.contents()
    with pytest.raises(LeaseLost, match=RUN):
        await store.release(RUN, token)
    assert place.contents() == before


async def test_a_holder_of_long_ago_releases_nothing(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await store.release(RUN, (await claim(store, "bob", "ann")).token)
    before = place.contents()
    with pytest.raises(LeaseLost, match="number 2"):
        await store.release(RUN, mine.token)
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_named_and_not_made(place: Place, store: RunStore) -> None:
    with pytest.raises(RunNotFound, match=RUN):
        await store.release(RUN, "1:x")
    assert not place.contents().runs
