"""What section 15 says, tried in a process of its own by `test_15_llama_index.py`."""

import asyncio
import gc
import weakref
from abc import ABC
from collections.abc import Callable
from importlib import import_module
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.agent.workflow.agent_context import AgentContext, SimpleAgentContext
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import Context, HumanResponseEvent, StopEvent, Workflow
from pydantic import BaseModel
from pydantic._internal._model_construction import ModelMetaclass

import stepwell
from stepwell.decorators import steps_of
from stepwell.events import StopEvent as OurStopEvent
from stepwell.runtime.types.results import WaitingForEvent
from stepwell.workflow import WorkflowMeta

REEXPORTS = {
    "context": "Context",
    "context_serializers": "BaseSerializer JsonSerializer PickleSerializer JsonPickleSerializer",
    "decorators": "StepConfig step",
    "errors": "ContextSerdeError WorkflowCancelledByUser WorkflowConfigurationError WorkflowDone "
    "WorkflowRuntimeError WorkflowStepDoesNotExistError WorkflowTimeoutError "
    "WorkflowValidationError",
    "events": "Event EventType HumanResponseEvent InputRequiredEvent StartEvent StopEvent",
    "handler": "WorkflowHandler",
    "resource": "Resource ResourceDefinition ResourceManager",
    "retry_policy": "RetryPolicy ConstantDelayRetryPolicy",
    "types": "StopEventT RunResultT",
    "utils": "get_qualified_name import_module_from_qualified_name BUSY_WAIT_DELAY "
    "StepSignatureSpec get_steps_from_class get_steps_from_instance inspect_signature "
    "is_free_function validate_step_signature",
    "workflow": "Workflow WorkflowMeta",
}
"""The modules of `llama_index.core.workflow`, and what they hand on."""

Tool = Callable[..., Any]


def agent_with(*tools: Tool, **options: Any) -> Any:
    """An agent that calls each of its tools once, at the same time, and tells their answers."""
    calls = [ToolCallBlock(tool_call_id=tool.__name__, tool_name=tool.__name__) for tool in tools]

    def answer(messages: list[ChatMessage], **_: Any) -> ChatMessage:
        done = [str(message.content) for message in messages if message.role == "tool"]
        if tools and not done:
            return ChatMessage(role="assistant", blocks=calls)
        return ChatMessage(role="assistant", content=", ".join(done))

    llm = MockFunctionCallingLLM(response_generator=answer)
    return FunctionAgent(llm=llm, tools=list(tools), **options)


def check_every_module_hands_on_the_names_of_stepwell() -> None:
    for module, names in REEXPORTS.items():
        theirs = import_module(f"llama_index.core.workflow.{module}")
        for name in names.split():
            home = getattr(getattr(theirs, name), "__module__", "")
            assert not home.startswith(("workflows", "llama_agents")), (module, name, home)


def check_their_classes_are_the_very_classes_of_stepwell() -> None:
    assert Workflow is stepwell.Workflow
    assert Context is stepwell.Context
    assert StopEvent is OurStopEvent


def check_an_agent_is_a_workflow_and_a_model() -> None:
    agent = agent_with()
    assert isinstance(agent, stepwell.Workflow)
    assert isinstance(agent, BaseModel)
    metaclasses = type(FunctionAgent).__mro__
    assert metaclasses.index(WorkflowMeta) < metaclasses.index(ModelMetaclass)


def check_the_metaclass_combines_with_that_of_abstract_classes() -> None:
    class Meta(WorkflowMeta, type(ABC)):
        pass

    class Abstract(stepwell.Workflow, ABC, metaclass=Meta):
        pass

    assert type(Abstract) is Meta


def check_a_workflow_sets_no_public_attribute() -> None:
    agent = agent_with()
    attributes: list[str] = list(agent.__dict__)
    public = {name for name in attributes if not name.startswith("_")}
    assert public == set(FunctionAgent.model_fields)


