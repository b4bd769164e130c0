"""What can be done with a run from outside of its steps: the port of `handler.ctx`."""

import asyncio
from asyncio import Queue
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from typing_extensions import override

from stepwell._engine import routing, waiting
from stepwell._engine.ticks import EventArrived
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.runner import Runner
from stepwell._runtime.stream import EventStream
from stepwell._runtime.timers import running_loop
from stepwell.context._port import Port, check_event
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event

__all__ = ["ElsewherePort", "Mailbox", "RunPort"]


class Ending(Protocol):
    """Knows when and how a run ended."""

    ended: asyncio.Future[None]

    def outcome(self) -> Outcome:
        """How the run ended."""
        ...


class RunPort(Port):
    """The handler's side of a run.

    Args:
        runner: executes it, or will.
        ending: knows how the run ended; the runner by default.
        check: raises for an event that has no durable form.
    """

    where = "outside of a step"

    def __init__(
        self,
        runner: Runner,
        ending: Ending | None = None,
        check: Callable[[object, str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._ending = ending or runner
        self._check = check

    @property
    @override
    def is_live(self) -> bool:
        return not self._ending.ended.done()

    @override
    def send_event(self, event: Event, step: str | None) -> None:
        self._send(event, step)

    def _send(self, event: Event, step: str | None) -> EventArrived:
        check_event(event, "send_event")
        self._check_loop(event)
        if step is not None:
            self._check_target(event, step)
        if self._runner.is_over:
            raise WorkflowRuntimeError(
                f"{type(event).__name__} was sent to run {self.run_id!r}, which is over: no step "
                f"can take it any more"
            )
        self._check_room(event, step)
        if self._check is not None:
            self._check(event, f"{type(event).__name__} for run {self.run_id!r}")
        tick = EventArrived(event, step)
        self._runner.feed(tick)
        return tick

    def _check_loop(self, event: Event) -> None:
        """Refuse what comes from another thread: nothing of a run may change behind its back."""
        if running_loop() is not self._runner.ended.get_loop():
            raise WorkflowRuntimeError(
                f"{type(event).__name__} was sent to run {self.run_id!r} from outside of its event "
                f"loop. From another thread, send it with "
                f"asyncio.run_coroutine_threadsafe(handler.send_event(event), loop)."
            )

    def _check_target(self, event: Event, step: str) -> None:
        """Refuse a wrong target; as long as the run is looked for, its steps alone are known."""
        internals = self._runner.internals
        if not self._runner.is_early or step not in internals.plan.steps:
            routing.check_target(internals.plan, internals.run, event, step)

    def _check_room(self, event: Event, step: str | None) -> None:
        """Refuse what nobody takes where too much of it is kept: its sender must know."""
        plan, run = self._runner.internals.plan, self._runner.internals.run
        if not routing.has_room(plan, run, event, step):
            raise WorkflowRuntimeError(
                f"run {self.run_id!r} keeps {waiting.KEPT_MAX} events that no step has taken or "
                f"waited for: {type(event).__name__} is refused. Let a step take such events."
            )

    @override
    async def deliver(self, event: Event, step: str | None) -> None:
        await self._runner.delivered(self._send(event, step))

    @override
    async def checkpoint(self) -> None:
        await self._runner.delivered()

    @override
    def stream_events(self) -> AsyncIterator[Event]:
        return self._runner.stream.read()

    @override
    def streaming_queue(self) -> Queue[Event]:
        return self._runner.stream.queue()

    @override
    def result(self) -> Any:
        return self._ending.outcome().result()

    @override
    def running_steps(self) -> list[str]:
        return self._runner.internals.run.active_steps()

    @property
    @override
    def run_id(self) -> str:
        return self._runner.run_id

    @override
    def serves(self, checkpointer: object) -> bool:
        return self._runner.serves(checkpointer)


class Mailbox(Protocol):
    """The way to a run wherever it is."""

    async def deliver(self, event: Event, step: str | None) -> None:
        """Give an event to the run, and wait until it is durable."""
        ...


class ElsewherePort(Port):
    """The handler's side of a run that another process executes.

    Args:
        run_id: its name.
        stream: where this process hears of it.
        mailbox: takes events to it.
    """

    where = "while another process executes the run"

    def __init__(self, run_id: str, stream: EventStream, mailbox: Mailbox) -> None:
        self._run_id = run_id
        self._stream = stream
        self._mailbox = mailbox

    @property
    @override
    def is_live(self) -> bool:
        return True

    @property
    @override
    def run_id(self) -> str:
        return self._run_id

    @override
    def stream_events(self) -> AsyncIterator[Event]:
        return self._stream.read()

    @override
    def streaming_queue(self) -> Queue[Event]:
        return self._stream.queue()

    @override
    async def deliver(self, event: Event, step: str | None) -> None:
        check_event(event, "send_event")
        await self._mailbox.deliver(event, step)

    @override
    def _remedy(self, what: str) -> str:
        if what == "send_event":
            return f"run {self._run_id!r} is reached with `await handler.send_event(...)`"
        return f"run {self._run_id!r} is only followed here; await the handler for its result"
