"""Section 1: every path of LlamaIndex Workflows is there, with every name, under both packages."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import pytest

PATHS = {
    "": "Context Workflow catch_error step",
    "collect": "All Cardinality Collect Take",
    "context": "BaseSerializer Context JsonSerializer PickleSerializer",
    "context.context": "Context",
    "context.serializers": "BaseSerializer JsonPickleSerializer JsonSerializer PickleSerializer",
    "context.state_store": """
        DictState InMemorySerializedState InMemoryStateStore KNOWN_UNSERIALIZABLE_KEYS MAX_DEPTH
        MODEL_T StateCheckpoint StateRecord StateStorage StateStore StateStoreFacade
        UnserializableKeyWarning apply_state_patch copy_state_for_edit create_cleared_state
        decode_state deserialize_state_from_dict encode_state get_by_path infer_state_type
        merge_state parse_in_memory_state set_by_path
    """,
    "context.utils": "get_qualified_name import_module_from_qualified_name",
    "decorators": """
        CatchErrorHandler StepConfig StepFunction StepGraphCheck WorkflowGraphCheck catch_error
        make_step_function step
    """,
    "errors": """
        ContextSerdeError ContextStateError WorkflowCancelledByUser WorkflowConfigurationError
        WorkflowDone WorkflowRuntimeError WorkflowStepDoesNotExistError WorkflowTimeoutError
        WorkflowValidationError
    """,
    "events": """
        CollectionReleaseEvent DictLikeModel Event EventType HumanResponseEvent IdleReleasedEvent
        InputRequiredEvent InternalDispatchEvent SerializableEvent SerializableEventType
        SerializableException SerializableOptionalEvent SerializableOptionalException StartEvent
        StepFailedEvent StepState StepStateChanged StopEvent UnhandledEvent
        UnreconstructedException WorkflowCancelledEvent WorkflowFailedEvent WorkflowIdleEvent
        WorkflowTimedOutEvent
    """,
    "handler": "WorkflowHandler",
    "plugins": "BasicRuntime basic_runtime get_current_runtime",
    "representation": """
        WorkflowEventNode WorkflowExternalNode WorkflowGenericNode WorkflowGraph WorkflowGraphEdge
        WorkflowGraphNode WorkflowNodeBase WorkflowResourceConfigNode WorkflowResourceNode
        WorkflowStepNode get_workflow_representation
    """,
    "resource": "Resource ResourceConfig ResourceDefinition ResourceDescriptor ResourceManager",
    "retry_policy": """
        ConstantDelayRetryPolicy ExponentialBackoffRetryPolicy RetryInfo RetryPolicy retry_all
        retry_always retry_any retry_if_exception retry_if_exception_cause_type
        retry_if_exception_message retry_if_exception_type retry_if_not_exception_message
        retry_if_not_exception_type retry_never retry_policy retry_unless_exception_type
        stop_after_attempt stop_after_delay stop_all stop_any stop_before_delay stop_never
        wait_chain wait_combine wait_exponential wait_exponential_jitter wait_fixed
        wait_full_jitter wait_incrementing wait_none wait_random wait_random_exponential
    """,
    "runtime.types.results": "WaitingForEvent",
    "testing": "WorkflowTestRunner",
    "testing.runner": "WorkflowTestResult WorkflowTestRunner",
    "types": "RunResultT StopEventT",
    "utils": """
        BUSY_WAIT_DELAY StepSignatureSpec _get_param_types _get_return_types get_steps_from_class
        get_steps_from_instance inspect_signature is_free_function validate_step_signature
    """,
    "workflow": "Workflow WorkflowMeta",
}
"""The table of the section, and the names of sections 10 and 11 that it points to."""

ALIASES = ["workflows", "llama_agents.workflows"]

VALUES = {
    "context.state_store.KNOWN_UNSERIALIZABLE_KEYS": ("memory",),
    "context.state_store.MAX_DEPTH": 1000,
    "utils.BUSY_WAIT_DELAY": 0.01,
}
"""Constants that code outside may compute with."""

COMPARE = """
import importlib, json, sys
import stepwell

def get(module, name):
    return getattr(importlib.import_module(module), name)

def answer(alias, path, name):
    try:
        same = get(alias + path, name) is get("stepwell" + path, name)
        return "the same object" if same else "another object"
    except Exception as error:
        return repr(error)

stepwell.install_as_workflows()
aliases, names = json.loads(sys.argv[1])
answers = {alias + path + "." + name: answer(alias, path, name)
           for alias in aliases for path, name in names}
print(json.dumps(answers))
"""


def names() -> Iterator[tuple[str, str]]:
    """Each name of the table, with its module as it is added to that of a package."""
    for path, listed in PATHS.items():
        yield from ((f".{path}" if path else "", name) for name in listed.split())


@cache
def compared() -> dict[str, str]:
    """For each alias of each name: whether it is the object that Stepwell has."""
    table = json.dumps([ALIASES, list(names())])
    command = [sys.executable, "-c", COMPARE, table]
    answers = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603  our own interpreter
    return json.loads(answers)


def value(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("name", [f"stepwell{path}.{name}" for path, name in names()])
def test_stepwell_has_the_name(name: str) -> None:
    assert value(name) is not None


@pytest.mark.parametrize(
    "name", [f"{alias}{path}.{name}" for alias in ALIASES for path, name in names()]
)
def test_the_alias_is_the_same_object(name: str) -> None:
    assert compared()[name] == "the same object"


@pytest.mark.parametrize(("name", "expected"), VALUES.items(), ids=VALUES)
def test_a_constant_has_the_known_value(name: str, expected: object) -> None:
    assert value(f"stepwell.{name}") == expected


def test_the_old_name_of_the_pickle_serializer_is_the_new_one() -> None:
    serializers = import_module("stepwell.context.serializers")
    assert serializers.JsonPickleSerializer is serializers.PickleSerializer


def test_one_class_that_stands_in_two_modules_is_one_class() -> None:
    assert value("stepwell.context.Context") is value("stepwell.context.context.Context")
    assert value("stepwell.Context") is value("stepwell.context.Context")
    assert value("stepwell.Workflow") is value("stepwell.workflow.Workflow")


@pytest.mark.parametrize("path", PATHS)
def test_the_table_is_what_the_peer_has(path: str) -> None:
    peer = import_module(f"workflows.{path}" if path else "workflows")
    assert [name for name in PATHS[path].split() if not hasattr(peer, name)] == []
