"""Starting runs: what is created, what a name means, and what is refused."""

import json
from datetime import timedelta
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell.client import Client
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.messages import GIVEN
from stepwell.errors import (
    EncodingError,
    RunConflict,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
)
from stepwell.events import StartEvent, StopEvent
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import NewRun
from support.clients import Greet, Order

GREET = Greet().workflow_name


class NeedsArguments(Workflow):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


# --- what is created ---


async def test_a_started_run_waits_for_a_worker(client: Client) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    info = await run.info()
    assert (info.run_id, info.workflow, info.status) == (run.run_id, GREET, "pending")
    assert (info.owner, info.queue, info.tags) == ("", "default", {})
    assert info.parked


async def test_it_is_due_at_once(client: Client, store: RunStore) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    info = await run.info()
    due = await store.due(store.partition_of(run.run_id), [info.lane], 10)
    assert [found[:2] for found in due.runs] == [(run.run_id, info.lane)]


@pytest.mark.parametrize("delay", [60, 60.0, timedelta(minutes=1)])
async def test_a_delayed_run_is_due_later(
    client: Client, store: RunStore, delay: float | timedelta
) -> None:
    run = await client.start(Greet, {"name": "Ada"}, delay=delay)
    due = await store.due(store.partition_of(run.run_id), [(await run.info()).lane], 10)
    assert due.runs == []
    assert due.next_in is not None
    assert 0 < due.next_in <= 60_000


async def test_queue_and_tags_are_kept(client: Client) -> None:
    tags = {"customer": "Ada Lovelace", "note": ""}
    run = await client.start(Greet, {"name": "Ada"}, queue="slow", tags=tags)
    info = await run.info()
    assert (info.queue, info.tags) == ("slow", tags)


@pytest.mark.parametrize("workflow", [Greet, Greet()])
@pytest.mark.parametrize("given", [Order(name="Ada"), {"name": "Ada"}, {"name": "Ada", "times": 1}])
async def test_with_the_code_at_hand_the_start_event_is_made_at_once(
    client: Client, store: RunStore, workflow: Any, given: Any
) -> None:
    run = await client.start(workflow, given)
    fields = await store.read(run.run_id) or {}
    assert fields.keys() == {"format", "workflow", "status", "input"}
    plan = Greet().__stepwell_plan__()
    assert plan.codec.decode(fields["input"], "the input") == Order(name="Ada", times=1)


async def test_with_a_name_alone_the_fields_are_kept_as_json(
    client: Client, store: RunStore
) -> None:
    run = await client.start("greeter", {"name": "Ada", "list": [1, None, {"a": 1.5}]})
    fields = await store.read(run.run_id) or {}
    assert fields.keys() == {"format", "workflow", "status", GIVEN}
    assert fields["workflow"] == "greeter"
    assert json.loads(fields[GIVEN]) == {"name": "Ada", "list": [1, None, {"a": 1.5}]}


async def test_with_a_name_alone_a_start_event_is_kept_as_input(
    client: Client, store: RunStore
) -> None:
    run = await client.start("greeter", Order(name="Ada"))
    fields = await store.read(run.run_id) or {}
    assert Greet().__stepwell_plan__().codec.decode(fields["input"], "") == Order(name="Ada")


async def test_the_input_may_be_left_out(client: Client, store: RunStore) -> None:
    run = await client.start("greeter")
    assert (await store.read(run.run_id) or {})[GIVEN] == "{}"


# --- the same run, or another ---


async def test_without_a_name_each_start_is_another_run(client: Client) -> None:
    one = await client.start(Greet, {"name": "Ada"})
    other = await client.start(Greet, {"name": "Ada"})
    assert one.run_id != other.run_id
    assert (await one.info()).digest == (await other.info()).digest


async def test_the_name_of_a_run_tells_its_input(client: Client, store: RunStore) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    assert run.run_id.startswith(f"{(await run.info()).digest}~")
    assert list(await store.same_input((await run.info()).digest)) == [run.run_id]


async def test_a_run_started_here_has_the_digest_of_one_that_is_run_at_once(
    client: Client, checkpointer: Checkpointer
) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    handler = Greet(checkpointer=checkpointer).run(name="Ada", run_id="the-run")
    await handler
    assert (await client.get("the-run").info()).digest == (await run.info()).digest


