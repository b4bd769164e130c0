"""A session that was silent for too long: what it had goes on elsewhere, and stops here."""

import asyncio
from typing import Any

import pytest

from stepwell.errors import LeaseLost, StoreUnavailable
from stepwell.storage.records import Release
from stepwell.worker import Worker
from support.clients import Answer
from support.places import Asks, Fragile, Place, serving, until_true
from support.runs import Probe, TwoSteps


class Owner:
    """A process that executes a run, and is held in its second step."""

    def __init__(self, place: Place, **options: Any) -> None:
        self.probe = Stopped()
        self.checkpointer: Fragile = place.checkpointer(**options)
        self.workflow = TwoSteps(self.probe, checkpointer=self.checkpointer)
        self.handler = self.workflow.run(run_id="the-run", value=7)


class Stopped(Probe):
    """Is held in the second step, and notices when that is cancelled."""

    def __init__(self) -> None:
        super().__init__(holds=["second"])
        self.stopped = asyncio.Event()

    async def __call__(self, name: str) -> None:
        try:
            await super().__call__(name)
        except asyncio.CancelledError:
            self.stopped.set()
            raise


async def executed_elsewhere(place: Place) -> None:
    """Let a worker take the run over, since time has passed, and complete it."""
    async with serving(place.checkpointer(), TwoSteps()):
        await until_true(lambda: place.run("the-run").ended_at is not None)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_owner_that_wakes_late_commits_nothing_and_follows(durability: str) -> None:
    place = Place()
    owner = Owner(place, durability=durability)
    await owner.probe.reached.wait()
    if durability != "sync":
        await until_true(lambda: owner.handler.run_id == "the-run")
    place.pass_time(601)
    await executed_elsewhere(place)
    stored = dict(place.run("the-run").fields)
    owner.probe.go.set()
    assert await owner.handler == [7, 2]
    assert place.run("the-run").fields == stored
    assert [stored["status"], stored["state:count"]] == ["completed", "2"]


async def test_an_owner_that_wakes_late_raises_where_that_was_asked_for() -> None:
    place = Place()
    owner = Owner(place, on_lost="raise")
    await owner.probe.reached.wait()
    place.pass_time(601)
    await executed_elsewhere(place)
    owner.probe.go.set()
    with pytest.raises(LeaseLost, match="the-run"):
        await owner.handler


async def test_an_owner_whose_lease_lapsed_stops_what_went_elsewhere_and_nothing_else() -> None:
    """Before the next commit: its steps may do harm outside."""
    place = Place()
    owner = Owner(place, lease=1)
    other = Stopped()
    kept = TwoSteps(other, checkpointer=owner.checkpointer).run(run_id="kept", value=1)
    await asyncio.gather(owner.probe.reached.wait(), other.reached.wait())
    async with place.store() as store:
        info = await store.peek("the-run")
        assert info is not None
        place.pass_time(1.1)
        await store.appear("stranger", store.partition_of("the-run"))
        claim = await store.claim("the-run", "stranger", info.owner, info.lane)
        assert claim is not None
        await owner.probe.stopped.wait()
        other.go.set()
        assert await kept == [1, 2]
        assert not other.stopped.is_set()
        await store.release(Release("the-run", claim.token, claim.lane))
    owner.probe.go.set()
    assert await owner.handler == [7, 2]
    assert owner.probe.executed == ["first", "second", "second"]


async def test_an_owner_that_can_not_renew_stops_its_steps_before_the_lease_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place()
    owner = Owner(place, lease=2)
    await owner.probe.reached.wait()
    with monkeypatch.context() as broken:

        async def fail(*_: Any) -> Any:
            raise StoreUnavailable("no answer")

        broken.setattr(owner.checkpointer.stores[1], "renew", fail)
        await owner.probe.stopped.wait()
        ends_at = max(known.lease_ends_at for known in place.server.owners.values())
        assert place.now() < ends_at
    owner.probe.go.set()
    assert await owner.handler == [7, 2]


