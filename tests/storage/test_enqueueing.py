"""enqueue: a new run that nobody owns yet, and that is due some time."""

import pytest

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Lane, NewRun, RunInfo
from support.stores import KeptRun, Place
from support.verbs import FIELDS, LANE, PENDING, RUN, claim, commit, create, end, enqueue

VIP = Lane("vip", "Letters")


async def test_an_enqueued_run_is_kept_with_its_books_and_the_first_line_of_its_log(
    place: Place, store: RunStore
) -> None:
    run = NewRun(RUN, "d1", "", {**PENDING, "input": "{}"}, "vip", {"customer": "ä"})
    assert await store.enqueue(run, 1.5)
    now, kept = place.now_ms(), place.contents()
    assert kept.runs == {
        RUN: KeptRun(
            fields=run.fields,
            digest="d1",
            owner="",
            token="1:",  # noqa: S106 - of a run that nobody holds
            seq=1,
            cid=kept.runs[RUN].cid,
            created_at=now,
            ended_at=None,
            due_at=now + 1500,
            days_left=None,
            log=[[1, now, "(enqueued)", 1, 0, ""]],
            queue="vip",
            tags={"customer": "ä"},
            claims=0,
            parked=True,
        )
    }
    assert kept.due == {(store.partition_of(RUN), "vip:Letters"): {RUN}}
    assert not kept.owned


async def test_it_is_seen_and_found_like_any_run(place: Place, store: RunStore) -> None:
    await store.enqueue(NewRun(RUN, "d1", "", PENDING, "vip", {"by": "ann"}), 0)
    assert await store.peek(RUN) == RunInfo(
        RUN, "Letters", "pending", "d1", "", "vip", True, 0, place.now_ms(), None, {"by": "ann"}
    )
    assert await store.read(RUN) == PENDING
    assert list(await store.same_input("d1")) == [RUN]


async def test_who_claims_it_begins_it(store: RunStore) -> None:
    await enqueue(store)
    mine = await claim(store, "ann", "")
    assert (mine.seq, mine.token[:2], mine.fields) == (1, "2:", PENDING)
    assert (mine.queue, mine.lane, mine.claims, mine.parked) == ("default", LANE, 1, True)
    assert await store.read(RUN) == FIELDS
    await store.commit(commit(mine, 2, a="1"))


async def test_an_id_is_taken_once_however_it_was_made(
    place: Place, store: RunStore, other: RunStore
) -> None:
    await enqueue(store)
    await create(store, run_id="d1~2")
    before = place.contents()
    assert not await other.enqueue(NewRun(RUN, "d1", "", PENDING), 0)
    assert not await other.enqueue(NewRun("d1~2", "d1", "", PENDING), 0)
    assert await other.create(NewRun(RUN, "d1", "bob", FIELDS)) is None
    assert place.contents() == before


async def test_an_id_is_free_again_when_its_run_was_forgotten(
    place: Place, store: RunStore
) -> None:
    await store.commit(end(await create(store), 2, "completed"))
    assert not await store.enqueue(NewRun(RUN, "d1", "", PENDING), 0)
    place.let_pass(8 * 86400)
    await enqueue(store)
    assert await store.read(RUN) == PENDING


@pytest.mark.parametrize("queue", ["", "a:b", "a b", "ä", "x" * 65, "{a}"])
async def test_a_queue_that_is_none_is_named(place: Place, store: RunStore, queue: str) -> None:
    for attempt in (
        store.enqueue(NewRun(RUN, "d1", "", PENDING, queue), 0),
        store.create(NewRun(RUN, "d1", "ann", FIELDS, queue)),
    ):
        with pytest.raises(ValueError, match="queue"):
            await attempt
    assert not place.contents().runs


async def test_a_run_without_what_every_run_has_is_not_enqueued(
    place: Place, store: RunStore
) -> None:
    with pytest.raises(ValueError, match="'status'"):
        await store.enqueue(NewRun(RUN, "d1", "", {"format": "1", "workflow": "Letters"}), 0)
    assert not place.contents().runs
