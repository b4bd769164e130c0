"""Cancelling: who executes a run ends it; one that nobody executes is ended by the client."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell._engine import waiting
from stepwell.client import Client, Run, following
from stepwell.client.following import Following
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.messages import cancel_message
from stepwell.errors import InboxFull, RunOver, StoreUnavailable, WorkflowCancelledByUser
from stepwell.events import StartEvent, StopEvent
from stepwell.storage.limits import INBOX_MAX, URGENT_MAX
from stepwell.storage.memory import MemoryStore
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Commit, RunInfo
from stepwell.worker import Worker, sweeping
from support.clients import Answer, Asking, claimed
from support.places import Asks, Place, serving

RUN = "the-run"


class Needing(StartEvent):
    """Has what not every input has."""

    must: int


class Death(BaseException):
    """Ends a client where it stands."""


async def until(run: Run, fact: Callable[[RunInfo], object]) -> None:
    """Return when something can be said of a run."""
    while not fact(await run.info()):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.002)


async def until_it_waits(store: RunStore, run: Run) -> None:
    """Return when a step of a run waits, and nobody has the run."""
    await until(run, lambda info: info.parked)
    while not any(name.startswith("wait:") for name in await store.read(RUN) or {}):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.002)
    await until(run, lambda info: info.parked)


@asynccontextmanager
async def worker_of(checkpointer: Checkpointer, **options: Any) -> AsyncGenerator[None]:
    """A worker, which gives all back when the block is over."""
    worker = Worker(checkpointer, [Asking(timeout=None)], **options)
    task = asyncio.create_task(worker.run(handle_signals=False))
    yield
    worker.stop()
    await task


async def pending(client: Client, store: RunStore, checkpointer: Checkpointer) -> Run:
    return await client.start(Asking, run_id=RUN)


async def delayed(client: Client, store: RunStore, checkpointer: Checkpointer) -> Run:
    return await client.start(Asking, run_id=RUN, delay=3600)


async def parked(client: Client, store: RunStore, checkpointer: Checkpointer) -> Run:
    """It waits for an answer, and its workers are gone."""
    run = await client.start(Asking, run_id=RUN)
    async with worker_of(checkpointer, idle_timeout=0):
        await until_it_waits(store, run)
    return run


async def blocked(client: Client, store: RunStore, checkpointer: Checkpointer) -> Run:
    """No code here knows it."""
    run = await client.start(Asking, run_id=RUN)
    await store.block(await claimed(store, run), "the code", "{}")
    return run


async def orphaned(client: Client, store: RunStore, checkpointer: Checkpointer) -> Run:
    """Its worker was killed, and nobody has looked for the dead."""
    run = await client.start(Asking, run_id=RUN)
    theirs = checkpointer.connect()
    await theirs.open()
    await claimed(theirs, run)
    await theirs.close()
    return run


Way = Callable[[Client, RunStore, Checkpointer], Any]
ANYHOW = pytest.mark.parametrize("way", [pending, delayed, parked, blocked, orphaned])


@pytest.fixture(autouse=True)
def _news_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a result hears of it, or waits for ever."""
    monkeypatch.setattr(following, "LOOK_AGAIN", 3600.0)


@ANYHOW
async def test_a_run_that_nobody_executes_has_ended_at_once(
    client: Client, store: RunStore, checkpointer: Checkpointer, way: Way
) -> None:
    run = await way(client, store, checkpointer)
    await run.cancel()
    info = await run.info()
    assert (info.status, info.owner, info.ended_at is not None) == ("cancelled", "", True)
    with pytest.raises(WorkflowCancelledByUser, match=r"'the-run' of .*Asking was cancelled"):
        await run.result()
    assert (await store.due(store.partition_of(RUN), [info.lane], 10)).runs == []
    assert list(await store.inbox(RUN, 0)) == []
    with pytest.raises(RunOver, match="nothing to cancel"):
        await run.cancel()


