"""Agents that tell what they streamed, answered and remember; on either engine."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from scripted import (
    Answer,
    call,
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
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def fail() -> str:
    """Fail."""
    raise LookupError("there is nothing")


async def note(ctx: Context[Any], what: str) -> str:
    """Note something in the state of the run."""
    async with ctx.store.edit_state() as state:
        state["state"] = {"noted": what}
    return f"noted {what}"


def one_call(messages: Sequence[ChatMessage]) -> Answer:
    done = tools_done(messages)
    return f"It is {done[0]}." if done else [call("add", "a-1", a=1, b=2)]


def after_handoff(messages: Sequence[ChatMessage]) -> Answer:
    done = tools_done(messages)
    return f"It is {done[1]}." if len(done) > 1 else [call("add", "a-1", a=1, b=2)]


def three_calls(messages: Sequence[ChatMessage]) -> Answer:
    done = tools_done(messages)
    if done:
        return " ".join(sorted(done))
    return [call("add", f"a-{n}", a=n, b=n) for n in range(3)]


def every_kind(messages: Sequence[ChatMessage]) -> Answer:
    done = tools_done(messages)
    calls = [call("fail", "f-1"), call("note", "n-1", what="this"), call("nothing", "x-1")]
    return [calls[len(done)]] if len(done) < len(calls) else " | ".join(done)


def reasoning(messages: Sequence[ChatMessage]) -> Answer:
    told = str(messages[-1].content)
    if told.startswith("Observation:"):
        return f"Thought: I can answer.\nAnswer: It is {told.split()[1]}."
    return 'Thought: I need a tool.\nAction: add\nAction Input: {"a": 1, "b": 2}'


def endless(messages: Sequence[ChatMessage]) -> Answer:
    return [call("add", f"a-{len(messages)}", a=1, b=2)]


AGENTS: dict[str, Callable[[], Any]] = {
    "function": lambda: function_agent(one_call, add),
    "function-not-streaming": lambda: function_agent(one_call, add, streaming=False),
    "handoff": lambda: handoff_agents(after_handoff, add),
    "parallel": lambda: function_agent(three_calls, add),
    "every-kind": lambda: function_agent(every_kind, fail, note),
    "react": lambda: react_agent(reasoning, add),
    "return-direct": lambda: function_agent(
        one_call, FunctionTool.from_defaults(add, return_direct=True)
    ),
    "endless": lambda: function_agent(endless, add),
    "endless-but-told": lambda: function_agent(endless, add, early_stopping_method="generate"),
}


def in_short(event: object) -> list[Any]:
    """An event without what two processes never have in common."""
    kind = type(event).__name__
    return [kind, getattr(event, "delta", None), str(getattr(event, "tool_output", ""))]


class Conversation:
    """Turns with an agent, and what they gave."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.turns: list[Any] = []
        self.remembered: list[list[str]] = []

    async def turn(self, text: str, **options: Any) -> Context[Any]:
        handler = self.agent.run(user_msg=text, **options)
        streamed = [in_short(event) async for event in handler.stream_events()]
        self.turns.append([streamed, await answer_of(handler)])
        memory = await handler.ctx.store.get("memory")
        self.remembered.append(heard(await memory.aget()))
        return handler.ctx


async def answer_of(handler: Any) -> list[Any]:
    """What a run gave, an error included: the two engines have to agree on that, too."""
    try:
        answer = await handler
    except Exception as error:  # noqa: BLE001  see above
        return [type(error).__name__, str(error)]
    return [str(answer), [str(one.tool_name) for one in answer.tool_calls]]


async def talk_to(name: str) -> None:
    talk = Conversation(AGENTS[name]())
    ctx = await talk.turn("How much?", max_iterations=4)
    await talk.turn("And again?", ctx=ctx)
    await talk.turn("How much?", **memory_of("buffer"))
    await talk.turn("How much?", **memory_of("memory"))
    say(json.dumps({"agent": name, "turns": talk.turns, "remembered": talk.remembered}))


async def main() -> None:
    for name in AGENTS:
        await talk_to(name)


asyncio.run(main())
