"""Workflows: making one, starting its runs, and the order in which mistakes are told."""

import asyncio
import gc
import logging
import weakref
from abc import ABC, ABCMeta
from contextlib import suppress
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from stepwell import Context, Workflow, step
from stepwell.errors import (
    ContextStateError,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from stepwell.workflow import WorkflowMeta


class Named(StartEvent):
    name: str


class Item(Event):
    n: int = 0


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Needy(BaseModel):
    required: int


class Greets(Workflow):
    @step
    async def greet(self, ctx: Context, ev: Named) -> StopEvent:
        times = await ctx.store.increment("times")
        return StopEvent(result=f"{ev.name} {times}")


class Dangles(Workflow):
    @step
    async def begin(self, ev: Named) -> StopEvent | Item:
        return StopEvent()


class NeedyState(Workflow):
    @step
    async def begin(self, ctx: Context[Needy], ev: StartEvent) -> StopEvent:
        return StopEvent()


# --- making one ---


def test_a_class_without_steps_can_be_but_not_be_used() -> None:
    class Empty(Workflow):
        pass

    with pytest.raises(WorkflowConfigurationError, match=r"Empty.*StartEvent"):
        Empty()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"skip_graph_checks": ["reach"]}, WorkflowValidationError, "reach"),
        ({"durability": "sync"}, WorkflowValidationError, "checkpointer"),
        ({"checkpointer": "mongodb://x"}, WorkflowValidationError, "mongodb"),
        ({"checkpointer": 7}, WorkflowValidationError, "int"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Greets(**options)


def test_a_workflow_tells_its_name_and_its_events() -> None:
    workflow = Greets()
    assert workflow.workflow_name.endswith("test_workflow.Greets")
    assert Greets(workflow_name="mine").workflow_name == "mine"
    assert workflow.start_event_class is Named
    assert workflow.stop_event_class is StopEvent
    assert set(workflow.events) == {Named, StopEvent}


def test_validation_tells_whether_a_human_takes_part() -> None:
    class Human(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def end(self, ev: Answer) -> StopEvent:
            return StopEvent()

    assert Human().validate() is True
    assert Greets().validate() is False


def test_the_metaclass_goes_together_with_others() -> None:
    class Meta(WorkflowMeta, ABCMeta):
        pass

    class Abstract(Greets, ABC, metaclass=Meta):
        pass

    assert Abstract().start_event_class is Named


async def test_a_workflow_that_is_a_pydantic_model_runs() -> None:
    class ModelMeta(WorkflowMeta, type(BaseModel)):
        pass

    class Agent(Workflow, BaseModel, metaclass=ModelMeta):  # pyright: ignore[reportIncompatibleMethodOverride]  as in LlamaIndex
        size: int = 1

        def __init__(self, **data: Any) -> None:
            BaseModel.__init__(self, **data)
            Workflow.__init__(self)

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.size)

    agent = Agent(size=3)
    assert await agent.run() == 3
    assert await agent.run() == 3


# --- starting a run ---


def test_mistakes_are_told_before_a_loop_is_asked_for() -> None:
    with pytest.raises(WorkflowValidationError, match="Item"):
        Dangles().run(name="x")
    with pytest.raises(WorkflowRuntimeError, match=r"Named.*\['other'\]"):
        Greets().run(other=1)
    with pytest.raises(ValueError, match="StartEvent, not str"):
        Greets().run(start_event="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the point
    with pytest.raises(ValidationError, match="required"):
        NeedyState().run()


def test_a_run_needs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Greets().run(name="x")


def test_a_run_that_could_not_start_leaves_its_context_usable() -> None:
    workflow = Greets()
    ctx = Context(workflow)
    with pytest.raises(RuntimeError, match="no running event loop"):
        workflow.run(ctx=ctx, name="x")

    async def main() -> Any:
        return await workflow.run(ctx=ctx, name="y")

    assert asyncio.run(main()) == "y 1"


async def test_a_start_event_can_be_given_whole(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stepwell"):
        assert await Greets().run(start_event=Named(name="a"), name="b") == "a 1"
    assert "ignores the keywords name" in caplog.text


async def test_keywords_that_are_not_declared_are_fields_all_the_same() -> None:
    class Takes(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.anything)

    assert await Takes().run(anything=5) == 5


async def test_validation_can_be_left_out() -> None:
    assert await Dangles(disable_validation=True).run(name="x") is None
    with pytest.raises(WorkflowValidationError):
        Dangles(disable_validation=True).validate()


async def test_a_graph_check_can_be_skipped_for_a_workflow() -> None:
    class Island(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="ok")

        @step
        async def never(self, ev: Item) -> Item:
            return ev

    with pytest.raises(WorkflowValidationError, match=r"\[reachability\]"):
        Island().run()
    assert await Island(skip_graph_checks=["reachability", "dead_end"]).run() == "ok"


async def test_runs_have_names() -> None:
    workflow = Greets()
    named, one = workflow.run(name="x", run_id="r1"), workflow.run(name="x")
    assert named.run_id == "r1"
    assert len(one.run_id) == 10
    await asyncio.gather(named, one)
    again = workflow.run(name="x", run_id="r1")
    assert await again == "x 1"


# --- contexts over several runs ---


async def test_the_state_is_kept_from_run_to_run() -> None:
    workflow = Greets()
    ctx = Context(workflow)
    for number in range(1, 4):
        handler = workflow.run(ctx=ctx, name="x")
        assert handler.ctx is ctx
        assert await handler == f"x {number}"
    assert await workflow.run(ctx=Context.from_dict(workflow, ctx.to_dict()), name="x") == "x 4"


async def test_runs_without_a_context_share_nothing() -> None:
    workflow = Greets()
    assert await asyncio.gather(*(workflow.run(name=n) for n in "ab")) == ["a 1", "b 1"]


class Waits(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        if ev.get("leave"):
            ctx.send_event(Item(n=7))
            self.begun.set()
            await self.go_on.wait()
        ctx.send_event(Item(n=1))

    @step
    async def end(self, ctx: Context, ev: Item) -> StopEvent | None:
        found = ctx.collect_events(ev, [Item, Item])
        if found:
            return StopEvent(result=[one.n for one in found])
        return None if ev.n == 7 else StopEvent(result=ev.n)


async def test_a_context_takes_one_run_at_a_time() -> None:
    workflow = Waits()
    handler = workflow.run(leave=True)
    await workflow.begun.wait()
    with pytest.raises(ContextStateError, match="await its handler first"):
        workflow.run(ctx=handler.ctx)
    workflow.go_on.set()
    assert await handler == [7, 1]


async def test_what_a_run_had_collected_is_not_there_in_the_next() -> None:
    workflow = Waits()
    handler = workflow.run(leave=True)
    await workflow.begun.wait()
    await handler.cancel_run()
    assert await workflow.run(ctx=handler.ctx) == 1


async def test_a_run_that_was_interrupted_goes_on_with_its_context() -> None:
    class Interrupted(Workflow):
        attempts = 0

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            self.attempts += 1
            task = asyncio.current_task()
            assert task is not None
            if self.attempts == 1:
                task.cancel()
                await asyncio.Event().wait()
            return StopEvent(result=self.attempts)

    workflow = Interrupted()
    handler = workflow.run()
    with pytest.raises(WorkflowRuntimeError, match=r"interrupted.*'begin'.*Start the run again"):
        await handler
    assert handler.ctx.is_running
    assert await workflow.run(ctx=handler.ctx) == 2


# --- memory ---


class Leaves(Workflow):
    """Leaves a callback behind, whose context variables are those of the step."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        asyncio.get_running_loop().call_later(1_000, print)
        await ctx.store.set("a", 1)
        ctx.write_event_to_stream(Item())
        return StopEvent()


async def test_a_workflow_is_collected_after_its_run() -> None:
    workflow = Leaves()
    handler = workflow.run()
    await handler
    gone = weakref.ref(workflow)
    del workflow, handler
    gc.collect()
    assert gone() is None


async def test_a_workflow_is_collected_after_a_run_that_failed_or_was_cancelled() -> None:
    class Fails(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await ev.until.wait()
            raise KeyError

    for cancels in (True, False):
        workflow, until = Fails(), asyncio.Event()
        handler = workflow.run(until=until)
        if cancels:
            await handler.cancel_run()
        until.set()
        with suppress(KeyError, WorkflowCancelledByUser):
            await handler
        gone = weakref.ref(workflow)
        del workflow, handler
        gc.collect()
        assert gone() is None
