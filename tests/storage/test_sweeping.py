"""sweep: the runs of owners that are gone are made due, a hundred at a time."""

import asyncio

import pytest

from stepwell.errors import LeaseLost
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Presence, Swept, Topic
from support.stores import Place
from support.verbs import LANE, RUN, claim, commit, create, deliver, end, enqueue


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


@pytest.fixture
async def dead(place: Place, here: int) -> None:
    """Ann appeared, made a run, and died."""
    theirs = place.connect()
    await theirs.open()
    await theirs.appear("ann", here)
    await create(theirs)
    await theirs.close()
    place.until_absent("ann")


async def test_where_all_live_nothing_happens(place: Place, store: RunStore, here: int) -> None:
    await store.appear("ann", here)
    await create(store)
    await enqueue(store, "d1~2")
    before = place.contents()
    assert [(await store.sweep(here)).orphaned for _ in range(3)] == [0, 0, 0]
    assert place.contents() == before


async def test_the_runs_of_an_owner_whose_lease_is_over_are_due(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    mine = await create(store)
    place.let_pass(15)
    due, news = asyncio.Event(), asyncio.Event()
    await other.watch(Topic("due", here), due)
    await other.watch(Topic("run", here, RUN), news)
    assert (await other.sweep(here)).orphaned == 1
    await asyncio.gather(due.wait(), news.wait())
    kept = place.contents()
    run, now = kept.runs[RUN], place.now_ms()
    assert (run.owner, run.token, run.due_at) == ("", "1:", now)
    assert (run.fields["status"], run.claims, run.parked) == ("running", 1, False)
    assert run.log[-1] == [1, now, "(orphaned)", 1, 0, "running"]
    assert not kept.owned
    with pytest.raises(LeaseLost):
        await store.commit(commit(mine, 2))
    theirs = await other.claim(RUN, "bob", "", LANE, due=True)
    assert theirs is not None
    assert theirs.claims == 2


@pytest.mark.usefixtures("dead")
async def test_an_owner_must_be_absent_twice(place: Place, other: RunStore, here: int) -> None:
    assert (await other.sweep(here)).orphaned == 0
    place.let_pass(0.399)
    assert (await other.sweep(here)).orphaned == 0
    place.let_pass(0.001)
    assert (await other.sweep(here)).orphaned == 1
    assert (await other.sweep(here)).orphaned == 0


@pytest.mark.usefixtures("dead")
async def test_a_restart_of_the_server_takes_nobodys_runs(
    place: Place, other: RunStore, here: int
) -> None:
    await other.sweep(here)
    place.restart()
    for _ in range(3):
        place.let_pass(1)
        assert (await other.sweep(here)).orphaned == 0
    place.let_pass(12)
    assert (await other.sweep(here)).orphaned == 1


@pytest.mark.usefixtures("dead")
async def test_an_owner_that_is_back_between_two_looks_keeps_its_runs(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await other.sweep(here)
    await store.appear("ann", here)
    place.let_pass(0.4)
    assert (await other.sweep(here)).orphaned == 0
    assert await other.presence("ann", RUN) is Presence.PRESENT
    assert place.contents().runs[RUN].owner == "ann"


@pytest.mark.usefixtures("dead")
async def test_the_mail_of_the_dead_goes_nowhere_and_their_messages_stay(
    place: Place, other: RunStore, here: int
) -> None:
    await deliver(other, "a")
    place.let_pass(15)
    assert (await other.sweep(here)).orphaned == 1
    assert not place.contents().mail
    assert [text for _, text in await other.inbox(RUN, 0)] == ["a"]


async def test_very_many_orphans_are_found_in_some_calls(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    for number in range(250):
        await create(store, run_id=f"d1~{number}")
    place.let_pass(15)
    assert [(await other.sweep(here)).orphaned for _ in range(4)] == [100, 100, 50, 0]
    found = await other.due(here, [LANE], 1000)
    assert {run.run_id for run in found.runs} == {f"d1~{number}" for number in range(250)}


async def test_the_runs_of_several_owners_are_found_at_once(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    for owner in ("ann", "bob", "cid"):
        await store.appear(owner, here)
        for number in range(40):
            await create(store, owner, f"d1~{owner}{number}")
    place.let_pass(15)
    assert [(await other.sweep(here)).orphaned for _ in range(3)] == [100, 20, 0]


async def test_an_owner_without_runs_is_forgotten_after_a_minute(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(15)
    await other.sweep(here)
    assert (here, "ann") in place.contents().owners
    place.let_pass(60)
    await other.sweep(here)
    assert not place.contents().owners


async def test_orphans_are_looked_for_in_one_partition(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(15)
    assert (await other.sweep((here + 1) % store.partitions)).orphaned == 0
    assert (await other.sweep(here)).orphaned == 1


async def test_who_was_taken_for_dead_and_lives_goes_on_with_other_runs(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(15)
    assert (await other.sweep(here)).orphaned == 1
    assert (await store.renew("ann")).lapsed
    await create(store, run_id="d1~2")
    assert (await other.sweep(here)).orphaned == 0
    assert place.contents().owned == {(here, "ann"): {"d1~2"}}


@pytest.mark.parametrize("way", ["claims", "creates"])
async def test_the_runs_of_one_that_was_forgotten_and_goes_on_are_found_when_it_dies(
    place: Place, store: RunStore, other: RunStore, here: int, way: str
) -> None:
    await store.appear("ann", here)
    await create(store)
    await enqueue(store, "d1~2")
    place.let_pass(15)  # ann is frozen, and wakes up after all of hers was taken
    await other.appear("bob", here)
    await claim(other, "bob", "ann")
    assert (here, "ann") not in place.contents().owners
    if way == "claims":
        await claim(store, "ann", "", "d1~2")
    else:
        await create(store, run_id="d1~3")
    await store.close()
    place.let_pass(15)
    await other.renew("bob")
    assert (await other.sweep(here)).orphaned == 1
    assert place.contents().owned == {(here, "bob"): {RUN}}


@pytest.mark.parametrize("held", [True, False])
async def test_what_one_claims_that_never_appeared_is_found_with_its_messages(
    place: Place, store: RunStore, other: RunStore, here: int, held: bool
) -> None:
    if held:
        await store.appear("ann", here)
        await create(store)
        place.let_pass(15)
    else:
        await enqueue(store, delay=3600)
    await deliver(store, "the wish", urgent=True)
    stranger = await other.claim(RUN, "stranger", "ann" if held else "", LANE, due=not held)
    assert stranger is not None
    assert await store.presence("stranger", RUN) is Presence.GONE
    assert (await store.sweep(here)).orphaned == 1
    with pytest.raises(LeaseLost):
        await other.commit(commit(stranger, 2))
    theirs = await store.claim(RUN, "bob", "", LANE, due=True)
    assert theirs is not None
    assert [one.text for one in theirs.inbox] == ["the wish"]


async def test_one_that_never_appeared_takes_a_run_from_another_of_its_name(
    store: RunStore, other: RunStore
) -> None:
    await enqueue(store)
    first = await claim(store, "stranger", "")
    second = await claim(other, "stranger", "stranger")
    with pytest.raises(LeaseLost):
        await store.commit(end(first, 2, "cancelled"))
    await other.commit(end(second, 2, "cancelled"))


async def test_who_was_forgotten_and_claims_hears_that_its_lease_had_lapsed(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    await enqueue(store, "d1~2")
    place.let_pass(15)
    await claim(other, "bob", "ann")
    await claim(store, "ann", "", "d1~2")
    assert (await store.renew("ann")).lapsed
    await other.appear("bob", here)
    assert (await other.sweep(here)).orphaned == 0


async def test_claims_and_new_runs_prolong_no_lease(
    place: Place, store: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    before = place.contents().owners
    place.let_pass(1)
    await enqueue(store, "d1~2")
    await claim(store, "ann", "", "d1~2")
    await create(store)
    assert place.contents().owners == before


async def test_how_many_owners_have_a_lease_is_told(
    place: Place, store: RunStore, here: int
) -> None:
    assert await store.sweep(here) == Swept(orphaned=0, owners=0)
    for owner in ("ann", "bob"):
        await store.appear(owner, here)
    await store.appear("cid", (here + 1) % store.partitions)
    await create(store)
    assert await store.sweep(here) == Swept(orphaned=0, owners=2)
    place.let_pass(15)
    assert await store.sweep(here) == Swept(orphaned=1, owners=0)


async def test_runs_that_were_forgotten_are_not_found_by_their_input_though_newer_ones_are(
    place: Place, store: RunStore, here: int
) -> None:
    for run_id in ("d1~1", "d1~2", "d1~3"):
        await store.commit(end(await create(store, run_id=run_id), 2, "failed"))
        place.let_pass(12 * 86400)
    assert list(await store.same_input("d1")) == ["d1~2", "d1~3"]
    place.let_pass(12 * 86400)
    await store.sweep(here)
    assert place.contents().same == {"d1": ["d1~3"]}


async def test_the_names_of_runs_that_were_forgotten_are_forgotten_too(
    place: Place, store: RunStore, here: int
) -> None:
    await store.commit(end(await create(store), 2, "completed"))
    await create(store, run_id="d1~2")
    place.let_pass(7 * 86400)
    await store.sweep(here)
    assert [info.run_id for info in await store.runs(10)] == ["d1~2"]
