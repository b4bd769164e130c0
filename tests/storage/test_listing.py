"""runs: all of them, those created last first, page by page."""

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import RunInfo
from support.stores import Place
from support.verbs import create, end, enqueue


async def pages(store: RunStore, limit: int) -> list[list[str]]:
    found, before = list[list[str]](), None
    while infos := await store.runs(limit, before):
        found.append([info.run_id for info in infos])
        before = infos[-1].created_at, infos[-1].run_id
    return found


async def test_where_no_run_is_none_is_listed(store: RunStore) -> None:
    assert list(await store.runs(10)) == []


async def test_runs_of_all_partitions_are_listed_those_created_last_first(
    place: Place, store: RunStore
) -> None:
    names = [f"letter-{number}" for number in range(20)]
    assert len({store.partition_of(name) for name in names}) > 1
    for name in names:
        await create(store, run_id=name)
        place.let_pass(0.001)
    assert await pages(store, 100) == [names[::-1]]
    assert await pages(store, 8) == [names[:11:-1], names[11:3:-1], names[3::-1]]


async def test_of_one_instant_they_are_listed_by_their_id(store: RunStore) -> None:
    names = sorted(f"letter-{number}" for number in range(20))
    for name in names:
        await create(store, run_id=name)
    assert [name for page in await pages(store, 3) for name in page] == names[::-1]


async def test_all_is_told_that_can_be_said_of_them(place: Place, store: RunStore) -> None:
    now = place.now_ms()
    await store.commit(end(await create(store), 2, "failed"))
    place.let_pass(1)
    await enqueue(store, "d1~2")
    assert list(await store.runs(10)) == [
        RunInfo("d1~2", "Letters", "pending", "d1", "", parked=True, created_at=now + 1000),
        RunInfo("d1~1", "Letters", "failed", "d1", "", claims=1, created_at=now, ended_at=now),
    ]


async def test_runs_that_were_forgotten_leave_no_gap(place: Place, store: RunStore) -> None:
    for number in range(9):
        mine = await create(store, run_id=f"d1~{number}")
        if number % 2:
            await store.commit(end(mine, 2, "completed"))
    place.let_pass(8 * 86400)
    assert await pages(store, 2) == [["d1~8", "d1~6"], ["d1~4", "d1~2"], ["d1~0"]]


async def test_a_page_goes_on_where_the_last_one_ended_though_that_run_was_deleted(
    store: RunStore,
) -> None:
    for number in range(4):
        await create(store, run_id=f"d1~{number}")
    (last,) = await store.runs(1)
    await store.delete(last.run_id)
    after = await store.runs(10, (last.created_at, last.run_id))
    assert [info.run_id for info in after] == ["d1~2", "d1~1", "d1~0"]
