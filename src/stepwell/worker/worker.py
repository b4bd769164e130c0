"""A worker: claims runs that are due, executes them, and gives them back when they rest.

Any worker that serves a workflow goes on with any run of it. Nothing here decides who may: the
store does, one claim at a time. So workers know nothing of each other, and may come and go.
"""

import asyncio
import inspect
import logging
import signal
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any, cast

from stepwell._names import kind_of
from stepwell.durable.checkpointer import Checkpointer, checked_durability, find_checkpointer
from stepwell.durable.session import Session
from stepwell.errors import WorkflowConfigurationError
from stepwell.storage.limits import check_queue
from stepwell.storage.records import Lane
from stepwell.worker.claiming import Claiming
from stepwell.worker.fingerprint import fingerprint_of
from stepwell.worker.hosting import Hosting, Served
from stepwell.worker.sweeping import Sweeping
from stepwell.workflow import Workflow

__all__ = ["Health", "Worker"]

STALE_AFTER = 30.0
"""After how many seconds without a sweep a worker is not ready."""

log = logging.getLogger("stepwell")


@dataclass(frozen=True, slots=True)
class Health:
    """How a worker is.

    Attributes:
        reason: why it is not ready; empty if it is.
        executing: how many runs it holds.
        resting: how many of them wait for their time or a message.
        draining: it takes no new runs, and gives back those that it has.
        last_sweep_seconds: how long ago it looked for runs of dead processes; None for never.
        last_renewal_seconds: how long ago its lease was renewed; None for never.
    """

    reason: str
    executing: int = 0
    resting: int = 0
    draining: bool = False
    last_sweep_seconds: float | None = None
    last_renewal_seconds: float | None = None

    @property
    def ready(self) -> bool:
        """Whether it swept and renewed its lease lately, and takes new runs."""
        return not self.reason


