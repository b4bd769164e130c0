"""A conversation goes on in another process, with the context of the turn before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.processes import Child

Program = Callable[..., Child]

CLASSES = {"default": "ChatMemoryBuffer", "buffer": "ChatMemoryBuffer", "memory": "Memory"}
ANSWER = "aqua means water; you asked one and two"


@pytest.mark.parametrize(
    ("way", "memory"),
    [("load", "default"), ("load", "memory"), ("map", "buffer"), ("map", "memory")],
)
async def test_the_second_turn_remembers_the_first(
    program: Program, tmp_path: Path, way: str, memory: str
) -> None:
    """`load`: out of the store; `map`: out of `ctx.to_dict_async()`, in a file."""
    async with program("turns", "first", way, memory, cwd=tmp_path) as child:
        assert await child.line("[") == '["aqua means water; you asked one"]'
        assert await child.exit() == 0
    async with program("turns", "second", way, memory, cwd=tmp_path) as child:
        answer, said, kind = json.loads(await child.line("["))
        assert await child.exit() == 0
    assert (answer, kind) == (ANSWER, CLASSES[memory])
    assert [line for line in said if line.startswith("user")] == ["user: one", "user: two"]
    assert said[3] == "assistant: aqua means water; you asked one"
    assert said[-1] == f"assistant: {ANSWER}"
