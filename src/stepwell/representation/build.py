"""From the steps of a workflow to its graph."""

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from stepwell._annotations import title
from stepwell._engine.graph import accepts, event_classes
from stepwell.decorators import StepConfig, StepFunction, config_of, steps_of
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent
from stepwell.representation.graph import (
    WorkflowEventNode,
    WorkflowExternalNode,
    WorkflowGraph,
    WorkflowGraphEdge,
    WorkflowGraphNode,
    WorkflowResourceConfigNode,
    WorkflowResourceNode,
    WorkflowStepNode,
)
from stepwell.resource import ConfigDescriptor, ResourceDefinition, ResourceDescriptor

__all__ = ["get_workflow_representation", "produced_events", "type_name", "workflow_class"]

_EXTERNAL = "external_step"
_OWN_PACKAGE = __name__.partition(".")[0]


def get_workflow_representation(workflow: object) -> WorkflowGraph:
    """Return the graph of a workflow: what its steps take, return and ask for.

    Steps come in the order of their definition, each followed by what it names. An event class
    that shares its name with a step, or with another event class, gets a number in its id.

    Args:
        workflow: a workflow class, or an instance of one.

    Raises:
        WorkflowValidationError: it is no workflow.
    """
    cls = workflow_class(workflow)
    draft = _Draft(steps_of(cls))
    return WorkflowGraph(
        name=cls.__name__,
        nodes=list(draft.nodes.values()),
        edges=draft.edges,
        description=_class_description(cls),
    )


def workflow_class(workflow: object) -> type:
    """Return the class of a workflow, given the class or an instance.

    Raises:
        WorkflowValidationError: it is no workflow.
    """
    cls = workflow if isinstance(workflow, type) else type(workflow)
    if not callable(getattr(cls, "add_step", None)):
        raise WorkflowValidationError(
            f"{workflow!r} is no workflow and has no graph. Give a class derived from Workflow, or "
            "an instance of one."
        )
    return cls


def produced_events(config: StepConfig) -> list[type[Event]]:
    """Return the event classes that a step may return, alone or in a list."""
    return [
        kind for kind in config.return_types if isinstance(kind, type) and issubclass(kind, Event)
    ]


def type_name(annotation: Any) -> str:
    """Return what the type of a parameter is called."""
    return getattr(annotation, "__name__", None) or str(annotation)


class _Draft:
    """A graph in the making."""

    def __init__(self, steps: Mapping[str, StepFunction]) -> None:
        self.nodes: dict[str, WorkflowGraphNode] = {}
        self.edges: list[WorkflowGraphEdge] = []
        self._ids = _Ids()
        self._steps = {name: config_of(step) for name, step in steps.items()}
        self._events = event_classes(self._steps)
        self._asks = any(
            issubclass(event, InputRequiredEvent)
            for config in self._steps.values()
            for event in produced_events(config)
        )
        for name in steps:
            self._ids.of(name, name)
        for name, step in steps.items():
            self._add_step(name, step)

    def _add_step(self, name: str, step: StepFunction) -> None:
        config = self._steps[name]
        self.nodes[name] = WorkflowStepNode(id=name, label=name, description=_docstring(step))
        for event in (*config.accepted_events, *produced_events(config)):
            self._add_event(event)
        for event in produced_events(config):
            self._connect(name, self._id_of(event))
        for event in self._events:
            if accepts(config, event):
                self._add_event(event)
                self._connect(self._id_of(event), name)
        for definition in config.resources:
            self._connect(name, self._add_resource(definition), definition.name)

    def _add_event(self, event: type[Event]) -> None:
        if self._id_of(event) not in self.nodes:
            self.nodes[self._id_of(event)] = self._event_node(event)
            self._add_outside(event)

    def _event_node(self, event: type[Event]) -> WorkflowEventNode:
        return WorkflowEventNode(
            id=self._id_of(event),
            label=event.__name__,
            event_type=event.__name__,
            event_types=[event.__name__, *_bases(event)],
            event_schema=_schema(event),
            produced_by=[
                name for name, config in self._steps.items() if event in produced_events(config)
            ],
        )

    def _add_outside(self, event: type[Event]) -> None:
        """Join a question to whoever is outside, and those to an answer."""
        if not self._asks:
            return
        outside = self._ids.of(WorkflowExternalNode, _EXTERNAL)
        if issubclass(event, InputRequiredEvent | HumanResponseEvent):
            self.nodes[outside] = WorkflowExternalNode(id=outside, label=_EXTERNAL)
        if issubclass(event, InputRequiredEvent):
            self._connect(self._id_of(event), outside)
        elif issubclass(event, HumanResponseEvent):
            self._connect(outside, self._id_of(event))

    def _add_resource(self, definition: ResourceDefinition) -> str:
        resource = definition.resource
        node_id = self._ids.of(*_identity(definition))
        if node_id not in self.nodes:
            self.nodes[node_id] = (
                _config_node(node_id, resource, definition.type_annotation)
                if isinstance(resource, ConfigDescriptor)
                else _resource_node(node_id, resource, definition.type_annotation)
            )
            for inner in resource.dependencies:
                self._connect(node_id, self._add_resource(inner), inner.name)
        return node_id

    def _connect(self, source: str, target: str, label: str | None = None) -> None:
        self.edges.append(WorkflowGraphEdge(source=source, target=target, label=label))

    def _id_of(self, event: type[Event]) -> str:
        return self._ids.of(event, event.__name__)


