"""An agent whose tool asks a human; the process that asked dies, and another one gets the answer.

Arguments: what to do (ask, answer), the way (checkpointer, run-id, map), and the memory.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripted import (
    Answer,
    call,
    checkpointer,
    executed,
    function_agent,
    heard,
    memory_of,
    say,
    tools_done,
)

# `scripted` decides what `workflows` means to those below
# isort: split

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent


class OwnQuestion(InputRequiredEvent):
    """A class that no step names, only a tool."""

    prefix: str
    file: str


class OwnReply(HumanResponseEvent):
    """The same."""

    response: str
    file: str


WHAT, WAY, MEMORY = sys.argv[1:]
Question: Any = OwnQuestion if WAY == "run-id" else InputRequiredEvent  # takes any field
Reply: Any = OwnReply if WAY == "run-id" else HumanResponseEvent
MAP = Path("ctx.json")


async def prepare() -> str:
    """Prepare everything."""
    executed("prepared")
    return "prepared"


async def delete(ctx: Context[Any], name: str) -> str:
    """Delete a file, if a human agrees."""
    executed("asked")
    answer = await ctx.wait_for_event(
        Reply,
        waiter_id=name,
        waiter_event=Question(prefix=f"Delete {name}?", file=name),
        requirements={"file": name},
    )
    executed("deleted")
    return f"deleted {name}: {answer.response}"


def script(messages: Sequence[ChatMessage]) -> Answer:
    executed("model")
    done = tools_done(messages)
    calls = [call("prepare", "p-1"), call("delete", "d-1", name="a.txt")]
    return [calls[len(done)]] if len(done) < len(calls) else done[-1]


def started(agent: Any) -> Any:
    """The run: begun, or gone on with."""
    if WAY == "map" and WHAT == "answer":
        return agent.run(ctx=Context[Any].from_dict(agent, json.loads(MAP.read_text())))
    name = {"run_id": "the-run"} if WAY == "run-id" else {}
    return agent.run(user_msg="Clean up.", **name, **memory_of(MEMORY))


def save(fields: dict[str, str]) -> None:
    MAP.write_text(json.dumps(fields))


async def ask(handler: Any) -> None:
    """Wait for the question, and for a way to go on elsewhere; then die."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            say(event.prefix)
            if WAY == "map":
                save(await handler.ctx.to_dict_async())
                os.kill(os.getpid(), signal.SIGKILL)


async def give(handler: Any) -> None:
    """Answer the question, once it is seen."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            say(event.prefix)
            handler.ctx.send_event(Reply(response="other", file="b.txt"))
            handler.ctx.send_event(Reply(response="yes", file=event.file))
    memory = await handler.ctx.store.get("memory")
    say(json.dumps([str(await handler), heard(await memory.aget())]))


async def main() -> None:
    agent = function_agent(script, prepare, delete)
    if WAY != "map":
        checkpointer().attach(agent)
    await (ask if WHAT == "ask" else give)(started(agent))


asyncio.run(main())
