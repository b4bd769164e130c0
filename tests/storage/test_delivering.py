"""deliver, mail and inbox: messages to runs, which no crash and no change of hands loses."""

import asyncio

import pytest

from stepwell.errors import (
    EncodingError,
    InboxFull,
    RunNotFound,
    RunOver,
    StoreRefused,
    WaitClosed,
)
from stepwell.storage.limits import INBOX_MAX, URGENT_MAX
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Commit, Message, Received, Topic
from support.stores import Place
from support.verbs import RUN, claim, commit, create, deliver, end, enqueue, release


@pytest.fixture
def here(store: RunStore) -> int:
    """The partition of the run."""
    return store.partition_of(RUN)


async def texts(store: RunStore, after: int = 0) -> list[str]:
    return [text for _, text in await store.inbox(RUN, after)]


async def test_messages_wait_in_the_order_in_which_they_came(
    place: Place, store: RunStore, other: RunStore
) -> None:
    await create(store)
    await deliver(other, "a b")
    await deliver(store, "ä\n")
    await deliver(other, "7 c")
    assert list(await store.inbox(RUN, 0)) == [
        Received(1, "a b"), Received(2, "ä\n"), Received(3, "7 c"),
    ]  # fmt: skip
    assert await texts(store, 2) == ["7 c"]
    assert await texts(store, 3) == []
    assert place.contents().runs[RUN].sends == 3


async def test_they_stay_until_a_commit_takes_them(store: RunStore) -> None:
    mine = await create(store)
    for text in "abc":
        await deliver(store, text)
    await store.commit(commit(mine, 2))
    assert await texts(store) == ["a", "b", "c"]
    await store.commit(Commit(RUN, mine.token, 3, "c3", {}, taken=2))
    assert await texts(store) == ["c"]
    await store.commit(Commit(RUN, mine.token, 4, "c4", {}, taken=1))
    assert await texts(store) == ["c"]
    await store.commit(Commit(RUN, mine.token, 5, "c5", {}, taken=3))
    assert await texts(store) == []
    await deliver(store, "d")
    assert list(await store.inbox(RUN, 0)) == [Received(4, "d")]


async def test_a_commit_that_is_refused_takes_nothing(store: RunStore) -> None:
    zombie = await create(store)
    await deliver(store, "a")
    await release(store, zombie)
    for seq in (2, 5):
        with pytest.raises(Exception, match=RUN):
            await store.commit(Commit(RUN, zombie.token, seq, "c", {}, taken=1))
    assert await texts(store) == ["a"]


async def test_a_commit_that_is_sent_again_takes_nothing_that_came_since(store: RunStore) -> None:
    mine = await create(store)
    await deliver(store, "a")
    taking = Commit(RUN, mine.token, 2, "c2", {}, taken=1)
    await store.commit(taking)
    await deliver(store, "b")
    await store.commit(taking)
    assert await texts(store) == ["b"]


async def test_more_than_a_few_are_read_at_once(store: RunStore) -> None:
    await create(store)
    for number in range(50):
        await deliver(store, str(number))
    assert await texts(store) == [str(number) for number in range(50)]
    assert await texts(store, 30) == [str(number) for number in range(30, 50)]
    assert await texts(store, 33) == [str(number) for number in range(33, 50)]
    assert await texts(store, 34) == [str(number) for number in range(34, 50)]


async def test_the_same_key_is_delivered_once(place: Place, store: RunStore) -> None:
    mine = await create(store)
    assert await store.deliver(Message(RUN, "first", "key"))
    before = place.contents()
    assert not await store.deliver(Message(RUN, "second", "key"))
    assert place.contents() == before
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, taken=1))
    assert not await store.deliver(Message(RUN, "third", "key"))
    await store.commit(end(mine, 3, "completed"))
    assert not await store.deliver(Message(RUN, "fourth", "key"))
    assert await texts(store) == []


async def test_they_come_with_every_claim_in_order(store: RunStore, other: RunStore) -> None:
    mine = await create(store)
    await deliver(store, "a")
    await release(store, mine)
    await deliver(store, "b")
    theirs = await claim(other, "bob", "")
    assert theirs.inbox == (Received(1, "a"), Received(2, "b"))
    await deliver(store, "c")
    again = await claim(store, "ann", "bob")
    assert [number for number, _ in again.inbox] == [1, 2, 3]


async def test_they_come_with_the_claim_of_a_run_that_ended_badly(store: RunStore) -> None:
    mine = await create(store)
    await deliver(store, "a")
    await store.commit(end(mine, 2, "failed"))
    assert (await claim(store, "ann", "")).inbox == (Received(1, "a"),)
    await deliver(store, "b")
    assert await texts(store) == ["a", "b"]