class Worker:
    """Executes the runs of some workflows that nobody else has.

    Args:
        source: where the runs are: a checkpointer, or the URL of a store.
        workflows: instances, or classes that can be made without arguments; a single one will do.
            Runs of workflows with other names are left to other workers.
        concurrency: how many runs may be at work at once; those that rest don't count.
        queues: whose runs are taken.
        grace: how long, in seconds, the steps that run when the worker is stopped may take.
        idle_timeout: after how many seconds of rest a run leaves the memory of the worker. It comes
            back when its time has come, or with the next message.
        claims_max: how often a run may be claimed without getting further, before it is
            quarantined.
        **options: those of the checkpointer, if `source` is a URL: `namespace` above all.

    Raises:
        WorkflowConfigurationError: there is no workflow, or there are two of one name; or a class
            can't be made without arguments.
        WorkflowValidationError: a workflow is none, or its graph has mistakes; or the source is
            none.
        ValueError: a number or a queue that can't be used.
        TypeError: an option is not known.
    """

    def __init__(
        self,
        source: Checkpointer | str,
        workflows: Workflow | type[Workflow] | Sequence[Workflow | type[Workflow]],
        *,
        concurrency: int = 100,
        queues: Sequence[str] = ("default",),
        grace: float = 30.0,
        idle_timeout: float = 60.0,
        claims_max: int = 5,
        **options: Any,
    ) -> None:
        self.checkpointer = _found(source, options)
        self._served = _served(self.checkpointer, _listed(workflows))
        self._lanes = [Lane(queue, name) for queue, name in product(_checked(queues), self._served)]
        self._concurrency = _positive("concurrency", concurrency)
        self._claims_max = _positive("claims_max", claims_max)
        self._grace = _seconds("grace", grace)
        self._idle_timeout = _seconds("idle_timeout", idle_timeout)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._parts: _Parts | None = None

    def __repr__(self) -> str:
        queues = list(dict.fromkeys(lane.queue for lane in self._lanes))
        return f"Worker({self.checkpointer!r}, {list(self._served)}, queues={queues})"

    async def run(self, *, handle_signals: bool = True) -> None:
        """Serve until stopped; then give all runs back at their next boundaries.

        Args:
            handle_signals: stop at SIGTERM and SIGINT, if this is the main thread; at the second
                one, in the middle of steps.

        Raises:
            StoreError: the store can't be reached at the start, or refuses.
        """
        with self._signals() if handle_signals else _nothing():
            async with self.checkpointer.session() as session:
                await _cover_all(session)
                self._parts = parts = self._make_parts(session)
                try:
                    await self._serve(parts)
                finally:
                    self._parts = None

    def stop(self, *, now: bool = False) -> None:
        """Take no more runs, and give back those that are here: with `now` in the middle of steps.

        To be called in the event loop of the worker.
        """
        if now or self._stop.is_set():
            self._stop_now.set()
        self._stop.set()
        if self._parts is not None:
            self._parts.claiming.stop()

    def health(self) -> Health:
        """How the worker is, now."""
        if self._parts is None:
            return Health("it does not serve", draining=self._stop.is_set())
        return self._parts.health(self._stop.is_set())

    def _make_parts(self, session: Session) -> "_Parts":
        hosting = Hosting(
            session,
            self.checkpointer,
            self._served,
            self._concurrency,
            self._idle_timeout,
            self._claims_max,
        )
        fingerprints = {lane: self._served[lane.workflow].fingerprint for lane in self._lanes}
        claiming = Claiming(session, hosting, self._lanes)
        sweeping = Sweeping(session.store, fingerprints, session.outage)
        return _Parts(session, hosting, claiming, sweeping)

    async def _serve(self, parts: "_Parts") -> None:
        if self._stop.is_set():  # before it served
            parts.claiming.stop()
        claiming = asyncio.create_task(parts.claiming.serve())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            async with _in_background(parts.sweeping.serve()):
                await asyncio.wait([claiming, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            parts.claiming.stop()
            await self._drain(parts.hosting)
            for task in (claiming, stopping):
                task.cancel()
            await asyncio.wait([claiming, stopping])
            await parts.hosting.drain(0.0, self._stop_now)  # what was claimed meanwhile
        if not claiming.cancelled():
            claiming.result()

    async def _drain(self, hosting: Hosting) -> None:
        grace = self._grace if self._stop.is_set() else 0.0
        log.info("stopping: %d runs have up to %g s to get to a boundary", hosting.executing, grace)
        await hosting.drain(grace, self._stop_now)
        log.info("stopped")

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Stop at signals, where they can be handled."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a worker consists of while it serves."""

    session: Session
    hosting: Hosting
    claiming: Claiming
    sweeping: Sweeping

    def health(self, draining: bool) -> Health:
        swept, renewed = _ago(self.sweeping.swept_at), _ago(self.session.lease.renewed_at)
        return Health(
            self._reason(draining, swept, renewed),
            self.hosting.executing,
            self.hosting.resting,
            draining,
            swept,
            renewed,
        )

    def _reason(self, draining: bool, swept: float | None, renewed: float | None) -> str:
        if draining:
            return "it drains"
        if renewed is None or renewed > self.session.lease.seconds:
            return "its lease was not renewed in time"
        if swept is None or swept > STALE_AFTER:
            return "it could not look for runs of dead processes lately"
        return ""


async def _cover_all(session: Session) -> None:
    """Be known in all partitions, since due runs may be in any."""
    await asyncio.gather(*(session.lease.cover(one) for one in range(session.store.partitions)))


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a part of the worker had stopped", exc_info=error)


@contextmanager
def _nothing() -> Generator[None]:
    yield


def _ago(instant: float | None) -> float | None:
    return None if instant is None else time.monotonic() - instant


def _found(source: Checkpointer | str, options: dict[str, Any]) -> Checkpointer:
    try:
        return find_checkpointer(source, **options)
    except TypeError as error:  # Python's own names the class of the checkpointer
        raise TypeError(f"Worker(...): {str(error).rpartition('__init__() ')[2]}") from error


def _listed(workflows: object) -> list[object]:
    if isinstance(workflows, Workflow | type | str) or not isinstance(workflows, Iterable):
        return [workflows]
    return list(cast("Iterable[object]", workflows))


def _made(given: object) -> Workflow:
    """A workflow: what was given, or an instance of it."""
    if isinstance(given, Workflow):
        return given
    if isinstance(given, type) and issubclass(given, Workflow):
        return _instance(given)
    raise WorkflowConfigurationError(
        f"Worker(workflows=...) was given {kind_of(cast('object', given))}: give workflows, "
        "instances or classes"
    )


def _instance(cls: type[Workflow]) -> Workflow:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise WorkflowConfigurationError(
            f"Worker(workflows=...): {cls.__name__} can't be made without arguments ({error}): "
            "give an instance of it"
        ) from error
    return cls()


def _served(checkpointer: Checkpointer, workflows: Iterable[object]) -> dict[str, Served]:
    served: dict[str, Served] = {}
    for workflow in map(_made, workflows):
        workflow.validate()
        name, plan = workflow.workflow_name, workflow.__stepwell_plan__()
        if name in served:
            raise WorkflowConfigurationError(
                f"Worker(workflows=...) has two workflows named {name!r}: give one of them another "
                f"workflow_name=, or another worker"
            )
        durability = checked_durability(workflow.__stepwell_durability__ or checkpointer.durability)
        served[name] = Served(workflow, durability, fingerprint_of(plan))
    if not served:
        raise WorkflowConfigurationError("Worker(workflows=[]) has nothing to do: give workflows")
    return served


def _checked(queues: Sequence[str]) -> list[str]:
    names = [queues] if isinstance(queues, str) else list(dict.fromkeys(queues))
    for name in names:
        check_queue(name)
    if not names:
        raise ValueError("queues=[]: name at least one queue, whose runs the worker takes")
    return names


def _positive(option: str, number: int) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"{option}={number!r}: give a whole number of at least 1")
    return number


def _seconds(option: str, seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise ValueError(f"{option}={seconds!r}: give seconds, not negative, and not for ever")
    return float(seconds)
