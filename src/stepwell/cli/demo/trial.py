"""The trial: start the child, kill it in the middle, start it again with the same input."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Protocol

from stepwell.cli.demo.journal import Entry, JournalReader
from stepwell.cli.demo.numbers import Launch
from stepwell.errors import RunFailed

__all__ = ["STORE_VARIABLE", "Audience", "Job", "Trial", "choose_kills"]

STORE_VARIABLE = "STEPWELL_DEMO_STORE"
_CHILD = "stepwell.cli.demo.child"  # by name: importing it would import the store
_POLL_SECONDS = 0.002
_TRACEBACK = "Traceback (most recent call last)"


class Audience(Protocol):
    """Who wants to see what happens."""

    def started(self, pid: int) -> None:
        """A process was started."""
        ...

    def progressed(self, done: int) -> None:
        """So many documents are converted."""
        ...

    def killed(self, pid: int, last: Entry | None) -> None:
        """A process was killed; `last` is what it had written last."""
        ...


@dataclass(frozen=True)
class Job:
    """What the child is started with: the same each time.

    Attributes:
        source: the folder of the documents.
        documents: their names, in the order of their conversion.
        home: the folder for pages, journal and messages of this trial.
        store: the URL of the store; it may hold a password.
    """

    source: Path
    documents: Sequence[str]
    home: Path
    store: str = field(repr=False)

    @property
    def pages(self) -> Path:
        """Where the pages are written."""
        return self.home / "pages"

    @property
    def journal(self) -> Path:
        """Where the child writes what it does."""
        return self.home / "journal.jsonl"

    @property
    def messages(self) -> Path:
        """Where the child's stdout and stderr go."""
        return self.home / "messages.txt"

    @property
    def command(self) -> list[str]:
        """The command line of the child."""
        return [sys.executable, "-m", _CHILD, *map(str, (self.source, self.pages, self.journal))]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the child: unlike its command line, others can't read it."""
        return {**os.environ, STORE_VARIABLE: self.store}


def choose_kills(documents: int, kills: int, chance: random.Random) -> list[int]:
    """Positions of documents, near the borders of equal parts: about 1/3 and 2/3 for two kills."""
    part = documents / (kills + 1)
    return [int(part * (number + chance.uniform(0.75, 1.25))) for number in range(kills)]


class Trial:
    """Runs a job in processes that are killed, all but the last.

    Args:
        job: what is run.
        audience: who is told about it.
    """

    def __init__(self, job: Job, audience: Audience) -> None:
        self._job = job
        self._audience = audience
        self._position = {document: at for at, document in enumerate(job.documents)}
        self._done: set[str] = set()

    def run(self, kills: Sequence[int]) -> tuple[list[Launch], list[Entry]]:
        """Kill a process as soon as it begins the document at the next position of `kills`.

        Returns:
            The starts, and the whole journal. A process that ended before it could be killed is
            the last one.

        Raises:
            RunFailed: a process ended by itself with an error; the message is its own.
        """
        launches: list[Launch] = []
        with closing(JournalReader(self._job.journal)) as journal:
            for target in [*kills, None]:
                launches.append(self._launch(target, journal))
                if not launches[-1].killed:
                    break
            return launches, journal.entries

    def _launch(self, target: int | None, journal: JournalReader) -> Launch:
        at = time.monotonic()
        with self._job.messages.open("ab") as messages:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                self._job.command,
                env=self._job.environment,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
            )
        try:
            self._audience.started(process.pid)
            reached = self._follow(process, target, journal)
        finally:
            process.kill()
            status = process.wait()
        killed = reached and status == -SIGKILL
        self._read(journal)
        if killed:
            self._audience.killed(process.pid, _last(journal.entries, process.pid))
        elif status != 0:
            raise RunFailed(self._failure(status))
        return Launch(process.pid, at, killed)

    def _follow(
        self, process: subprocess.Popen[bytes], target: int | None, journal: JournalReader
    ) -> bool:
        """Wait until the process begins the document at `target` (True), or ends (False)."""
        while process.poll() is None:
            begun = self._read(journal)
            if target is not None and any(position >= target for position in begun):
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _read(self, journal: JournalReader) -> list[int]:
        """Read what is new; the positions of the documents that were begun."""
        entries = journal.read()
        self._done.update(entry.document for entry in entries if entry.what == "ended")
        self._audience.progressed(len(self._done))
        return [self._position[entry.document] for entry in entries if entry.what == "began"]

    def _failure(self, status: int) -> str:
        said = self._job.messages.read_text(errors="replace").strip()
        reason = said.rpartition("\n")[2] if _TRACEBACK in said else said
        return (
            f"the process ended by itself with status {status}: {reason or 'it said nothing'} "
            f"(journal and messages are in {self._job.home})"
        )


def _last(entries: Sequence[Entry], pid: int) -> Entry | None:
    return next((entry for entry in reversed(entries) if entry.pid == pid), None)