@ANYHOW
async def test_who_waits_for_its_result_hears_of_it(
    client: Client,
    store: RunStore,
    checkpointer: Checkpointer,
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await way(client, store, checkpointer)
    waits, wait = asyncio.Event(), Following.__dict__["_until_over"]

    async def noted(*about: Any) -> None:
        waits.set()
        await wait(*about)

    monkeypatch.setattr(Following, "_until_over", noted)
    async with Client(checkpointer) as other:
        waiting = asyncio.create_task(other.get(RUN).result())
        await waits.wait()
        await run.cancel()
        with pytest.raises(WorkflowCancelledByUser):
            await waiting


# --- and then? ---


@pytest.mark.parametrize("who", ["a worker", "the client"])
@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("way", [pending, parked])
async def test_run_again_it_goes_on_where_it_was_with_all_that_was_sent(
    client: Client,
    store: RunStore,
    checkpointer: Checkpointer,
    way: Way,
    who: str,
    is_read: bool,
) -> None:
    run = await way(client, store, checkpointer)
    await run.send_event(Answer(value=1))
    if is_read:
        async with worker_of(checkpointer, idle_timeout=0):
            while await store.inbox(RUN, 0):  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.002)
            await until_it_waits(store, run)
    if who == "the client":
        await run.cancel()
    else:
        await store.deliver(cancel_message(RUN))
        async with worker_of(checkpointer):
            with pytest.raises(WorkflowCancelledByUser):
                await run.result()
    handler = checkpointer.attach(Asking(timeout=None)).run(run_id=RUN)
    await until(run, lambda info: info.owner)
    await run.send_event(Answer(value=2))
    assert await handler == [1, 2]
    assert list(await store.inbox(RUN, 0)) == []


# --- bad days ---


async def dies_before_the_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel, and die when the run is claimed."""

    def die(_: object) -> None:
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(client._store(), "commit", die)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(Death):
            await client.get(RUN).cancel()


@ANYHOW
@pytest.mark.parametrize("then", ["a worker", "a client"])
async def test_what_a_client_leaves_that_dies_is_ended_by_others(
    client: Client,
    store: RunStore,
    checkpointer: Checkpointer,
    way: Way,
    then: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await way(client, store, checkpointer)
    await dies_before_the_end(client, monkeypatch)
    assert (await run.info()).owner == "canceller"
    if then == "a client":
        await run.cancel()
    async with worker_of(checkpointer):
        with pytest.raises(WorkflowCancelledByUser):
            await run.result()


async def test_an_answer_that_is_lost_is_told_and_the_run_ends_the_next_time() -> None:
    place = Place()
    checkpointer = place.checkpointer()
    async with Client(checkpointer) as client:
        run = await client.start(Asks)
        checkpointer.unanswered = 1
        with pytest.raises(StoreUnavailable):
            await run.cancel()
        await run.cancel()
    assert place.run(run.run_id).fields["status"] == "cancelled"
    assert place.happened(run.run_id).count("(cancelled)") == 1


# --- races ---


async def turns(number: int) -> None:
    """Let the event loop turn so often."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancel_after(run: Run, number: int) -> None:
    """Cancel a run after so many turns of the event loop, if it has not ended."""
    await turns(number)
    with suppress(RunOver):
        await run.cancel()


def slowed(verb: Callable[..., Any], chance: Random) -> Callable[..., Any]:
    """What is asked of a store, with turns of the event loop before and after, as on a network."""

    async def slow(*about: Any, **how: Any) -> Any:
        await turns(chance.randrange(10))
        answer = await verb(*about, **how)
        await turns(chance.randrange(10))
        return answer

    return slow


@pytest.mark.parametrize("cancellers", [1, 3])
async def test_whoever_is_faster_a_run_ends_once(
    cancellers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "SWEEP_EVERY", 0.001)
    place, chance = Place(), Random(7)  # noqa: S311  no secret
    async with place.client() as client, serving(place.checkpointer(), Asks(), idle_timeout=0):
        store = client._store()  # pyright: ignore[reportPrivateUsage]
        for verb in ("deliver", "peek", "presence", "claim", "commit"):
            monkeypatch.setattr(store, verb, slowed(getattr(store, verb), chance))
        runs = [await client.start(Asks) for _ in range(100)]
        latest = [chance.choice((20, 1000)) for _ in runs]  # before the worker has it, or after
        cancelling = [
            cancel_after(run, chance.randrange(most))
            for run, most in zip(runs, latest, strict=True)
            for _ in range(cancellers)
        ]
        await asyncio.gather(*cancelling)
        for run in runs:
            with pytest.raises(WorkflowCancelledByUser):
                await run.result()
    for run in runs:
        ends = [end for end in place.outcomes(run.run_id) if end in ("cancelled", "CancelAsked")]
        assert len(ends) == 1
        assert place.run(run.run_id).owner == ""


