"""What a process says of an outage of its store: one warning, and one line when it is over."""

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from stepwell.durable import hearing, session
from stepwell.durable.hearing import Ear
from stepwell.durable.mailbox import Mailbox
from stepwell.durable.outage import Outage, Request
from stepwell.errors import (
    DurabilityError,
    OutcomeUnknown,
    RunCorrupt,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from stepwell.storage.memory import MemoryStore
from stepwell.storage.records import Message, NewRun, Topic
from support.outages import BEGINS, ENDS, Said, listening
from support.places import Place, until_true
from support.runs import Probe, Runs, TwoSteps, until
from support.servers import RedisServer

AWAY = "looking: no answer in 3 s at place:1. Start the server"
FIELDS = {"format": "1", "workflow": "w", "status": "running"}
ONCE = [("WARNING", f"{BEGINS}: {AWAY}"), ("INFO", ENDS)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    with listening(caplog) as said:
        yield said


# --- what is noted ---


def fail(request: Request, error: DurabilityError) -> None:
    with request.noted():
        raise error


def serve(request: Request) -> None:
    with request.noted():
        pass


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreRefused, OutcomeUnknown])
def test_an_outage_is_told_when_it_begins_and_when_all_is_served_again(
    said: Said, kind: type[DurabilityError]
) -> None:
    outage = Outage()
    one, other, third = map(outage.request, ("one", "other", "third"))
    for request in (one, other, one):
        fail(request, kind(AWAY))
    serve(third)
    serve(one)
    assert (one.is_served, other.is_served, outage.lasts) == (True, False, True)
    assert said.all == [
        ONCE[0],
        ("DEBUG", f"other is tried again: {AWAY}"),
        ("DEBUG", f"one is tried again: {AWAY}"),
    ]
    serve(other)
    serve(other)
    assert not outage.lasts
    assert said.loud == ONCE


