"""The handler of a run: what `workflow.run()` returns at once, and what one awaits."""

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any, Generic, Protocol, cast

from stepwell._runtime.outcome import Outcome
from stepwell._runtime.stream import EventStream
from stepwell.context.context import Context
from stepwell.events import Event, StopEvent
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

    async def stop_event_result(self) -> RunResultT:
        """Wait for the end, and return the result."""
        return await self._wait()

    def stream_events(self) -> AsyncIterator[Event]:
        """Read what the steps wrote to the stream, from the first event to the StopEvent."""
        return self._execution.stream.read()

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

    def __str__(self) -> str:
        if not self.is_done():
            return f"{self._name} run {self.run_id}: running"
        outcome = self._execution.outcome()
        return f"{self._name} run {self.run_id}: {outcome.error or outcome.event!r}"
