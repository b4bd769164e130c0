"""A connection that was closed, and what stays of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.errors import StoreUnavailable
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit, Message, NewRun, Release, Topic
from support.stores import Place
from support.verbs import FIELDS, LANE, RUN, create

VERBS: dict[str, Callable[[RunStore], Any]] = {
    "create": lambda store: store.create(NewRun(RUN, "d1", "ann", FIELDS)),
    "peek": lambda store: store.peek(RUN),
    "same_input": lambda store: store.same_input("d1"),
    "claim": lambda store: store.claim(RUN, "ann", "", LANE),
    "commit": lambda store: store.commit(Commit(RUN, "1:x", 2, "c2", {})),
    "enqueue": lambda store: store.enqueue(NewRun(RUN, "d1", "", FIELDS), 0),
    "due": lambda store: store.due(0, [LANE], 10),
    "release": lambda store: store.release(Release(RUN, "1:x", LANE)),
    "block": lambda store: store.block(Claim(RUN, "1:x", 1, FIELDS), "print", "{}"),
    "unblock": lambda store: store.unblock(0, LANE, "print"),
    "deliver": lambda store: store.deliver(Message(RUN, "hello", "k")),
    "mail": lambda store: store.mail("ann", 0),
    "inbox": lambda store: store.inbox(RUN, 0),
    "runs": lambda store: store.runs(10),
    "delete": lambda store: store.delete(RUN),
    "watch": lambda store: store.watch(Topic("due", 0), asyncio.Event()),
    "sweep": lambda store: store.sweep(0),
    "read": lambda store: store.read(RUN),
    "wait_for_end": lambda store: store.wait_for_end(RUN, 60),
    "appear": lambda store: store.appear("ann", 0),
    "renew": lambda store: store.renew("ann"),
    "disappear": lambda store: store.disappear("ann"),
    "presence": lambda store: store.presence("ann", RUN),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_closed_store_is_of_no_use(place: Place, store: RunStore, verb: str) -> None:
    await store.appear("ann", 0)
    before = place.contents()
    await store.close()
    with pytest.raises(StoreUnavailable, match=r"was closed; nothing was changed"):
        await VERBS[verb](store)
    assert place.contents() == before


async def test_it_may_be_closed_twice(store: RunStore) -> None:
    await store.close()
    await store.close()


async def test_what_it_made_stays(store: RunStore, other: RunStore) -> None:
    await create(store)
    await store.close()
    assert await other.read(RUN) == FIELDS
