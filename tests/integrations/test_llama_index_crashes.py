"""An agent's process is killed, and another one goes on with the run."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.processes import Child

Program = Callable[..., Child]

BOTH = [["first", "1"], ["second", "2"]]
SAID = {
    "function": [
        "user: Do both.",
        "assistant: None",
        "tool: 1",
        "assistant: None",
        "tool: 2",
        "assistant: Done: 1 2.",
    ],
    "react": [
        "user: Do both.",
        "assistant: Thought: I need a tool.\nAction: first\nAction Input: {}\nObservation: 1\n"
        "Thought: I need a tool.\nAction: second\nAction Input: {}\nObservation: 2\n"
        "Thought: I can answer.\nAnswer: Done: 1 2.",
    ],
}
CLASSES = {"default": "ChatMemoryBuffer", "buffer": "ChatMemoryBuffer", "memory": "Memory"}


def times(journal: Path) -> Counter[str]:
    return Counter(journal.read_text().split("\n")[:-1])


async def last_words(child: Child) -> Any:
    line = await child.line("[")
    assert await child.exit() == 0
    return json.loads(line)


@pytest.mark.parametrize(
    ("agent", "memory"),
    [("function", "default"), ("function", "buffer"), ("function", "memory"), ("react", "memory")],
)
async def test_killed_in_its_second_tool_an_agent_does_not_repeat_the_first(
    program: Program, journal: Path, agent: str, memory: str
) -> None:
    async with program("durable", "tool", agent, memory) as child:
        await child.line("in the second tool")
        child.kill()
        assert await child.exit() == -signal.SIGKILL
    async with program("durable", "tool", agent, memory) as child:
        assert await last_words(child) == ["Done: 1 2.", BOTH, SAID[agent], CLASSES[memory]]
    assert times(journal) == {"first": 1, "second": 2, "answer": 1}


async def test_killed_as_the_model_answers_two_agents_go_on_without_a_tool_call(
    program: Program, journal: Path
) -> None:
    async with program("durable", "answer", "handoff", "memory") as child:
        assert await child.exit() == -signal.SIGKILL
    async with program("durable", "answer", "handoff", "memory") as child:
        answer, calls, said, kind = await last_words(child)
    assert (answer, calls[1:], kind) == ("Done: 1 2.", BOTH, "Memory")
    assert [calls[0][0], *said[-5:]] == ["handoff", *SAID["function"][1:]]
    assert times(journal) == {"first": 1, "second": 1, "answer": 2}


async def test_started_again_with_another_session_it_is_another_run(
    program: Program, journal: Path
) -> None:
    """Two people who say the same thing have a run each: the one that was killed waits for its."""
    async with program("durable", "answer", "function", "memory") as child:
        assert await child.exit() == -signal.SIGKILL
    async with program("durable", "answer", "function", "default") as child:
        await last_words(child)
    assert times(journal) == {"first": 2, "second": 2, "answer": 2}


async def test_of_three_tools_at_once_the_two_that_were_done_are_not_repeated(
    program: Program, journal: Path
) -> None:
    async with program("parallel") as child:
        await child.line("two are done")
        child.kill()
        assert await child.exit() == -signal.SIGKILL
    async with program("parallel") as child:
        answer, calls, said = await last_words(child)
    assert sorted(answer.split(", ")) == ["did 0", "did 1", "did 2"]
    assert sorted(calls) == [["w-0", "did 0"], ["w-1", "did 1"], ["w-2", "did 2"]]
    assert sorted(said[2:5]) == ["tool: did 0", "tool: did 1", "tool: did 2"]
    assert times(journal) == {"model": 2, "work 0": 1, "work 1": 2, "work 2": 1}
