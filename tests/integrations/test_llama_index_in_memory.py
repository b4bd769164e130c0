"""LlamaIndex's agents do on Stepwell what they do on LlamaIndex Workflows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "same_as_peer.py"
ONE_AT_A_TIME = [
    "function",
    "function-not-streaming",
    "handoff",
    "every-kind",
    "react",
    "return-direct",
    "endless",
    "endless-but-told",
]


def told_on(engine: str) -> dict[str, Any]:
    """What every agent of the program did on an engine."""
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, PROGRAM],
        env={"ENGINE": engine},
        stdout=subprocess.PIPE,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["agent"]: one for one in told}


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return told_on("stepwell")


@pytest.fixture(scope="module")
def peers() -> dict[str, Any]:
    return told_on("workflows")


@pytest.mark.parametrize("agent", ONE_AT_A_TIME)
def test_an_agent_streams_and_answers_as_on_the_peer(
    ours: dict[str, Any], peers: dict[str, Any], agent: str
) -> None:
    assert ours[agent]["turns"] == peers[agent]["turns"]
    assert ours[agent]["remembered"][0] == peers[agent]["remembered"][0]


def test_tools_that_run_at_once_are_called_and_answer_as_on_the_peer(
    ours: dict[str, Any], peers: dict[str, Any]
) -> None:
    """Which of them comes first, in the stream and in the memory, is free."""
    turns = zip(ours["parallel"]["turns"], peers["parallel"]["turns"], strict=True)
    for (stream, answer), (peers_stream, peers_answer) in turns:
        assert answer == peers_answer
        assert sorted(map(str, stream)) == sorted(map(str, peers_stream))
    remembered = (sorted(told["parallel"]["remembered"][0]) for told in (ours, peers))
    assert next(remembered) == next(remembered)


@pytest.mark.parametrize("agent", ["function", "handoff", "react"])
def test_a_second_turn_on_the_same_context_remembers_the_first(
    ours: dict[str, Any], agent: str
) -> None:
    """On the peer it does not: its context loses the memory at the end of a run."""
    first, second, *_ = ours[agent]["remembered"]
    assert second[: len(first)] == first
    assert len(second) > len(first)
