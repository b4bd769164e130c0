"""claim: a run is taken over from an owner that is gone, or that nobody has."""

import pytest

from stepwell.errors import LeaseLost
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Commit, NewRun, Received, Release
from support.stores import Place
from support.verbs import FIELDS, LANE, RUN, claim, commit, create, deliver, end, release


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
        release(store, zombie),
    ):
        with pytest.raises(LeaseLost, match=f"{RUN} .*number 2"):
            await attempt
    assert place.contents() == before


async def test_of_two_claimers_one_wins(place: Place, store: RunStore, other: RunStore) -> None:
    await create(store)
    await claim(store, "bob", "ann")
    before = place.contents()
    assert await other.claim(RUN, "cid", "ann", LANE) is None
    assert await other.claim(RUN, "cid", "", LANE) is None
    assert place.contents() == before


@pytest.mark.parametrize("was", ["ann", "bob"])
async def test_a_run_that_nobody_has_is_not_taken_from_anybody(
    place: Place, store: RunStore, was: str
) -> None:
    await release(store, await create(store))
    before = place.contents()
    assert await store.claim(RUN, "bob", was, LANE) is None
    assert place.contents() == before


async def test_the_run_of_an_owner_whose_lease_lasts_is_left_to_it(
    place: Place, store: RunStore
) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await create(store)
    before = place.contents()
    assert await store.claim(RUN, "bob", "ann", LANE) is None
    assert place.contents() == before
    place.let_pass(14.999)
    assert await store.claim(RUN, "bob", "ann", LANE) is None
    place.let_pass(0.001)
    assert await store.claim(RUN, "bob", "ann", LANE) is not None


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
    here = store.partition_of(RUN)
    assert set(place.contents().owners) == {(here, "ann"), (here, "bob")}
    await claim(store, "bob", "ann")
    assert set(place.contents().owners) == {(here, "bob")}


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
    assert await store.claim(RUN, "bob", "", LANE) is None
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_not_claimed_nor_made(
    place: Place, store: RunStore
) -> None:
    assert await store.claim(RUN, "bob", "", LANE) is None
    assert await store.claim(RUN, "bob", "ann", LANE) is None
    assert not place.contents().runs


async def test_a_claimed_run_is_not_due_any_more(place: Place, store: RunStore) -> None:
    await release(store, await create(store))
    await claim(store, "bob", "")
    assert place.contents().runs[RUN].due_at is None


async def test_the_log_tells_of_it_with_the_status_before(place: Place, store: RunStore) -> None:
    await store.commit(end(await create(store), 2, "failed"))
    place.let_pass(1)
    await claim(store, "bob", "")
    assert place.contents().runs[RUN].log[-1] == [2, place.now_ms(), "(claimed)", 2, 0, "failed"]


# How often it was claimed


async def test_claims_are_counted_until_a_step_gets_further(place: Place, store: RunStore) -> None:
    assert (await create(store)).claims == 1
    assert (await claim(store, "bob", "ann")).claims == 2
    mine = await claim(store, "ann", "bob")
    assert mine.claims == 3
    await store.commit(commit(mine, 2))
    assert place.contents().runs[RUN].claims == 3
    await store.commit(Commit(RUN, mine.token, 3, "c3", {}, progress=True))
    assert place.contents().runs[RUN].claims == 0
    assert (await claim(store, "bob", "ann")).claims == 1
    info = await store.peek(RUN)
    assert info is not None
    assert info.claims == 1


async def test_a_claim_that_was_given_back_is_not_counted(place: Place, store: RunStore) -> None:
    await release(store, await create(store))
    assert place.contents().runs[RUN].claims == 0
    mine = await claim(store, "bob", "")
    assert mine.claims == 1
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, progress=True))
    await release(store, mine)
    assert place.contents().runs[RUN].claims == 0


async def test_a_run_that_ended_badly_may_be_claimed_as_often_as_a_new_one(
    store: RunStore,
) -> None:
    mine = await create(store)
    for _ in range(5):
        mine = await claim(store, "ann", "ann")
    await store.commit(end(mine, 2, "failed"))
    assert (await claim(store, "ann", "")).claims == 1


# Where it waited, and why


async def test_whoever_claims_a_run_learns_its_queue_and_whether_it_was_parked(
    place: Place, store: RunStore
) -> None:
    mine = await store.create(NewRun(RUN, "d1", "ann", FIELDS, "vip"))
    assert mine is not None
    assert (mine.queue, mine.parked) == ("vip", False)
    await store.release(Release(RUN, mine.token, mine.lane, None, parked=True))
    assert place.contents().runs[RUN].parked
    theirs = await claim(store, "bob", "")
    assert (theirs.queue, theirs.lane, theirs.parked) == ("vip", mine.lane, True)
    assert not place.contents().runs[RUN].parked
    assert not (await claim(store, "ann", "bob")).parked


@pytest.mark.parametrize("waiting", [99, 100, 101, 200, 250])
async def test_all_messages_come_with_it_however_many(store: RunStore, waiting: int) -> None:
    await create(store)
    for number in range(waiting):
        await deliver(store, f"{number}")
    found = await claim(store, "bob", "ann")
    assert found.inbox == tuple(Received(number + 1, f"{number}") for number in range(waiting))


@pytest.mark.parametrize(("fields", "size"), [(300, 5000), (20, 100_000)])
async def test_a_run_of_more_than_a_megabyte_comes_as_it_was(
    store: RunStore, fields: int, size: int
) -> None:
    many = {f"state:{number}": f"{number}ä" + "x" * size for number in range(fields)}
    mine = await create(store, status="pending", **many)
    found = await claim(store, "bob", "ann")
    assert found.fields == {**FIELDS, "status": "pending", **many}
    assert (found.claims, found.queue) == (mine.claims + 1, mine.queue)
