"""An agent's tool asks a human; its process dies, and the answer comes in another one."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.processes import Child

Program = Callable[..., Child]

SAID = [
    "user: Clean up.",
    "assistant: None",
    "tool: prepared",
    "assistant: None",
    "tool: deleted a.txt: yes",
    "assistant: deleted a.txt: yes",
]


def times(journal: Path) -> Counter[str]:
    return Counter(journal.read_text().split())


async def killed_as_it_asks(child: Child) -> None:
    await child.line("Delete a.txt?")
    child.kill()
    assert await child.exit() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("way", "memory"),
    [
        ("checkpointer", "default"),
        ("checkpointer", "memory"),
        ("run-id", "buffer"),
        ("map", "default"),
        ("map", "memory"),
    ],
)
async def test_another_process_sees_the_question_and_gives_the_answer(
    program: Program, journal: Path, tmp_path: Path, way: str, memory: str
) -> None:
    async with program("human", "ask", way, memory, cwd=tmp_path) as child:
        if way == "map":
            assert await child.exit() == -signal.SIGKILL
        else:
            await killed_as_it_asks(child)
    async with program("human", "answer", way, memory, cwd=tmp_path) as child:
        await child.line("Delete a.txt?")
        assert json.loads(await child.line("[")) == [SAID[-1].removeprefix("assistant: "), SAID]
        assert await child.exit() == 0
    assert times(journal) == {"model": 3, "prepared": 1, "asked": 2, "deleted": 1}


async def test_a_process_that_dies_while_it_asks_again_loses_nothing(
    program: Program, journal: Path
) -> None:
    for _ in range(2):
        async with program("human", "ask", "checkpointer", "memory") as child:
            await killed_as_it_asks(child)
    async with program("human", "answer", "checkpointer", "memory") as child:
        assert json.loads(await child.line("["))[1] == SAID
    assert times(journal)["deleted"] == 1
