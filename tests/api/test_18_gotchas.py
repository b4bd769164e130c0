"""Section 18 of the reference: what trips up who implements the interface."""

import asyncio
import subprocess
import sys
from typing import Any, get_origin

import pytest
from pydantic import BaseModel

from stepwell import Context, Workflow, step
from stepwell.context import JsonSerializer
from stepwell.events import HumanResponseEvent, StartEvent, StopEvent
from support.programs import BOTH, outcome

pytest.importorskip("workflows")


class State(BaseModel):
    n: int = 0


class Answer(HumanResponseEvent):
    n: int


def test_the_context_class_has_its_name_and_takes_a_state_class() -> None:
    assert Context.__name__ == "Context"
    assert get_origin(Context[State]) is Context


def test_an_alias_of_the_package_has_the_very_same_classes() -> None:
    program = """
import stepwell, stepwell.events, stepwell.errors, stepwell.context
stepwell.install_as_workflows()
import workflows, workflows.events, workflows.errors, workflows.context
assert workflows.events.Event is stepwell.events.Event
assert workflows.errors.WorkflowTimeoutError is stepwell.errors.WorkflowTimeoutError
assert workflows.context.Context is workflows.Context is stepwell.Context
assert workflows.Workflow is stepwell.Workflow
"""
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  the program above


def test_a_value_that_names_a_class_of_the_other_package_is_read_as_ours() -> None:
    text = '{"__is_pydantic":true,"value":{},"qualified_name":"workflows.events.StartEvent"}'
    assert type(JsonSerializer().deserialize(text)) is StartEvent


CASES = {
    "a class that only looks like the one that a step takes": (
        """
def made():
    class Same(Event):
        pass
    return Same

Same, Other = made(), made()

class StopNow(HumanResponseEvent):
    pass

class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Same | None:
        ctx.send_event(Other())
        await asyncio.sleep(1)
        ctx.send_event(StopNow())
    @step
    async def take(self, ev: Same) -> StopEvent:
        return StopEvent(result="taken")
    @step
    async def end(self, ev: StopNow) -> StopEvent:
        return StopEvent(result="passed by")

async def main():
    return await W().run()
""",
        "passed by",
    ),
    "an event right after run()": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> None:
        pass
    @step
    async def end(self, ev: Answer) -> StopEvent:
        return StopEvent(result=ev.n)

async def main():
    handler = W().run()
    handler.ctx.send_event(Answer(n=3))
    return await handler
""",
        3,
    ),
    "a cancellation right after run()": (
        """
class W(Workflow):
    ran = False
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.ran = True
        await asyncio.sleep(1)
        return StopEvent()

async def main():
    handler = W().run()
    await handler.cancel_run()
    return await attempt(lambda: handler), await rest(handler)
""",
        ("WorkflowCancelledByUser", ["WorkflowCancelledEvent"]),
    ),
    "an answer for a restored wait, before the loop turns": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Answer, Ask(n=1), requirements={"n": 1})
        second = await ctx.wait_for_event(Answer, Ask(n=2), requirements={"n": 2})
        return StopEvent(result=[first.n, second.n])

async def main():
    workflow = W()
    handler = workflow.run()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            break
    await asyncio.sleep(1)
    ctx = Context.from_dict(workflow, handler.ctx.to_dict())
    await handler.cancel_run()
    resumed = workflow.run(ctx=ctx)
    resumed.ctx.send_event(Answer(n=1))
    async for event in resumed.stream_events():
        if isinstance(event, Ask) and event.n == 2:
            resumed.ctx.send_event(Answer(n=2))
    return await resumed
""",
        [1, 2],
    ),
    "a handler for whatever awaits it": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(1)
        return StopEvent(result=ev.n)

async def main():
    handlers = [W().run(n=n) for n in range(3)]
    async def awaits(handler):
        return await handler
    tasks = [asyncio.create_task(awaits(one)) for one in handlers]
    return [await asyncio.gather(*handlers), await asyncio.wait_for(handlers[0], 10),
            await handlers[0], [await one for one in tasks]]
""",
        [[0, 1, 2], 0, 0, [0, 1, 2]],
    ),
    "a store before, during and after the run": (
        """
class W(Workflow):
    begun, go_on = None, None
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        seen = [await ctx.store.get("before")]
        self.begun.set()
        await self.go_on.wait()
        seen.append(await ctx.store.get("during"))
        await ctx.store.set("inside", 3)
        return StopEvent(result=seen)

async def main():
    workflow = W()
    workflow.begun, workflow.go_on = asyncio.Event(), asyncio.Event()
    ctx = Context(workflow)
    await ctx.store.set("before", 1)
    handler = workflow.run(ctx=ctx)
    await workflow.begun.wait()
    await handler.ctx.store.set("during", 2)
    copy = Context.from_dict(workflow, handler.ctx.to_dict())
    await copy.store.set("before", await copy.store.get("before") + 10)
    workflow.go_on.set()
    first = await handler
    await handler.ctx.store.set("after", 4)
    return [first, await handler.ctx.store.get("inside"), await handler.ctx.store.get("after"),
            await workflow.run(ctx=copy), await ctx.store.get("before")]
""",
        [[1, 2], 3, 4, [11, 2], 1],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", BOTH)
def test_both_engines_take(engine: str, case: str) -> None:
    program, expected = CASES[case]
    assert outcome(engine, program) == expected


class WaitsThrice(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        waits = (ctx.wait_for_event(Answer, requirements={"n": n}) for n in range(3))
        return StopEvent(result=[answer.n for answer in await asyncio.gather(*waits)])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize("internal", [False, True])
async def test_a_step_may_wait_for_three_events_at_once(order: list[int], internal: bool) -> None:
    handler = WaitsThrice().run()
    stream = handler.stream_events(expose_internal=internal)
    for n in order:
        await handler.send_event(Answer(n=n))
        for _ in range(3):
            await asyncio.sleep(0)
    assert await handler == [0, 1, 2]
    assert isinstance([event async for event in stream][-1], StopEvent)


async def test_the_context_of_a_step_is_not_that_of_the_handler_and_has_the_same_state() -> None:
    class Looks(Workflow):
        @step
        async def begin(self, ctx: Context[State], ev: StartEvent) -> StopEvent:
            assert Context.get_step_context() is ctx
            await ctx.store.set("n", 5)
            return StopEvent(result=ctx)

    handler = Looks().run()
    inner: Context[Any] = await handler
    assert inner is not handler.ctx
    assert await handler.ctx.store.get("n") == 5
