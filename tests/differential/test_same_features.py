"""Programs about one feature each: Stepwell and LlamaIndex Workflows do the same.

Where the two differ on purpose, the program is not here but in the tests of the part it is about.
"""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from differential.engines import loaded

pytest.importorskip("workflows")

FILES = sorted(Path(__file__).parent.glob("programs/*.py"))


def names(file: Path) -> list[str]:
    """The programs of a file: its coroutine functions without parameters."""
    with loaded(file.read_text(), "stepwell") as module:
        own = inspect.getmembers(module, inspect.iscoroutinefunction)
        return [name for name, one in own if one.__module__ == module.__name__ and _is_free(one)]


def _is_free(function: Any) -> bool:
    return not inspect.signature(function).parameters


PROGRAMS = [
    pytest.param(file, name, id=f"{file.stem}: {name.replace('_', ' ')}")
    for file in FILES
    for name in names(file)
]


def outcome(file: Path, name: str, engine: str) -> Any:
    with loaded(file.read_text(), engine) as module:
        return asyncio.run(getattr(module, name)())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("file", "name"), PROGRAMS)
def test_a_program_does_the_same_on_both(file: Path, name: str) -> None:
    assert outcome(file, name, "stepwell") == outcome(file, name, "workflows")
