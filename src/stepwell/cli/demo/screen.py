"""What the user sees: a bar while it runs, a line for each kill, and the table at the end."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from stepwell.cli.demo.journal import Entry
from stepwell.cli.demo.numbers import Numbers, Resume

__all__ = ["Screen", "verdict"]

_NAMES_MAX = 5


class Screen:
    """Shows a trial: on a terminal with a bar, elsewhere as lines.

    Args:
        console: where.
        documents: how many there are.
    """

    def __init__(self, console: Console, documents: int) -> None:
        self._console = console
        self._launches = 0
        self._progress = Progress(
            TextColumn("converting"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=documents)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def started(self, pid: int) -> None:
        """Say which process works now."""
        self._launches += 1
        how = "started" if self._launches == 1 else "started again with the same input"
        self._say(f"[green]{how}[/]: process {pid}")

    def progressed(self, done: int) -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=done)

    def killed(self, pid: int, last: Entry | None) -> None:
        """Say where the process was when it was killed."""
        self._say(f"[red]killed[/] process {pid} with SIGKILL {_place(last)}")

    def report(self, numbers: Numbers) -> None:
        """Show the table, and what it means."""
        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, value in _rows(numbers):
            table.add_row(name, value)
        self._console.print(table)
        style = "green" if numbers.passed else "bold red"
        self._say(f"[{style}]{escape(verdict(numbers))}[/]")

    def fact(self, name: str, value: object) -> None:
        """Show one thing that one may want to know, or to copy."""
        self._say(f"[bold]{name:>9}[/]  {escape(str(value))}")

    def _say(self, markup: str) -> None:
        self._console.print(markup, highlight=False, soft_wrap=True)


def verdict(numbers: Numbers) -> str:
    """The result in a sentence."""
    if numbers.lost:
        names = ", ".join(numbers.lost[:_NAMES_MAX])
        more = f" and {len(numbers.lost) - _NAMES_MAX:,} more" if numbers.lost[_NAMES_MAX:] else ""
        return f"Lost {_some(len(numbers.lost), 'document')}: {names}{more}."
    if not numbers.passed:
        return (
            f"Nothing was lost, but {_some(numbers.repeated, 'conversion')} had to be repeated "
            f"after {_some(numbers.kills, 'kill')}: one for each is what a kill may cost."
        )
    if numbers.kills == 0:
        return "Every document was converted, once. (The process was not killed.)"
    return (
        f"Killed {_times(numbers.kills)}, and nothing was lost; what was finished was not done "
        "again, only what was being done."
    )


def _rows(numbers: Numbers) -> Iterable[tuple[str, str]]:
    yield "documents", f"{numbers.documents:,}"
    yield "conversions executed", f"{numbers.executed:,}"
    yield "conversions repeated", f"{numbers.repeated:,}"
    yield "documents lost", f"{len(numbers.lost):,}"
    if numbers.unrendered:
        yield "shown as plain text", f"{numbers.unrendered:,}"
    yield "processes killed", f"{numbers.kills:,}"
    if numbers.resumes:
        yield "time to resume", _seconds(numbers.resumes, "total")
        yield "  Python and imports", _seconds(numbers.resumes, "startup")
        yield "  takeover of the run", _seconds(numbers.resumes, "takeover")
    yield "commits", f"{numbers.commits:,}"
    yield "bytes sent to the store", f"{numbers.bytes_sent:,}"


def _seconds(resumes: Iterable[Resume], part: str) -> str:
    return ", ".join(f"{getattr(resume, part):.2f} s" for resume in resumes)


def _place(last: Entry | None) -> str:
    match last:
        case Entry(what="began"):
            return f"while it converted {escape(last.document)}"
        case Entry(what="ended"):
            return f"after {escape(last.document)}"
        case _:
            return "before it converted anything"


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
