"""appear, renew, disappear, presence: who lives, and who is gone."""

import pytest

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Presence, Renewal
from support.stores import KeptOwner, Place
from support.verbs import LANE, RUN, claim, create

HOUR = 3600


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


def lease_of(place: Place, owner: str, partition: int) -> float:
    """Seconds that are left."""
    ends_at = place.contents().owners[partition, owner].lease_ends_at
    return (ends_at - place.now_ms()) / 1000


# Leases


async def test_an_owner_that_appears_has_a_lease_from_now(
    place: Place, store: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    ends_at = place.now_ms() + 15_000
    assert place.contents().owners == {
        (here, "ann"): KeptOwner(lease_ends_at=ends_at, seen=True, absent=None)
    }


async def test_a_lease_is_as_long_as_the_store_was_told(place: Place, here: int) -> None:
    brief = place.connect(lease=1.5)
    await brief.open()
    await brief.appear("ann", here)
    assert lease_of(place, "ann", here) == 1.5
    await brief.close()


async def test_a_lease_is_renewed_in_all_partitions_in_which_its_owner_appeared(
    place: Place, store: RunStore
) -> None:
    for partition in (0, 2):
        await store.appear("ann", partition)
    await store.appear("bob", 0)
    place.let_pass(10)
    await store.renew("ann")
    assert {key: lease_of(place, key[1], key[0]) for key in place.contents().owners} == {
        (0, "ann"): 15, (2, "ann"): 15, (0, "bob"): 5,
    }  # fmt: skip


async def test_a_lease_that_was_over_lasts_again_after_it_was_renewed(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(20)
    await store.renew("ann")
    assert await other.presence("ann", RUN) is Presence.PRESENT
    assert await other.claim(RUN, "bob", "ann", LANE) is None


async def test_an_owner_that_was_forgotten_is_known_again_after_it_renewed(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(20)
    await claim(other, "bob", "ann")
    assert set(place.contents().owners) == {(here, "bob")}
    await store.renew("ann")
    assert lease_of(place, "ann", here) == 15


async def test_renewing_an_owner_that_did_not_appear_here_does_nothing(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    place.let_pass(5)
    await other.renew("ann")
    await store.renew("bob")
    assert lease_of(place, "ann", here) == 10


async def test_an_owner_is_told_the_time_and_whether_its_lease_had_lapsed(
    place: Place, store: RunStore
) -> None:
    assert await store.appear("ann", 0) == Renewal(place.now_ms(), lapsed=False)
    await store.appear("ann", 1)
    place.let_pass(14.999)
    assert await store.renew("ann") == Renewal(place.now_ms(), lapsed=False)
    place.let_pass(15)
    assert await store.renew("ann") == Renewal(place.now_ms(), lapsed=True)
    assert await store.renew("ann") == Renewal(place.now_ms(), lapsed=False)


async def test_a_lease_that_lapsed_in_one_partition_lapsed(place: Place, store: RunStore) -> None:
    await store.appear("ann", 0)
    place.let_pass(14)
    await store.appear("ann", 1)
    place.let_pass(1)
    assert (await store.renew("ann")).lapsed


async def test_an_owner_that_appeared_nowhere_is_told_the_time(
    place: Place, store: RunStore
) -> None:
    assert await store.renew("ann") == Renewal(place.now_ms(), lapsed=False)


# Goodbyes


async def test_an_owner_without_runs_leaves_nothing(place: Place, store: RunStore) -> None:
    for partition in (0, 1):
        await store.appear("ann", partition)
    await store.disappear("ann")
    assert not place.contents().owners


async def test_an_owner_that_disappears_with_runs_leaves_them_to_others(
    place: Place, store: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    await store.disappear("ann")
    assert place.contents().owners == {
        (here, "ann"): KeptOwner(lease_ends_at=place.now_ms(), seen=None, absent=None)
    }
    assert await store.presence("ann", RUN) is Presence.GONE
    assert await store.claim(RUN, "bob", "ann", LANE) is not None


async def test_an_owner_disappears_once_and_strangers_can_not(
    place: Place, store: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    await store.disappear("ann")
    before = place.contents()
    place.let_pass(1)
    await store.disappear("ann")
    await store.disappear("bob")
    assert place.contents() == before


async def test_an_owner_that_was_forgotten_and_has_runs_again_leaves_them_to_others(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(20)
    await claim(other, "bob", "ann")
    await create(store, run_id="d1~2")
    place.let_pass(1)
    await store.disappear("ann")
    assert lease_of(place, "ann", here) == 0
    await other.appear("bob", here)
    assert (await other.sweep(here)).orphaned == 1
    assert place.contents().runs["d1~2"].owner == ""


async def test_an_owner_that_was_forgotten_and_says_goodbye_without_runs_stays_forgotten(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(20)
    await claim(other, "bob", "ann")
    await store.disappear("ann")
    assert set(place.contents().owners) == {(here, "bob")}


async def test_a_lease_is_not_renewed_after_a_goodbye(
    place: Place, store: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await store.disappear("ann")
    await store.renew("ann")
    assert not place.contents().owners


# Burials


async def test_owners_that_died_without_runs_are_forgotten_after_a_minute(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    place.let_pass(15 + 59)
    await other.appear("bob", here)
    assert (here, "ann") in place.contents().owners
    place.let_pass(1)
    await other.appear("bob", here)
    assert list(place.contents().owners) == [(here, "bob")]


async def test_owners_with_runs_are_not_forgotten(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(HOUR)
    await other.appear("bob", here)
    assert (here, "ann") in place.contents().owners


async def test_owners_are_forgotten_in_the_partition_where_somebody_appears(
    place: Place, store: RunStore, other: RunStore
) -> None:
    for partition in (0, 1):
        await store.appear("ann", partition)
    place.let_pass(HOUR)
    await other.appear("bob", 0)
    assert set(place.contents().owners) == {(0, "bob"), (1, "ann")}


async def test_the_first_sixteen_are_forgotten_at_once(place: Place, store: RunStore) -> None:
    for number in range(20):
        await store.appear(f"ann{number}", 0)
        place.let_pass(0.001)
    place.let_pass(HOUR)
    await store.appear("bob", 0)
    left = {owner for _, owner in place.contents().owners}
    assert left == {"bob", "ann16", "ann17", "ann18", "ann19"}


# Presence


async def test_an_owner_that_nobody_knows_is_gone(store: RunStore) -> None:
    assert await store.presence("ann", RUN) is Presence.GONE


async def test_an_owner_is_known_partition_by_partition(store: RunStore, here: int) -> None:
    await store.appear("ann", (here + 1) % 4)
    assert await store.presence("ann", RUN) is Presence.GONE


async def test_a_living_owner_keeps_its_run(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    before = place.contents()
    assert await store.presence("ann", RUN) is Presence.PRESENT
    assert await other.presence("ann", RUN) is Presence.PRESENT
    assert await other.claim(RUN, "bob", "ann", LANE) is None
    assert place.contents() == before


async def test_an_owner_whose_lease_is_over_is_gone_though_it_listens(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(14.999)
    assert await other.presence("ann", RUN) is Presence.PRESENT
    place.let_pass(0.001)
    assert await other.presence("ann", RUN) is Presence.GONE
    assert await other.claim(RUN, "bob", "ann", LANE) is not None


async def test_a_lease_from_before_the_clock_was_set_back_is_over(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await store.appear("ann", here)
    await create(store)
    place.let_pass(15 - HOUR)
    assert await other.presence("ann", RUN) is Presence.PRESENT
    place.let_pass(-0.001)
    assert await other.presence("ann", RUN) is Presence.GONE
    assert await other.claim(RUN, "bob", "ann", LANE) is not None


@pytest.fixture
async def dead(place: Place, here: int) -> None:
    """Ann appeared, made a run, and died."""
    theirs = place.connect()
    await theirs.open()
    await theirs.appear("ann", here)
    await create(theirs)
    await theirs.close()
    place.until_absent("ann")


@pytest.mark.usefixtures("dead")
async def test_the_first_look_at_an_absent_owner_makes_a_mark(
    place: Place, other: RunStore, here: int
) -> None:
    assert await other.presence("ann", RUN) is Presence.SUSPECT
    assert place.contents().owners[here, "ann"].absent == (True, place.now_ms())
    assert await other.claim(RUN, "bob", "ann", LANE) is None


@pytest.mark.usefixtures("dead")
async def test_a_second_look_too_soon_proves_nothing(place: Place, other: RunStore) -> None:
    await other.presence("ann", RUN)
    before = place.contents()
    place.let_pass(0.399)
    assert await other.presence("ann", RUN) is Presence.SUSPECT
    assert place.contents() == before


@pytest.mark.usefixtures("dead")
async def test_an_owner_absent_at_a_second_look_is_gone_and_its_lease_over(
    place: Place, other: RunStore, here: int
) -> None:
    await other.presence("ann", RUN)
    place.let_pass(0.4)
    assert await other.presence("ann", RUN) is Presence.GONE
    assert place.contents().owners == {
        (here, "ann"): KeptOwner(lease_ends_at=place.now_ms(), seen=None, absent=None)
    }
    assert await other.presence("ann", RUN) is Presence.GONE
    await claim(other, "bob", "ann")
    assert set(place.contents().owners) == {(here, "bob")}


@pytest.mark.usefixtures("dead")
async def test_an_owner_seen_on_an_earlier_incarnation_is_trusted_for_its_lease(
    place: Place, other: RunStore
) -> None:
    place.restart()
    before = place.contents()
    for _ in range(3):
        assert await other.presence("ann", RUN) is Presence.PRESENT
        place.let_pass(1)
    assert place.contents() == before


@pytest.mark.usefixtures("dead")
async def test_a_mark_of_the_future_is_made_anew(place: Place, other: RunStore, here: int) -> None:
    await other.presence("ann", RUN)
    place.let_pass(-1)
    assert await other.presence("ann", RUN) is Presence.SUSPECT
    assert place.contents().owners[here, "ann"].absent == (True, place.now_ms())


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("how", ["appears", "renews"])
async def test_an_owner_that_is_back_clears_its_name(
    place: Place, store: RunStore, other: RunStore, here: int, how: str
) -> None:
    await other.presence("ann", RUN)
    await store.appear("ann", here)
    if how == "renews":
        await store.renew("ann")
    assert place.contents().owners[here, "ann"].absent is None
    assert await other.presence("ann", RUN) is Presence.PRESENT


async def test_an_owner_that_listens_again_on_another_incarnation_may_die_there(
    place: Place, other: RunStore, here: int
) -> None:
    theirs = place.connect()
    await theirs.open()
    await theirs.appear("ann", here)
    place.restart()
    await theirs.renew("ann")
    await theirs.close()
    place.until_absent("ann")
    assert await other.presence("ann", RUN) is Presence.SUSPECT
