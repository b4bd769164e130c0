"""The command `demo`."""

import random
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from stepwell.cli.demo import numbers, program
from stepwell.cli.demo.documents import write_descriptions
from stepwell.cli.demo.numbers import Numbers
from stepwell.cli.demo.screen import Screen
from stepwell.cli.demo.trial import Job, Trial, choose_kills
from stepwell.errors import StoreUnavailable, WorkflowRuntimeError
from stepwell.redis.embedded import find_server_binary
from stepwell.redis.source import Source

__all__ = ["demo"]

_HOME = Path(".stepwell/demo")
_KILLS = 2
_EXTRA = {"markdown_it": "markdown-it-py", "docutils": "docutils"}
_INSTALL = "pip install 'stepwell[demo]'"


def _check_url(url: str | None) -> str | None:
    try:
        _ = url and Source.of(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return url


def demo(
    documents: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="A folder with documents of yours: .md, .rst and .txt files.",
            show_default="the descriptions of the packages installed here",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Where a new folder is made for the HTML pages and the journal.",
            show_default=str(_HOME),
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            callback=_check_url,
            help="A Redis or Valkey server: redis://host:6379, unix:///path, ...",
            show_default=f"a private one in {_HOME}",
        ),
    ] = None,
    kill: Annotated[
        bool, typer.Option("--kill/--no-kill", help="Kill the process twice, or just run.")
    ] = True,
) -> None:
    """Convert documents to HTML in a process that is killed twice; count what was lost.

    The process gets a SIGKILL while it works, and is started again with the same input.

    The workflow is examples/durable_documents.py. What it does is counted outside of it.

    Exit status 0: nothing was lost, and a kill cost one repeated conversion at most.
    """
    _require_extra()
    job = _prepare(documents, out, url or _private_server())
    screen = Screen(Console(), len(job.documents))
    what = documents or "the descriptions of the packages in this Python environment"
    screen.fact("documents", f"{len(job.documents)} ({what})")
    screen.fact("workflow", program.locate())
    screen.fact("store", Source.of(job.store).address)
    result = _try(job, screen, _KILLS if kill else 0)
    screen.report(result)
    screen.fact("pages", job.pages)
    screen.fact("journal", job.journal)
    if not result.passed:
        raise typer.Exit(1)


def _try(job: Job, screen: Screen, kills: int) -> Numbers:
    targets = choose_kills(len(job.documents), kills, random.SystemRandom())
    with screen:
        launches, entries = Trial(job, screen).run(targets)
    return numbers.count(
        job.documents,
        entries,
        launches,
        lost=numbers.find_lost(job.documents, job.pages),
        unrendered=len(numbers.find_unrendered(job.documents, job.pages)),
    )


def _require_extra() -> None:
    missing = [name for module, name in _EXTRA.items() if find_spec(module) is None]
    if missing:
        raise WorkflowRuntimeError(
            f"the demo needs {' and '.join(missing)}, not installed here: {_INSTALL}"
        )


def _private_server() -> str:
    """The URL of a server for all demos of this directory."""
    try:
        find_server_binary()
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error}; or give a server with --url, or {_INSTALL}") from error
    return f"embedded://{quote(str((_HOME / 'store').absolute()))}"


def _prepare(documents: Path | None, out: Path | None, url: str) -> Job:
    home = (out or _HOME).absolute() / f"{datetime.now():%Y-%m-%d-%H%M%S.%f}"  # noqa: DTZ005 - a name for its user
    source = documents.absolute() if documents else home / "documents"
    if documents is None:
        source.mkdir(parents=True)
        write_descriptions(source)
    names = program.load().find_documents(source)
    if not names:
        raise typer.BadParameter(f"there is no .md, .rst or .txt file in {source}")
    home.mkdir(parents=True, exist_ok=True)
    return Job(source, names, home, url)
