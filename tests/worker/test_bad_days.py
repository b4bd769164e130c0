"""Bad days of a worker: answers get lost, steps tear at the event loop, code of events raises."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client, Run
from stepwell.durable import mailbox, session
from stepwell.durable.messages import cancel_message
from stepwell.errors import (
    OutcomeUnknown,
    RunCorrupt,
    RunQuarantined,
    StoreUnavailable,
    WorkflowCancelledByUser,
)
from stepwell.events import HumanResponseEvent, StartEvent, StopEvent
from stepwell.storage.records import Claim, Commit
from stepwell.worker import Worker, claiming
from support.clients import Answer
from support.places import Asks, Place, serving, until_true
from support.runs import Probe, TwoSteps

CLAIMS_MAX = 4
ONE_PARTITION = pytest.mark.parametrize("place", [1], indirect=True)


def status(place: Place, run: Run | str) -> str:
    return place.run(run if isinstance(run, str) else run.run_id).fields["status"]


def claims(place: Place, run: Run) -> int:
    """How often the log says that a run was claimed."""
    return place.happened(run.run_id).count("(claimed)")


class Turns(Workflow):
    """One run at a time; the one named `asks` needs an answer, others last until they may go."""

    def __init__(self) -> None:
        super().__init__(workflow_name="turns", num_concurrent_runs=1)
        self.begun: list[str] = []
        self.go = asyncio.Event()

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        self.begun.append(ev.name)
        if ev.name == "asks":
            return StopEvent(result=(await ctx.wait_for_event(Answer, timeout=None)).value)
        await self.go.wait()
        return StopEvent()


# --- ends that fail ---


def failing_once(commit: Callable[[Commit], Any], *ends: str) -> Callable[[Commit], Any]:
    """Commits, but for the first one that ends a run like this."""
    failed: list[Commit] = []

    async def commit_or_fail(one: Commit) -> None:
        if one.ended in ends and not failed:
            failed.append(one)
            raise StoreUnavailable("the store is away")
        await commit(one)

    return commit_or_fail


async def test_a_run_whose_quarantine_fails_is_quarantined_the_next_time(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await client.start(Asks)
    place.run(run.run_id).claims = 9
    checkpointer = place.checkpointer()
    async with checkpointer.session() as mine:
        monkeypatch.setattr(mine.store, "commit", failing_once(mine.store.commit, "quarantined"))
        async with serving(checkpointer, Asks()) as worker:
            with pytest.raises(RunQuarantined):
                await run.result()
            await until_true(lambda: worker.health().executing == 0)
        assert claims(place, run) == 2
        assert not mine.executing


@pytest.mark.parametrize("fails", [True, False])
async def test_an_unreadable_run_is_cancelled_and_forgotten_also_if_that_fails_once(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    run = await client.start(Asks)
    place.run(run.run_id).fields |= {"format": "99", "next": "1", "status": "running"}
    async with place.store() as store:
        await store.deliver(cancel_message(run.run_id))
    checkpointer = place.checkpointer()
    async with checkpointer.session() as mine:
        if fails:
            commit = failing_once(mine.store.commit, "cancelled")
            monkeypatch.setattr(mine.store, "commit", commit)
        async with serving(checkpointer, Asks()) as worker:
            with pytest.raises(WorkflowCancelledByUser):
                await run.result()
            await until_true(lambda: worker.health().executing == 0)
        assert not mine.executing
    assert status(place, run) == "cancelled"


# --- claims ---


async def test_a_run_whose_claim_was_cancelled_before_the_answer_goes_on_elsewhere(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "RELEASE_AGAIN", 0.01)
    checkpointer, claimed = place.checkpointer(), asyncio.Event()
    async with checkpointer.session() as mine:  # so that the owner outlives its worker
        claim = mine.store.claim

        async def slow(*args: Any, **options: Any) -> Claim | None:
            made = await claim(*args, **options)
            if not claimed.is_set():
                claimed.set()
                await asyncio.Event().wait()  # the answer is on its way
            return made

        monkeypatch.setattr(mine.store, "claim", slow)
        worker = asyncio.create_task(
            Worker(checkpointer, [TwoSteps()]).run(handle_signals=False),
        )
        run = await client.start(TwoSteps, {"value": 7})
        await claimed.wait()
        assert place.run(run.run_id).owner == mine.lease.owner
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        async with serving(place.checkpointer(), TwoSteps()):
            assert await run.result() == [7, 2]
        assert not mine.executing


@ONE_PARTITION
async def test_damaged_runs_at_the_head_of_a_lane_do_not_starve_those_behind_them(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = [await client.start(TwoSteps, {"value": 1}) for _ in range(5)]
    for run in damaged:
        place.run(run.run_id).due_at = 1
    tried: list[str] = []
    checkpointer = place.checkpointer()
    async with checkpointer.session() as mine:
        claim = mine.store.claim

        async def find_damage(run_id: str, *args: Any, **options: Any) -> Claim | None:
            if run_id in {run.run_id for run in damaged}:
                tried.append(run_id)
                raise RunCorrupt(f"run {run_id} is damaged")
            return await claim(run_id, *args, **options)

        monkeypatch.setattr(mine.store, "claim", find_damage)
        async with serving(checkpointer, TwoSteps(), concurrency=1):
            for value in range(3):
                healthy = await client.start(TwoSteps, {"value": value})
                assert await healthy.result() == [value, 2]
    assert len(tried) == len(set(tried))


@ONE_PARTITION
async def test_a_run_that_went_elsewhere_while_it_waited_for_its_turn_is_not_executed(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "LOOK_EVERY", 0.01)
    cut = Turns()
    async with serving(place.checkpointer(), cut):  # stopped when a step of the run is at work
        second = await client.start(cut, {"name": "second"})
        await until_true(lambda: cut.begun)
    stored = place.run(second.run_id)
    stored.due_at = None
    checkpointer, turns = place.checkpointer(durability="async"), Turns()  # no commit comes first
    async with (
        place.store() as other,
        checkpointer.session() as mine,
        serving(checkpointer, turns) as worker,
    ):
        await client.start(turns, {"name": "first"})
        await until_true(lambda: turns.begun)
        stored.due_at = place.now()
        await until_true(lambda: worker.health().executing == 2)
        place.pass_time(601)
        await other.appear("other", 0)
        taken = await other.claim(second.run_id, "other", stored.owner, stored.lane)
        assert taken is not None
        patch = {"status": "completed"}
        await other.commit(
            Commit(taken.run_id, taken.token, taken.seq + 1, "end", patch, ended="completed")
        )
        mine.lease.renew_soon()
        await until_true(lambda: second.run_id not in mine.executing)
        turns.go.set()
        await until_true(lambda: worker.health().executing == 0)
    assert "second" not in turns.begun


# --- news and messages ---


@ONE_PARTITION
async def test_mail_whose_answer_is_lost_reaches_a_run_that_waits_for_its_turn(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "LOOK_EVERY", 0.01)
    checkpointer, turns, lost = place.checkpointer(), Turns(), asyncio.Event()
    async with checkpointer.session() as mine:
        mail = mine.store.mail

        async def lose(owner: str, partition: int) -> Any:
            named = await mail(owner, partition)
            if named and not lost.is_set():
                lost.set()
                raise OutcomeUnknown("no reply")
            return named

        monkeypatch.setattr(mine.store, "mail", lose)
        async with serving(checkpointer, turns) as worker:
            await client.start(turns, {"name": "first"})
            await until_true(lambda: turns.begun)
            second = await client.start(turns, {"name": "asks"})
            await until_true(lambda: worker.health().executing == 2)
            await second.send_event(Answer(value=3))
            await lost.wait()
            turns.go.set()
            assert await second.result() == 3


@pytest.mark.parametrize("how", ["refused", "no answer"])
async def test_runs_are_claimed_and_get_their_mail_while_nobody_can_listen(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for module in (mailbox, claiming):
        monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    checkpointer = place.checkpointer()
    async with checkpointer.session() as mine:

        async def watch(*_: Any) -> None:
            if how == "refused":
                raise StoreUnavailable("subscriptions can't connect")
            await asyncio.Event().wait()

        monkeypatch.setattr(mine.store, "watch", watch)
        async with serving(checkpointer, Asks()) as worker:
            run = await client.start(Asks)
            await until_true(lambda: worker.health().resting == 1)
            for value in (1, 2):
                await run.send_event(Answer(value=value))
            assert await run.result() == [1, 2]


class Moody(HumanResponseEvent):
    """What it says of itself can't be asked of everyone."""

    who: str

    @property
    def team(self) -> str:
        """Of nobody."""
        raise ValueError(f"no team for {self.who}")


