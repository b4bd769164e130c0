"""Section 13: the graph of a workflow, side by side with that of LlamaIndex Workflows."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stepwell import Workflow
from stepwell.errors import WorkflowValidationError
from stepwell.representation import (
    WorkflowEventNode,
    WorkflowExternalNode,
    WorkflowGenericNode,
    WorkflowGraph,
    WorkflowGraphEdge,
    WorkflowResourceConfigNode,
    WorkflowResourceNode,
    WorkflowStepNode,
    get_workflow_representation,
)

HEAD = """
from collections.abc import Callable
from typing import Annotated, Any, Optional
from pydantic import BaseModel
from {engine} import Context, Workflow, catch_error, step
from {engine}.collect import Collect, Take
from {engine}.events import (
    Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StepFailedEvent, StopEvent,
)
from {engine}.resource import Resource, ResourceConfig
from {engine}.representation import get_workflow_representation

class A(Event):
    "An A."
    n: int = 0
class B(Event):
    text: str
class Narrow(B):
    pass
class Ask(InputRequiredEvent):
    question: str
class Answer(HumanResponseEvent):
    pass
class Done(StopEvent):
    n: int
class Settings(BaseModel):
    "What can be set."
    depth: int
class Pool: pass
class Client: pass

def get_pool() -> Pool:
    '''The pool.

        It is deep.
    '''
    return Pool()

async def get_client(
    pool: Annotated[Pool, Resource(get_pool)],
    settings: Annotated[Settings, ResourceConfig({file!r}, "inner", label="The inner one")],
) -> Client:
    return Client()
"""

WORKFLOWS = {
    "a chain": """
class W(Workflow):
    '''A chain.

        With more to say.
    '''
    @step
    async def begin(self, ev: StartEvent) -> A:
        "Begins."
        return A()
    @step
    async def go_on(self, ctx: Context, ev: A) -> B | None: ...
    @step
    async def end(self, ev: B) -> StopEvent: ...
""",
    "a branch": """
class W(Workflow):
    "Branches."
    @step
    async def begin(self, ev: StartEvent) -> A | B: ...
    @step
    async def left(self, ev: A) -> Done: ...
    @step
    async def right(self, ev: B) -> Done: ...
""",
    "a loop": """
class W(Workflow):
    "Loops."
    @step
    async def begin(self, ev: StartEvent | A) -> B | A: ...
    @step
    async def again(self, ev: B) -> A | StopEvent: ...
""",
    "a list of events": """
class W(Workflow):
    "Fans out."
    @step
    async def begin(self, ev: StartEvent) -> list[A] | B | None: ...
    @step
    async def each(self, ev: A | B) -> StopEvent | None: ...
""",
    "lists collected": """
class W(Workflow):
    "Fans out and in."
    @step
    async def begin(self, ev: StartEvent) -> list[A | B]: ...
    @step(num_workers=2)
    async def work(self, ev: A) -> B | None: ...
    @step
    async def join(self, evs: Annotated[list[B], Collect(Take(2))]) -> Done: ...
    @step
    async def join_all(self, evs: list[A | B]) -> Done: ...
""",
    "a human in the loop": """
class W(Workflow):
    "Asks."
    @step
    async def ask(self, ev: StartEvent) -> Ask: ...
    @step
    async def hear(self, ev: Answer) -> StopEvent: ...
""",
    "steps that take what asks": """
class W(Workflow):
    "Asks, and listens to itself."
    @step
    async def ask(self, ev: StartEvent | Answer) -> InputRequiredEvent | StopEvent: ...
    @step
    async def watch(self, ev: InputRequiredEvent) -> HumanResponseEvent: ...
    @step
    async def hear(self, ev: HumanResponseEvent) -> StopEvent: ...
""",
    "an answer that nobody asked for": """
class W(Workflow):
    "Listens only."
    @step
    async def hear(self, ev: StartEvent | Answer) -> Event | None: ...
    @step
    async def end(self, ev: Event) -> StopEvent: ...
""",
    "resources in resources": """
class W(Workflow):
    "Asks for resources."
    @step
    async def begin(
        self, ev: StartEvent, c: Annotated[Client, Resource(get_client)],
        p: Annotated[Pool, Resource(get_pool, cache=False)],
    ) -> A: ...
    @step
    async def end(
        self, ev: A, client: Annotated[Client, Resource(get_client)],
        anything: Annotated[Any, Resource(lambda: 3)],
    ) -> StopEvent: ...
""",
    "configuration": """
class W(Workflow):
    "Is configured."
    @step
    async def begin(
        self, ev: StartEvent,
        all_of_it: Annotated[Settings, ResourceConfig({file!r}, description="All of it.")],
        inner: Annotated[Settings, ResourceConfig({file!r}, "inner")],
        again: Annotated[Settings, ResourceConfig({file!r}, "inner")],
    ) -> StopEvent: ...
""",
    "error handlers": """
