"""Where Stepwell differs from LlamaIndex Workflows on purpose: one test a difference.

Where the other engine can be asked, the table has what both do.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from pydantic import model_serializer

from stepwell import Context, Workflow, step
from stepwell.context import JsonSerializer
from stepwell.errors import ContextSerdeError, WorkflowTimeoutError
from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from support.clock import run_with_jumping_clock
from support.programs import BOTH, outcome

pytest.importorskip("workflows")

DIFFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "to_dict() inside of a step": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await attempt(lambda: type(ctx.to_dict()).__name__))

async def main():
    return await W().run()
""",
        {"stepwell": "dict", "workflows": "ContextStateError"},
    ),
    "from_dict() of what is no context": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent()

async def main():
    return await attempt(lambda: Context.from_dict(W(), {"foo": "1"}).is_running)
""",
        {"stepwell": "ContextSerdeError", "workflows": False},
    ),
    "how often a step that waits is entered": (
        """
class W(Workflow):
    entered = 0
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.entered += 1
        answer = await ctx.wait_for_event(Answer, Ask())
        return StopEvent(result=self.entered)

async def main():
    handler = W().run()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            handler.ctx.send_event(Answer())
    return await handler
""",
        {"stepwell": 1, "workflows": 2},
    ),
    "an event that comes before it is waited for": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.send_event(A(n=5))
        await asyncio.sleep(1)
        try:
            found = await ctx.wait_for_event(A, timeout=3)
        except asyncio.TimeoutError:
            return StopEvent(result="lost")
        return StopEvent(result=found.n)

async def main():
    return await W(disable_validation=True).run()
""",
        {"stepwell": 5, "workflows": "lost"},
    ),
    "what is left of max_recoveries after a wait": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=2)
    @step
    async def turn(self, ev: A) -> B:
        raise ValueError("it fails each time")
    @catch_error(for_steps=["turn"], max_recoveries=1)
    async def recover(self, ev: StepFailedEvent) -> B:
        return B(n=ev.input_event.n)
    @step
    async def back(self, ctx: Context, ev: B) -> A | StopEvent:
        if ev.n == 0:
            return StopEvent(result="recovered twice")
        await ctx.wait_for_event(Answer, Ask(), waiter_id=str(ev.n))
        return A(n=ev.n - 1)

async def main():
    handler = W().run()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            handler.ctx.send_event(Answer())
    return await attempt(lambda: handler)
""",
        {"stepwell": "ValueError", "workflows": "recovered twice"},
    ),
    "the default timeout": (
        """
async def main():
    import inspect
    return inspect.signature(Workflow.__init__).parameters["timeout"].default
""",
        {"stepwell": None, "workflows": 45.0},
    ),
    "a class that forgets super().__init__()": (
        """
class W(Workflow):
    def __init__(self):
        self.mine = 5
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.mine)

async def main():
    return await attempt(lambda: W().run())
""",
        {"stepwell": 5, "workflows": "AttributeError"},
    ),
    "sends and stream of a sync step": (
        """
class W(Workflow):
    @step
    def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.write_event_to_stream(B(n=1))
        ctx.send_event(A(n=2))
    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result=ev.n)

async def main():
    handler = W().run()
    seen = await rest(handler)
    return seen, await attempt(lambda: handler)
""",
        {
            "stepwell": (["B1", "StopEvent"], 2),
            "workflows": (["WorkflowFailedEvent"], "RuntimeError"),
        },
    ),
    "unbound steps of a base class": (
        """
class Base(Workflow):
    pass

@step(workflow=Base)
async def begin(ev: StartEvent) -> StopEvent:
    return StopEvent(result="inherited")

class Derived(Base):
    pass

async def main():
    return await attempt(lambda: Derived().run())
""",
        {"stepwell": "inherited", "workflows": "WorkflowConfigurationError"},
    ),
    "resources of factories with one name": (
        """
from {engine}.resource import Resource

def making(value):
    def make():
        return value
    return make

class W(Workflow):
    @step
    async def begin(
        self, ev: StartEvent,
        one: Annotated[int, Resource(making(1))], two: Annotated[int, Resource(making(2))],
    ) -> StopEvent:
        return StopEvent(result=[one, two])

async def main():
    return await W().run()
""",
        {"stepwell": [1, 2], "workflows": [1, 1]},
    ),
    "two readers of one stream": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(3):
            ctx.write_event_to_stream(A(n=n))
            await asyncio.sleep(1)
        return StopEvent()

async def main():
    handler = W().run()
    first, second = await asyncio.gather(rest(handler), attempt(lambda: rest(handler)))
    return first == second == ["A0", "A1", "A2", "StopEvent"]
""",
        {"stepwell": True, "workflows": False},
    ),
    "a run id for the second time": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="ran")

async def main():
    first = W().run(run_id="again")
    await first
    return await attempt(lambda: W().run(run_id="again"))
