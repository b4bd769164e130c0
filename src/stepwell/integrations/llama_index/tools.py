"""The functions that agents call: their modules define the events and models that they use."""

from collections.abc import Iterator, Mapping
from functools import partial
from inspect import unwrap
from typing import Any, cast

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.tools import FunctionTool

__all__ = ["namespaces_of"]


def namespaces_of(workflow: object) -> Iterator[Mapping[str, object]]:
    """The namespaces of the modules that the tools of an agent, or of several, come from."""
    for agent in _agents_of(workflow):
        tools = cast("list[Any]", agent.tools or [])  # pyright: ignore[reportUnknownMemberType]  of any function
        for tool in tools:
            if isinstance(tool, FunctionTool):
                yield _namespace_of(tool.real_fn)


def _agents_of(workflow: object) -> list[BaseWorkflowAgent]:
    if isinstance(workflow, AgentWorkflow):
        return list(workflow.agents.values())
    return [workflow] if isinstance(workflow, BaseWorkflowAgent) else []


def _namespace_of(function: Any) -> Mapping[str, object]:
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return getattr(unwrap(function), "__globals__", {})
