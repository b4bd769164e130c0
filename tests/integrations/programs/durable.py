"""An agent with two tools, on a checkpointer: killed inside the second one, or as it answers.

Arguments: where to die (tool, answer, nowhere), the kind of agent, and the kind of memory.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from scripted import (
    Answer,
    call,
    checkpointer,
    executed,
    function_agent,
    handoff_agents,
    heard,
    memory_of,
    react_agent,
    say,
    tools_done,
)

# `scripted` decides what `workflows` means to those below
# isort: split

from llama_index.core.base.llms.types import ChatMessage

DEATH, AGENT, MEMORY = sys.argv[1:]
CALLS = [call("first", "t-1"), call("second", "t-2")]


async def first() -> str:
    """Do the first thing."""
    executed("first")
    return "1"


async def second() -> str:
    """Do the second thing."""
    if executed("second") == 1 and DEATH == "tool":
        say("in the second tool")
        await asyncio.Event().wait()
    return "2"


def answer(done: list[str]) -> str:
    if executed("answer") == 1 and DEATH == "answer":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"Done: {' '.join(done[-2:])}."


def calling(messages: Sequence[ChatMessage]) -> Answer:
    done = [text for text in tools_done(messages) if text in {"1", "2"}]
    return [CALLS[len(done)]] if len(done) < len(CALLS) else answer(done)


def reasoning(messages: Sequence[ChatMessage]) -> Answer:
    told = [str(message.content).removeprefix("Observation: ") for message in messages]
    done = [text for text in told if text in {"1", "2"}]
    if len(done) == len(CALLS):
        return f"Thought: I can answer.\nAnswer: {answer(done)}"
    return f"Thought: I need a tool.\nAction: {CALLS[len(done)].tool_name}\nAction Input: {{}}"


AGENTS = {
    "function": lambda: function_agent(calling, first, second),
    "handoff": lambda: handoff_agents(calling, first, second),
    "react": lambda: react_agent(reasoning, first, second),
}


async def main() -> None:
    agent: Any = checkpointer().attach(AGENTS[AGENT]())
    handler: Any = agent.run(user_msg="Do both.", **memory_of(MEMORY))
    result: Any = await handler
    memory: Any = await handler.ctx.store.get("memory")
    calls = [[one.tool_name, str(one.tool_output)] for one in result.tool_calls]
    say(json.dumps([str(result), calls, heard(await memory.aget()), type(memory).__name__]))


asyncio.run(main())
