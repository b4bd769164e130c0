"""block and unblock: a run that some code can't go on with waits for other code."""

import asyncio

import pytest

from stepwell.errors import LeaseLost, RunNotFound
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Lane, NewRun, Topic
from support.stores import Place
from support.verbs import FIELDS, LANE, RUN, claim, create, release


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


async def test_a_blocked_run_has_no_owner_and_is_not_due(place: Place, store: RunStore) -> None:
    await store.block(await create(store), "print-1", '"why"')
    kept = place.contents()
    run, now = kept.runs[RUN], place.now_ms()
    assert run.fields == {**FIELDS, "status": "blocked", "error": '"why"'}
    assert (run.owner, run.token, run.due_at) == ("", "1:", None)
    assert (run.blocked_by, run.claims, run.parked) == ("print-1", 0, False)
    assert run.log[-1] == [1, now, "(blocked)", 1, 0, "print-1"]
    assert not kept.owned


async def test_whoever_waits_for_the_run_hears_of_it(place: Place, store: RunStore) -> None:
    mine = await create(store)
    waiting = asyncio.create_task(store.wait_for_end(RUN, 3600))
    await place.until_waited_for(RUN)
    await store.block(mine, "print-1", '"why"')
    await waiting


async def test_other_code_makes_it_due(place: Place, store: RunStore, here: int) -> None:
    await store.block(await create(store), "print-1", '"why"')
    place.let_pass(1)
    assert await store.unblock(here, LANE, "print-1") == 0
    assert place.contents().runs[RUN].due_at is None
    bell = asyncio.Event()
    await store.watch(Topic("due", here), bell)
    assert await store.unblock(here, LANE, "print-2") == 1
    await bell.wait()
    run = place.contents().runs[RUN]
    assert (run.due_at, run.blocked_by) == (place.now_ms(), None)
    assert run.fields["status"] == "blocked"
    assert await store.unblock(here, LANE, "print-2") == 0


async def test_who_claims_it_runs_it(place: Place, store: RunStore) -> None:
    await store.block(await create(store), "print-1", '"why"')
    theirs = await claim(store, "bob", "")
    assert (theirs.fields["status"], theirs.claims) == ("blocked", 1)
    run = place.contents().runs[RUN]
    assert (run.fields["status"], run.blocked_by) == ("running", None)


async def test_runs_of_other_lanes_and_partitions_stay_blocked(store: RunStore, here: int) -> None:
    await store.block(await create(store), "print-1", '"why"')
    for lane in (Lane("vip", "Letters"), Lane("default", "Maps")):
        assert await store.unblock(here, lane, "print-2") == 0
    assert await store.unblock((here + 1) % store.partitions, LANE, "print-2") == 0
    assert await store.unblock(here, LANE, "print-2") == 1


async def test_a_hundred_are_made_due_at_once(store: RunStore, here: int) -> None:
    for number in range(150):
        mine = await create(store, run_id=f"d1~{number}")
        await store.block(mine, f"print-{number % 2}", '"why"')
    assert [await store.unblock(here, LANE, "print-0") for _ in range(2)] == [75, 0]
    for number in range(75):
        fields = {**FIELDS, "a": str(number)}
        mine = await store.create(NewRun(f"d1~x{number}", "d1", "ann", fields))
        assert mine is not None
        await store.block(mine, "print-1", '"why"')
    assert [await store.unblock(here, LANE, "print-2") for _ in range(3)] == [100, 50, 0]


async def test_sent_again_it_happens_once(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await store.block(mine, "print-1", '"why"')
    before = place.contents()
    place.let_pass(1)
    await store.block(mine, "print-1", '"why"')
    assert place.contents() == before


async def test_a_run_is_blocked_by_its_holder_only(place: Place, store: RunStore) -> None:
    zombie = await create(store)
    await claim(store, "bob", "ann")
    before = place.contents()
    with pytest.raises(LeaseLost, match="number 2"):
        await store.block(zombie, "print-1", '"why"')
    assert place.contents() == before


async def test_a_run_that_was_given_back_is_not_blocked(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await release(store, mine)
    before = place.contents()
    await store.block(mine, "print-1", '"why"')
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_named_and_not_made(place: Place, store: RunStore) -> None:
    with pytest.raises(RunNotFound, match=RUN):
        await store.block(Claim(RUN, "1:x", 1, FIELDS), "print-1", '"why"')
    assert not place.contents().runs
