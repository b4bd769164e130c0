"""What a drawing of a workflow shows, whatever it is drawn in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from stepwell.collect import Take
from stepwell.decorators import StepConfig, config_of, steps_of
from stepwell.events import Event
from stepwell.representation.build import (
    get_workflow_representation,
    type_name,
    workflow_class,
)
from stepwell.representation.graph import (
    WorkflowEventNode,
    WorkflowExternalNode,
    WorkflowGenericNode,
    WorkflowGraph,
    WorkflowGraphEdge,
    WorkflowGraphNode,
    WorkflowResourceConfigNode,
    WorkflowResourceNode,
    WorkflowStepNode,
)

__all__ = ["Kind", "Line", "Picture", "Shape", "picture_of"]

Kind: TypeAlias = Literal[
    "start", "event", "step", "stop", "human", "outside", "failure", "handler", "resource", "config"
]
LineKind: TypeAlias = Literal["flow", "failure", "need"]

_DEFAULT_WORKERS = 4

_KINDS_OF_EVENTS: dict[str, Kind] = {
    "StopEvent": "stop",
    "StartEvent": "start",
    "StepFailedEvent": "failure",
    "InputRequiredEvent": "human",
    "HumanResponseEvent": "human",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Something that is drawn with a text in it.

    Attributes:
        note: a smaller text below the label.
        details: more about it, a paragraph each.
    """

    id: str
    kind: Kind
    label: str
    note: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """An arrow from one shape to another."""

    source: str
    target: str
    label: str = ""
    kind: LineKind = "flow"


@dataclass(frozen=True, slots=True)
class Picture:
    """Shapes, and the arrows between them."""

    title: str
    description: str
    shapes: tuple[Shape, ...]
    lines: tuple[Line, ...]


def picture_of(workflow: object) -> Picture:
    """Return what a drawing of a workflow, or of a graph that was made of one, shows.

    Raises:
        WorkflowValidationError: it is neither.
    """
    if isinstance(workflow, WorkflowGraph):
        return _picture(workflow, {})
    steps = steps_of(workflow_class(workflow))
    configs = {name: config_of(step) for name, step in steps.items()}
    return _picture(get_workflow_representation(workflow), configs)


def _picture(graph: WorkflowGraph, configs: Mapping[str, StepConfig]) -> Picture:
    picture = Picture(
        title=graph.name,
        description=graph.description or "",
        shapes=tuple(_shape(node, configs.get(node.id)) for node in graph.nodes),
        lines=tuple(_lines(graph, configs)),
    )
    return _with_failures(picture, configs)


# --- shapes ---


def _shape(node: WorkflowGraphNode, config: StepConfig | None) -> Shape:
    match node:
        case WorkflowStepNode():
            return _step_shape(node, config)
        case WorkflowEventNode():
            return Shape(node.id, _kind_of_event(node), node.label, details=_event_details(node))
        case WorkflowResourceNode():
            details = _present(node.getter_name, node.description)
            return Shape(node.id, "resource", node.label, details=details)
        case WorkflowResourceConfigNode():
            details = _present(node.config_file, node.description)
            return Shape(node.id, "config", node.label, details=details)
        case WorkflowExternalNode():
            return Shape(node.id, "outside", "human")
        case WorkflowGenericNode():
            return Shape(node.id, "step", node.label)


def _kind_of_event(node: WorkflowEventNode) -> Kind:
    for name in node.event_types:
        if name in _KINDS_OF_EVENTS:
            return _KINDS_OF_EVENTS[name]
    return "event"


def _step_shape(node: WorkflowStepNode, config: StepConfig | None) -> Shape:
    if config is None:
        return Shape(node.id, "step", node.label, details=_present(node.description))
    return Shape(
        node.id,
        "handler" if config.role == "catch_error" else "step",
        node.label,
        note=", ".join(_notes(config)),
        details=_present(_signature(node.label, config), node.description, *_options(config)),
    )


def _notes(config: StepConfig) -> Iterator[str]:
    """What is worth seeing at first sight."""
    if config.role == "catch_error":
        if config.catch_error_max_recoveries > 1:
            yield f"{config.catch_error_max_recoveries} recoveries"
        return
    if config.num_workers == 1:
        yield "one at a time"
    elif config.num_workers != _DEFAULT_WORKERS:
        yield f"{config.num_workers} at once"
    if config.retry_policy is not None:
        yield "retries"