async def test_a_named_run_is_started_once(client: Client) -> None:
    one = await client.start(Greet, {"name": "Ada", "times": 2}, run_id="the-run")
    other = await client.start(Greet, {"times": 2, "name": "Ada"}, run_id="the-run")
    assert one.run_id == other.run_id == "the-run"


async def test_a_run_that_was_created_by_a_call_whose_answer_was_lost_is_the_same(
    client: Client, store: RunStore
) -> None:
    first = await client.start("greeter", {"name": "Ada"}, run_id="first")
    fields = await store.read("first") or {}
    assert await store.enqueue(NewRun("lost", (await first.info()).digest, "", fields), 0)
    again = await client.start("greeter", {"name": "Ada"}, run_id="lost")
    assert again.run_id == "lost"


@pytest.mark.parametrize(
    ("workflow", "given", "words"),
    [
        (Greet, {"name": "Grace"}, "another input"),
        ("greeter", {"name": "Ada"}, "belongs to workflow"),
    ],
)
async def test_another_input_or_workflow_under_the_same_name_is_refused(
    client: Client, workflow: Any, given: Any, words: str
) -> None:
    run = await client.start(Greet, {"name": "Ada"}, run_id="the-run", tags={"first": "yes"})
    with pytest.raises(RunConflict, match=words) as refused:
        await client.start(workflow, given, run_id="the-run")
    assert "the-run" in str(refused.value)
    assert (await run.info()).tags == {"first": "yes"}


# --- refused before anything is sent ---


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "name: Field required"), ({"name": "Ada", "times": "x"}, "times: Input should be")],
)
async def test_fields_that_make_no_start_event_are_named(
    client: Client, given: Any, words: str
) -> None:
    with pytest.raises(WorkflowRuntimeError, match=words):
        await client.start(Greet, given)


async def test_a_start_event_that_no_step_takes_is_refused(client: Client) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"no step takes StartEvent.*give Order"):
        await client.start(Greet, StartEvent())


async def test_a_class_that_wants_arguments_is_refused(client: Client) -> None:
    with pytest.raises(WorkflowConfigurationError, match=r"NeedsArguments.*'size'.*instance"):
        await client.start(NeedsArguments)


async def test_a_value_without_a_durable_form_is_refused(client: Client) -> None:
    with pytest.raises(EncodingError, match=r"the input of greeter, at \['name'\]"):
        await client.start("greeter", {"name": object()})


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"workflow": 5}, TypeError, "the workflow is int"),
    ({"workflow": ""}, TypeError, "the workflow is str"),
    ({"workflow": "flows:Greet"}, ValueError, "write 'flows.Greet'; `stepwell worker` prints"),
    ({"workflow": dict}, TypeError, "the workflow is the class dict"),
    ({"given": [1]}, TypeError, "list"),
    ({"given": {1: 2}}, TypeError, "int"),
    ({"run_id": ""}, ValueError, "run id ''"),
    ({"run_id": "with space"}, ValueError, "with space"),
    ({"run_id": 7}, ValueError, "run id 7"),
    ({"queue": "a b"}, ValueError, "a b"),
    ({"queue": None}, ValueError, "None"),
    ({"delay": -1}, ValueError, "delay=-1"),
    ({"delay": float("inf")}, ValueError, "delay=inf"),
    ({"delay": float("nan")}, ValueError, "delay=nan"),
    ({"delay": 10**400}, ValueError, "delay=1000"),
    ({"delay": timedelta(seconds=-1)}, ValueError, "delay="),
    ({"delay": "soon"}, TypeError, "delay='soon'"),
    ({"delay": True}, TypeError, "delay=True"),
    ({"tags": ["a"]}, TypeError, "tags="),
    ({"tags": {"a": 1}}, TypeError, "'a': 1"),
    ({"tags": {"": "x"}}, ValueError, "empty"),
    ({"tags": {"a": "x" * 257}}, ValueError, "256"),
    ({"tags": {"a" * 65: ""}}, ValueError, "64"),
    ({"tags": {"a": "\n"}}, ValueError, "printed"),
    ({"tags": {str(n): "" for n in range(17)}}, ValueError, "17 are too many"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG)
async def test_what_can_not_be_used_is_named_and_nothing_is_created(
    client: Client, store: RunStore, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    options = dict(wrong)
    workflow, given = options.pop("workflow", "greeter"), options.pop("given", {})
    with pytest.raises(error) as refused:
        await client.start(workflow, given, **options)
    assert words in str(refused.value)
    assert await store.runs(1) == []