class W(Workflow):
    "Handles errors."
    @step
    async def begin(self, ev: StartEvent) -> A: ...
    @step
    async def work(self, ev: A) -> StopEvent: ...
    @catch_error(for_steps=["work"], max_recoveries=2)
    async def recover(self, ev: StepFailedEvent) -> StopEvent: ...
    @catch_error
    async def give_up(self, ev: StepFailedEvent) -> A: ...
""",
    "a join of two parameters": """
class W(Workflow):
    "Joins."
    @step
    async def begin(self, ev: StartEvent) -> A | B: ...
    @step
    async def join(self, a: A, b: B) -> StopEvent: ...
""",
    "an unbound step": """
class W(Workflow):
    "Has a step from outside."
    @step
    async def begin(self, ev: StartEvent) -> A: ...
@step(workflow=W)
async def end(ev: A) -> StopEvent:
    "Ends."
    return StopEvent()
""",
    "subclasses of events": """
class W(Workflow):
    "Takes subclasses."
    @step
    async def begin(self, ev: StartEvent) -> Narrow: ...
    @step(accept_event_subclasses=True)
    async def end(self, ev: B) -> StopEvent: ...
""",
    "the docstring of a base": """
class Base(Workflow):
    "The base."
    @step
    async def begin(self, ev: StartEvent) -> StopEvent: ...
class W(Base):
    @step
    async def begin(self, ev: StartEvent) -> Done: ...
""",
}

FILTERS = [(), ("step",), ("event",), ("event", "external"), ("event", "step"), ("resource",)]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"depth": 1, "inner": {"depth": 2, "more": []}}))
    return file


@pytest.fixture
def program(config_file: Path, tmp_path: Path) -> Iterator[Any]:
    """Runs the text of a workflow, from a file, on one of the two packages."""
    names: list[str] = []

    def run(engine: str, text: str) -> Any:
        module = ModuleType(f"program_{len(names)}_on_{engine}")
        names.append(module.__name__)
        sys.modules[module.__name__] = module
        file = tmp_path / f"{module.__name__}.py"
        source = (HEAD + text).replace("{engine}", engine)
        file.write_text(source.replace("{file!r}", repr(str(config_file))))
        exec(compile(file.read_text(), str(file), "exec"), module.__dict__)  # noqa: S102  our own text
        return module

    yield run
    for name in names:
        del sys.modules[name]


def comparable(graph: Any) -> dict[str, Any]:
    """A graph as data, without what is each package's own.

    That is the order of the steps, the ids of resources, and the docstrings of events that a
    user did not write.
    """
    dumped = graph.model_dump()
    names = {node["id"]: _name(node) for node in dumped["nodes"]}
    nodes = {names[node["id"]]: _comparable_node(node) for node in dumped["nodes"]}
    edges = [(names[one["source"]], names[one["target"]], one["label"]) for one in dumped["edges"]]
    return {**dumped, "nodes": nodes, "edges": sorted(edges, key=repr)}


def _name(node: dict[str, Any]) -> str:
    if not node["node_type"].startswith("resource"):
        return node["id"]
    return f"{node.get('getter_name')} {node.get('config_file')} {node.get('path_selector')}"


def _comparable_node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in node.items() if key not in {"id", "source_file"}}
    if node["node_type"] == "event":
        kept["produced_by"] = sorted(node["produced_by"])
        if node["label"] != "A":
            kept["event_schema"] = without_texts(node["event_schema"])
    return kept


def without_texts(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_texts(value) for key, value in schema.items() if key != "description"}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  JSON
    return schema


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_the_graph_is_that_of_llamaindex_workflows(program: Any, text: str) -> None:
    pytest.importorskip("workflows")
    ours, theirs = (program(engine, text) for engine in ("stepwell", "workflows"))
    assert comparable(ours.get_workflow_representation(ours.W)) == comparable(
        theirs.get_workflow_representation(theirs.W)
    )


@pytest.mark.parametrize("node_types", FILTERS, ids=repr)
@pytest.mark.parametrize("name", ["a chain", "a loop", "a human in the loop", "a branch"])
def test_a_filtered_graph_is_that_of_llamaindex_workflows(
    program: Any, name: str, node_types: tuple[str, ...]
) -> None:
    pytest.importorskip("workflows")
    filtered = [
        comparable(module.get_workflow_representation(module.W).filter_by_node_type(*node_types))
        for module in (program(engine, WORKFLOWS[name]) for engine in ("stepwell", "workflows"))
    ]
    assert filtered[0] == filtered[1]


def graph_of(program: Any, name: str) -> WorkflowGraph:
    module = program("stepwell", WORKFLOWS[name])
    return get_workflow_representation(module.W)


def test_an_instance_has_the_graph_of_its_class(program: Any) -> None:
    module = program("stepwell", WORKFLOWS["a chain"])
    graph = get_workflow_representation(module.W(workflow_name="other"))
    assert graph == get_workflow_representation(module.W)
    assert graph.name == "W"


def test_a_resource_names_the_file_of_its_factory(program: Any) -> None:
    module = program("stepwell", WORKFLOWS["resources in resources"])
    nodes = get_workflow_representation(module.W).nodes
    found = {node.source_file for node in nodes if isinstance(node, WorkflowResourceNode)}
    assert found == {module.get_pool.__code__.co_filename}


def test_a_graph_survives_json(program: Any) -> None:
    for name in ("configuration", "a human in the loop", "resources in resources"):
        graph = graph_of(program, name)
        assert WorkflowGraph.model_validate_json(graph.model_dump_json()) == graph


def test_the_same_workflow_gives_the_same_graph(program: Any) -> None:
    name = "resources in resources"
    assert graph_of(program, name).edges == graph_of(program, name).edges


def test_steps_come_in_the_order_of_their_definition(program: Any) -> None:
    steps = [node.id for node in graph_of(program, "a chain").nodes if node.node_type == "step"]
    assert steps == ["begin", "go_on", "end"]


def test_a_long_label_is_cut_and_marked() -> None:
    node = WorkflowStepNode(id="x", label="abcdef")
    assert [node.truncated_label(length) for length in (6, 5, 1)] == ["abcdef", "abcd*", "*"]


def test_an_event_knows_what_it_derives_from() -> None:
    node = WorkflowEventNode(id="x", label="x", event_type="B", event_types=["B", "A"])
    assert node.is_subclass_of("Z", "A")
    assert not node.is_subclass_of("Z")
    assert not node.is_subclass_of()


def test_a_generic_node_may_know_what_it_derives_from() -> None:
    node = WorkflowGenericNode(id="x", label="x", node_type="agent", event_types=["A"])
    assert node.is_subclass_of("A")
    assert not WorkflowGenericNode(id="x", label="x", node_type="agent").is_subclass_of("A")


def test_nodes_are_read_by_their_type_and_unknown_ones_as_generic() -> None:
    types = ["step", "external", "resource", "resource_config", "agent"]
    nodes = [{"id": name, "label": name, "node_type": name} for name in types]
    graph = WorkflowGraph.model_validate({"name": "x", "nodes": nodes, "edges": []})
    assert [type(node) for node in graph.nodes] == [
        WorkflowStepNode,
        WorkflowExternalNode,
        WorkflowResourceNode,
        WorkflowResourceConfigNode,
        WorkflowGenericNode,
    ]


def test_a_circle_of_removed_nodes_is_left_once() -> None:
    kinds = {"a": "step", "p": "odd", "q": "odd", "b": "step"}
    graph = WorkflowGraph(
        name="x",
        nodes=[
            WorkflowGenericNode(id=name, label=name.upper(), node_type=kind)
            for name, kind in kinds.items()
        ],
        edges=[
            WorkflowGraphEdge(source=source, target=target)
            for source, target in map(tuple, ("ap", "pq", "qp", "qb", "pb"))
        ],
    )
    assert graph.filter_by_node_type("odd").edges == [
        WorkflowGraphEdge(source="a", target="b", label="P")
    ]


def test_things_of_one_name_have_ids_of_their_own(program: Any) -> None:
    module = program(
        "stepwell",
        """
