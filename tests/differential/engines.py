"""One program text, with the names of one engine or the other."""

import functools
import itertools
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ENGINES", "head", "loaded"]

ENGINES = ("stepwell", "workflows")

_numbers = itertools.count()


@contextmanager
def loaded(text: str, engine: str, names: Mapping[str, Any] | None = None) -> Generator[ModuleType]:
    """A program, written against Stepwell, as a module that imports from an engine.

    It is a module since step signatures look up their names in one.
    """
    module = ModuleType(f"program_{next(_numbers)}")
    vars(module).update(names or {}, __name__=module.__name__)
    sys.modules[module.__name__] = module
    try:
        _execute(text, engine, module)
        yield module
    finally:
        del sys.modules[module.__name__]


@functools.cache
def head(engine: str) -> Mapping[str, Any]:
    """The names that all random programs use, of `head.py`."""
    module = sys.modules[f"head_{engine}"] = ModuleType(f"head_{engine}")
    _execute(Path(__file__).with_name("head.py").read_text(), engine, module)
    return vars(module)


def _execute(text: str, engine: str, module: ModuleType) -> None:
    text = re.sub(r"^from stepwell\b", f"from {engine}", text, flags=re.MULTILINE)
    exec(text, vars(module))  # noqa: S102  programs of the tests' own
