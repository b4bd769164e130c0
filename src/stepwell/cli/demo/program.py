"""The program that the demo runs: a file of `examples/`, as it is."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import stepwell
from stepwell.errors import WorkflowRuntimeError

__all__ = ["Program", "load", "locate"]

_NAME = "durable_documents"


class Program(Protocol):
    """What the demo uses of the program."""

    convert: Callable[[Path, Path], None]

    def find_documents(self, source: Path) -> list[str]:
        """The documents in a folder, in a fixed order."""
        ...

    async def convert_folder(self, source: Path, pages: Path, checkpointer: Any) -> list[str]:
        """Run the workflow."""
        ...


def locate() -> Path:
    """The program's file: a wheel carries it inside the package, a clone has it in `examples/`.

    Raises:
        WorkflowRuntimeError: it is not there.
    """
    package = Path(stepwell.__file__).parent
    folders = [package / "_examples", package.parents[1] / "examples"]
    for path in (folder / f"{_NAME}.py" for folder in folders):
        if path.is_file():
            return path
    raise WorkflowRuntimeError(
        f"{_NAME}.py is neither in {folders[0]} nor in {folders[1]}: install stepwell anew"
    )


def load() -> Program:
    """The program as a module, which is imported once a process."""
    module = sys.modules.get(_NAME) or _import(locate())
    return cast("Program", module)


def _import(path: Path) -> ModuleType:
    spec = spec_from_file_location(_NAME, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} can't be imported")
    module = sys.modules[_NAME] = module_from_spec(spec)  # its own annotations are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        raise
    return module