def check_agents_that_are_equal_are_kept_apart() -> None:
    one, other = agent_with(), agent_with()
    other.llm = one.llm
    assert one == other
    assert one.__stepwell_plan__() is not other.__stepwell_plan__()


def check_an_unhashable_agent_runs() -> None:
    class Unhashable(FunctionAgent):
        __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  as Pydantic has it

    async def main() -> str:
        agent: Any = Unhashable(llm=agent_with().llm)
        return str(await agent.run(user_msg="hello"))

    assert asyncio.run(main()) == ""


def check_the_keywords_of_agents_for_workflows_arrive() -> None:
    agent = agent_with(timeout=7, verbose=False, num_concurrent_runs=1)
    assert agent._timeout == 7


def check_an_agent_has_no_timeout_of_its_own() -> None:
    assert agent_with()._timeout is None


def check_agents_are_validated() -> None:
    assert agent_with().validate() is False
    assert AgentWorkflow([agent_with()]).validate() is False


async def check_a_run_id_of_none_is_allowed() -> None:
    handler = agent_with().run(user_msg="hello", run_id=None)
    assert handler.run_id
    await handler


async def check_a_context_is_running_inside_a_tool() -> None:
    async def running(ctx: Context[Any]) -> str:
        """Tell."""
        return str(ctx.is_running)

    assert str(await agent_with(running).run(user_msg="hello")) == "True"


async def check_a_context_is_what_agents_take_for_one() -> None:
    protocol: Any = AgentContext

    async def kind(ctx: Context[Any]) -> str:
        """Tell."""
        return str(isinstance(ctx, protocol))

    assert str(await agent_with(kind).run(user_msg="hello")) == "True"


async def check_a_store_works_outside_of_workflows() -> None:
    store = SimpleAgentContext().store
    await store.set("a", 1)
    assert await store.get("a") == 1


async def check_the_state_gives_the_same_memory_each_time() -> None:
    async def same(ctx: Context[Any]) -> str:
        """Tell."""
        return str(await ctx.store.get("memory") is await ctx.store.get("memory"))

    assert str(await agent_with(same).run(user_msg="hello")) == "True"


async def check_a_tool_waits_for_an_event_and_is_entered_once() -> None:
    entered: list[str] = []

    async def ask(ctx: Context[Any]) -> str:
        """Ask."""
        entered.append("ask")
        answer: Any = await ctx.wait_for_event(HumanResponseEvent, waiter_id="it")
        return answer.response

    handler = agent_with(ask).run(user_msg="hello")
    async for event in handler.stream_events():
        if type(event).__name__ == "ToolCall":
            handler.ctx.send_event(HumanResponseEvent(response="yes"))  # pyright: ignore[reportCallIssue]  it takes any field
    assert (str(await handler), entered) == ("yes", ["ask"])


def check_what_leaves_a_waiting_step_is_not_swallowed_as_the_error_of_a_tool() -> None:
    assert not issubclass(WaitingForEvent, Exception)


async def check_results_of_tools_that_run_at_once_are_collected() -> None:
    async def one() -> str:
        """One."""
        return "1"

    async def two() -> str:
        """Two."""
        return "2"

    result = await agent_with(one, two).run(user_msg="hello")
    assert sorted(str(result).split(", ")) == ["1", "2"]


async def check_an_agent_that_ran_can_be_collected_as_garbage() -> None:
    async def main() -> Any:
        agent = agent_with()
        await agent.run(user_msg="hello")
        return weakref.ref(agent)

    gone = await main()
    for _ in range(3):  # the end of the run is still under way
        await asyncio.sleep(0)
    gc.collect()
    assert gone() is None


def check_steps_are_found_on_an_instance_as_on_its_class() -> None:
    steps = steps_of(FunctionAgent)
    assert {"init_run", "call_tool", "aggregate_tool_results"} <= set(steps)
    assert isinstance(agent_with(), BaseWorkflowAgent)
