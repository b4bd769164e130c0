"""Which run a start means: by its name, or by an input that was interrupted."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import (
    RunConflict,
    RunFailed,
    RunNotFound,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from stepwell.events import HumanResponseEvent, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from support.processes import Child
from support.runs import Probe, Runs, TwoSteps, interrupt, until

RESULT = [7, 2]


class Peculiar(Exception):  # noqa: N818  an error of a user
    """Can't be rebuilt from its message alone."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


async def left_in_second(runs: Runs, run_id: str | None = None, value: int = 7) -> str:
    """Interrupt a run in its second step; return its name."""
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer())
    return await interrupt(lambda: workflow.run(run_id=run_id, value=value), probe)


@asynccontextmanager
async def living_owner(
    runs: Runs, *, run_id: str | None = None, fails_at: tuple[str, ...] = ()
) -> AsyncGenerator[tuple[WorkflowHandler[Any], Probe]]:
    """A run that waits in its second step, with an owner that lives."""
    probe = Probe(holds=["second"], fails_at=fails_at)
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id=run_id, value=7)
    await probe.reached.wait()
    yield handler, probe
    probe.go.set()
    await asyncio.gather(handler.stop_event_result(), return_exceptions=True)


# --- by name ---


async def test_an_interrupted_run_is_continued_by_its_name(runs: Runs) -> None:
    await left_in_second(runs, "the-run")
    probe = Probe()
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert (await handler, probe.executed) == (RESULT, ["second"])
    assert handler.run_id == "the-run"


async def test_a_run_with_a_living_owner_is_followed(runs: Runs) -> None:
    async with living_owner(runs, run_id="the-run") as (first, probe):
        idle = Probe()
        second = TwoSteps(idle, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
        await followed(second)
        probe.go.set()
        assert [await first, await second] == [RESULT, RESULT]
        assert [event.result async for event in second.stream_events()] == [RESULT]
    assert (probe.executed, idle.executed) == (["first", "second"], [])


async def test_the_context_of_a_run_that_was_followed_has_its_state_and_is_free(
    runs: Runs,
) -> None:
    async with living_owner(runs, run_id="the-run") as (_, probe):
        workflow = TwoSteps(checkpointer=runs.checkpointer())
        ctx: Context[Any] = Context(workflow)
        second = workflow.run(ctx=ctx, run_id="the-run", value=7)
        await followed(second)
        probe.go.set()
        await second
    assert (await ctx.store.get("count"), ctx.is_running) == (2, False)
    assert await workflow.run(ctx=ctx, run_id="another", value=7) == [7, 4]


async def test_the_context_of_a_run_that_had_completed_has_its_state(runs: Runs) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    await workflow.run(run_id="the-run", value=7)
    again = workflow.run(run_id="the-run", value=7)
    await again
    assert await again.ctx.store.get("count") == 2


async def test_a_run_is_followed_within_one_session_too(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    async with runs.checkpointer() as checkpointer:
        workflow = TwoSteps(probe, checkpointer=checkpointer)
        handlers = [workflow.run(run_id="the-run", value=7) for _ in range(5)]
        await probe.reached.wait()
        handlers.append(workflow.run(run_id="the-run", value=7))
        probe.go.set()
        assert [await handler for handler in handlers] == [RESULT] * 6
    assert probe.executed == ["first", "second"]


async def test_a_completed_run_gives_its_result_and_executes_nothing(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    assert await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7) == RESULT
    probe = Probe()
    handler = TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
    assert (await handler, probe.executed) == (RESULT, [])
    event = handler.get_stop_event()
    assert event is not None
    assert event.result == RESULT


@pytest.mark.parametrize("state", ["completed", "interrupted", "living"])
async def test_another_input_under_a_name_is_a_conflict_whatever_the_run_does(
    runs: Runs, state: str
) -> None:
    async with living_owner(runs, run_id="living"):
        await left_in_second(runs, "interrupted")
        workflow = TwoSteps(checkpointer=runs.checkpointer())
        await workflow.run(run_id="completed", value=7)
        before = runs.dump(state)
        with pytest.raises(RunConflict, match=f"'{state}'.*another input"):
            await workflow.run(run_id=state, value=8)
        assert runs.dump(state) == before


async def test_a_run_that_was_refused_leaves_its_context_free(runs: Runs) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    await workflow.run(run_id="the-run", value=7)
    ctx: Context[Any] = Context(workflow)
    handler = workflow.run(ctx=ctx, run_id="the-run", value=8)
    early = asyncio.create_task(handler.send_event(HumanResponseEvent()))
    with pytest.raises(RunConflict):
        await handler
    with pytest.raises(RunConflict):
        await early
    with pytest.raises(WorkflowRuntimeError, match="is over"):
        await handler.send_event(HumanResponseEvent())
    assert await workflow.run(ctx=ctx, run_id="another", value=7) == RESULT


async def test_a_run_that_was_cancelled_before_its_turn_leaves_its_context_free(
    runs: Runs,
) -> None:
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer(), num_concurrent_runs=1)
    first = workflow.run(run_id="first", value=7)
    ctx: Context[Any] = Context(workflow)
    second = workflow.run(ctx=ctx, run_id="second", value=7)
    await second.cancel_run()
    with pytest.raises(WorkflowRuntimeError, match="is over"):
        await second.send_event(HumanResponseEvent())
    probe.go.set()
    assert await first == RESULT
    assert await workflow.run(ctx=ctx, run_id="second", value=7) == RESULT


async def test_another_workflow_under_a_name_is_a_conflict(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7)
    other = TwoSteps(workflow_name="other", checkpointer=checkpointer)
    with pytest.raises(RunConflict, match=r"belongs to workflow .*TwoSteps.*not 'other'"):
        await other.run(run_id="the-run", value=7)


async def test_names_of_different_namespaces_have_nothing_to_do_with_each_other(
    runs: Runs,
) -> None:
    await left_in_second(runs, "the-run")
    elsewhere = Runs(runs.url, f"{runs.namespace}-other")
    with elsewhere:
        assert await TwoSteps(checkpointer=elsewhere.checkpointer()).run(
            run_id="the-run", value=8
        ) == [8, 2]
    assert runs.fields("the-run")["status"] == "running"


# --- by input ---


async def test_an_interrupted_run_is_continued_by_its_input(runs: Runs) -> None:
    run_id = await left_in_second(runs)
    probe = Probe()
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(value=7)
    assert (await handler, probe.executed) == (RESULT, ["second"])
    assert handler.run_id == run_id
    assert runs.ids() == {run_id}


async def test_a_run_that_was_killed_is_continued_by_its_input(runs: Runs) -> None:
    async with Child(KILLED, env=runs.env) as child:
        run_id = (await child.line("reached")).split()[1]
        child.kill()
        await child.exit()
    probe = Probe()
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer())
    assert (await workflow.run(value=7), probe.executed) == (RESULT, ["second"])
    assert runs.ids() == {run_id}


