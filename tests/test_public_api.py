"""What users may import: all of it is there, described, and nothing else is offered."""

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import stepwell
from stepwell import errors

INTERFACE = [
    "stepwell",
    "stepwell.client",
    "stepwell.collect",
    "stepwell.compat",
    "stepwell.context",
    "stepwell.context.serializers",
    "stepwell.context.state_store",
    "stepwell.context.utils",
    "stepwell.decorators",
    "stepwell.errors",
    "stepwell.events",
    "stepwell.handler",
    "stepwell.plugins",
    "stepwell.redis",
    "stepwell.representation",
    "stepwell.resource",
    "stepwell.retry_policy",
    "stepwell.runtime.types.results",
    "stepwell.testing",
    "stepwell.testing.runner",
    "stepwell.types",
    "stepwell.utils",
    "stepwell.worker",
    "stepwell.workflow",
]
"""The modules that the documentation names."""

INNER = {"stepwell.context.state_store": {"Cell"}}
"""What such a module holds for its sister modules."""


@pytest.fixture(params=INTERFACE)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def offered(module: ModuleType) -> list[str]:
    return list(module.__all__)


def described(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions of ours that a module offers, and the methods of the classes."""
    for name in offered(module):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        yield name, thing
        if inspect.isclass(thing):
            members = vars(thing).items()
            yield from (
                (f"{name}.{member}", one) for member, one in members if _speaks(member, one)
            )


def _speaks(name: str, member: object) -> bool:
    kinds = (property, classmethod, staticmethod)
    return not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, kinds))


def test_a_module_says_what_it_is(module: ModuleType) -> None:
    assert inspect.getdoc(module)


def test_what_is_offered_is_there_once(module: ModuleType) -> None:
    names = offered(module)
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(module, name)] == []


def test_what_is_there_is_offered(module: ModuleType) -> None:
    made_here = {
        name
        for name, thing in vars(module).items()
        if (inspect.isclass(thing) or inspect.isroutine(thing))
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert made_here - set(offered(module)) - INNER.get(module.__name__, set()) == set()


def test_what_is_offered_is_described(module: ModuleType) -> None:
    assert [name for name, thing in described(module) if not inspect.getdoc(thing)] == []


def test_the_front_door_offers_what_a_first_program_needs() -> None:
    assert {"Context", "Workflow", "step"} <= set(stepwell.__all__)


# --- the tree of errors ---


def drawn() -> dict[str, str | None]:
    """The tree that the docstring of the errors draws: each class and its parent."""
    tree: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r" {4}([│├└─ ]*)(\w+)( {2,}\S.*)?", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            tree[found[2]] = above[depth - 1] if depth else None
    return tree


def test_the_tree_at_the_top_of_the_errors_is_the_tree_of_classes() -> None:
    classes = {name: getattr(errors, name) for name in errors.__all__}
    parents = {
        name: cls.__bases__[0].__name__ if cls is not errors.StepwellError else None
        for name, cls in classes.items()
    }
    assert drawn() == parents


def test_every_error_of_ours_is_caught_by_the_root() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.StepwellError)


def test_errors_of_values_are_value_errors_too() -> None:
    assert issubclass(errors.EncodingError, ValueError)
    assert issubclass(errors.DecodingError, ValueError)
