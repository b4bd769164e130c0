"""How a worker says that it is, and what it refuses to be made of."""

import asyncio
import logging
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell.client import Client
from stepwell.errors import (
    StepwellError,
    StoreUnavailable,
    WorkflowConfigurationError,
    WorkflowValidationError,
)
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from stepwell.worker import Health, Worker
from support.places import Asks, Place, serving, until_true
from support.runs import Probe, TwoSteps


async def test_a_worker_is_ready_from_its_first_sweep_until_it_drains(
    place: Place, client: Client
) -> None:
    probe = Probe(holds=["first"])
    two = TwoSteps(probe)
    worker = Worker(place.checkpointer(), [two, Asks()])
    assert worker.health() == Health("it does not serve")
    serving = asyncio.create_task(worker.run(handle_signals=False))
    await until_true(lambda: worker.health().reason != "it does not serve")
    assert not worker.health().ready
    assert "could not look for runs of dead processes" in worker.health().reason
    await until_true(lambda: worker.health().ready)
    await client.start(two, {"value": 1})
    await client.start(Asks)
    await probe.reached.wait()
    await until_true(lambda: worker.health().resting == 1)
    health = worker.health()
    assert (health.reason, health.executing, health.draining) == ("", 2, False)
    assert health.last_sweep_seconds is not None
    assert health.last_renewal_seconds is not None
    worker.stop()
    health = worker.health()
    assert (health.ready, health.reason, health.draining) == (False, "it drains", True)
    probe.go.set()
    await serving
    assert worker.health() == Health("it does not serve", draining=True)


async def test_a_worker_without_its_store_is_not_ready_and_is_again_when_it_is_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.worker.worker.STALE_AFTER", 0.6)
    checkpointer = place.checkpointer()
    async with serving(checkpointer, Asks()) as worker:
        await until_true(lambda: worker.health().ready)
        with monkeypatch.context() as broken:

            async def fail(partition: int) -> int:
                raise StoreUnavailable("no answer")

            broken.setattr(checkpointer.stores[0], "sweep", fail)
            await until_true(lambda: not worker.health().ready)
            assert "could not look" in worker.health().reason
        await until_true(lambda: worker.health().ready)


async def test_a_worker_whose_lease_can_not_be_renewed_is_not_ready(place: Place) -> None:
    checkpointer = place.checkpointer(lease=1)
    async with serving(checkpointer, Asks()) as worker:
        await until_true(lambda: worker.health().ready)
        await checkpointer.stores[1].close()
        await until_true(lambda: not worker.health().ready)
        assert "lease" in worker.health().reason


async def test_a_worker_that_was_stopped_before_it_served_serves_nothing(
    place: Place, client: Client
) -> None:
    worker = Worker(place.checkpointer(), [Asks()])
    worker.stop()
    run = await client.start(Asks)
    await worker.run(handle_signals=False)
    assert (await run.info()).status == "pending"


async def test_a_worker_that_can_not_reach_its_store_says_so_at_the_start() -> None:
    worker = Worker(RedisCheckpointer("redis://127.0.0.1:1"), [Asks()])
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        await worker.run(handle_signals=False)
    assert worker.health() == Health("it does not serve")


