"""The events of agents, and the steps of reasoning."""

from collections.abc import Mapping
from typing import Any

from llama_index.core.agent.react.types import (
    ActionReasoningStep,
    ObservationReasoningStep,
    ResponseReasoningStep,
)
from llama_index.core.agent.workflow.workflow_events import (
    AgentInput,
    AgentOutput,
    AgentSetup,
    AgentStream,
    AgentStreamStructuredOutput,
    AgentWorkflowStartEvent,
    ToolCall,
    ToolCallResult,
)
from llama_index.core.memory import Memory

from stepwell._serialization import register
from stepwell.integrations.llama_index._registering import use_codec

__all__ = ["register_codecs"]

Fields = dict[str, Any]

_MEMORY = "memory"
_SESSION = "memory_session"


def register_codecs() -> None:
    """Let Stepwell store the events of agents."""
    register(AgentInput, AgentSetup, AgentStream, AgentStreamStructuredOutput)
    register(ToolCall, ToolCallResult)
    register(ActionReasoningStep, ObservationReasoningStep, ResponseReasoningStep)
    use_codec(AgentOutput, _encode_output, _decode_output)
    use_codec(AgentWorkflowStartEvent, _encode_start, _decode_start, lends=_lent)


def _encode_output(output: AgentOutput) -> Fields:
    """All but `raw`, the response as the model's client made it, which LlamaIndex drops, too."""
    return {name: getattr(output, name) for name in AgentOutput.model_fields if name != "raw"}


def _decode_output(fields: Fields) -> AgentOutput:
    """The tool calls are set last: agents put results there, which validation would refuse."""
    calls = fields.pop("tool_calls")
    output = AgentOutput(**fields)
    output.tool_calls = calls
    return output


def _encode_start(event: AgentWorkflowStartEvent) -> Fields:
    """A `Memory` is stored in the state; here its session tells this input from others."""
    fields = event.to_dict()
    memory = fields.get(_MEMORY)
    if not isinstance(memory, Memory):
        return fields
    return {**fields, _MEMORY: None, _SESSION: memory.session_id}


def _decode_start(fields: Fields) -> AgentWorkflowStartEvent:
    return AgentWorkflowStartEvent(**{key: fields[key] for key in fields if key != _SESSION})


def _lent(event: AgentWorkflowStartEvent) -> Mapping[str, Any]:
    memory = event.get(_MEMORY)
    return {} if memory is None else {_MEMORY: memory}