async def test_a_run_that_a_session_takes_from_itself_is_executed_once_here() -> None:
    """Its lease was over, a sweep took its run, and its own worker was the first to claim it."""
    place, probe = Place(), Stopped()
    checkpointer, two = place.checkpointer(), TwoSteps(probe)
    worker = Worker(checkpointer, [two])
    task = asyncio.create_task(worker.run(handle_signals=False))
    async with place.client() as client, checkpointer.session() as session:
        run = await client.start(two, {"value": 7})
        await probe.reached.wait()
        place.pass_time(601)
        await place.find_the_dead()
        await probe.stopped.wait()
        await until_true(lambda: probe.executed == ["first", "second", "second"])
        await until_true(lambda: worker.health().executing == 1)
        assert session.executing[run.run_id].token == place.run(run.run_id).token
        worker.stop(now=True)  # the run that goes on is the one that it knows
        await task
        assert place.run(run.run_id).owner == ""
        assert session.executing == {}


async def test_a_message_reaches_the_tenure_that_came_after_another_one_here() -> None:
    place, asks = Place(1), Asks()
    checkpointer = place.checkpointer()
    async with place.client() as client, serving(checkpointer, asks) as worker:
        run = await client.start(asks)
        await until_true(lambda: worker.health().resting == 1)
        token = place.run(run.run_id).token
        place.pass_time(601)
        await place.find_the_dead()
        await until_true(lambda: place.run(run.run_id).token not in (token, "2:"))
        await until_true(lambda: (worker.health().executing, worker.health().resting) == (1, 1))
        for value in (1, 2):
            await run.send_event(Answer(value=value))
        assert await run.result(timeout=10) == [1, 2]


@pytest.mark.parametrize("lost", ["create", "claim"])
async def test_a_run_that_was_taken_unheard_is_given_back(
    lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, probe = Place(), Probe()
    checkpointer = place.checkpointer()
    two = TwoSteps(probe, checkpointer=checkpointer)
    async with checkpointer:
        if lost == "claim":
            owner = Owner(place)
            await owner.probe.reached.wait()
            await owner.checkpointer.cut()
            await place.find_the_dead()
        checkpointer.unanswered = 1
        with pytest.raises(StoreUnavailable):
            await two.run(run_id="the-run", value=7)
        assert place.run("the-run").owner
        await until_true(lambda: not place.run("the-run").owner)
        assert await two.run(run_id="the-run", value=7) == [7, 2]


async def test_a_run_that_was_taken_unheard_goes_on_when_it_is_asked_for_again() -> None:
    place, probe = Place(), Probe()
    checkpointer = place.checkpointer()
    two = TwoSteps(probe, checkpointer=checkpointer)
    async with checkpointer:
        checkpointer.unanswered = 1
        with pytest.raises(StoreUnavailable):
            await two.run(run_id="the-run", value=7)
        assert await two.run(run_id="the-run", value=7) == [7, 2]


async def test_a_claim_that_gets_there_after_it_was_looked_for_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that was frozen reads the connections that broke meanwhile in any order."""
    monkeypatch.setattr("stepwell.durable.session.RENOUNCE_AFTER", (0.0, 0.0))
    place = Place()
    async with (
        place.client() as client,
        place.store() as late,
        place.checkpointer().session() as session,
    ):
        run_id = (await client.start(TwoSteps(), {"value": 7})).run_id
        lane, peek = place.run(run_id).lane, session.store.peek
        got_there = asyncio.Event()

        async def lose(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("no answer")

        async def look(run_id: str) -> Any:
            found = await peek(run_id)
            if not got_there.is_set():
                got_there.set()
                assert await late.claim(run_id, session.lease.owner, "", lane)
            return found

        monkeypatch.setattr(session.store, "peek", look)
        with monkeypatch.context() as broken:
            broken.setattr(session.store, "claim", lose)
            with pytest.raises(StoreUnavailable):
                await session.claim(place.run(run_id).info)
        await got_there.wait()
        await until_true(lambda: not place.run(run_id).owner)


async def test_who_hears_when_it_gives_a_run_back_that_it_was_lost_renews_its_lease() -> None:
    """Else others go on to take from it what it claims."""
    place = Place()
    async with place.client() as client, place.checkpointer().session() as session:
        run_id = (await client.start(TwoSteps(), {"value": 7})).run_id
        claim = await session.claim(place.run(run_id).info)
        assert claim is not None
        place.pass_time(601)
        await place.find_the_dead()
        async with place.store() as store:
            assert await store.claim(run_id, "stranger", "", claim.lane)
        await session.give_back(Release(run_id, claim.token, claim.lane))
        async with asyncio.timeout(10):
            await until_true(lambda: session.lease.clock() * 1000 >= place.now() - 500)
