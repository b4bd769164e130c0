"""From `my.module:name` to a workflow."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from stepwell._names import kind_of
from stepwell.errors import WorkflowConfigurationError
from stepwell.workflow import Workflow

__all__ = ["find_workflow"]


def find_workflow(target: str) -> Workflow:
    """Return the workflow that a target names: an instance, or what a class or a function makes.

    Modules are looked for in the current directory first.

    Args:
        target: `my.module:name`.

    Raises:
        WorkflowConfigurationError: there is no such module, it fails, or it has no such workflow.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and module_name and name):
        raise WorkflowConfigurationError(
            f"{target!r} names no workflow: write it as my.module:name, the module first"
        )
    dotted = module_name.removeprefix("./").removesuffix(".py").replace("/", ".")
    if dotted != module_name:
        raise WorkflowConfigurationError(
            f"{target!r} names a file: write '{dotted}:{name}', the module as in an import"
        )
    module = _import(module_name)
    if not hasattr(module, name):
        raise WorkflowConfigurationError(
            f"{target!r}: module {module_name} has no {name!r}. {_offers(module)}"
        )
    return _made(target, getattr(module, name))


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != name and not name.startswith(f"{missing}."):
            raise _failed(name, error) from error
        raise WorkflowConfigurationError(
            f"there is no module {missing!r}, neither in {here} nor where Python looks: run the "
            "command in the directory that has it, or install its package"
        ) from None
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> WorkflowConfigurationError:
    """A module raised when it was imported: what, and where, in one line."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return WorkflowConfigurationError(
        f"importing {name!r} failed: {type(error).__name__}: {said}, {_place(error)}"
    )


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = [one for one in frames if not one.filename.startswith("<frozen")][-1]
    return f"{frame.filename}:{frame.lineno}"


def _offers(module: ModuleType) -> str:
    """What could have been meant."""
    found = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Workflow) or (_is_workflow_class(value) and value is not Workflow)
    ]
    return f"Its workflows are: {', '.join(found)}" if found else "There is no workflow in it"


def _is_workflow_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Workflow)


def _made(target: str, value: object) -> Workflow:
    if isinstance(value, Workflow):
        return value
    if not callable(value) or (isinstance(value, type) and not _is_workflow_class(value)):
        raise WorkflowConfigurationError(
            f"{target!r} is {kind_of(value)}: name a workflow, its class, or a function without "
            "arguments that makes it"
        )
    made = _call(target, cast("Callable[[], Any]", value))
    if isinstance(made, Workflow):
        return made
    raise WorkflowConfigurationError(
        f"{target!r} made {kind_of(made)}, and should make an instance of a workflow"
    )


def _call(target: str, make: Callable[[], Any]) -> object:
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError) as error:
        raise WorkflowConfigurationError(
            f"{target!r} can't be called without arguments ({error}): name an instance, or a "
            "function that gives the arguments"
        ) from None
    if inspect.iscoroutinefunction(make):
        raise WorkflowConfigurationError(
            f"{target!r} is an async function: make the workflow in an ordinary one, and what "
            "must be awaited in a resource of its steps"
        )
    return make()