KILLED = """
import asyncio
from support.runs import TwoSteps, checkpointer

class Held:
    async def __call__(self, name):
        if name == "second":
            print("reached", handler.run_id, flush=True)
            await asyncio.Event().wait()

async def main():
    global handler
    handler = TwoSteps(Held(), checkpointer=checkpointer()).run(value=7)
    await handler

asyncio.run(main())
"""


async def test_equal_input_means_nothing_while_the_owner_lives(runs: Runs) -> None:
    async with living_owner(runs) as (first, _):
        second = TwoSteps(checkpointer=runs.checkpointer()).run(value=7)
        assert await second == RESULT
        assert first.run_id != second.run_id
        assert not first.is_done()
    assert len(runs.ids()) == 2


async def test_equal_input_after_completion_is_a_new_run(runs: Runs) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    assert [await workflow.run(value=7), await workflow.run(value=7)] == [RESULT, RESULT]
    assert len(runs.ids()) == 2


async def test_an_interrupted_run_is_left_alone_by_another_input(runs: Runs) -> None:
    await left_in_second(runs)
    assert await TwoSteps(checkpointer=runs.checkpointer()).run(value=8) == [8, 2]
    assert len(runs.ids()) == 2


async def test_a_run_with_a_name_is_not_found_by_its_input(runs: Runs) -> None:
    await left_in_second(runs, "the-run")
    await TwoSteps(checkpointer=runs.checkpointer()).run(value=7)
    assert len(runs.ids()) == 2


async def test_a_start_with_a_context_is_a_new_run(runs: Runs) -> None:
    await left_in_second(runs)
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    ctx: Context[Any] = Context(workflow)
    await ctx.store.set("count", 10)
    assert await workflow.run(ctx=ctx, value=7) == [7, 12]
    assert len(runs.ids()) == 2


async def test_reuse_never_starts_a_new_run(runs: Runs) -> None:
    await left_in_second(runs)
    probe = Probe()
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer(reuse="never"))
    assert (await workflow.run(value=7), probe.executed) == (RESULT, ["first", "second"])
    assert len(runs.ids()) == 2


async def test_the_order_of_the_input_does_not_matter(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer())
    deep = {"x": 1, "y": {"b": 2, "a": [1, 2]}}
    turned = {"y": {"a": [1, 2], "b": 2}, "x": 1}
    run_id = await interrupt(lambda: workflow.run(value=7, more=deep), probe)
    again = TwoSteps(checkpointer=runs.checkpointer()).run(more=turned, value=7)
    assert await again == RESULT
    assert again.run_id == run_id


