"""A workflow as nodes and edges: plain data, to be drawn, compared or sent as JSON."""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

__all__ = [
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowGenericNode",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowGraphNode",
    "WorkflowNodeBase",
    "WorkflowResourceConfigNode",
    "WorkflowResourceNode",
    "WorkflowStepNode",
]


class WorkflowNodeBase(BaseModel):
    """What all nodes have: an id that is unique in the graph, and a text to show."""

    id: str
    label: str

    def truncated_label(self, max_length: int) -> str:
        """Return the label in at most `max_length` characters; a star stands for what is cut."""
        if len(self.label) <= max_length:
            return self.label
        return f"{self.label[: max_length - 1]}*"


class WorkflowStepNode(WorkflowNodeBase):
    """A step; its description is its docstring."""

    node_type: Literal["step"] = "step"
    description: str | None = None


class WorkflowEventNode(WorkflowNodeBase):
    """A class of events.

    Attributes:
        event_type: the name of the class.
        event_types: that name, then those of the event classes that it derives from.
        event_schema: its JSON schema; None if a field of it has none.
        produced_by: the steps whose annotation says that they return it.
    """

    node_type: Literal["event"] = "event"
    event_type: str
    event_types: list[str]
    event_schema: dict[str, Any] | None = None
    produced_by: list[str] = []

    def is_subclass_of(self, *type_names: str) -> bool:
        """Tell whether it is one of these classes, or derives from one."""
        return not set(type_names).isdisjoint(self.event_types)


class WorkflowExternalNode(WorkflowNodeBase):
    """Whoever is outside of the workflow: takes what asks for input, and answers."""

    node_type: Literal["external"] = "external"


class WorkflowResourceNode(WorkflowNodeBase):
    """A resource that steps, or other resources, ask for.

    Attributes:
        type_name: the type of the parameter that asked first.
        getter_name: the qualified name of the factory.
        source_file: absolute path of the file that defines the factory.
        source_line: line in that file, from 1.
        description: the docstring of the factory.
    """

    node_type: Literal["resource"] = "resource"
    type_name: str | None = None
    getter_name: str | None = None
    source_file: str | None = None
    source_line: int | None = None
    description: str | None = None


class WorkflowResourceConfigNode(WorkflowNodeBase):
    """A resource that is read from a JSON file.

    Attributes:
        type_name: the model that the file is validated with.
        config_file: path of the file.
        path_selector: dotted path to the part of the file that is meant.
        config_schema: JSON schema of the model.
        config_value: what stands in the file now; None if that can't be read.
        description: what it is for.
    """

    node_type: Literal["resource_config"] = "resource_config"
    type_name: str | None = None
    config_file: str | None = None
    path_selector: str | None = None
    config_schema: dict[str, Any] | None = None
    config_value: dict[str, Any] | None = None
    description: str | None = None


class WorkflowGenericNode(WorkflowNodeBase):
    """A node of a type that is not known here, such as an agent."""

    node_type: str
    event_type: str | None = None
    event_types: list[str] | None = None

    def is_subclass_of(self, *type_names: str) -> bool:
        """Tell whether it is one of these classes, or derives from one."""
        return not set(type_names).isdisjoint(self.event_types or ())


WorkflowGraphNode: TypeAlias = (
    WorkflowStepNode
    | WorkflowEventNode
    | WorkflowExternalNode
    | WorkflowResourceNode
    | WorkflowResourceConfigNode
    | WorkflowGenericNode
)


class WorkflowGraphEdge(BaseModel):
    """An edge from one node to another, by their ids."""

    source: str
    target: str
    label: str | None = None


class WorkflowGraph(BaseModel):
    """A workflow: its nodes, and the edges between them.

    Attributes:
        name: the workflow class.
        nodes: steps, events, resources, and who is outside.
        edges: what leads where; an edge to a resource has the name of the parameter as label.
        description: the docstring of the class.
    """

    name: str
    nodes: list[WorkflowGraphNode]
    edges: list[WorkflowGraphEdge]
    description: str | None = None

    def filter_by_node_type(self, *node_types: str) -> "WorkflowGraph":
        """Return the graph without the nodes of these types.

        What was joined by removed nodes is joined by one edge, with the label of the first of
        them.
        """
        kept = [node for node in self.nodes if node.node_type not in node_types]
        removed = {node.id: node.label for node in self.nodes if node.node_type in node_types}
        ids = {node.id for node in kept}
        edges = [edge for edge in self.edges if {edge.source, edge.target} <= ids]
        joined = {(edge.source, edge.target) for edge in edges}
        for edge in self._bridges(ids, removed):
            if (edge.source, edge.target) not in joined:
                joined.add((edge.source, edge.target))
                edges.append(edge)
        return self.model_copy(update={"nodes": kept, "edges": edges})

    def _bridges(self, kept: set[str], removed: dict[str, str]) -> Iterator[WorkflowGraphEdge]:
        """The edges that stand for ways which begin and end at kept nodes, all else removed."""
        targets: dict[str, list[str]] = {}
        for edge in self.edges:
            targets.setdefault(edge.source, []).append(edge.target)
        for edge in self.edges:
            if edge.source in kept and edge.target in removed:
                for target in _reached(edge.target, targets, through=removed):
                    if target in kept:
                        yield WorkflowGraphEdge(
                            source=edge.source, target=target, label=removed[edge.target]
                        )


def _reached(start: str, targets: dict[str, list[str]], through: dict[str, str]) -> list[str]:
    """All that can be reached from `start`, nearest first; only `through` leads any further."""
    found = [start]
    for node in found:
        if node in through:
            found += [
                target for target in dict.fromkeys(targets.get(node, ())) if target not in found
            ]
    return found
