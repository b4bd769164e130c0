"""claim: a run is taken over from an owner that is gone, or that nobody has."""

import pytest

from stepwell.errors import LeaseLost
from stepwell.storage.protocol import RunStore
from support.stores import Place
from support.verbs import FIELDS, RUN, claim, commit, create, end


async def test_the_run_of_an_owner_that_is_gone_moves_with_a_new_token(
    place: Place, store: RunStore, other: RunStore
) -> None:
    mine = await create(store)
    await store.commit(commit(mine, 2, **{"state:a": "1"}))
    theirs = await claim(other, "bob", "ann")
    assert (theirs.run_id, theirs.seq) == (RUN, 2)
    assert theirs.fields == {**FIELDS, "state:a": "1"}
    kept = place.contents()
    assert (kept.runs[RUN].token, kept.runs[RUN].owner) == (theirs.token, "bob")
    assert kept.owned == {(store.partition_of(RUN), "bob"): {RUN}}


async def test_the_epoch_grows_with_every_claim(store: RunStore) -> None:
    tokens = [(await create(store)).token]
    tokens += [(await claim(store, "ann", "ann")).token for _ in range(11)]
    assert [token.partition(":")[0] for token in tokens] == [str(n) for n in range(1, 13)]
    assert len({token.partition(":")[2] for token in tokens}) == 12


async def test_the_claimer_goes_on_where_the_other_stopped(store: RunStore) -> None:
    await store.commit(commit(await create(store), 2))
    await store.commit(commit(await claim(store, "bob", "ann"), 3, a="1"))
    assert await store.read(RUN) == {**FIELDS, "a": "1"}


async def test_after_a_claim_a_zombie_is_refused_whatever_it_tries(
    place: Place, store: RunStore
) -> None:
    zombie = await create(store)
    await claim(store, "bob", "ann")
    before = place.contents()
    for attempt in (
        store.commit(commit(zombie, 2, a="1")),
        store.commit(end(zombie, 2, "completed")),
        store.release(RUN, zombie.token),
    ):
        with pytest.raises(LeaseLost, match=f"{RUN} .*number 2"):
            await attempt
    assert place.contents() == before


async def test_of_two_claimers_one_wins(place: Place, store: RunStore, other: RunStore) -> None:
    await create(store)
    await claim(store, "bob", "ann")
    before = place.contents()
    assert await other.claim(RUN, "cid", "ann") is None
    assert await other.claim(RUN, "cid", "") is None
    assert place.contents() == before


@pytest.mark.parametrize("was", ["ann", "bob"])
async def test_a_run_that_nobody_has_is_not_taken_from_anybody(
    place: Place, store: RunStore, was: str
) -> None:
    await store.release(RUN, (await create(store)).token)
    before = place.contents()
    assert await store.claim(RUN, "bob", was) is None
    assert place.contents() == before


async def test_the_run_of_an_owner_whose_lease_lasts_is_left_to_it(
    place: Place, store: RunStore
) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await create(store)
    before = place.contents()
    assert await store.claim(RUN, "bob", "ann") is None
    assert place.contents() == before
    place.let_pass(14.999)
    assert await store.claim(RUN, "bob", "ann") is None
    place.let_pass(0.001)
    assert await store.claim(RUN, "bob", "ann") is not None


async def test_an_owner_claims_from_itself_whatever_its_lease(
    place: Place, store: RunStore
) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await create(store)
    await claim(store, "ann", "ann")
    assert len(place.contents().owners) == 1


async def test_a_former_owner_without_other_runs_is_forgotten(
    place: Place, store: RunStore
) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await create(store, run_id="d1~2")
    await create(store)
    place.let_pass(15)
    await claim(store, "bob", "ann", "d1~2")
    assert len(place.contents().owners) == 1
    await claim(store, "bob", "ann")
    assert not place.contents().owners


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
async def test_a_run_that_ended_badly_is_claimed_as_it_was_and_runs_again_for_good(
    place: Place, store: RunStore, status: str
) -> None:
    await store.commit(end(await create(store), 2, status))
    theirs = await claim(store, "bob", "")
    assert (theirs.seq, theirs.token[:2]) == (2, "2:")
    assert theirs.fields == {**FIELDS, "status": status}
    kept = place.contents().runs[RUN]
    assert (kept.fields["status"], kept.ended_at, kept.days_left) == ("running", None, None)


async def test_a_completed_run_is_not_claimed(place: Place, store: RunStore) -> None:
    await store.commit(end(await create(store), 2, "completed"))
    before = place.contents()
    assert await store.claim(RUN, "bob", "") is None
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_not_claimed_nor_made(
    place: Place, store: RunStore
) -> None:
    assert await store.claim(RUN, "bob", "") is None
    assert await store.claim(RUN, "bob", "ann") is None
    assert not place.contents().runs


async def test_a_claimed_run_is_not_due_any_more(place: Place, store: RunStore) -> None:
    await store.release(RUN, (await create(store)).token)
    await claim(store, "bob", "")
    assert place.contents().runs[RUN].due_at is None


async def test_the_log_tells_of_it_with_the_status_before(place: Place, store: RunStore) -> None:
    await store.commit(end(await create(store), 2, "failed"))
    place.let_pass(1)
    await claim(store, "bob", "")
    assert place.contents().runs[RUN].log[-1] == [2, place.now_ms(), "(claimed)", 2, 0, "failed"]
