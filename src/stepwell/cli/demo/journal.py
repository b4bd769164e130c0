"""A file in which processes write down what they do, for others to read while they do it.

It is the demo's evidence: what was executed is counted here, not where it was committed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

__all__ = ["Entry", "Journal", "JournalReader"]


class Entry(BaseModel, frozen=True):
    """One line.

    Attributes:
        pid: the process that wrote it.
        at: when, on the monotonic clock of the machine, in seconds.
        what: the process is ready to run the workflow, a conversion began, it ended, or the run
            came to its end.
        document: whose conversion.
        commits: how many commits the process had made by then.
        bytes_sent: how many bytes it had sent to the store by then.
    """

    pid: int
    at: float
    what: Literal["ready", "began", "ended", "finished"]
    document: str = ""
    commits: int = 0
    bytes_sent: int = 0


class Journal:
    """The writer's side: each entry is one write to the end of the file, so lines never mix."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, entry: Entry) -> None:
        """Add an entry; it is there for readers at once, and when this process is killed."""
        os.write(self._file, f"{entry.model_dump_json()}\n".encode())


class JournalReader:
    """The reader's side.

    Attributes:
        entries: all that were read.
    """

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._file = path.open("rb")
        self._begun = b""
        self.entries: list[Entry] = []

    def read(self) -> list[Entry]:
        """The entries that were written since the last call."""
        fresh = list(self._fresh())
        self.entries += fresh
        return fresh

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _fresh(self) -> Iterator[Entry]:
        *lines, self._begun = (self._begun + self._file.read()).split(b"\n")
        return map(Entry.model_validate_json, lines)