async def test_a_store_that_fails_for_a_while_stops_no_worker(
    place: Place,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("stepwell.worker.claiming.LOOK_EVERY", 0.05)
    checkpointer, probe = place.checkpointer(), Probe()
    two = TwoSteps(probe)
    with caplog.at_level(logging.WARNING, "stepwell"):
        async with serving(checkpointer, two) as worker:
            await until_true(lambda: worker.health().ready)
            with monkeypatch.context() as broken:

                async def fail(*_: Any) -> Any:
                    raise StoreUnavailable("no answer")

                broken.setattr(checkpointer.stores[0], "due", fail)
                run = await client.start(two, {"value": 1})
                await until_true(lambda: "this process waits for its store" in caplog.text)
            assert await run.result() == [1, 2]


# --- what it is made of ---


class NoValidGraph(Workflow):
    """Nobody takes what its step returns."""

    class Lost(Event):
        """Is taken by nobody."""

    @step
    async def only(self, ev: StartEvent) -> Lost | StopEvent:
        return StopEvent()


class Sized(Asks):
    """Needs an argument."""

    def __init__(self, size: int) -> None:
        super().__init__(workflow_name=f"sized-{size}")


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"workflows": []}, WorkflowConfigurationError, "nothing to do"),
    ({"workflows": [Sized]}, WorkflowConfigurationError, "Sized can't be made .*'size'.*instance"),
    ({"workflows": [int]}, WorkflowConfigurationError, "the class int"),
    ({"workflows": "flows.Asks"}, WorkflowConfigurationError, "was given str"),
    ({"workflows": [None]}, WorkflowConfigurationError, "instances"),
    ({"workflows": [Asks(), Asks()]}, WorkflowConfigurationError, "two workflows named.*Asks"),
    ({"workflows": [NoValidGraph()]}, WorkflowValidationError, "Lost"),
    ({"source": "nothing://here"}, WorkflowValidationError, "nothing"),
    ({"source": None}, WorkflowValidationError, "checkpointer"),
    ({"concurrency": 0}, ValueError, "concurrency=0"),
    ({"concurrency": 1.5}, ValueError, "concurrency=1.5"),
    ({"concurrency": True}, ValueError, "concurrency=True"),
    ({"concurrency": "3"}, ValueError, "concurrency='3'"),
    ({"claims_max": 0}, ValueError, "claims_max=0"),
    ({"grace": -1}, ValueError, "grace=-1"),
    ({"grace": float("inf")}, ValueError, "grace=inf"),
    ({"grace": float("nan")}, ValueError, "grace=nan"),
    ({"grace": "1"}, ValueError, "grace='1'"),
    ({"idle_timeout": -0.1}, ValueError, "idle_timeout=-0.1"),
    ({"idle_timeout": True}, ValueError, "idle_timeout=True"),
    ({"idle_timeout": None}, ValueError, "idle_timeout=None"),
    ({"queues": []}, ValueError, "at least one queue"),
    ({"queues": [""]}, ValueError, "queue ''"),
    ({"queues": ["a b"]}, ValueError, "queue 'a b'"),
    ({"queues": [5]}, ValueError, "queue 5"),
    ({"queues": ["x" * 65]}, ValueError, "queue 'x"),
]


@pytest.mark.parametrize(("given", "error", "said"), BAD)
def test_what_makes_no_worker_is_refused_at_once(
    place: Place, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    options: dict[str, Any] = {"source": place.checkpointer(), "workflows": [Asks()], **given}
    with pytest.raises(error, match=said) as raised:
        Worker(options.pop("source"), options.pop("workflows"), **options)
    assert isinstance(raised.value, StepwellError | ValueError)


def test_one_queue_may_be_given_by_its_name_alone(place: Place) -> None:
    Worker(place.checkpointer(), [Asks()], queues="mine")


@pytest.mark.parametrize("workflows", [Asks, Asks(), [Asks], (Asks(),)])
def test_a_worker_takes_workflows_or_their_classes_one_or_several(
    place: Place, workflows: Any
) -> None:
    told = repr(Worker(place.checkpointer(), workflows, queues=["a", "b"]))
    assert repr(Asks().workflow_name) in told
    assert "queues=['a', 'b']" in told


def test_the_options_of_a_url_go_to_its_checkpointer() -> None:
    worker = Worker("redis://127.0.0.1:1", Asks, namespace="mine", lease=7)
    assert worker.checkpointer.lease == 7
    assert "mine" in worker.checkpointer.identity


def test_an_option_that_there_is_not_is_told_of_the_worker() -> None:
    with pytest.raises(TypeError, match=r"^Worker\(\.\.\.\): got an unexpected .* 'bogus'"):
        Worker("redis://127.0.0.1:1", Asks, bogus=1)