class begin(Event): pass
Begin = begin
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Begin: ...
    @step
    async def end(self, ev: Begin) -> StopEvent: ...
""",
    )
    graph = get_workflow_representation(module.W)
    assert [node.id for node in graph.nodes].count("begin") == 1
    assert WorkflowGraphEdge(source="begin", target="begin_2") in graph.edges


def test_an_event_without_a_json_schema_is_shown_without_one(program: Any) -> None:
    module = program(
        "stepwell",
        """
class Call(StartEvent):
    function: Callable[[int], int]
class W(Workflow):
    @step
    async def begin(self, ev: Call) -> StopEvent: ...
""",
    )
    nodes = {node.id: node for node in get_workflow_representation(module.W).nodes}
    assert isinstance(nodes["Call"], WorkflowEventNode)
    assert nodes["Call"].event_schema is None


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_config_file_that_cannot_be_read_has_no_value(
    program: Any, config_file: Path, content: str | None
) -> None:
    if content is None:
        config_file.unlink()
    else:
        config_file.write_text(content)
    nodes = graph_of(program, "configuration").nodes
    configs = [node for node in nodes if isinstance(node, WorkflowResourceConfigNode)]
    assert [node.config_value for node in configs] == [None, None]
    assert configs[0].config_file == str(config_file)


def test_what_a_workflow_does_not_say_is_not_said_for_it(program: Any) -> None:
    module = program(
        "stepwell",
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent: ...
""",
    )
    assert Workflow.__doc__
    assert get_workflow_representation(module.W).description is None


@pytest.mark.parametrize("thing", [3, None, int, WorkflowGraph])
def test_what_is_no_workflow_has_no_graph(thing: object) -> None:
    with pytest.raises(WorkflowValidationError, match="is no workflow"):
        get_workflow_representation(thing)
