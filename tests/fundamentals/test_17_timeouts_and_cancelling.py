"""A run ends early when its time is up, or when somebody cancels it.

`timeout` is how many seconds a run may work; it has no limit unless one is given, and the time in
which it waits for an answer from outside does not count. Such a wait has a time-out of its own. In
each case the running steps are cancelled, as in all of asyncio: `finally` blocks run.
"""

import asyncio

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowCancelledByUser, WorkflowTimeoutError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent


class Started(Event):
    pass


class Endless(Workflow):
    cleaned_up = False

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        ctx.write_event_to_stream(Started())
        try:
            await asyncio.Event().wait()
        finally:
            self.cleaned_up = True
        return StopEvent()


async def test_a_run_that_works_for_too_long_is_ended() -> None:
    workflow = Endless(timeout=0.01)
    with pytest.raises(WorkflowTimeoutError, match="work"):
        await workflow.run()
    assert workflow.cleaned_up


async def test_a_run_can_be_cancelled() -> None:
    workflow = Endless()
    handler = workflow.run()
    async for event in handler.stream_events():
        if isinstance(event, Started):
            await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert workflow.cleaned_up


class Patient(Workflow):
    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        try:
            answer = await ctx.wait_for_event(HumanResponseEvent, timeout=0.01)
        except TimeoutError:
            return StopEvent(result="nobody answered")
        return StopEvent(result=answer.text)


async def test_a_wait_has_a_time_out_of_its_own() -> None:
    assert await Patient().run() == "nobody answered"
