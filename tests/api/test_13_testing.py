"""Section 13: the test runner sees on Stepwell what it sees on LlamaIndex Workflows."""

import asyncio
import itertools
import sys
from types import ModuleType
from typing import Any

import pytest

from stepwell.context import Context
from stepwell.decorators import step
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StartEvent, StepStateChanged, StopEvent
from stepwell.testing import WorkflowTestRunner
from stepwell.testing.runner import WorkflowTestResult
from stepwell.workflow import Workflow

pytest.importorskip("workflows")

HEAD = """
from dataclasses import fields
from {engine} import Context, Workflow, step
from {engine}.events import (
    Event, InternalDispatchEvent, StartEvent, StepStateChanged, StopEvent, WorkflowFailedEvent,
)
from {engine}.testing import WorkflowTestRunner
from {engine}.testing.runner import WorkflowTestResult

class Note(Event):
    n: int = 0

class Finer(Note):
    pass

class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Note:
        for n in range(2):
            ctx.write_event_to_stream(Note(n=n))
        ctx.write_event_to_stream(Finer())
        return Note(n=ev.get("n", 7))
    @step
    async def end(self, ctx: Context, ev: Note) -> StopEvent:
        await ctx.store.set("seen", await ctx.store.get("seen", 0) + 1)
        return StopEvent(result=ev.n)

class Fails(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        raise LookupError("nothing there")

def seen(result):
    "What can be compared of a result."
    assert isinstance(result, WorkflowTestResult)
    events = [(type(ev).__name__, getattr(ev, "n", None)) for ev in result.collected]
    counts = {kind.__name__: number for kind, number in result.event_types.items()}
    return events, counts, result.result
"""

PROGRAMS = {
    "a run": """
async def main():
    result = await WorkflowTestRunner(W()).run()
    assert isinstance(result.ctx, Context)
    changes = [ev for ev in result.collected if isinstance(ev, StepStateChanged)]
    return seen(result), [(ev.name, ev.step_state.value) for ev in changes]
""",
    "its start event": """
async def main():
    runner = WorkflowTestRunner(W())
    first = await runner.run(StartEvent(n=3))
    return seen(first), seen(await runner.run(start_event=StartEvent(n=4)))
""",
    "what others need not see": """
async def main():
    runner = WorkflowTestRunner(W())
    return [
        seen(await runner.run(expose_internal=False)),
        seen(await runner.run(exclude_events=[StepStateChanged])),
        seen(await runner.run(exclude_events=[])),
        seen(await runner.run(exclude_events=[Note, StopEvent], expose_internal=False)),
        seen(await runner.run(exclude_events=[Event, InternalDispatchEvent])),
    ]
""",
    "a context to go on with": """
async def main():
    workflow = W()
    ctx = Context(workflow)
    runs = [await WorkflowTestRunner(workflow).run(ctx=ctx) for _ in range(2)]
    return [run.ctx is ctx for run in runs], await ctx.store.get("seen")
""",
    "a run that fails": """
async def main():
    try:
        await WorkflowTestRunner(Fails()).run()
    except LookupError as error:
        return str(error)
""",
    "a start event that is none": """
async def main():
    try:
        await WorkflowTestRunner(W()).run(start_event=5)
    except ValueError:
        return "refused"
""",
    "the fields of a result": """
async def main():
    return [field.name for field in fields(WorkflowTestResult)]
""",
}

numbers = itertools.count()


def outcome(engine: str, program: str) -> Any:
    module = ModuleType(f"tested_{next(numbers)}")
    sys.modules[module.__name__] = module  # signatures look up names there
    try:
        exec(HEAD.replace("{engine}", engine) + program, vars(module))  # noqa: S102  the programs above
        return asyncio.run(module.main())
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_test_sees_the_same_on_both(name: str) -> None:
    assert outcome("stepwell", PROGRAMS[name]) == outcome("workflows", PROGRAMS[name])


# --- what is Stepwell's own ---


class Named(StartEvent):
    name: str = "nobody"


class Greets(Workflow):
    @step
    async def greet(self, ev: Named) -> StopEvent:
        return StopEvent(result=ev.name)


async def test_by_default_a_run_begins_with_the_workflow_s_own_start_event() -> None:
    result = await WorkflowTestRunner(Greets()).run()
    assert result.result == "nobody"


async def test_every_run_has_a_result_of_its_own() -> None:
    runner = WorkflowTestRunner(Greets())
    first, second = await asyncio.gather(runner.run(Named(name="a")), runner.run(Named(name="b")))
    assert (first.result, second.result) == ("a", "b")
    assert first.ctx is not second.ctx
    assert first.event_types == {StepStateChanged: 2, StopEvent: 1}


@pytest.mark.parametrize("thing", [None, 5, Greets, "Greets"])
def test_what_is_no_workflow_is_refused(thing: Any) -> None:
    with pytest.raises(WorkflowValidationError, match="give an instance"):
        WorkflowTestRunner(thing)


@pytest.mark.parametrize("excluded", [5, StopEvent, [StopEvent()], ["StopEvent"], [int]])
async def test_what_is_no_list_of_event_classes_is_refused_before_the_run(excluded: Any) -> None:
    workflow = Greets()
    ctx: Context[Any] = Context(workflow)
    with pytest.raises(WorkflowValidationError, match="exclude_events is"):
        await WorkflowTestRunner(workflow).run(ctx=ctx, exclude_events=excluded)
    assert (await WorkflowTestRunner(workflow).run(ctx=ctx)).result == "nobody"


def test_a_result_is_made_of_what_it_shows() -> None:
    ctx: Context[Any] = Context(Greets())
    made: list[Event] = [StopEvent()]
    result = WorkflowTestResult(collected=made, event_types={StopEvent: 1}, result=None, ctx=ctx)
    assert (result.collected, result.ctx) == (made, ctx)