@pytest.mark.parametrize(
    ("one", "other"), [([1, 2], [2, 1]), (1, 1.0), (1, True), (1, "1"), (None, "null"), ((1,), [1])]
)
async def test_inputs_that_differ_are_told_apart(runs: Runs, one: Any, other: Any) -> None:
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer())
    run_id = await interrupt(lambda: workflow.run(value=7, more=one), probe)
    again = TwoSteps(checkpointer=runs.checkpointer()).run(value=7, more=other)
    await again
    assert again.run_id != run_id


async def test_of_two_starters_of_one_interrupted_run_one_continues_it(runs: Runs) -> None:
    run_id = await left_in_second(runs)
    probes = [Probe(), Probe()]
    handlers = [TwoSteps(probe, checkpointer=runs.checkpointer()).run(value=7) for probe in probes]
    assert [await handler for handler in handlers] == [RESULT, RESULT]
    assert sorted((probe.executed for probe in probes), key=len) == [
        ["second"],
        ["first", "second"],
    ]
    assert len(runs.ids()) == 2
    assert [line for line in runs.log(run_id) if line[3] == "StepReturned"][1:] == [
        (runs.log(run_id)[-1][0], "second", 2, "StepReturned")
    ]


async def test_of_many_starters_by_name_one_executes_and_all_have_the_result(runs: Runs) -> None:
    await left_in_second(runs, "the-run")
    probes = [Probe() for _ in range(4)]
    handlers = [
        TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
        for probe in probes
    ]
    assert [await handler for handler in handlers] == [RESULT] * 4
    assert [name for probe in probes for name in probe.executed] == ["second"]


async def test_of_many_creators_of_one_name_one_executes(runs: Runs) -> None:
    probes = [Probe() for _ in range(4)]
    handlers = [
        TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
        for probe in probes
    ]
    assert [await handler for handler in handlers] == [RESULT] * 4
    assert sorted(name for probe in probes for name in probe.executed) == ["first", "second"]


# --- runs that ended otherwise ---


async def failed(runs: Runs, run_id: str | None = None) -> str:
    probe = Probe(fails_at=["second"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id=run_id, value=7)
    with pytest.raises(ValueError, match="second failed"):
        await handler
    return handler.run_id


async def cancelled(runs: Runs, run_id: str | None = None) -> str:
    async with living_owner(runs, run_id=run_id) as (handler, _):
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
    return handler.run_id


async def timed_out(runs: Runs, run_id: str | None = None) -> str:
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, timeout=0.3, checkpointer=runs.checkpointer())
    handler = workflow.run(run_id=run_id, value=7)
    with pytest.raises(WorkflowTimeoutError, match=r"0\.3 seconds.*second"):
        await handler
    return handler.run_id


