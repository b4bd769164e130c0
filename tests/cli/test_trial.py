"""The trial, with a child that does nothing but write to the journal."""

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.cli.demo.journal import Entry
from stepwell.cli.demo.numbers import count
from stepwell.cli.demo.trial import Job, Trial, choose_kills
from stepwell.errors import RunFailed

DOCUMENTS = [f"{letter}.md" for letter in "abcdef"]

CHILD = """
import os, signal, sys, time
from pathlib import Path
from stepwell.cli.demo.journal import Entry, Journal, JournalReader

path, stalls, *documents = sys.argv[1:]
known = JournalReader(Path(path))
known.read()
begun = [entry.document for entry in known.entries if entry.what == "began"]
ended = [entry.document for entry in known.entries if entry.what == "ended"]
journal = Journal(Path(path))

def note(what, document=""):
    journal.write(Entry(pid=os.getpid(), at=time.monotonic(), what=what, document=document))

note("ready")
for document in documents:
    if document not in ended:
        note("began", document)
        if document in stalls.split() and document not in begun:
            signal.pause()
        note("ended", document)
"""


class FakeJob(Job):
    stalls: str = ""
    program: str = CHILD

    @property
    def command(self) -> list[str]:
        arguments = [str(self.journal), self.stalls, *self.documents]
        return [sys.executable, "-c", self.program, *arguments]


@dataclass
class Listener:
    heard: list[str] = field(default_factory=list[str])
    done: int = 0

    def started(self, pid: int) -> None:
        self.heard.append(f"started {pid}")

    def progressed(self, done: int) -> None:
        assert done >= self.done
        self.done = done

    def killed(self, pid: int, last: Entry | None) -> None:
        assert last is not None
        self.heard.append(f"killed {pid} {last.what} {last.document}")


@pytest.fixture
def listener() -> Listener:
    return Listener()


def job(home: Path, *, stalls: str = "", program: str = CHILD) -> Job:
    kind = type("_Job", (FakeJob,), {"stalls": stalls, "program": program})
    return kind(source=home, documents=DOCUMENTS, home=home, store="none:")


def test_the_process_is_killed_where_it_should_be_and_started_again(
    tmp_path: Path, listener: Listener
) -> None:
    launches, entries = Trial(job(tmp_path, stalls="b.md e.md"), listener).run([1, 4])
    first, second, third = (launch.pid for launch in launches)
    assert [launch.killed for launch in launches] == [True, True, False]
    assert listener.heard == [
        f"started {first}",
        f"killed {first} began b.md",
        f"started {second}",
        f"killed {second} began e.md",
        f"started {third}",
    ]
    assert listener.done == len(DOCUMENTS)
    result = count(DOCUMENTS, entries, launches)
    assert (result.executed, result.repeated, result.kills) == (8, 2, 2)
    assert len(result.resumes) == 2
    assert all(0 < resume.startup <= resume.total for resume in result.resumes)


def test_without_kills_there_is_one_process(tmp_path: Path, listener: Listener) -> None:
    launches, entries = Trial(job(tmp_path), listener).run([])
    assert [launch.killed for launch in launches] == [False]
    assert count(DOCUMENTS, entries, launches).executed == len(DOCUMENTS)


def test_a_process_that_is_done_before_its_kill_is_the_last(
    tmp_path: Path, listener: Listener
) -> None:
    launches, _ = Trial(job(tmp_path), listener).run([len(DOCUMENTS), len(DOCUMENTS)])
    assert [launch.killed for launch in launches] == [False]


def test_a_process_that_fails_by_itself_is_quoted(tmp_path: Path, listener: Listener) -> None:
    failing = job(tmp_path, program="import sys; sys.exit('StoreUnavailable:\\nnobody')")
    with pytest.raises(RunFailed, match=r"status 1: StoreUnavailable:\nnobody \("):
        Trial(failing, listener).run([1])


def test_of_a_traceback_the_last_line_is_quoted(tmp_path: Path, listener: Listener) -> None:
    failing = job(tmp_path, program="raise ValueError('no such thing')")
    with pytest.raises(RunFailed, match=r"^the process .* status 1: ValueError: no such thing \("):
        Trial(failing, listener).run([])


def test_a_process_that_is_killed_by_others_is_no_success(
    tmp_path: Path, listener: Listener
) -> None:
    suicide = "import signal; signal.raise_signal(signal.SIGKILL)"
    crashing = job(tmp_path, program=suicide)
    with pytest.raises(RunFailed, match="by itself"):
        Trial(crashing, listener).run([])


@given(documents=st.integers(1, 10_000), chance=st.randoms(use_true_random=False))
def test_kills_are_chosen_around_the_thirds(documents: int, chance: random.Random) -> None:
    first, second = choose_kills(documents, 2, chance)
    assert documents / 4 - 1 <= first <= documents * 5 / 12
    assert documents * 7 / 12 - 1 <= second <= documents * 3 / 4
    assert 0 <= first <= second < documents


def test_no_kills_are_no_positions() -> None:
    assert choose_kills(10, 0, random.SystemRandom()) == []
