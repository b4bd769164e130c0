"""commit with `ended`: the last one of a run; from then on nobody holds it."""

import pytest

from stepwell.errors import LeaseLost, StoreRefused
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit
from support.stores import Place
from support.verbs import LANE, RUN, claim, commit, create, end

DAY = 86400
BADLY = ("failed", "cancelled", "timed_out")


@pytest.fixture
async def mine(store: RunStore) -> Claim:
    return await create(store)


@pytest.mark.parametrize(("status", "days"), [("completed", 7), *((one, 30) for one in BADLY)])
async def test_a_run_that_ended_has_no_owner_and_a_time_to_live(
    place: Place, store: RunStore, mine: Claim, status: str, days: int
) -> None:
    place.let_pass(1)
    await store.commit(end(mine, 2, status))
    kept = place.contents()
    run = kept.runs[RUN]
    assert (run.fields["status"], run.owner, run.token) == (status, "", "1:")
    assert (run.seq, run.cid) == (2, "c2")
    assert (run.ended_at, run.days_left, run.due_at) == (place.now_ms(), days, None)
    assert not kept.owned


@pytest.mark.parametrize(("status", "days"), [("completed", 7), *((one, 30) for one in BADLY)])
async def test_when_it_is_over_the_run_is_forgotten(
    place: Place, store: RunStore, mine: Claim, status: str, days: int
) -> None:
    await store.commit(end(mine, 2, status))
    place.let_pass(days * DAY - 60)
    assert await store.peek(RUN) is not None
    place.let_pass(60)
    assert await store.peek(RUN) is None
    assert await store.read(RUN) is None
    assert list(await store.same_input("d1")) == []
    assert await store.claim(RUN, "bob", "", LANE) is None


async def test_its_last_boundaries_are_in_the_log(
    place: Place, store: RunStore, mine: Claim
) -> None:
    log = ['"last",1,0.5,"returned"']
    await store.commit(Commit(RUN, mine.token, 2, "c2", {"status": "completed"}, log, "completed"))
    assert place.contents().runs[RUN].log[-1] == [2, place.now_ms(), "last", 1, 0.5, "returned"]


async def test_nobody_commits_to_it_any_more(place: Place, store: RunStore, mine: Claim) -> None:
    await store.commit(end(mine, 2, "failed"))
    before = place.contents()
    with pytest.raises(LeaseLost, match="ended or belongs to another"):
        await store.commit(commit(mine, 3))
    assert place.contents() == before


async def test_sent_again_it_happens_once(place: Place, store: RunStore, mine: Claim) -> None:
    await store.commit(end(mine, 2, "completed"))
    before = place.contents()
    place.let_pass(1)
    await store.commit(end(mine, 2, "completed"))
    assert place.contents() == before


async def test_only_the_holder_ends_it_and_in_order(
    place: Place, store: RunStore, mine: Claim
) -> None:
    theirs = await claim(store, "bob", "ann")
    before = place.contents()
    with pytest.raises(LeaseLost):
        await store.commit(end(mine, 2, "completed"))
    with pytest.raises(StoreRefused, match="at commit 1"):
        await store.commit(end(theirs, 5, "completed"))
    assert place.contents() == before


async def test_other_runs_of_the_same_input_are_still_found(store: RunStore, mine: Claim) -> None:
    await create(store, run_id="d1~2")
    await store.commit(end(mine, 2, "completed"))
    assert list(await store.same_input("d1")) == ["d1~2"]


async def test_it_may_end_again_after_it_was_claimed(
    place: Place, store: RunStore, mine: Claim
) -> None:
    await store.commit(end(mine, 2, "failed"))
    await store.commit(end(await claim(store, "bob", ""), 3, "completed"))
    run = place.contents().runs[RUN]
    assert (run.fields["status"], run.token, run.days_left) == ("completed", "2:", 7)
