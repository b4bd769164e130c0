"""due: which runs wait for a worker, and when the next one does."""

import pytest

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Lane, NewRun
from support.stores import Place
from support.verbs import LANE, PENDING, RUN, claim, create, end, enqueue, release

VIP = Lane("vip", "Letters")
MAPS = Lane("default", "Maps")


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the runs."""
    return store.partition_of(RUN)


async def put(store: RunStore, run_id: str, lane: Lane, delay: float = 0) -> None:
    fields = {**PENDING, "workflow": lane.workflow}
    assert await store.enqueue(NewRun(run_id, "d1", "", fields, lane.queue), delay)


async def names(store: RunStore, partition: int, *lanes: Lane, limit: int = 100) -> list[str]:
    return [run.run_id for run in (await store.due(partition, lanes or [LANE], limit)).runs]


async def test_where_nothing_waits_nothing_is_due(store: RunStore, here: int) -> None:
    for lanes in ([], [LANE], [LANE, VIP]):
        found = await store.due(here, lanes, 10)
        assert (list(found.runs), found.next_in) == ([], None)


async def test_nothing_is_due_early(place: Place, store: RunStore, here: int) -> None:
    await enqueue(store, delay=1.5)
    assert (await store.due(here, [LANE], 10)).next_in == 1500
    place.let_pass(1.499)
    found = await store.due(here, [LANE], 10)
    assert (list(found.runs), found.next_in) == ([], 1)
    place.let_pass(0.001)
    found = await store.due(here, [LANE], 10)
    assert ([run[:2] for run in found.runs], found.next_in) == ([(RUN, LANE)], None)


async def test_those_that_wait_longest_come_first(place: Place, store: RunStore, here: int) -> None:
    for number, delay in ((1, 3), (2, 1), (3, 2), (4, 9)):
        await enqueue(store, f"d1~{number}", delay)
    place.let_pass(5)
    assert await names(store, here) == ["d1~2", "d1~3", "d1~1"]
    assert (await store.due(here, [LANE], 10)).next_in == 4000


async def test_lanes_are_served_in_the_order_asked_up_to_the_limit(
    store: RunStore, here: int
) -> None:
    for number, lane in enumerate([LANE, VIP, MAPS, LANE, VIP]):
        await put(store, f"d1~{number}", lane)
    assert await names(store, here, VIP, LANE) == ["d1~1", "d1~4", "d1~0", "d1~3"]
    assert await names(store, here, VIP, LANE, limit=3) == ["d1~1", "d1~4", "d1~0"]
    found = await store.due(here, [MAPS, VIP], 2)
    assert [run[:2] for run in found.runs] == [("d1~2", MAPS), ("d1~1", VIP)]


async def test_the_next_one_is_that_of_the_lanes_asked(store: RunStore, here: int) -> None:
    await put(store, "d1~1", VIP, 1)
    await put(store, "d1~2", LANE, 2)
    assert (await store.due(here, [LANE], 10)).next_in == 2000
    assert (await store.due(here, [LANE, VIP], 10)).next_in == 1000
    assert (await store.due(here, [MAPS], 10)).next_in is None


async def test_runs_are_due_in_their_own_partition(store: RunStore, here: int) -> None:
    await enqueue(store)
    assert await names(store, (here + 1) % store.partitions) == []


async def test_what_has_an_owner_or_an_end_is_not_due(store: RunStore, here: int) -> None:
    await create(store)
    await enqueue(store, "d1~2")
    mine = await claim(store, "ann", "", "d1~2")
    assert await names(store, here) == []
    await release(store, mine)
    assert await names(store, here) == ["d1~2"]
    await store.commit(end(await claim(store, "ann", "", "d1~2"), 2, "failed"))
    assert await names(store, here) == []


async def test_looking_changes_nothing(place: Place, store: RunStore, here: int) -> None:
    await enqueue(store)
    before = place.contents()
    await names(store, here)
    assert place.contents() == before


async def test_a_worker_claims_only_what_is_due_in_its_lane(place: Place, store: RunStore) -> None:
    await enqueue(store, delay=1)
    before = place.contents()
    assert await store.claim(RUN, "ann", "", LANE, due=True) is None
    assert await store.claim(RUN, "ann", "", VIP, due=True) is None
    assert place.contents() == before
    place.let_pass(1)
    assert await store.claim(RUN, "ann", "", VIP, due=True) is None
    assert await store.claim(RUN, "ann", "", LANE, due=True) is not None
    assert not place.contents().due


async def test_of_two_workers_one_gets_it(store: RunStore, other: RunStore) -> None:
    await enqueue(store)
    assert await store.claim(RUN, "ann", "", LANE, due=True) is not None
    assert await other.claim(RUN, "bob", "", LANE, due=True) is None


async def test_a_worker_claims_what_it_was_told_of_only_if_nobody_had_it_meanwhile(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await enqueue(store)
    ((_, _, since),) = (await store.due(here, [LANE], 10)).runs
    taken = await other.claim(RUN, "bob", "", LANE, due=True, since=since)
    assert taken is not None
    place.let_pass(1)
    await release(other, taken)
    before = place.contents()
    assert await store.claim(RUN, "ann", "", LANE, due=True, since=since) is None
    assert place.contents() == before
    ((_, _, now),) = (await store.due(here, [LANE], 10)).runs
    assert await store.claim(RUN, "ann", "", LANE, due=True, since=now) is not None


async def test_who_saw_a_run_claims_it_only_if_nobody_had_it_meanwhile(
    place: Place, store: RunStore, other: RunStore
) -> None:
    await release(other, await create(other, "bob"))
    seen = await store.peek(RUN)
    assert seen is not None
    await release(other, await claim(other, "bob", ""))
    before = place.contents()
    assert await store.claim(RUN, "ann", "", LANE, epoch=seen.epoch) is None
    assert place.contents() == before
    again = await store.peek(RUN)
    assert again is not None
    assert again.epoch == seen.epoch + 1
    assert await store.claim(RUN, "ann", "", LANE, epoch=again.epoch) is not None


async def test_who_has_another_reason_claims_it_before_its_time_from_any_lane(
    place: Place, store: RunStore
) -> None:
    await enqueue(store, delay=3600)
    assert await store.claim(RUN, "ann", "", VIP) is not None
    assert not place.contents().due