""",
        {"stepwell": "ran", "workflows": "RuntimeError"},
    ),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("engine", BOTH)
def test_a_difference_between_the_engines_is(engine: str, difference: str) -> None:
    program, expected = DIFFERENCES[difference]
    assert outcome(engine, program.replace("{engine}", engine)) == expected[engine]


# --- differences that take more than a line to show ---


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    n: int = 0


class Asks(Workflow):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.entered = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.entered += 1
        await ctx.store.set("entered", self.entered)
        await asyncio.sleep(3)
        try:
            await ctx.wait_for_event(Answer, Ask(), timeout=100)
        except TimeoutError:
            return StopEvent(result="no answer")
        await asyncio.sleep(3)
        return StopEvent(result="answered")


async def asked(handler: Any) -> dict[str, str]:
    """The map of a run that has asked, and is cancelled then."""
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            break
    fields = handler.ctx.to_dict()
    await handler.cancel_run()
    return fields


@pytest.mark.parametrize("form", [str, str.encode])
async def test_a_context_is_a_flat_map_of_text_and_is_read_back_as_str_or_bytes(
    form: Callable[[str], Any],
) -> None:
    class Stores(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("a", {"b": [1, 2]})
            return StopEvent(result=ctx.to_dict())

    workflow = Stores()
    fields = await workflow.run()
    assert {type(one) for pair in fields.items() for one in pair} == {str}
    ctx: Context[Any] = Context.from_dict(
        workflow, {form(name): form(text) for name, text in fields.items()}
    )
    assert ctx.is_running
    assert await ctx.store.get("a.b.1") == 2


@pytest.mark.parametrize(
    "data",
    [
        {"foo": "1"},
        {"format": "99", "workflow": "w"},
        {"format": 1},
        {"format": "1", "workflow": "w", "fields": "{}x"},
        {"format": "1", "workflow": "w", "fields": '["missing"]'},
        {"format": "1", "workflow": "w", "status": "running", "work:1": "{"},
        [("format", "1")],
    ],
)
def test_a_map_that_cannot_be_read_is_refused(data: Any) -> None:
    with pytest.raises(ContextSerdeError):
        Context.from_dict(Asks(), data)


def test_the_state_alone_keeps_the_layout_that_programs_look_into() -> None:
    async def main() -> dict[str, Any]:
        ctx: Context[Any] = Context(Asks())
        await ctx.store.set("a", [1])
        return ctx.store.to_dict(JsonSerializer())

    found = asyncio.run(main())
    assert (found["store_type"], found["state_type"]) == ("in_memory", "DictState")
    assert found["state_data"] == {"_data": {"a": json.dumps([1])}}


def test_a_wait_that_outlived_its_process_runs_its_step_again() -> None:
    async def main() -> list[Any]:
        fields = await asked(Asks().run())
        workflow = Asks()
        handler = workflow.run(ctx=Context.from_dict(workflow, fields))
        await handler.send_event(Answer())
        return [await handler, workflow.entered]

    assert run_with_jumping_clock(main()) == ["answered", 1]


def test_a_wait_that_was_resumed_ends_when_it_would_have_ended() -> None:
    async def main() -> str:
        fields = await asked(Asks().run())
        workflow = Asks()
        return await workflow.run(ctx=Context.from_dict(workflow, fields))

    assert run_with_jumping_clock(main()) == "no answer"


def test_the_time_that_a_run_waits_for_an_answer_does_not_count() -> None:
    async def main() -> str:
        handler = Asks(timeout=7).run()
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                await asyncio.sleep(90)
                await handler.send_event(Answer())
        return await handler

    assert run_with_jumping_clock(main()) == "answered"


def test_the_time_that_its_steps_take_does_count() -> None:
    async def main() -> None:
        handler = Asks(timeout=5).run()
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                await handler.send_event(Answer())
        with pytest.raises(WorkflowTimeoutError):
            await handler

    run_with_jumping_clock(main())


def test_the_time_of_earlier_runs_on_the_same_context_does_not_count() -> None:
    class Slow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(10)
            return StopEvent(result=await ctx.store.increment("runs"))

    async def main() -> list[int]:
        workflow = Slow(timeout=11)
        ctx: Context[Any] = Context(workflow)
        return [await workflow.run(ctx=ctx) for _ in range(6)]

    assert run_with_jumping_clock(main()) == [1, 2, 3, 4, 5, 6]


# --- cost is linear ---


class Counted(Event):
    """Counts how often one of its kind is copied, or made text."""

    n: int
    copies: ClassVar[int] = 0
    texts: ClassVar[int] = 0

    def __deepcopy__(self, memo: object = None) -> "Counted":
        type(self).copies += 1
        return self

    @model_serializer
    def counted(self) -> dict[str, Any]:
        type(self).texts += 1
        return {"n": self.n}


class Chain(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Counted]:
        return [Counted(n=n) for n in range(200)]

    @step
    async def work(self, ev: Counted) -> Answer:
        return Answer(n=ev.n)

    @step
    async def join(self, ctx: Context, ev: list[Answer]) -> StopEvent:
        before = Counted.texts
        ctx.to_dict()
        return StopEvent(result=[Counted.copies, Counted.texts - before])


async def test_no_event_is_copied_and_no_map_has_work_that_is_done() -> None:
    assert await Chain().run() == [0, 0]