ENDINGS = {"failed": failed, "cancelled": cancelled, "timed_out": timed_out}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("run_id", ["the-run", None])
async def test_a_run_that_did_not_complete_goes_on_at_its_step_with_its_state(
    runs: Runs, ending: str, run_id: str | None
) -> None:
    name = await ENDINGS[ending](runs, run_id)
    fields = runs.fields(name)
    assert (fields["status"], json.loads(fields["state:count"])) == (ending, 1)
    assert json.loads(fields["work:2"])["step"] == "second"
    probe = Probe(holds=["second"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id=run_id, value=7)
    await probe.reached.wait()
    assert runs.fields(name)["status"] == "running"
    probe.go.set()
    assert (await handler, probe.executed) == (RESULT, ["second"])
    assert handler.run_id == name
    assert runs.log(name)[-1][1:] == ("second", 1, "StepReturned")
    fields = runs.fields(name)
    assert (fields["status"], "error" in fields) == ("completed", False)


async def test_a_failed_run_can_fail_again_and_again(runs: Runs) -> None:
    names = {await failed(runs, "the-run") for _ in range(3)}
    assert names == {"the-run"}
    steps = [line[1:] for line in runs.log("the-run") if line[1] in ("first", "second")]
    assert steps == [("first", 1, "StepReturned"), *[("second", 1, "StepFailed")] * 3]


async def test_a_run_that_is_stopped_while_it_starts_is_continued(runs: Runs) -> None:
    probe = Probe(holds=["first"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run", value=7) == RESULT


# --- the errors of others ---


class Failing(Workflow):
    """Raises what it is given when it is told to."""

    def __init__(self, error: Exception, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._error = error
        self._probe = probe

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        await self._probe("only")
        raise self._error


class TimeoutError(Exception):  # noqa: A001  users do that
    """Has the name of a builtin, and is none."""


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (ValueError("gone wrong"), ValueError, "^gone wrong$"),
        (WorkflowTimeoutError("too slow"), WorkflowTimeoutError, "^too slow$"),
        (Peculiar(7, "gone wrong"), RunFailed, r"'the-run'.*'only'.*Peculiar: gone wrong \(7\)"),
        (TimeoutError("mine"), TimeoutError, "^mine$"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "why"), RunFailed, "UnicodeDecodeError.*why"),
    ],
)
async def test_a_follower_raises_the_stored_error(
    runs: Runs, error: Exception, expected: type[Exception], message: str
) -> None:
    probe, idle = Probe(holds=["only"]), Probe()
    first = Failing(error, probe, checkpointer=runs.checkpointer()).run(run_id="the-run")
    await probe.reached.wait()
    second = Failing(error, idle, checkpointer=runs.checkpointer()).run(run_id="the-run")
    await followed(second)
    probe.go.set()
    with pytest.raises(type(error)):
        await first
    with pytest.raises(expected, match=message) as raised:
        await second
    assert type(raised.value) is expected
    assert idle.executed == []


async def followed(handler: WorkflowHandler[Any]) -> None:
    """Wait until a handler knows that its run lives elsewhere."""
    from stepwell._runtime.port import ElsewherePort  # noqa: PLC0415  no public way to see it

    await until(lambda: isinstance(handler.ctx.internals.port, ElsewherePort))


# --- contexts of stored runs ---


async def test_the_context_of_a_finished_run_can_be_loaded(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    workflow = TwoSteps(checkpointer=checkpointer)
    await workflow.run(run_id="the-run", value=7)
    ctx = await checkpointer.load(workflow, "the-run")
    assert (await ctx.store.get("count"), ctx.is_running) == (2, False)
    assert await workflow.run(ctx=ctx, value=8) == [8, 4]
    assert len(runs.ids()) == 2
    assert runs.fields("the-run")["state:count"] == "2"


async def test_the_context_of_a_failed_run_can_be_loaded(runs: Runs) -> None:
    await failed(runs, "the-run")
    checkpointer = runs.checkpointer()
    workflow = TwoSteps(checkpointer=checkpointer)
    before = runs.dump("the-run")
    ctx = await checkpointer.load(workflow, "the-run")
    assert (await ctx.store.get("count"), ctx.is_running) == (1, False)
    assert await workflow.run(ctx=ctx, value=8) == [8, 3]
    assert runs.dump("the-run") == before


async def test_the_context_of_a_running_run_can_be_loaded_and_forked(runs: Runs) -> None:
    async with living_owner(runs, run_id="the-run") as (handler, _):
        checkpointer, probe = runs.checkpointer(), Probe()
        workflow = TwoSteps(probe, checkpointer=checkpointer)
        ctx = await checkpointer.load(workflow, "the-run")
        assert (await ctx.store.get("count"), ctx.is_running) == (1, True)
        fork = workflow.run(ctx=ctx)
        assert (await fork, probe.executed) == (RESULT, ["second"])
        assert fork.run_id != handler.run_id
        assert not handler.is_done()
    assert await handler == RESULT
    assert len(runs.ids()) == 2


async def test_a_fork_of_a_running_run_is_itself_durable(runs: Runs) -> None:
    await left_in_second(runs, "the-run")
    checkpointer = runs.checkpointer()
    workflow = TwoSteps(checkpointer=checkpointer)
    probe = Probe(holds=["second"])
    held = TwoSteps(probe, checkpointer=runs.checkpointer())
    ctx = await checkpointer.load(workflow, "the-run")
    assert await interrupt(lambda: held.run(ctx=ctx, run_id="fork"), probe) == "fork"
    assert await workflow.run(run_id="fork", value=7) == RESULT


async def test_a_run_that_is_not_there_cannot_be_loaded(runs: Runs) -> None:
    with pytest.raises(RunNotFound, match=f"'nowhere'.*{runs.namespace}"):
        await runs.checkpointer().load(TwoSteps(), "nowhere")


async def test_a_run_that_vanishes_while_it_is_followed_is_reported(runs: Runs) -> None:
    async with living_owner(runs, run_id="the-run") as (first, probe):
        second = TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
        await followed(second)
        runs.redis.delete(runs.keys.run("the-run"), runs.keys.log("the-run"))
        probe.go.set()
        with pytest.raises(RunNotFound, match=r"the-run is not in the store: .* start it"):
            await first
        with pytest.raises(RunNotFound, match="'the-run' is not there"):
            await second
    assert runs.ids() == set()
