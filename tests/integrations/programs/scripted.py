"""What the programs beside this file share: a model that answers by a script, and agents of it.

With ENGINE=workflows in the environment they run on LlamaIndex Workflows, else on Stepwell.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import stepwell

if os.environ.get("ENGINE") != "workflows":
    stepwell.install_as_workflows()

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer, Memory

from stepwell.redis import RedisCheckpointer

__all__ = [
    "call",
    "checkpointer",
    "executed",
    "function_agent",
    "handoff_agents",
    "heard",
    "memory_of",
    "react_agent",
    "say",
    "scripted",
    "tools_done",
]

_Buffer: Any = ChatMemoryBuffer  # the types of its methods are not whole
_Memory: Any = Memory

Answer = str | list[ToolCallBlock]
Script = Callable[[Sequence[ChatMessage]], Answer]


def say(*values: object) -> None:
    """Tell the test one line."""
    print(*values, flush=True)  # noqa: T201  how a child talks to its test


def executed(what: str) -> int:
    """Note in a file that something was done; returns how often it was, in all processes."""
    journal = Path(os.environ["JOURNAL"])
    with journal.open("a") as file:
        file.write(what + "\n")
    return journal.read_text().split("\n").count(what)


def checkpointer(**options: Any) -> RedisCheckpointer:
    """The one that the test has a server for."""
    return RedisCheckpointer(os.environ["URL"], namespace=os.environ["NAMESPACE"], **options)


def scripted(script: Script) -> MockFunctionCallingLLM:
    """A model that answers as the script says: with text, or with calls of tools."""

    def answer(messages: Sequence[ChatMessage], **_options: Any) -> ChatMessage:
        answered = script(messages)
        blocks = [TextBlock(text=answered)] if isinstance(answered, str) else answered
        return ChatMessage(role="assistant", blocks=blocks)

    return MockFunctionCallingLLM(response_generator=answer)


def call(tool: str, tool_id: str, **arguments: Any) -> ToolCallBlock:
    """A call of a tool, as a model asks for it."""
    return ToolCallBlock(tool_call_id=tool_id, tool_name=tool, tool_kwargs=arguments)


def memory_of(kind: str, session: str | None = "me") -> dict[str, Any]:
    """What `agent.run` is given: a memory of some kind, or none for its default."""
    if kind == "default":
        return {}
    if kind == "buffer":
        return {"memory": _Buffer.from_defaults(token_limit=5000)}
    return {"memory": _Memory.from_defaults(session_id=session, token_limit=5000)}


def tools_done(messages: Sequence[ChatMessage]) -> list[str]:
    """What the tools have answered since the user spoke last."""
    last = max(n for n, message in enumerate(messages) if message.role == MessageRole.USER)
    return [str(m.content) for m in messages[last:] if m.role == MessageRole.TOOL]


def heard(messages: Sequence[ChatMessage]) -> list[str]:
    """A chat, a line a message."""
    return [f"{message.role.value}: {message.content}" for message in messages]


def function_agent(script: Script, *tools: Callable[..., Any], **options: Any) -> FunctionAgent:
    """An agent of a model that calls functions."""
    return FunctionAgent(name="agent", llm=scripted(script), tools=list(tools), **options)


def react_agent(script: Script, *tools: Callable[..., Any]) -> ReActAgent:
    """An agent that reasons in text."""
    return ReActAgent(name="agent", llm=scripted(script), tools=list(tools))


def handoff_agents(script: Script, *tools: Callable[..., Any]) -> AgentWorkflow:
    """Two agents: the first one hands everything over to the second, which has the tools.

    The script is the second one's.
    """

    def hand_over(messages: Sequence[ChatMessage]) -> Answer:
        return [call("handoff", "handoff-1", to_agent="second", reason="it knows")]

    first = FunctionAgent(
        name="first",
        description="Receives people.",
        llm=scripted(hand_over),
        can_handoff_to=["second"],
    )
    second = FunctionAgent(
        name="second",
        description="Does the work.",
        system_prompt="Work.",
        llm=scripted(script),
        tools=list(tools),
    )
    return AgentWorkflow([first, second], root_agent="first", initial_state={"mood": "calm"})
