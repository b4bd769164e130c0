"""A handler whose run is executed by somebody else: what it tells, and what it can ask."""

import asyncio
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell.client import Client
from stepwell.errors import RunBlocked, RunQuarantined, WorkflowCancelledByUser
from stepwell.events import StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from stepwell.storage.records import Message
from stepwell.worker.quarantine import quarantine
from support.clients import Answer, claimed
from support.places import Asks, Place, serving, until_true
from support.runs import Probe, TwoSteps


@pytest.fixture
def place() -> Place:
    return Place()


class Fails(Workflow):
    """Fails when it may."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        await self._probe("only")
        return StopEvent()


async def followed(
    place: Place, workflow: Workflow, run_id: str, **given: Any
) -> WorkflowHandler[Any]:
    """A handler that follows a run that a worker has."""
    handler = place.checkpointer().attach(workflow).run(run_id=run_id, **given)
    await until_true(lambda: getattr(handler.ctx.internals.port, "where", "").startswith("while"))
    return handler


async def test_it_has_the_result_and_the_state(place: Place) -> None:
    probe, idle = Probe(holds=["second"]), Probe()
    two = TwoSteps(probe)
    async with place.client() as client, serving(place.checkpointer(), two):
        run = await client.start(two, {"value": 7}, run_id="the-run")
        await probe.reached.wait()
        handler = await followed(place, TwoSteps(idle), run.run_id, value=7)
        probe.go.set()
        assert await handler == [7, 2]
        assert await handler.ctx.store.get("count") == 2
        assert [event async for event in handler.stream_events()] == [handler.get_stop_event()]
    assert idle.executed == []


async def test_it_raises_the_error_of_the_step(place: Place) -> None:
    probe = Probe(holds=["only"], fails_at=["only"])
    async with place.client() as client, serving(place.checkpointer(), Fails(probe)):
        await client.start(Fails(Probe()), run_id="the-run")
        await probe.reached.wait()
        handler = await followed(place, Fails(Probe()), "the-run")
        probe.go.set()
        with pytest.raises(ValueError, match="only failed"):
            await handler


@pytest.mark.parametrize("who", ["the follower", "a client"])
async def test_it_tells_that_the_run_was_cancelled(place: Place, who: str) -> None:
    async with place.client() as client, serving(place.checkpointer(), Asks()) as worker:
        run = await client.start(Asks, run_id="the-run")
        await until_true(lambda: worker.health().resting == 1)
        handler = await followed(place, Asks(), run.run_id)
        if who == "a client":
            await run.cancel()
        else:
            await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
    assert place.run("the-run").fields["status"] == "cancelled"


async def test_it_sends_events_which_are_taken_in_order_and_once(place: Place) -> None:
    async with place.client() as client, serving(place.checkpointer(), Asks()) as worker:
        await client.start(Asks, run_id="the-run")
        await until_true(lambda: worker.health().resting == 1)
        handler = await followed(place, Asks(), "the-run")
        await handler.send_event(Answer(value=2))  # before its wait begins
        await handler.send_event(Answer(value=1))
        assert await handler == [1, 2]
    assert place.run("the-run").sends == 2


async def test_it_tells_that_the_run_was_quarantined(place: Place) -> None:
    async with place.client() as client, place.store() as store:
        run = await client.start(TwoSteps(), {"value": 7}, run_id="the-run")
        claim = await claimed(store, run)
        handler = await followed(place, TwoSteps(), "the-run", value=7)
        await quarantine(store, claim)
        with pytest.raises(RunQuarantined, match="the-run"):
            await handler


async def test_it_tries_a_run_that_was_blocked_elsewhere_and_tells_why_it_can_not_either(
    place: Place,
) -> None:
    async with (
        place.client() as client,
        place.store() as store,
        serving(place.checkpointer(), Asks()) as worker,
    ):
        await client.start(Asks, run_id="the-run")
        await until_true(lambda: worker.health().resting == 1)
        handler = await followed(place, Asks(), "the-run")
        await store.deliver(Message("the-run", "nonsense", "key"))
        with pytest.raises(RunBlocked, match=r"the-run.*nonsense"):
            await handler
        await until_true(lambda: place.run("the-run").fields["status"] == "blocked")
        assert place.happened("the-run").count("(claimed)") <= 3


class Renamed(Workflow):
    """Other code for two steps, without the second one."""

    @step
    async def first(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="wrong")


async def test_it_tells_that_its_code_can_not_go_on_with_the_run(place: Place) -> None:
    name, probe = "two", Probe(holds=["second"])
    checkpointer = place.checkpointer()
    async with place.client() as client, serving(checkpointer, TwoSteps(probe, workflow_name=name)):
        await client.start(TwoSteps(workflow_name=name), {"value": 7}, run_id="the-run")
        await probe.reached.wait()
        handler = await followed(place, Renamed(workflow_name=name), "the-run", value=7)
        await checkpointer.cut()
        await place.find_the_dead()
        with pytest.raises(RunBlocked, match=r"the-run.*second"):
            await handler
    before = place.run("the-run").fields
    assert (place.run("the-run").owner, before["status"]) == ("", "running")


# --- whom a start means ---


async def test_a_start_by_name_takes_a_run_that_is_parked(place: Place, client: Client) -> None:
    async with serving(place.checkpointer(), Asks(), idle_timeout=0):
        run = await client.start(Asks, run_id="the-run")
        await until_true(lambda: place.run("the-run").parked and "ask" in place.happened("the-run"))
    handler = place.checkpointer().attach(Asks()).run(run_id=run.run_id)
    await until_true(lambda: place.run("the-run").owner)
    for value in (1, 2):
        await run.send_event(Answer(value=value))
    assert await handler == [1, 2]


async def test_a_start_by_name_begins_a_run_that_is_pending(place: Place, client: Client) -> None:
    await client.start(TwoSteps(), {"value": 7}, run_id="the-run", delay=3600)
    assert await place.checkpointer().attach(TwoSteps()).run(run_id="the-run", value=7) == [7, 2]


@pytest.mark.parametrize("state", ["parked", "pending"])
async def test_equal_input_alone_leaves_a_run_that_waits_in_peace_alone(
    place: Place, client: Client, state: str
) -> None:
    if state == "pending":
        run = await client.start(TwoSteps(), {"value": 7})
    else:
        probe = Probe(holds=["first"])
        async with serving(place.checkpointer(), TwoSteps(probe)) as worker:
            run = await client.start(TwoSteps(), {"value": 7})
            await probe.reached.wait()
            worker.stop()
            for _ in range(100):  # turns of the event loop, in which the worker comes to the drain
                await asyncio.sleep(0)
            probe.go.set()
    assert place.run(run.run_id).parked
    before = place.happened(run.run_id)
    handler = place.checkpointer().attach(TwoSteps()).run(value=7)
    assert await handler == [7, 2]
    assert handler.run_id != run.run_id
    assert place.happened(run.run_id) == before


async def test_equal_input_continues_a_run_whose_owner_died(place: Place, client: Client) -> None:
    probe, again = Probe(holds=["second"]), Probe()
    checkpointer = place.checkpointer()
    async with serving(checkpointer, TwoSteps(probe)):
        run = await client.start(TwoSteps(), {"value": 7})
        await probe.reached.wait()
        await checkpointer.cut()
    await place.find_the_dead()
    handler = place.checkpointer().attach(TwoSteps(again)).run(value=7)
    assert await handler == [7, 2]
    assert (handler.run_id, again.executed) == (run.run_id, ["second"])


@pytest.fixture
async def client(place: Place) -> Any:
    async with place.client() as client:
        yield client
