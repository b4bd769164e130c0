"""The programs on the two pages of documentation that the project was created from."""

import ast
import os
import re
import types
from collections.abc import Mapping
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any

import pytest

__all__ = ["as_stepwell", "execute", "programs"]

PAGES = Path(__file__).parents[3] / "shared" / "seeds"


def programs(page: str) -> list[str]:
    """The programs of a page, in order; the pages lie beside the project, not in it."""
    found = list(PAGES.glob(f"{page}_*.txt"))
    if not found and os.environ.get("CI"):
        pytest.fail(f"the seed pages are not at {PAGES.name}")
    if not found:
        pytest.skip("the seed pages are not beside this clone")
    return re.findall(r"^```\n(.*?)^```", found[0].read_text(), re.DOTALL | re.MULTILINE)


def as_stepwell(program: str) -> str:
    """The program with its import lines changed, and nothing else."""
    return re.sub(r"^from workflows\b", "from stepwell", program, flags=re.MULTILINE)


async def execute(program: str, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program, top-level awaits included; return its names."""
    module = types.ModuleType("seed")
    module.__dict__.update(supplied)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(as_stepwell(program), "<seed page>", "exec", flags=flags)
    result = eval(code, module.__dict__)  # noqa: S307  it is the page's own text
    if code.co_flags & CO_COROUTINE:
        await result
    return module.__dict__
