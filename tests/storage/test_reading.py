"""peek, read and same_input: what can be known of runs."""

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import NewRun, RunInfo
from support.stores import Place
from support.verbs import FIELDS, RUN, claim, commit, create, end, release


async def test_a_run_is_created_committed_to_and_read(store: RunStore) -> None:
    mine = await create(store, input='"ä"', work="1")
    await store.commit(commit(mine, 2, state="[1]", work=None))
    assert await store.read(RUN) == {**FIELDS, "input": '"ä"', "state": "[1]"}


async def test_a_run_is_seen_without_loading_it(place: Place, store: RunStore) -> None:
    assert await store.peek(RUN) is None
    assert await store.read(RUN) is None
    mine, now = await create(store), place.now_ms()
    assert await store.peek(RUN) == RunInfo(
        RUN, "Letters", "running", "d1", "ann", claims=1, created_at=now
    )
    place.let_pass(1)
    await store.commit(end(mine, 2, "failed"))
    assert await store.peek(RUN) == RunInfo(
        RUN, "Letters", "failed", "d1", "", claims=1, created_at=now, ended_at=now + 1000
    )


async def test_looking_changes_nothing(place: Place, store: RunStore) -> None:
    await create(store)
    before = place.contents()
    await store.peek(RUN)
    await store.same_input("d1")
    (await store.read(RUN) or {}).clear()
    assert place.contents() == before


async def test_runs_of_an_input_are_found_oldest_first(place: Place, store: RunStore) -> None:
    assert list(await store.same_input("d1")) == []
    for number in (7, 3, 5):
        await create(store, run_id=f"d1~{number}")
        place.let_pass(0.001)
    assert list(await store.same_input("d1")) == ["d1~7", "d1~3", "d1~5"]


async def test_of_the_same_instant_they_are_found_by_their_id(store: RunStore) -> None:
    for number in (2, 10, 1):
        await create(store, run_id=f"d1~{number}")
    assert list(await store.same_input("d1")) == ["d1~1", "d1~10", "d1~2"]


async def test_runs_that_did_not_complete_are_found_by_their_input(store: RunStore) -> None:
    claims = [await create(store, run_id=f"d1~{n}") for n in range(4)]
    await store.commit(end(claims[1], 2, "completed"))
    await store.commit(end(claims[2], 2, "failed"))
    await release(store, claims[3])
    assert list(await store.same_input("d1")) == ["d1~0", "d1~2", "d1~3"]


async def test_a_run_that_failed_and_then_completed_is_not_found(store: RunStore) -> None:
    await store.commit(end(await create(store), 2, "failed"))
    await store.commit(end(await claim(store, "ann", ""), 3, "completed"))
    assert list(await store.same_input("d1")) == []


async def test_a_run_whose_id_does_not_tell_its_digest_is_not_found(store: RunStore) -> None:
    for run_id in ("order-17", "d2~1", "d1", "d1a~1"):
        await create(store, run_id=run_id)
    for digest in ("d1", "d2", "order-17", "d1a"):
        assert list(await store.same_input(digest)) == []


async def test_a_digest_ends_at_the_first_tilde(store: RunStore) -> None:
    await store.create(NewRun("a~b~1", "a~b", "ann", FIELDS))
    assert list(await store.same_input("a")) == []
    assert list(await store.same_input("a~b")) == []
