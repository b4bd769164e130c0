"""What every store refuses before anything is sent: ids, names, texts, sizes, leases."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.errors import EncodingError, StoreRefused
from stepwell.storage.names import partition_of
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import BOOKKEEPING, Claim, Commit, Message, NewRun, Release
from support.stores import Place
from support.verbs import FIELDS, LANE, RUN, commit, create

VERBS: dict[str, Callable[[RunStore, str], Any]] = {
    "create": lambda store, run_id: store.create(NewRun(run_id, "d1", "ann", FIELDS)),
    "peek": lambda store, run_id: store.peek(run_id),
    "same_input": lambda store, digest: store.same_input(digest),
    "claim": lambda store, run_id: store.claim(run_id, "ann", "", LANE),
    "commit": lambda store, run_id: store.commit(Commit(run_id, "1:x", 2, "c2", {})),
    "end": lambda store, run_id: store.commit(Commit(run_id, "1:x", 2, "c2", {}, (), "failed")),
    "enqueue": lambda store, run_id: store.enqueue(NewRun(run_id, "d1", "", FIELDS), 0),
    "release": lambda store, run_id: store.release(Release(run_id, "1:x", LANE)),
    "block": lambda store, run_id: store.block(Claim(run_id, "1:x", 1, FIELDS), "p", "{}"),
    "deliver": lambda store, run_id: store.deliver(Message(run_id, "hello", "k")),
    "inbox": lambda store, run_id: store.inbox(run_id, 0),
    "delete": lambda store, run_id: store.delete(run_id),
    "read": lambda store, run_id: store.read(run_id),
    "wait_for_end": lambda store, run_id: store.wait_for_end(run_id, 1),
    "presence": lambda store, run_id: store.presence("ann", run_id),
}


@pytest.fixture
async def mine(store: RunStore) -> Claim:
    return await create(store)


@pytest.mark.parametrize("verb", VERBS)
async def test_an_id_that_is_none_is_named(place: Place, store: RunStore, verb: str) -> None:
    for run_id in ("", "a b", "ä", "{a}", "x" * 201, "a\n"):
        with pytest.raises(ValueError, match=re.escape(repr(run_id))):
            await VERBS[verb](store, run_id)
    assert not place.contents().runs


async def test_every_other_id_will_do(store: RunStore) -> None:
    for run_id in ("x" * 200, "a", "-", "~", "a~", "~1", "a~b~c", "A.z_0:9@/-"):
        await create(store, run_id=run_id)
        assert await store.peek(run_id) is not None


def test_runs_of_one_input_share_a_partition_and_others_are_spread() -> None:
    assert len({partition_of(f"digest~{n}", 16) for n in range(50)}) == 1
    assert len({partition_of(f"digest{n}", 16) for n in range(500)}) == 16
    assert partition_of("letters", 16) == 11  # it may never change: the runs are there


@pytest.mark.parametrize("lease", [0, -1, 1801, float("nan")])
def test_a_lease_that_is_none_is_named(place: Place, lease: float) -> None:
    with pytest.raises(ValueError, match="lease"):
        place.connect(lease=lease)


async def test_a_field_that_is_too_large_is_named_and_nothing_written(
    store: RunStore, mine: Claim
) -> None:
    with pytest.raises(StoreRefused, match=r"'state:big' has 16777217 bytes"):
        await store.commit(commit(mine, 2, **{"state:big": "x" * ((16 << 20) + 1), "a": "1"}))
    assert await store.read(RUN) == FIELDS


async def test_bytes_count_and_not_characters(store: RunStore, mine: Claim) -> None:
    with pytest.raises(StoreRefused, match=r"'big' has 16777218 bytes"):
        await store.commit(commit(mine, 2, big="ä" * ((8 << 20) + 1)))


async def test_a_commit_that_is_too_large_is_refused(store: RunStore, mine: Claim) -> None:
    part = "x" * (16 << 20)
    with pytest.raises(StoreRefused, match="in one commit are more than"):
        await store.commit(commit(mine, 2, a=part, b=part, c=part, d=part, e=part))
    assert await store.read(RUN) == FIELDS


@pytest.mark.parametrize(
    "patch", [{"state:odd": "\ud800"}, {"state:\ud800": "1"}, {"state:\ud800": None}]
)
async def test_what_is_no_unicode_is_named(
    store: RunStore, mine: Claim, patch: dict[str, str | None]
) -> None:
    with pytest.raises(EncodingError, match=r"'state:.*half of a character pair"):
        await store.commit(commit(mine, 2, a="1", **patch))
    assert await store.read(RUN) == FIELDS


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
async def test_no_run_begins_with_what_is_no_unicode(store: RunStore, text: str) -> None:
    with pytest.raises(EncodingError, match="'input'"):
        await create(store, input=text)
    assert await store.peek(RUN) is None


@pytest.mark.parametrize("text", ["", "\x00", "ä\r\n", "𝄞"])
async def test_every_other_text_is_kept_as_it_is(store: RunStore, mine: Claim, text: str) -> None:
    await store.commit(commit(mine, 2, **{f"state:{text}": text}))
    assert await store.read(RUN) == {**FIELDS, f"state:{text}": text}


@pytest.mark.parametrize("book", BOOKKEEPING)
async def test_the_books_are_not_patched(store: RunStore, mine: Claim, book: str) -> None:
    for text in ("9:x", None):
        with pytest.raises(ValueError, match="may not touch"):
            await store.commit(Commit(RUN, mine.token, 2, "c2", {book: text}))
    with pytest.raises(ValueError, match="may not touch"):
        await store.create(NewRun("d1~2", "d1", "ann", {**FIELDS, book: "9:x"}))
    assert await store.read(RUN) == FIELDS


@pytest.mark.parametrize("name", ["format", "workflow", "status"])
async def test_what_every_run_has_is_not_deleted(store: RunStore, mine: Claim, name: str) -> None:
    with pytest.raises(ValueError, match=f"may not delete '{name}'"):
        await store.commit(commit(mine, 2, a="1", **{name: None}))
    assert await store.read(RUN) == FIELDS