def _options(config: StepConfig) -> Iterator[str]:
    yield f"num_workers: {config.num_workers}"
    if config.retry_policy is not None:
        yield f"retry_policy: {_without_addresses(repr(config.retry_policy))}"
    if config.role == "catch_error":
        yield f"max_recoveries: {config.catch_error_max_recoveries}"


def _without_addresses(text: str) -> str:
    """The same text in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _signature(name: str, config: StepConfig) -> str:
    parameters = [*_event_parameters(config)]
    if config.context_parameter:
        state = f"[{config.context_state_type.__name__}]" if config.context_state_type else ""
        parameters.append(f"{config.context_parameter}: Context{state}")
    parameters += [
        f"{resource.name}: {type_name(resource.type_annotation)}" for resource in config.resources
    ]
    return f"{name}({', '.join(parameters)}) -> {_returned(config)}"


def _event_parameters(config: StepConfig) -> Iterator[str]:
    if config.collect_params:
        yield from (f"{name}: {event.__name__}" for name, event in config.collect_params)
    elif config.collection_param:
        name, events = config.collection_param
        yield f"{name}: list[{_union(events)}]"
    else:
        yield f"{config.event_name}: {_union(config.accepted_events)}"


def _returned(config: StepConfig) -> str:
    kinds = [event.__name__ for event in config.bare_return_types]
    if config.list_return_types:
        kinds.append(f"list[{_union(config.list_return_types)}]")
    if config.may_return_none or not kinds:
        kinds.append("None")
    return " | ".join(kinds)


def _union(events: tuple[type[Event], ...] | list[type[Event]]) -> str:
    return " | ".join(event.__name__ for event in events)


def _event_details(node: WorkflowEventNode) -> tuple[str, ...]:
    schema: dict[str, Any] = node.event_schema or {}
    fields = ", ".join(schema.get("properties", ()))
    return _present(schema.get("description"), f"fields: {fields}" if fields else None)


def _present(*texts: str | None) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


# --- lines ---


def _lines(graph: WorkflowGraph, configs: Mapping[str, StepConfig]) -> Iterator[Line]:
    nodes = {node.id: node for node in graph.nodes}
    for edge in graph.edges:
        source, target = nodes.get(edge.source), nodes.get(edge.target)
        if source is None or target is None:
            continue
        if target.node_type in {"resource", "resource_config"}:
            yield Line(target.id, source.id, edge.label or "", "need")
        else:
            yield Line(source.id, target.id, edge.label or _flow_label(edge, nodes, configs))


def _flow_label(
    edge: WorkflowGraphEdge,
    nodes: Mapping[str, WorkflowGraphNode],
    configs: Mapping[str, StepConfig],
) -> str:
    """How many events there are on the way, where it isn't one."""
    producer, consumer = configs.get(edge.source), configs.get(edge.target)
    if producer and nodes[edge.target].label in {
        event.__name__ for event in producer.list_return_types
    }:
        return "each"
    if consumer and consumer.collection_policy:
        policy = consumer.collection_policy.cardinality
        return f"first {policy.n}" if isinstance(policy, Take) else "all"
    return ""


# --- failures ---


def _with_failures(picture: Picture, configs: Mapping[str, StepConfig]) -> Picture:
    """Give each error handler a failure of its own, that comes from the steps it handles."""
    handlers = {name: config for name, config in configs.items() if config.role == "catch_error"}
    shared = {shape.id: shape for shape in picture.shapes if shape.kind == "failure"}
    if not handlers or not shared:
        return picture
    failure = next(iter(shared.values()))
    own = {name: f"{failure.id} of {name}" for name in handlers}
    shapes = [shape for shape in picture.shapes if shape.id not in shared]
    lines = [line for line in picture.lines if line.source not in shared]
    for name, config in handlers.items():
        scope = config.catch_error_for_steps
        note = "" if scope is not None else _rest(handlers)
        shapes.append(replace(failure, id=own[name], note=note))
        lines += [Line(step, own[name], kind="failure") for step in scope or ()]
        lines.append(Line(own[name], name, kind="failure"))
    return replace(picture, shapes=tuple(shapes), lines=tuple(lines))


def _rest(handlers: Mapping[str, StepConfig]) -> str:
    scoped = any(config.catch_error_for_steps is not None for config in handlers.values())
    return "of any other step" if scoped else "of any step"
