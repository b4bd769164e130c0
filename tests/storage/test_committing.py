"""commit: one patch, applied once, by the holder of the run only."""

from dataclasses import replace

import pytest

from stepwell.errors import LeaseLost, RunNotFound, StoreRefused
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit
from support.stores import Place
from support.verbs import FIELDS, RUN, claim, commit, create, end, release


@pytest.fixture
async def mine(store: RunStore) -> Claim:
    return await create(store, work="{}")


async def test_it_sets_and_deletes_fields(place: Place, store: RunStore, mine: Claim) -> None:
    patch: dict[str, str | None] = {"work": None, "state:ä": '"ö"', "empty": "", "never": None}
    await store.commit(commit(mine, 2, **patch))
    kept = place.contents().runs[RUN]
    assert kept.fields == {**FIELDS, "state:ä": '"ö"', "empty": ""}
    assert (kept.seq, kept.cid, kept.token, kept.owner) == (2, "c2", mine.token, "ann")


async def test_an_empty_one_counts(place: Place, store: RunStore, mine: Claim) -> None:
    before = place.contents().runs[RUN]
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}))
    assert place.contents().runs[RUN] == replace(before, seq=2, cid="c2")


async def test_each_boundary_in_it_becomes_a_line_of_the_log(
    place: Place, store: RunStore, mine: Claim
) -> None:
    place.let_pass(1)
    log = ['"write",1,0.5,"returned"', '"check",2,1.25,"failed"']
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, log))
    now = place.now_ms()
    assert place.contents().runs[RUN].log[1:] == [
        [2, now, "write", 1, 0.5, "returned"],
        [2, now, "check", 2, 1.25, "failed"],
    ]


async def test_the_log_keeps_the_last_thousand_lines(
    place: Place, store: RunStore, mine: Claim
) -> None:
    log = [f'"step",{n},0,"returned"' for n in range(1500)]
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, log))
    assert [line[3] for line in place.contents().runs[RUN].log] == list(range(500, 1500))


async def test_the_log_keeps_no_more_where_a_run_only_changes_hands(
    place: Place, store: RunStore, mine: Claim
) -> None:
    log = ['"step",1,0,"returned"'] * 999
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, log))
    await release(store, mine)
    await claim(store, "bob", "")
    lines = place.contents().runs[RUN].log
    assert len(lines) == 1000
    assert [line[2] for line in lines[-3:]] == ["step", "(released)", "(claimed)"]


async def test_more_fields_than_a_server_can_take_at_once(store: RunStore, mine: Claim) -> None:
    many = {f"work:{n}": str(n) for n in range(9001)}
    await store.commit(commit(mine, 2, work=None, **many))
    assert await store.read(RUN) == {**FIELDS, **many}
    await store.commit(commit(mine, 3, **dict.fromkeys(many)))
    assert await store.read(RUN) == FIELDS


async def test_a_large_one_is_as_any_other(
    place: Place, store: RunStore, other: RunStore, mine: Claim
) -> None:
    many = {f"work:{n}": str(n) for n in range(6000)}
    large = commit(mine, 2, work=None, status="odd", **many)
    await store.commit(large)
    await other.commit(large)
    whole = {**FIELDS, **many, "status": "odd"}
    assert place.contents().runs[RUN].fields == whole
    theirs = await claim(other, "bob", "ann")
    assert theirs.fields == whole
    with pytest.raises(LeaseLost):
        await store.commit(commit(mine, 3, **many))
    await other.commit(
        Commit(
            RUN, theirs.token, 3, "c3", {"status": "failed", **dict.fromkeys(many)}, (), "failed"
        )
    )
    assert await store.read(RUN) == {**FIELDS, "status": "failed"}


async def test_one_with_much_text_is_as_any_other(store: RunStore, mine: Claim) -> None:
    much = {f"work:{n}": str(n) * 100_000 for n in range(10, 30)}
    await store.commit(commit(mine, 2, work=None, **much))
    assert await store.read(RUN) == {**FIELDS, **much}


async def test_sent_again_it_is_applied_once(place: Place, store: RunStore, mine: Claim) -> None:
    await store.commit(commit(mine, 2, count="1"))
    before = place.contents()
    place.let_pass(1)
    await store.commit(commit(mine, 2, count="1"))
    assert place.contents() == before


@pytest.mark.parametrize("since", ["release", "claim"])
async def test_sent_again_after_the_run_changed_hands_it_still_happened(
    place: Place, store: RunStore, other: RunStore, mine: Claim, since: str
) -> None:
    await store.commit(commit(mine, 2))
    if since == "release":
        await release(store, mine)
    else:
        await claim(other, "bob", "ann")
    before = place.contents()
    await store.commit(commit(mine, 2))
    assert place.contents() == before


async def test_the_same_number_with_another_name_is_another_commit(
    place: Place, store: RunStore, mine: Claim
) -> None:
    await store.commit(commit(mine, 2))
    before = place.contents()
    with pytest.raises(StoreRefused, match="at commit 2"):
        await store.commit(commit(mine, 2, a="1")._replace(cid="another"))
    with pytest.raises(StoreRefused, match="at commit 2"):
        await store.commit(commit(mine, 4, a="1")._replace(cid="c2"))
    assert place.contents() == before


@pytest.mark.parametrize("seq", [0, 1, 3, 10])
async def test_a_gap_or_a_step_back_is_refused(
    place: Place, store: RunStore, mine: Claim, seq: int
) -> None:
    before = place.contents()
    with pytest.raises(StoreRefused, match=rf"{RUN}: .*at commit 1.*lost commits"):
        await store.commit(commit(mine, seq, a="1"))
    assert place.contents() == before


@pytest.mark.parametrize("token", ["1:another", "2:", "1:", "0:x", "nonsense", ""])
async def test_another_token_is_refused(
    place: Place, store: RunStore, mine: Claim, token: str
) -> None:
    """The epoch alone is none: two servers that were one can both have given out number 1."""
    before = place.contents()
    with pytest.raises(LeaseLost, match=f"{RUN} .*number 1"):
        await store.commit(commit(mine, 2, a="1")._replace(token=token))
    assert place.contents() == before


async def test_after_a_release_its_former_owner_is_refused(store: RunStore, mine: Claim) -> None:
    await release(store, mine)
    with pytest.raises(LeaseLost):
        await store.commit(commit(mine, 2))


async def test_the_lease_of_the_owner_has_no_say(place: Place, store: RunStore) -> None:
    await store.appear("ann", store.partition_of(RUN))
    mine = await create(store)
    place.let_pass(3600)
    await store.commit(commit(mine, 2, a="1"))
    assert await store.read(RUN) == {**FIELDS, "a": "1"}


async def test_a_run_that_was_forgotten_is_not_made_again(
    place: Place, store: RunStore, mine: Claim
) -> None:
    await store.commit(end(mine, 2, "completed"))
    place.let_pass(8 * 86400)
    with pytest.raises(RunNotFound, match=RUN):
        await store.commit(commit(mine, 3, a="1"))
    with pytest.raises(RunNotFound, match=RUN):
        await store.commit(end(mine, 3, "completed"))
    assert not place.contents().runs


async def test_a_run_that_never_was_is_not_made(place: Place, store: RunStore) -> None:
    with pytest.raises(RunNotFound, match="never"):
        await store.commit(Commit("never", "1:x", 2, "c2", {"a": "1"}))
    assert not place.contents().runs