class _Ids:
    """Gives each thing an id of its own."""

    def __init__(self) -> None:
        self._ids: dict[Hashable, str] = {}

    def of(self, thing: Hashable, wanted: str) -> str:
        """Return the id of a thing: the wanted one, with a number if that is taken."""
        if thing not in self._ids:
            taken = set(self._ids.values())
            candidates = chain([wanted], (f"{wanted}_{number}" for number in count(2)))
            self._ids[thing] = next(name for name in candidates if name not in taken)
        return self._ids[thing]


def _identity(definition: ResourceDefinition) -> tuple[Hashable, str]:
    """What makes a resource the same wherever it is asked for, and the id that it would have."""
    resource = definition.resource
    if isinstance(resource, ConfigDescriptor):
        label = resource.label or type_name(definition.type_annotation)
        return (resource.config_file, resource.path_selector), f"resource_config_{label}"
    name = getattr(resource.factory, "__name__", type(resource.factory).__name__)
    return resource.factory, f"resource_{name}"


def _resource_node(
    node_id: str, resource: ResourceDescriptor, annotation: Any
) -> WorkflowResourceNode:
    file, line = _place(resource.factory)
    return WorkflowResourceNode(
        id=node_id,
        label=type_name(annotation),
        type_name=type_name(annotation),
        getter_name=title(resource.factory),
        source_file=file,
        source_line=line,
        description=_docstring(resource.factory),
    )


def _config_node(
    node_id: str, config: ConfigDescriptor, model: type[BaseModel]
) -> WorkflowResourceConfigNode:
    return WorkflowResourceConfigNode(
        id=node_id,
        label=config.label or model.__name__,
        type_name=model.__name__,
        config_file=config.config_file,
        path_selector=config.path_selector,
        config_schema=_schema(model),
        config_value=_value(config),
        description=config.description,
    )


class _AnyObject(BaseModel, extra="allow"):
    """Takes whatever stands in a file."""


def _value(config: ConfigDescriptor) -> dict[str, Any] | None:
    try:
        return replace(config.reader, model=_AnyObject)().model_dump()
    except (OSError, ValueError):  # a graph can be had before the file is there, or is right
        return None


def _bases(event: type[Event]) -> Iterator[str]:
    """The event classes that an event class derives from, but for the one that all do."""
    for base in event.__mro__[1:]:
        if issubclass(base, Event) and base is not Event:
            yield base.__name__


def _schema(model: type[BaseModel]) -> dict[str, Any] | None:
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:  # it has a field, such as a callable, that JSON can't have
        return None


def _class_description(cls: type) -> str | None:
    """The docstring of a class, or the nearest of its bases outside of this package."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in {_OWN_PACKAGE, "builtins"} and base.__doc__:
            return inspect.cleandoc(base.__doc__)
    return None


def _docstring(function: Callable[..., Any]) -> str | None:
    documentation = getattr(function, "__doc__", None)
    return inspect.cleandoc(documentation) if documentation else None


def _place(factory: Callable[..., Any]) -> tuple[str | None, int | None]:
    """File and line of a function or class; nothing for what is written in no file."""
    try:
        _, line = inspect.getsourcelines(factory)
        return inspect.getsourcefile(factory), line
    except (OSError, TypeError):
        return None, None
