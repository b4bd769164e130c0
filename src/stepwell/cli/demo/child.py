"""The process that is killed: it runs the program as it is, and writes down each conversion.

python -m stepwell.cli.demo.child SOURCE PAGES STORE JOURNAL
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from stepwell.cli.demo.journal import Entry, Journal
from stepwell.cli.demo.program import load
from stepwell.cli.demo.trial import STORE_VARIABLE
from stepwell.errors import StepwellError
from stepwell.redis import RedisCheckpointer

__all__ = ["Witness", "main"]


class Witness:
    """Writes down what this process does, with what it had committed by then."""

    def __init__(self, journal: Journal, checkpointer: RedisCheckpointer) -> None:
        self._journal = journal
        self._stats = checkpointer.stats

    def note(
        self, what: Literal["ready", "began", "ended", "finished"], document: str = ""
    ) -> None:
        """Write one entry."""
        entry = Entry(
            pid=os.getpid(),
            at=time.monotonic(),
            what=what,
            document=document,
            commits=self._stats.commits,
            bytes_sent=self._stats.bytes_sent,
        )
        self._journal.write(entry)

    def watch(
        self, convert: Callable[[Path, Path], None], source: Path
    ) -> Callable[[Path, Path], None]:
        """The same function, with a note before and after each call."""

        def watched(document: Path, page: Path) -> None:
            name = str(document.relative_to(source))
            self.note("began", name)
            convert(document, page)
            self.note("ended", name)

        return watched


def main(source: Path, pages: Path, journal: Path) -> None:
    """Run the workflow to its end, or until somebody kills us."""
    program = load()
    checkpointer = RedisCheckpointer(os.environ[STORE_VARIABLE])
    witness = Witness(Journal(journal), checkpointer)
    program.convert = witness.watch(program.convert, source)
    witness.note("ready")
    asyncio.run(program.convert_folder(source, pages, checkpointer))
    witness.note("finished")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except StepwellError as error:
        sys.exit(f"{type(error).__name__}: {error}")
