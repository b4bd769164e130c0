"""What a type checker says of events: a file of a user's, checked by pyright."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """\
from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent

class Page(Event):
    number: int

class Answer(HumanResponseEvent):
    pass

class Loose(Event):
    number: int = 0
    __init__ = Event.__init__

class Verdict(StopEvent):
    score: int

Event(anything=1)
StartEvent(anything=1)
InputRequiredEvent(prefix="name?")
HumanResponseEvent(response="Ann")
StopEvent("done", anything=1)
StopEvent(result="done")
Page(number=1)
Page(**{"number": 1, "anything": 2})
Loose(anything=1)
Verdict(score=1)
Page(number="one")  # reportArgumentType
Page()  # reportCallIssue
Page(number=1, anything=2)  # reportCallIssue
Answer(response="Ann")  # reportCallIssue
reveal_type(Page(number=1).number)  # int
reveal_type(Page(number=1).anything)  # Any
reveal_type(StartEvent(anything=1))  # StartEvent
reveal_type(StartEvent(anything=1).anything)  # Any
"""
"""A comment says what is expected there: the rule that is broken, or the type that is found."""


@pytest.mark.parametrize("mode", ["basic", "strict"])
def test_events_take_any_keyword_and_know_their_fields(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "program.py"
    file.write_text(f"# pyright: {mode}\n{PROGRAM}")
    assert dict(findings(file)) == dict(expectations(file))


def findings(file: Path) -> Iterator[tuple[int, str]]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(file.parent)]
    command += ["--pythonpath", sys.executable]
    told = subprocess.run(command, capture_output=True, check=False, text=True).stdout  # noqa: S603  our own tool
    for finding in json.loads(told)["generalDiagnostics"]:
        revealed = re.search('is "(.*)"$', finding["message"])
        number = finding["range"]["start"]["line"]
        yield number, finding.get("rule") or (revealed[1] if revealed else finding["message"])


def expectations(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.read_text().splitlines()):
        code, _, comment = line.partition("  # ")
        if code and comment:
            yield number, comment