async def test_on_any_server_workers_and_cancellers_end_it_together(
    client: Client, checkpointer: Checkpointer
) -> None:
    async with worker_of(checkpointer, idle_timeout=0), Client(checkpointer) as other:
        runs = [await client.start(Asking) for _ in range(40)]
        await asyncio.gather(
            *(cancel_after(run, number) for number, run in enumerate(runs)),
            *(cancel_after(other.get(run.run_id), number) for number, run in enumerate(runs)),
        )
        for run in runs:
            with pytest.raises(WorkflowCancelledByUser):
                await run.result()
            assert (await run.info()).status == "cancelled"


async def test_what_ended_meanwhile_stays_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes the run and ends it after the client saw that nobody has it."""
    place = Place()
    async with place.client() as client, place.store() as store:
        run = await client.start(Asks)
        claim = client._store().claim  # pyright: ignore[reportPrivateUsage]

        async def claims_late(*about: Any, **how: Any) -> Any:
            theirs = await claimed(store, run)
            last = {"status": "failed"}
            await store.commit(
                Commit(run.run_id, theirs.token, theirs.seq + 1, "end", last, ended="failed")
            )
            return await claim(*about, **how)

        monkeypatch.setattr(client._store(), "claim", claims_late)  # pyright: ignore[reportPrivateUsage]
        await run.cancel()
    assert place.run(run.run_id).fields["status"] == "failed"
    assert place.happened(run.run_id).count("(claimed)") == 1


async def test_what_there_is_no_room_for_yet_is_not_lost_beside_a_wish_that_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "KEPT_MAX", 1)
    place = Place()
    async with place.client() as client:
        run = await client.start(Asks, run_id=RUN, delay=3600)
        for value in (2, 1):
            await run.send_event(Answer(value=value))
        await run.cancel()
        assert (await run.info()).status == "cancelled"
    assert len(place.run(RUN).inbox) == 3
    assert await Asks(timeout=None, checkpointer=place.checkpointer()).run(run_id=RUN) == [1, 2]
    assert not place.run(RUN).inbox


async def test_a_run_is_ended_that_is_set_aside_while_it_is_asked_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Needs(Workflow):
        @step
        async def only(self, ev: Needing) -> StopEvent:
            return StopEvent()

    place, setting_aside, go = Place(), asyncio.Event(), asyncio.Event()
    block = MemoryStore.block

    async def slow(self: MemoryStore, *arguments: Any) -> None:
        setting_aside.set()
        await go.wait()
        await block(self, *arguments)

    monkeypatch.setattr(MemoryStore, "block", slow)
    async with place.client() as client, serving(place.checkpointer(), Needs(workflow_name="any")):
        run = await client.start("any", {"other": 1}, run_id=RUN)
        await setting_aside.wait()
        await run.cancel()
        go.set()
        with pytest.raises(WorkflowCancelledByUser):
            await run.result()


async def test_a_run_that_can_not_be_beside_others_is_ended_if_it_was_asked_to() -> None:
    class Stays(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return await asyncio.Future()

    place = Place()
    async with (
        place.client() as client,
        place.store() as store,
        serving(place.checkpointer(), Stays(), claims_max=2),
    ):
        other = await client.start(Stays, run_id="other", delay=3600)
        place.run(other.run_id).claims = 1
        place.run(other.run_id).due_at = 0
        await until(other, lambda info: info.owner)
        run = await client.start(Stays, run_id=RUN, delay=3600)
        place.run(RUN).claims = 1
        await store.deliver(cancel_message(RUN))  # by one that died then
        with pytest.raises(WorkflowCancelledByUser):
            await run.result()


async def test_a_run_is_ended_that_nobody_executes_however_often_that_was_asked_for() -> None:
    place = Place()
    async with place.client() as client, place.store() as store:
        run = await client.start(Asks, run_id=RUN)
        async with place.store() as dead:
            await dead.appear("dead", dead.partition_of(RUN))
            assert await dead.claim(RUN, "dead", "", place.run(RUN).lane)
            for _ in range(INBOX_MAX + URGENT_MAX):
                await store.deliver(cancel_message(RUN))
            with pytest.raises(InboxFull):
                await run.cancel()
        await run.cancel()
        assert (await run.info()).status == "cancelled"
