"""What journal and pages prove. Pure, but for looking at the pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepwell.cli.demo.journal import Entry

__all__ = ["Launch", "Numbers", "Resume", "count", "find_lost", "find_unrendered"]


@dataclass(frozen=True)
class Launch:
    """One start of the child.

    Attributes:
        pid: its process id.
        at: when it was started, on the monotonic clock, in seconds.
        killed: whether it ended by our SIGKILL.
    """

    pid: int
    at: float
    killed: bool


@dataclass(frozen=True)
class Resume:
    """How long a new process took to go on, in seconds.

    Attributes:
        total: from its start to the first conversion.
        startup: the part in which Python started and imported.
    """

    total: float
    startup: float

    @property
    def takeover(self) -> float:
        """The rest: connecting, finding the run, claiming and loading it."""
        return self.total - self.startup


@dataclass(frozen=True)
class Numbers:
    """The result of a demo.

    Attributes:
        documents: how many there were.
        executed: conversions that began, in all processes.
        repeated: those of them whose document had been begun before.
        lost: documents without a whole page.
        unrendered: documents that are shown as plain text, since their renderer failed.
        kills: how often the process was killed.
        resumes: one for each new process that had something left to convert.
        commits: how many the processes had made when they last wrote to the journal.
        bytes_sent: how many bytes they had sent to the store by then.
    """

    documents: int
    executed: int
    repeated: int
    lost: Sequence[str]
    unrendered: int
    kills: int
    resumes: Sequence[Resume]
    commits: int
    bytes_sent: int

    @property
    def passed(self) -> bool:
        """Nothing is lost, and a kill cost one repetition at most."""
        return not self.lost and self.repeated <= self.kills


def count(
    documents: Sequence[str],
    entries: Sequence[Entry],
    launches: Sequence[Launch],
    *,
    lost: Sequence[str] = (),
    unrendered: int = 0,
) -> Numbers:
    """Count what happened."""
    begun = [entry.document for entry in entries if entry.what == "began"]
    last = {entry.pid: entry for entry in entries}.values()
    resumes = (_resume(launch, entries) for launch in launches[1:])
    return Numbers(
        documents=len(documents),
        executed=len(begun),
        repeated=len(begun) - len(set(begun)),
        lost=lost,
        unrendered=unrendered,
        kills=sum(launch.killed for launch in launches),
        resumes=[resume for resume in resumes if resume is not None],
        commits=sum(entry.commits for entry in last),
        bytes_sent=sum(entry.bytes_sent for entry in last),
    )


def find_lost(documents: Sequence[str], pages: Path) -> list[str]:
    """The documents that have no page, or none from its first to its last line."""
    return [document for document in documents if not _is_whole(pages / f"{document}.html")]


def find_unrendered(documents: Sequence[str], pages: Path) -> list[str]:
    """The documents whose page says that their renderer failed."""
    return [name for name in documents if "\n<!-- not rendered: " in _read(pages / f"{name}.html")]


def _resume(launch: Launch, entries: Sequence[Entry]) -> Resume | None:
    own = [entry for entry in entries if entry.pid == launch.pid]
    ready = next((entry.at for entry in own if entry.what == "ready"), None)
    began = next((entry.at for entry in own if entry.what == "began"), None)
    if ready is None or began is None:
        return None
    return Resume(total=began - launch.at, startup=ready - launch.at)


def _is_whole(page: Path) -> bool:
    html = _read(page)
    return html.startswith("<!doctype html>\n") and html.endswith("</html>\n")


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
