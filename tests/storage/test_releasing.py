"""release: a run is given back before it ended."""

import pytest

from stepwell.errors import LeaseLost, RunNotFound
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import NewRun, Release
from support.stores import Place
from support.verbs import FIELDS, LANE, RUN, claim, create, deliver, end, release


async def test_a_released_run_has_no_owner_and_is_due_at_once(
    place: Place, store: RunStore
) -> None:
    mine = await create(store)
    place.let_pass(1)
    await release(store, mine)
    kept = place.contents()
    run = kept.runs[RUN]
    assert (run.owner, run.token, run.due_at) == ("", "1:", place.now_ms())
    assert (run.fields["status"], run.ended_at, run.days_left) == ("running", None, None)
    assert not kept.owned


async def test_a_released_run_may_be_claimed_at_once(store: RunStore) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await release(store, await create(store))
    assert await store.claim(RUN, "bob", "ann", LANE) is None
    assert await store.claim(RUN, "bob", "", LANE) is not None


async def test_it_is_due_when_its_holder_says(place: Place, store: RunStore) -> None:
    mine, now = await create(store), place.now_ms()
    await release(store, mine, due_at=now + 5000)
    assert place.contents().runs[RUN].due_at == now + 5000


async def test_it_is_never_due_before_now(place: Place, store: RunStore) -> None:
    mine, now = await create(store), place.now_ms()
    place.let_pass(9)
    await release(store, mine, due_at=now + 5000)
    assert place.contents().runs[RUN].due_at == place.now_ms()


async def test_a_run_that_only_a_message_can_move_is_not_due(place: Place, store: RunStore) -> None:
    await release(store, await create(store), due_at=None, parked=True)
    kept = place.contents()
    assert (kept.runs[RUN].due_at, kept.runs[RUN].parked, kept.due) == (None, True, {})
    info = await store.peek(RUN)
    assert info is not None
    assert info.parked


@pytest.mark.parametrize("due_at", [None, 4_000_000_000_000])
async def test_with_messages_it_is_due_at_once(
    place: Place, store: RunStore, due_at: int | None
) -> None:
    mine = await create(store)
    await deliver(store, "a")
    await release(store, mine, due_at=due_at)
    assert place.contents().runs[RUN].due_at == place.now_ms()


async def test_it_waits_in_its_own_lane_whatever_its_holder_says(
    place: Place, store: RunStore
) -> None:
    mine = await store.create(NewRun(RUN, "d1", "ann", FIELDS, "vip"))
    assert mine is not None
    await release(store, mine)
    assert place.contents().due == {(store.partition_of(RUN), "vip:Letters"): {RUN}}


async def test_another_process_may_release_it_for_its_holder(
    store: RunStore, other: RunStore
) -> None:
    await other.peek(RUN)
    await create(store)
    await other.peek(RUN)
    theirs = await claim(store, "bob", "ann")
    await release(other, theirs)
    assert await store.claim(RUN, "ann", "", LANE, due=True) is not None


async def test_whoever_gave_it_back_in_peace_is_told_apart_in_the_log(
    place: Place, store: RunStore
) -> None:
    await release(store, await create(store), parked=True)
    now = place.now_ms()
    assert place.contents().runs[RUN].log[-1] == [1, now, "(parked)", 1, 0, "running"]


async def test_the_log_tells_of_it(place: Place, store: RunStore) -> None:
    await release(store, await create(store))
    now = place.now_ms()
    assert place.contents().runs[RUN].log[-1] == [1, now, "(released)", 1, 0, "running"]


async def test_sent_again_it_happens_once(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await release(store, mine)
    before = place.contents()
    place.let_pass(1)
    await release(store, mine)
    assert place.contents() == before


async def test_a_run_that_ended_is_not_made_due(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await store.commit(end(mine, 2, "failed"))
    before = place.contents()
    await release(store, mine)
    assert place.contents() == before


@pytest.mark.parametrize("token", ["1:another", "1:", "nonsense", ""])
async def test_a_run_is_released_by_its_holder_only(
    place: Place, store: RunStore, token: str
) -> None:
    await create(store)
    before = place.contents()
    with pytest.raises(LeaseLost, match=RUN):
        await store.release(Release(RUN, token, LANE))
    assert place.contents() == before


async def test_a_holder_of_long_ago_releases_nothing(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await release(store, await claim(store, "bob", "ann"))
    before = place.contents()
    with pytest.raises(LeaseLost, match="number 2"):
        await release(store, mine)
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_named_and_not_made(place: Place, store: RunStore) -> None:
    with pytest.raises(RunNotFound, match=RUN):
        await store.release(Release(RUN, "1:x", LANE))
    assert not place.contents().runs
