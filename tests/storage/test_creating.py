"""create: a new run, which its creator owns."""

import pytest

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import NewRun
from support.stores import KeptRun, Place
from support.verbs import FIELDS, RUN, claim, create, end


async def test_a_new_run_is_kept_with_its_books_and_the_first_line_of_its_log(
    place: Place, store: RunStore
) -> None:
    mine = await create(store, input='"ä"', work="1")
    now = place.now_ms()
    assert (mine.run_id, mine.seq) == (RUN, 1)
    assert mine.fields == {**FIELDS, "input": '"ä"', "work": "1"}
    assert place.contents().runs == {
        RUN: KeptRun(
            fields=mine.fields,
            digest="d1",
            owner="ann",
            token=mine.token,
            seq=1,
            cid=mine.token.removeprefix("1:"),
            created_at=now,
            ended_at=None,
            due_at=None,
            days_left=None,
            log=[[1, now, "(created)", 1, 0, ""]],
        )
    }


async def test_its_token_is_the_first_epoch_and_a_nonce_that_no_other_has(store: RunStore) -> None:
    tokens = {(await create(store, run_id=f"d1~{n}")).token for n in range(50)}
    assert len(tokens) == 50
    assert all(token.startswith("1:") and len(token) > 10 for token in tokens)


async def test_it_belongs_to_its_creator(place: Place, store: RunStore) -> None:
    await create(store)
    assert place.contents().owned == {(store.partition_of(RUN), "ann"): {RUN}}


async def test_of_several_creators_of_an_id_one_gets_it(
    place: Place, store: RunStore, other: RunStore
) -> None:
    await create(store)
    before = place.contents()
    assert await other.create(NewRun(RUN, "d1", "bob", FIELDS)) is None
    assert await store.create(NewRun(RUN, "d1", "ann", FIELDS)) is None
    assert place.contents() == before


async def test_an_id_is_taken_also_when_its_run_is_over(store: RunStore) -> None:
    await store.commit(end(await create(store), 2, "completed"))
    assert await store.create(NewRun(RUN, "d1", "ann", FIELDS)) is None


async def test_an_id_is_free_again_when_its_run_was_forgotten(
    place: Place, store: RunStore
) -> None:
    await store.commit(end(await create(store, state="1"), 2, "completed"))
    place.let_pass(8 * 86400)
    again = await create(store, "bob")
    assert (again.seq, again.fields) == (1, FIELDS)
    assert len(place.contents().runs[RUN].log) == 1


async def test_more_fields_than_a_server_can_take_at_once(store: RunStore) -> None:
    many = {f"work:{n}": str(n) for n in range(9001)}
    await create(store, **many)
    assert await store.read(RUN) == {**FIELDS, **many}


async def test_what_the_caller_does_to_its_map_later_changes_nothing(store: RunStore) -> None:
    fields = dict(FIELDS)
    mine = await store.create(NewRun(RUN, "d1", "ann", fields))
    assert mine is not None
    fields["status"] = "odd"
    assert await store.read(RUN) == FIELDS
    taken = await claim(store, "ann", "ann")
    assert (mine.fields, taken.fields) == (FIELDS, FIELDS)


@pytest.mark.parametrize("missing", ["format", "workflow", "status"])
async def test_a_run_without_what_every_run_has_is_not_created(
    place: Place, store: RunStore, missing: str
) -> None:
    fields = {name: text for name, text in FIELDS.items() if name != missing}
    with pytest.raises(ValueError, match=f"'{missing}'"):
        await store.create(NewRun(RUN, "d1", "ann", fields))
    assert not place.contents().runs
