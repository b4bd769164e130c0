"""What is asked of a run of which it turns out that it is over."""

import asyncio
from typing import Any

import pytest

from stepwell import Workflow, step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StartEvent, StopEvent
from support.places import Place


class Note(Event):
    """For the step that takes notes."""


class Notes(Workflow):
    """Takes notes."""

    taken = 0

    @step
    async def begin(self, ev: StartEvent) -> Note | StopEvent:
        return StopEvent(result="done")

    @step
    async def take(self, ev: Note) -> None:
        self.taken += 1


@pytest.mark.filterwarnings("ignore:WorkflowHandler.cancel:DeprecationWarning")
@pytest.mark.parametrize("cancels", [False, True])
async def test_what_comes_while_its_outcome_is_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    place, reading, go = Place(), asyncio.Event(), asyncio.Event()
    checkpointer, workflow = place.checkpointer(), Notes()
    checkpointer.attach(workflow)
    assert await workflow.run(run_id="the-run") == "done"
    async with checkpointer.session() as session:
        read = session.store.read

        async def slow(run_id: str) -> Any:
            reading.set()
            await go.wait()
            return await read(run_id)

        monkeypatch.setattr(session.store, "read", slow)
        handler = workflow.run(run_id="the-run")
        await reading.wait()
        sending = asyncio.create_task(handler.send_event(Note()))
        await asyncio.sleep(0)
        if cancels:
            handler.cancel()
        go.set()
        assert await handler == "done"
        with pytest.raises(WorkflowRuntimeError, match=r"the-run.* over"):
            await sending
    assert [type(event) async for event in handler.stream_events()] == [StopEvent]
    assert workflow.taken == 0
