"""A context outlives its run: the next run goes on with its state.

Pass the same context to `run(ctx=...)` again, as a chat does for each message. `ctx.to_dict()`
makes a flat map of texts of it, which fits into a file or a Redis hash, and `Context.from_dict()`
makes a context of the map. If the map was taken in the middle of a run, starting it goes on there:
steps that have ended are not run again.
"""

import json
from pathlib import Path
from typing import Any

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Chat(Workflow):
    @step
    async def answer(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.append("messages", ev.message)
        return StopEvent(result=await ctx.store.get("messages"))


async def test_a_run_goes_on_with_the_state_of_the_one_before() -> None:
    chat = Chat()
    ctx: Context[Any] = Context(chat)
    assert await chat.run(ctx=ctx, message="Hello!") == ["Hello!"]
    assert await chat.run(ctx=ctx, message="Goodbye!") == ["Hello!", "Goodbye!"]


async def test_a_context_can_be_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    handler = Chat().run(message="Hello!")
    await handler
    file.write_text(json.dumps(handler.ctx.to_dict()))

    chat = Chat()
    ctx: Context[Any] = Context.from_dict(chat, json.loads(file.read_text()))
    assert await chat.run(ctx=ctx, message="Goodbye!") == ["Hello!", "Goodbye!"]


class Fetched(Event):
    text: str


class Summarize(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0
        self.saved: dict[str, str] = {}

    @step
    async def fetch(self, ev: StartEvent) -> Fetched:
        self.fetched += 1
        return Fetched(text=f"the text of {ev.document}")

    @step
    async def summarize(self, ev: Fetched, ctx: Context) -> StopEvent:
        self.saved = ctx.to_dict()
        return StopEvent(result=ev.text.upper())


async def test_a_map_from_the_middle_of_a_run_goes_on_there() -> None:
    first, second = Summarize(), Summarize()
    await first.run(document="report")

    ctx: Context[Any] = Context.from_dict(second, first.saved)
    assert await second.run(ctx=ctx) == "THE TEXT OF REPORT"
    assert second.fetched == 0