class AsksWho(Workflow):
    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        wanted = {"team": "blue"} if ev.get("by_team") else None
        answer = await ctx.wait_for_event(Moody, requirements=wanted, timeout=None)
        return StopEvent(result=answer.who)


@ONE_PARTITION
async def test_an_event_whose_code_raises_blocks_its_own_run_only(
    place: Place, client: Client
) -> None:
    async with serving(place.checkpointer(), AsksWho()) as worker:
        bad = await client.start(AsksWho, {"by_team": True})
        good = await client.start(AsksWho)
        await until_true(lambda: worker.health().resting == 2)
        await bad.send_event(Moody(who="me"))
        await until_true(lambda: status(place, bad) == "blocked")
        await good.send_event(Moody(who="you"))
        assert await good.result() == "you"
    before = claims(place, bad)
    async with serving(place.checkpointer(), AsksWho()):
        late = await client.start(AsksWho)
        await late.send_event(Moody(who="they"))
        assert await late.result() == "they"
    assert (status(place, bad), claims(place, bad)) == ("blocked", before)
    with pytest.raises(TimeoutError, match="no team for me"):
        await bad.result(timeout=0)


# --- steps that tear at the event loop ---


class Panic(BaseException):
    """Is no Exception, as those of some extension modules."""


class Panics(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        raise Panic("out of cheese")


class CancelsItself(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await asyncio.Future()


class Exits(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        raise SystemExit(3)


@pytest.mark.parametrize("workflow", [Panics, CancelsItself])
async def test_a_step_that_stops_its_run_from_inside_is_tried_ever_later_and_then_quarantined(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, workflow: type[Workflow]
) -> None:
    monkeypatch.setattr(claiming, "LOOK_EVERY", 0.01)
    run = await client.start(workflow)
    stored, pauses = place.run(run.run_id), list[float]()
    async with serving(place.checkpointer(), workflow(), claims_max=CLAIMS_MAX) as worker:
        for number in range(1, CLAIMS_MAX + 1):
            await until_true(lambda number=number: stored.claims == number and not stored.owner)
            assert stored.due_at is not None
            pauses.append((stored.due_at - place.now()) / 1000)
            stored.due_at = place.now()
        with pytest.raises(RunQuarantined, match=rf"claimed {CLAIMS_MAX} times.*only \(attempt"):
            await run.result()
        await until_true(lambda: worker.health().executing == 0)
    assert all(longer > shorter for shorter, longer in pairwise(pauses))
    assert claims(place, run) == CLAIMS_MAX + 1


def test_a_run_that_exits_its_process_is_quarantined_in_the_end(place: Place) -> None:
    async def start() -> str:
        async with place.client() as client:
            return (await client.start(Exits)).run_id

    async def serve() -> None:
        async with serving(place.checkpointer(), Exits(), claims_max=CLAIMS_MAX):
            await until_true(lambda: place.run(run_id).ended_at is not None)

    run_id = asyncio.run(start())
    for number in range(1, CLAIMS_MAX + 1):
        with pytest.raises(SystemExit):
            asyncio.run(serve())
        assert (place.run(run_id).claims, place.run(run_id).owner) == (number, "")
        place.pass_time(60)
    asyncio.run(serve())
    assert status(place, run_id) == "quarantined"


# --- stopping ---


@pytest.mark.parametrize("verb", ["due", "claim", "mail", "sweep", "commit"])
async def test_a_worker_in_a_hurry_gives_its_runs_back_though_the_store_does_not_answer(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for module in (mailbox, claiming):
        monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    probe, silent, checkpointer = Probe(holds=["first"]), asyncio.Event(), place.checkpointer()
    run = await client.start(TwoSteps, {"value": 7})
    async with checkpointer.session() as mine:
        worker = Worker(checkpointer, [TwoSteps(probe)])
        task = asyncio.create_task(worker.run(handle_signals=False))
        await probe.reached.wait()

        async def never(*_: Any, **__: Any) -> Any:
            silent.set()
            return await asyncio.Future()

        monkeypatch.setattr(mine.store, verb, never)
        await client.start(TwoSteps, {"value": 8})  # something to claim
        if verb == "commit":
            probe.go.set()
        await silent.wait()
        worker.stop(now=True)
        await task
        assert not place.run(run.run_id).owner


async def test_the_attempts_of_a_step_that_was_cut_are_counted(
    place: Place, client: Client
) -> None:
    run = await client.start(TwoSteps, {"value": 7})
    for _ in range(3):
        probe = Probe(holds=["second"])
        async with serving(place.checkpointer(), TwoSteps(probe)):
            await probe.reached.wait()
    assert (await run.info()).claims == 0
    async with serving(place.checkpointer(), TwoSteps()):
        await run.result()
    steps = [one for one in place.boundaries(run.run_id) if one[0].isidentifier()]
    assert steps == [("first", 1), ("second", 4)]
