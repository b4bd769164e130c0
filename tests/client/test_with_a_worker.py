"""A client and a worker: what one starts, the other executes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client, Run
from stepwell.durable.checkpointer import Checkpointer
from stepwell.errors import RunOver, WaitClosed, WorkflowCancelledByUser
from stepwell.events import StartEvent, StopEvent
from stepwell.storage.protocol import RunStore
from stepwell.worker import Worker
from support.clients import Answer, Asking, Greet, Greeting, claimed


class Fails(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        raise LookupError(f"no {ev.what}")


class AnswersAndStays(Workflow):
    """Takes one answer, and then waits for something else in the same step."""

    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        first = await ctx.wait_for_event(Answer, requirements={"value": 1})
        await ctx.store.set("first", first.value)
        await ctx.wait_for_event(Answer, requirements={"value": 9})
        return StopEvent()


@pytest.fixture
async def _worker(checkpointer: Checkpointer) -> AsyncGenerator[None]:
    """A worker for all of them."""
    async with serving(checkpointer, Greet(), Fails(), Asking(), AnswersAndStays()):
        yield


@asynccontextmanager
async def serving(
    checkpointer: Checkpointer, *workflows: Workflow, queues: Sequence[str] = ("default",)
) -> AsyncGenerator[None]:
    worker = Worker(checkpointer, workflows, queues=queues)
    serving = asyncio.create_task(worker.run(handle_signals=False))
    yield
    worker.stop()
    await serving


async def waits_of(store: RunStore, run: Run, number: int) -> None:
    """Return when the run has begun so many waits."""
    while number > sum(name.startswith("wait:") for name in await store.read(run.run_id) or {}):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.005)


pytestmark = pytest.mark.usefixtures("_worker")


@pytest.mark.parametrize("given", [{"name": "Ada", "times": 2}, {"name": "Ada", "times": "2"}])
async def test_fields_given_with_a_name_alone_become_the_start_event(
    client: Client, given: dict[str, Any]
) -> None:
    run = await client.start(Greet().workflow_name, given)
    greeting = await client.get(run.run_id, workflow=Greet).result()
    assert greeting == Greeting(text="Hello, Ada!" * 2)


async def test_the_same_start_again_gives_the_result_that_is_there(client: Client) -> None:
    for _ in range(2):
        run = await client.start(Greet, {"name": "Ada"}, run_id="the-run")
        assert await run.result() == Greeting(text="Hello, Ada!")


async def test_fields_that_make_no_start_event_block_the_run(client: Client) -> None:
    run = await client.start(Greet().workflow_name, {"nobody": "Ada"})
    while (await run.info()).status != "blocked":  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.005)
    with pytest.raises(
        TimeoutError, match=r"is blocked .* name: Field required.*Cancel it and start"
    ):
        await run.result(timeout=0)


async def test_the_error_of_a_step_is_raised_where_the_result_is_asked_for(
    client: Client,
) -> None:
    run = await client.start(Fails, {"what": "thing"})
    with pytest.raises(LookupError, match="no thing"):
        await run.result()


@pytest.mark.parametrize("step", [None, "ask"])
async def test_answers_that_come_before_their_waits_are_kept(
    client: Client, step: str | None
) -> None:
    run = await client.start(Asking)
    await run.send_event(Answer(value=2), step=step)
    await run.send_event(Answer(value=1), step=step)
    assert await run.result() == [1, 2]
    with pytest.raises(RunOver):
        await run.send_event(Answer(value=1), step=step)


async def test_a_second_answer_to_a_wait_is_refused(client: Client, store: RunStore) -> None:
    run = await client.start(AnswersAndStays)
    await waits_of(store, run, 1)
    await run.send_event(Answer(value=1), step="ask")
    await waits_of(store, run, 2)
    with pytest.raises(WaitClosed):
        await run.send_event(Answer(value=1), step="ask")
    await run.send_event(Answer(value=9), step="ask")
    assert await run.result() is None


async def test_a_run_is_cancelled_wherever_it_is(client: Client, store: RunStore) -> None:
    run = await client.start(Asking)
    await waits_of(store, run, 1)
    await run.cancel()
    with pytest.raises(WorkflowCancelledByUser):
        await run.result()
    assert (await run.info()).status == "cancelled"


async def test_a_run_that_is_not_begun_is_cancelled_before_its_time(client: Client) -> None:
    run = await client.start(Greet, {"name": "Ada"}, delay=3600)
    await run.cancel()
    with pytest.raises(WorkflowCancelledByUser):
        await run.result()


@pytest.mark.parametrize("input_", ["an event", "fields"])
async def test_a_run_is_begun_whose_first_worker_died_before_it_could(
    client: Client, checkpointer: Checkpointer, store: RunStore, input_: str
) -> None:
    workflow = Greet if input_ == "an event" else Greet().workflow_name
    run = await client.start(workflow, {"name": "Ada"}, queue="others")
    await claimed(store, run)
    await store.disappear("worker-1")
    async with serving(checkpointer, Greet(), queues=["others"]):
        assert await client.get(run.run_id, workflow=Greet).result() == Greeting(text="Hello, Ada!")


async def test_a_delayed_run_is_begun_in_time(client: Client) -> None:
    run = await client.start(Greet, {"name": "Ada"}, delay=0.05)
    assert await run.result() == Greeting(text="Hello, Ada!")
