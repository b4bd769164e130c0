"""The command `worker`."""

import asyncio
import gc
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from stepwell.cli.worker.targets import find_workflow
from stepwell.durable.checkpointer import Checkpointer, find_checkpointer
from stepwell.errors import WorkflowConfigurationError
from stepwell.worker import Worker

__all__ = ["collect_seldom", "worker"]

_EXTRA = ("starlette", "uvicorn")
_HOST = re.compile(r"[\w.-]+(:\d+)?(/\d*)?")
"""What is meant as a URL of Redis, and is none."""

_THRESHOLDS = 10_000, 20, 50
"""After how many new objects the youngest are looked through, and the older ones how seldom."""

_LOOK_AGAIN = 0.05
"""How often, in seconds, a worker that starts is asked whether it is ready."""


def worker(  # noqa: PLR0917  the options of the command
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:NAME...",
            help="Workflows: instances, classes, or functions that make them.",
            show_default=False,
        ),
    ],
    url: Annotated[
        str,
        typer.Option(envvar="STEPWELL_URL", help="Where the runs are: redis://host:6379, ..."),
    ],
    namespace: Annotated[str, typer.Option(help="Which runs on that server.")] = "default",
    concurrency: Annotated[
        int, typer.Option(min=1, help="How many runs may be at work at once.")
    ] = 100,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose runs are taken; may be given several times.", show_default="default"
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running steps have when it is stopped.")
    ] = 30.0,
    idle_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that a run which waits stays in memory.")
    ] = 60.0,
    claims_max: Annotated[
        int, typer.Option(min=1, help="How often a run may kill its worker before it is set aside.")
    ] = 5,
    lease: Annotated[
        float, typer.Option(help="Seconds of silence after which its runs go elsewhere.")
    ] = 15.0,
    health_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Answers GET /health/live and /health/ready there; 0 for a free one.",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Execute the runs of some workflows, until it is told to stop.

    SIGTERM and Ctrl-C stop it: running steps may end, then all runs are given back.

    The second time it stops in the middle of steps; they are run again elsewhere.
    """
    _log_to_stderr()
    if health_port is not None:
        _require_extra()
    checkpointer = _checkpointer(url, namespace, lease)
    workflows = [find_workflow(target) for target in targets]
    queues = queue or ["default"]
    try:
        served = Worker(
            checkpointer,
            workflows,
            concurrency=concurrency,
            queues=queues,
            grace=grace,
            idle_timeout=idle_timeout,
            claims_max=claims_max,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    collect_seldom()
    names = [workflow.workflow_name for workflow in workflows]
    asyncio.run(_serve(served, _line(names, checkpointer, queues, concurrency), health_port))


def collect_seldom() -> None:
    """Let the garbage collector look less often, and never at what was imported.

    A hundred runs at once are many young objects, and few that only a collector frees: a tenth of
    the time went into looking at them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def _log_to_stderr() -> None:
    """For a person in colours; a file gets one plain line an entry."""
    plain = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if sys.stderr.isatty():
        handler = RichHandler(console=Console(stderr=True), show_path=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.INFO, format=plain)


def _require_extra() -> None:
    missing = [package for package in _EXTRA if find_spec(package) is None]
    if missing:
        raise WorkflowConfigurationError(
            f"--health-port needs {' and '.join(missing)}, not installed here: "
            "pip install 'stepwell[worker]'"
        )


def _checkpointer(url: str, namespace: str, lease: float) -> Checkpointer:
    if url.startswith("memory:"):
        raise typer.BadParameter(
            f"--url {url}: what is in the memory of this process nobody else can start. Give a "
            "server: redis://host:6379"
        )
    if _HOST.fullmatch(url):
        raise typer.BadParameter(f"--url {url!r} has no scheme: write redis://{url}")
    try:
        return find_checkpointer(url, namespace=namespace, lease=lease)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


def _line(
    names: Sequence[str], checkpointer: Checkpointer, queues: Sequence[str], concurrency: int
) -> str:
    return (
        f"serving {', '.join(names)} on {checkpointer.identity[0]} "
        f"({'queue' if len(queues) == 1 else 'queues'} {', '.join(queues)}, "
        f"concurrency {concurrency}"
    )


async def _serve(served: Worker, line: str, health_port: int | None) -> None:
    async with AsyncExitStack() as stack:
        if health_port is not None:
            from stepwell.cli.worker.health import serve_health  # noqa: PLC0415  needs an extra

            port = await stack.enter_async_context(serve_health(served.health, health_port))
            line += f", health on port {port}"
        telling = asyncio.ensure_future(_tell_when_ready(served, f"{line})"))
        try:
            await served.run()
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling


async def _tell_when_ready(served: Worker, line: str) -> None:
    while not served.health().ready:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(_LOOK_AGAIN)
    typer.echo(line)