async def test_the_owner_gets_mail_and_hears_of_it(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await create(store)
    await create(store, run_id="d1~2")
    bell = asyncio.Event()
    await store.watch(Topic("mail", here, "ann"), bell)
    await deliver(other, "a")
    await deliver(other, "b")
    await bell.wait()
    assert list(await store.mail("ann", here)) == [RUN]
    assert list(await store.mail("ann", here)) == []
    await deliver(other, "c", run_id="d1~2")
    assert list(await store.mail("bob", here)) == []
    assert list(await store.mail("ann", here)) == ["d1~2"]
    assert not place.contents().due


async def test_mail_goes_to_whoever_has_the_run_now(
    store: RunStore, other: RunStore, here: int
) -> None:
    mine = await create(store)
    await deliver(other, "a")
    await release(store, mine)
    theirs = await claim(store, "bob", "")
    await deliver(other, "b")
    assert list(await store.mail("bob", here)) == [RUN]
    await release(store, theirs)
    await deliver(other, "c")
    assert list(await store.mail("bob", here)) == []


async def test_a_run_that_nobody_owns_is_due_now(
    place: Place, store: RunStore, other: RunStore, here: int
) -> None:
    await release(store, await create(store), due_at=None, parked=True)
    bell = asyncio.Event()
    await store.watch(Topic("due", here), bell)
    place.let_pass(1)
    await deliver(other, "a")
    await bell.wait()
    kept = place.contents()
    assert kept.runs[RUN].due_at == place.now_ms()
    assert kept.runs[RUN].parked
    assert not kept.mail


async def test_a_run_that_waits_longer_keeps_its_turn(place: Place, store: RunStore) -> None:
    await release(store, await create(store))
    since = place.now_ms()
    place.let_pass(1)
    await deliver(store, "a")
    assert place.contents().runs[RUN].due_at == since


async def test_a_run_that_sleeps_is_woken(place: Place, store: RunStore) -> None:
    await release(store, await create(store), due_at=place.now_ms() + 9000, parked=True)
    await deliver(store, "a")
    assert place.contents().runs[RUN].due_at == place.now_ms()


async def test_a_run_that_is_not_begun_keeps_its_time_unless_it_is_urgent(
    place: Place, store: RunStore
) -> None:
    await enqueue(store, delay=9)
    due_at = place.now_ms() + 9000
    await deliver(store, "a")
    assert place.contents().runs[RUN].due_at == due_at
    await deliver(store, "b", urgent=True)
    assert place.contents().runs[RUN].due_at == place.now_ms()
    assert (await claim(store, "ann", "")).inbox == (Received(1, "a"), Received(2, "b"))


async def test_a_blocked_run_waits_for_code_unless_it_is_urgent(
    place: Place, store: RunStore
) -> None:
    await store.block(await create(store), "print", "{}")
    await deliver(store, "a")
    assert place.contents().runs[RUN].due_at is None
    await deliver(store, "b", urgent=True)
    assert place.contents().runs[RUN].due_at == place.now_ms()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_run_that_ended_takes_nothing(place: Place, store: RunStore, status: str) -> None:
    await store.commit(end(await create(store), 2, status))
    before = place.contents()
    with pytest.raises(RunOver, match=f"{RUN} is {status}"):
        await deliver(store, "a")
    assert place.contents() == before


async def test_messages_that_nobody_read_are_counted_when_the_run_ends(
    place: Place, store: RunStore
) -> None:
    mine = await create(store)
    for text in "abc":
        await deliver(store, text)
    await store.commit(
        Commit(RUN, mine.token, 2, "c2", {"status": "failed"}, (), "failed", taken=1)
    )
    assert place.contents().runs[RUN].log[-1] == [2, place.now_ms(), "(unread)", 1, 0, "2"]


async def test_an_answer_to_a_wait_that_is_closed_is_refused(place: Place, store: RunStore) -> None:
    await create(store, **{"wait:1:a": "[1]"})
    before = place.contents()
    for name, text in (("wait:1:a", "[2]"), ("wait:1:b", "[1]")):
        with pytest.raises(WaitClosed, match=name):
            await store.deliver(Message(RUN, "a", "k1", open_wait=(name, text)))
    assert place.contents() == before
    assert await store.deliver(Message(RUN, "a", "k1", open_wait=("wait:1:a", "[1]")))


async def test_a_full_inbox_takes_nothing(place: Place, store: RunStore) -> None:
    mine = await create(store)
    for number in range(INBOX_MAX):
        await deliver(store, str(number))
    before = place.contents()
    with pytest.raises(InboxFull, match=RUN):
        await deliver(store, "one more")
    assert place.contents() == before
    await store.commit(Commit(RUN, mine.token, 2, "c2", {}, taken=1))
    await deliver(store, "one more")
    assert len(await store.inbox(RUN, 0)) == INBOX_MAX


async def test_a_full_inbox_takes_what_is_urgent_but_not_without_end(store: RunStore) -> None:
    await create(store)
    for number in range(INBOX_MAX):
        await deliver(store, str(number))
    for number in range(URGENT_MAX):
        await deliver(store, f"urgent {number}", urgent=True)
    with pytest.raises(InboxFull, match=RUN):
        await deliver(store, "one more", urgent=True)


async def test_what_can_not_be_sent_is_named(place: Place, store: RunStore) -> None:
    await create(store)
    before = place.contents()
    with pytest.raises(EncodingError, match=RUN):
        await store.deliver(Message(RUN, "\ud800", "key"))
    with pytest.raises(EncodingError, match=RUN):
        await store.deliver(Message(RUN, "a", "\ud800"))
    with pytest.raises(StoreRefused, match=RUN):
        await store.deliver(Message(RUN, "x" * ((16 << 20) + 1), "key"))
    assert place.contents() == before


async def test_a_run_that_is_not_there_is_named_and_not_made(place: Place, store: RunStore) -> None:
    with pytest.raises(RunNotFound, match=RUN):
        await deliver(store, "a")
    assert list(await store.inbox(RUN, 0)) == []
    assert not place.contents().runs


async def test_messages_are_forgotten_with_their_run(place: Place, store: RunStore) -> None:
    mine = await create(store)
    await deliver(store, "a")
    await store.commit(end(mine, 2, "completed"))
    place.let_pass(8 * 86400)
    assert list(await store.inbox(RUN, 0)) == []
    await create(store)
    await deliver(store, "a")
    assert list(await store.inbox(RUN, 0)) == [Received(1, "a")]