def test_each_outage_is_told_with_its_time(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    request, times = Outage().request("one"), iter([10.0, 20.0, 22.5, 100.0, 101.0, 103.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("stepwell.durable.outage.time", clock)
    for _ in range(2):
        fail(request, StoreUnavailable(AWAY))
        serve(request)
    ends = [text for level, text in said.all if level == "INFO"]
    assert ends == [f"{ENDS}, after {time} s" for time in ("12.5", "3.0")]


def test_what_is_wrong_with_one_thing_is_no_outage_and_told_each_time(said: Said) -> None:
    outage = Outage()
    request = outage.request("one")
    for _ in range(2):
        fail(request, RunCorrupt("run r is damaged"))
    assert not outage.lasts
    assert said.all == [("WARNING", "one failed, and is tried again: run r is damaged")] * 2
    fail(request, StoreUnavailable(AWAY))
    fail(request, RunCorrupt("run r is damaged"))  # which the store has found
    assert not outage.lasts


def test_what_is_no_error_of_ours_is_nothing_that_the_store_did(said: Said) -> None:
    outage = Outage()
    request = outage.request("one")
    fail(request, StoreUnavailable(AWAY))
    with pytest.raises(ZeroDivisionError), request.noted():
        raise ZeroDivisionError
    with pytest.raises(asyncio.CancelledError), request.noted():
        raise asyncio.CancelledError
    assert outage.lasts
    assert said.loud == ONCE[:1]


def test_requests_that_are_called_the_same_are_told_apart(said: Said) -> None:
    outage = Outage()
    one, other = outage.request("one"), outage.request("one")
    for request in (one, other):
        fail(request, StoreUnavailable(AWAY))
    serve(one)
    assert said.loud == ONCE[:1]
    serve(other)
    assert said.loud == ONCE


def test_who_asks_no_more_waits_no_longer(said: Said) -> None:
    outage = Outage()
    for request in map(outage.request, ("one", "other")):
        fail(request, StoreUnavailable(AWAY))
    outage.close()
    assert not outage.lasts
    assert said.loud == ONCE


# --- requests that are not made any more ---


async def refuse(*_: Any) -> Any:
    raise StoreUnavailable(AWAY)


async def test_an_ear_that_is_closed_waits_no_longer(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Place(1).store() as store:
        monkeypatch.setattr(store, "watch", refuse)
        ear = Ear(store, Topic("due", 0), Outage())
        await ear.open(0)
        await until_true(lambda: said.loud)
        ear.close()
        await until_true(lambda: len(said.loud) == 2)
    assert said.loud == ONCE


async def test_who_is_not_let_listen_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Place(1).store() as store, asyncio.timeout(60):
        monkeypatch.setattr(store, "watch", refuse)
        ear = Ear(store, Topic("due", 0), Outage())
        for _ in range(3):
            await ear.open(3600)
        ear.close()


async def test_an_ear_tries_again_by_itself(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "LISTEN_AGAIN", 0.01)
    place = Place(1)
    async with place.store() as store:
        ear = Ear(store, Topic("due", 0), Outage())
        with monkeypatch.context() as broken:
            broken.setattr(store, "watch", refuse)
            await ear.open(0)
            await until_true(lambda: len(said.all) >= 3)
            assert not place.server.is_watched(Topic("due", 0))
        await until_true(lambda: len(said.loud) == 2)
        assert place.server.is_watched(Topic("due", 0))
        ear.close()
    assert said.loud == ONCE


@pytest.mark.parametrize("leaves", ["between", "meanwhile"])
async def test_a_run_that_is_not_here_any_more_reads_no_mail(
    leaves: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.durable.mailbox.LOOK_EVERY", 0.01)
    outage, reading, go = Outage(), asyncio.Event(), asyncio.Event()

    async def read() -> bool:
        reading.set()
        await go.wait()
        raise StoreUnavailable(AWAY)

    async with Place(1).store() as store:
        await store.create(NewRun("run", "d", "me", FIELDS))
        mailbox = Mailbox(store, "me", {"run"}, outage)
        leave = mailbox.open("run", read)
        await store.deliver(Message("run", "text", "key"))
        await reading.wait()
        if leaves == "meanwhile":
            leave()
        go.set()
        await until_true(lambda: said.loud)
        leave()
        assert not outage.lasts
        await mailbox.close()
    assert said.loud == ONCE


@pytest.mark.parametrize("verb", ["mail", "watch"])
async def test_a_session_that_is_closed_waits_no_longer(
    verb: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, verb, refuse)
    probe = Probe(holds=["first"])
    handler = TwoSteps(probe, checkpointer=Place(1).checkpointer()).run(value=7)
    await until_true(lambda: said.loud)
    probe.go.set()
    assert await handler == [7, 2]
    await until_true(lambda: len(said.loud) == 2)
    assert said.loud == ONCE


# --- a process that embeds the library ---


async def test_what_may_have_been_claimed_unheard_is_asked_for_until_the_store_answers(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "RENOUNCE_AFTER", (0.01, 0.01))
    place = Place(1)
    checkpointer = place.checkpointer()
    checkpointer.unanswered = 1
    async with checkpointer, place.store() as store:
        with monkeypatch.context() as broken:
            workflow = TwoSteps(checkpointer=checkpointer)
            handler = workflow.run(run_id="the-run", value=7)
            broken.setattr(session.Session, "_give_back_unheard", refuse)
            with pytest.raises(StoreError, match="got lost"):
                await handler
            await until_true(lambda: said.again("asking whether run the-run was claimed unheard"))
            assert place.run("the-run").owner
        await until_true(lambda: len(said.loud) == 2)
        await until_true(lambda: not place.run("the-run").owner)
        assert await store.peek("the-run")
    assert said.loud == ONCE


async def test_a_process_tells_once_of_an_outage_and_once_of_its_end(
    own_server: Callable[..., RedisServer], namespace: str, said: Said
) -> None:
    server = own_server()
    names = [f"run-{number}" for number in range(4)]
    with Runs(server.unix_url, namespace) as runs:
        async with runs.checkpointer(lease=1) as checkpointer:
            probe = Probe(holds=["second"])
            workflow = TwoSteps(probe, checkpointer=checkpointer)
            handlers = [workflow.run(run_id=name, value=7) for name in names]
            await until(lambda: probe.executed.count("second") == len(names))
            server.stop()
            ends = await asyncio.gather(*handlers, return_exceptions=True)
            assert {type(end) for end in ends} == {StoreUnavailable}
            async with checkpointer.session() as ours:
                owner = ours.lease.owner
            await until(lambda: said.again(*requests(runs, owner, names)))
            server.start()
            await until(lambda: said.of_outages == [BEGINS, ENDS])
            probe.holds = ()
            again = [workflow.run(run_id=name, value=7) for name in names]
            assert [await handler for handler in again] == [[7, 2]] * len(names)
    assert said.of_outages == [BEGINS, ENDS]
    lost, *more = said.of_others
    assert lost == (
        f"owner {owner} could not renew its lease in 1 s: its runs stop here, and go on wherever "
        "the store can be reached"
    )
    assert set(more) <= {f"the lease of owner {owner} was over for a while"}


def requests(runs: Runs, owner: str, names: list[str]) -> list[str]:
    """All that is asked again and again during an outage."""
    partitions = {runs.keys.partition_of(name) for name in names}
    return [
        f"renewing the lease of owner {owner}",
        *(f"giving run {name} back" for name in names),
        *(f"asking for the mail of partition {number}" for number in partitions),
        *(f"listening for news of kind 'mail' in partition {number}" for number in partitions),
    ]
