"""`ctx.wait_for_event`: a step stands still until an event comes that fits."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Protocol, cast

from stepwell._engine.state import Waiter, Work
from stepwell._engine.ticks import StepSuspended, WaitBegun, WaitDropped
from stepwell._names import type_name
from stepwell.errors import EncodingError, WorkflowRuntimeError
from stepwell.events import Event, StopEvent
from stepwell.runtime.types.results import WaitingForEvent

__all__ = ["Waits"]

REPLAY = "STEPWELL_REPLAY_WAITS"
"""Set to 1, this variable makes every wait leave its step, which is run again afterwards."""


class Waiting(Protocol):
    """The call that the waits belong to."""

    work: Work
    halted: bool
    ended: bool
    task: asyncio.Task[None] | None

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        ...

    def wait(self, tick: WaitBegun | WaitDropped | StepSuspended) -> None:
        """Tell the engine."""
        ...


class Waits:
    """The waits of one call: those that stand open here, and the answers of earlier lives.

    Args:
        call: what they belong to.
        count: makes the name of a wait out of what it waits for.
    """

    def __init__(self, call: Waiting, count: Callable[[str], str]) -> None:
        self._call = call
        self._count = count
        self._standing: dict[str, asyncio.Future[None]] = {}

    async def wait(
        self,
        event_type: type[Event],
        question: Event | None,
        given_name: str | None,
        requirements: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  the interface
    ) -> Event:
        """Return the event that fits, at once if an earlier life of the step has had it.

        Raises:
            TimeoutError: it did not come in time.
        """
        _check(event_type, question, requirements, timeout)
        name = given_name or self._count(self._describe(event_type, question, requirements))
        deadline = None if timeout is None else time.time() + timeout
        known = self._call.work.progress.waiters.get(name)
        if known is None or known.is_open:
            waiter = Waiter(event_type, requirements, question, deadline)
            await self._stand(WaitBegun(self._call.work, name, waiter, timeout))
        return self._outcome(name)

    def close(self) -> None:
        """The step is done: what it left waiting behind is cancelled."""
        for standing in self._standing.values():
            standing.cancel()

    def wake(self, names: Iterable[str]) -> None:
        """Let those of these go on that stand here."""
        for name in names:
            standing = self._standing.get(name)
            if standing is not None and not standing.done():
                standing.set_result(None)

    async def _stand(self, tick: WaitBegun) -> None:
        if tick.name in self._standing:
            raise WorkflowRuntimeError(
                f"step {tick.work.step!r} waits twice at once with waiter_id={tick.name!r}: give "
                f"each wait an id of its own, or none"
            )
        standing = self._standing[tick.name] = asyncio.get_running_loop().create_future()
        try:
            self._call.wait(tick)
            if os.environ.get(REPLAY) == "1" and not standing.done():
                self._call.wait(StepSuspended(tick.work))
                raise WaitingForEvent(f"step {tick.work.step!r} waits for an event")
            await standing
        except asyncio.CancelledError:
            if not (self._call.halted or self._call.ended):
                self._call.wait(WaitDropped(tick.work, tick.name))
            raise
        finally:
            del self._standing[tick.name]

    def _outcome(self, name: str) -> Event:
        waiter = self._call.work.progress.waiters[name]
        waiter.is_read = True
        if waiter.answer is None:
            raise TimeoutError(
                f"step {self._call.work.step!r} waited for {waiter.event_type.__name__}, and it "
                f"did not come in time"
            )
        return waiter.answer

    def _describe(
        self, event_type: type[Event], question: Event | None, requirements: Mapping[str, Any]
    ) -> str:
        """What tells a wait from others of the step, in all lives of the step alike."""
        try:
            text = self._call.encode([question, dict(requirements)], "a wait")
        except EncodingError:
            text = ",".join(requirements)
        return f"{type_name(event_type)}.{sha256(text.encode()).hexdigest()[:8]}"


def _check(event_type: object, question: object, requirements: object, timeout: object) -> None:
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        raise WorkflowRuntimeError(
            f"wait_for_event() waits for events of a class, and {event_type!r} is no class "
            f"derived from Event. Give it one such class."
        )
    if issubclass(event_type, StopEvent):
        raise WorkflowRuntimeError(
            f"wait_for_event({event_type.__name__}) would wait for ever: a StopEvent ends the run "
            f"and reaches no step. Wait for an event of another class."
        )
    if not isinstance(question, Event | None):
        raise WorkflowRuntimeError(
            f"wait_for_event(waiter_event={question!r:.80}): the event that asks must be an Event. "
            f"Give an instance, or None."
        )
    if not isinstance(requirements, Mapping) or not all(
        isinstance(name, str) for name in cast("Mapping[Any, Any]", requirements)
    ):
        raise WorkflowRuntimeError(
            f"wait_for_event(requirements={requirements!r:.80}): give a dict of attribute names "
            f"and the values that the event must have"
        )
    if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
        raise WorkflowRuntimeError(
            f"wait_for_event(timeout={timeout!r}): give seconds, or None to wait for ever"
        )
