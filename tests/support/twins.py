"""The same program text, with the names of Stepwell or with those of LlamaIndex Workflows."""

import importlib
import typing
from typing import Any

__all__ = ["execute", "flow"]

_MODULES = (
    "collect",
    "context",
    "decorators",
    "errors",
    "events",
    "resource",
    "retry_policy",
    "workflow",
)

_EVENTS = """
class A(Event): ...
class ASub(A): ...
class B(Event): ...
class C(Event): ...
class D(Event): ...
class MyStart(StartEvent): ...
class MyStop(StopEvent): ...
class Ask(InputRequiredEvent): ...
class Answer(HumanResponseEvent): ...
class MyFailure(StepFailedEvent): ...
"""


def flow(*steps: str) -> str:
    """Write a workflow class, from `name(parameters) -> returns`, or `@decorator; name(...)`."""
    return "class Flow(Workflow):\n" + "\n".join(map(_written, steps))


def _written(step: str) -> str:
    decorator, _, signature = step.rpartition("; ")
    name, _, rest = signature.partition("(")
    return f"    {decorator or '@step'}\n    async def {name}(self, {rest}: ..."


def execute(package: str, text: str) -> dict[str, Any]:
    """Run a program with the public names of one of the packages; return all its names."""
    names: dict[str, Any] = {"__name__": "twins", **vars(typing)}
    for module in _MODULES:
        public = vars(importlib.import_module(f"{package}.{module}")).items()
        names.update({name: value for name, value in public if not name.startswith("_")})
    exec(_EVENTS + text, names)  # noqa: S102 - the programs are the tests' own
    return names
