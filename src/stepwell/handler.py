"""The handler of a run: what `workflow.run()` returns at once, and what one awaits."""

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any, Generic, Protocol, cast

from stepwell._deprecations import warn_once
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.stream import EventStream
from stepwell.context.context import Context
from stepwell.events import Event, StopEvent, WorkflowCancelledEvent
from stepwell.types import RunResultT

__all__ = ["Execution", "WorkflowHandler"]


class Execution(Protocol):
    """A run that is going on, as its handler knows it."""

    stream: EventStream
    ended: asyncio.Future[None]

    @property
    def run_id(self) -> str:
        """The name of the run."""
        ...

    def cancel(self) -> None:
        """End the run."""
        ...

    def outcome(self) -> Outcome:
        """How the run ended."""
        ...


class WorkflowHandler(Generic[RunResultT]):
    """A run that was started; `await handler` gives its result, as often as one likes.

    Args:
        name: the workflow.
        ctx: the context of the run.
        execution: the run.
    """

    def __init__(self, name: str, ctx: Context[Any], execution: Execution) -> None:
        self._name = name
        self._ctx = ctx
        self._execution = execution

    def __await__(self) -> Generator[Any, Any, RunResultT]:
        return self._wait().__await__()

    async def _wait(self) -> RunResultT:
        await asyncio.shield(self._execution.ended)
        return cast("RunResultT", self._execution.outcome().result())

    @property
    def run_id(self) -> str:
        """The name of the run.

        With a checkpointer and without `run_id=`: the name that a new run would have, until it is
        found that an interrupted run with the same input goes on.
        """
        return self._execution.run_id

    @property
    def ctx(self) -> Context[Any]:
        """The context of the run, as seen from outside of its steps."""
        return self._ctx

    def is_done(self) -> bool:
        """Whether the run is over."""
        return self._execution.ended.done()

    def get_stop_event(self) -> StopEvent | None:
        """Return the last event of the run, None before it."""
        return self._execution.outcome().event if self.is_done() else None

    async def stop_event_result(self) -> StopEvent:
        """Wait for the end, and return the last event of the run.

        Raises:
            BaseException: the error that ended the run.
        """
        await self._wait()
        return cast("StopEvent", self._execution.outcome().event)

    def stream_events(self, expose_internal: bool = False) -> AsyncIterator[Event]:
        """Read what the steps wrote to the stream, from the first event to the StopEvent.

        Args:
            expose_internal: read also what the engine tells of its work, from now on: which step
                starts and stops, that nobody takes an event, that the run is idle.
        """
        return self._execution.stream.read(internal=expose_internal)

    async def send_event(self, event: Event, step: str | None = None) -> None:
        """Give an event to the run; with a checkpointer, it is durable when this returns.

        Raises:
            WorkflowRuntimeError: the run is over; there is no such step, or it does not take such
                events.
            EncodingError: with a checkpointer: the event has no durable form.
            StoreError: the store can't be reached, or refuses.
        """
        await self._ctx.internals.port.deliver(event, step)

    async def cancel_run(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109  the interface
        """Cancel the run, and wait until its steps have ended.

        Args:
            timeout: how long to wait, in seconds.
        """
        if not self.is_done():
            self._execution.cancel()
            await asyncio.wait([self._execution.ended], timeout=timeout)

    # --- deprecated: what a handler could do while it was a future ---

    def done(self) -> bool:
        """Whether the run is over. Deprecated: call `is_done()`."""
        warn_once("WorkflowHandler.done()", "call is_done()")
        return self.is_done()

    def cancelled(self) -> bool:
        """Whether the run was cancelled. Deprecated: look at `get_stop_event()`."""
        warn_once("WorkflowHandler.cancelled()", "look at get_stop_event()")
        return isinstance(self.get_stop_event(), WorkflowCancelledEvent)

    def exception(self) -> BaseException | None:
        """Return the error that ended the run. Deprecated: await the handler.

        Raises:
            asyncio.InvalidStateError: the run is not over.
        """
        warn_once("WorkflowHandler.exception()", "await the handler, which raises it")
        if not self.is_done():
            raise asyncio.InvalidStateError(f"run {self.run_id!r} is not over")
        return self._execution.outcome().error

    def cancel(self) -> None:
        """Cancel the run, and don't wait for it. Deprecated: await `cancel_run()`."""
        warn_once("WorkflowHandler.cancel()", "await cancel_run()")
        if not self.is_done():
            self._execution.cancel()

    def __str__(self) -> str:
        if not self.is_done():
            return f"{self._name} run {self.run_id}: running"
        outcome = self._execution.outcome()
        return f"{self._name} run {self.run_id}: {outcome.error or outcome.event!r}"
