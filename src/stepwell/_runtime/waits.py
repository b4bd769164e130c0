"""`ctx.wait_for_event`, `ctx.sleep`: a step stands still until an event comes, or for a time."""

import asyncio
import math
import os
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

    def now(self) -> float:
        """The time by the run's clock."""
        ...

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        ...

    def wait(self, tick: WaitBegun | WaitDropped | StepSuspended) -> None:
        """Tell the engine."""
        ...


class Waits:
    """The waits of one call: those that stand open here, and what became of those of earlier lives.

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
        deadline = None if timeout is None else self._call.now() + timeout
        waiter = Waiter(event_type, requirements, question, deadline)
        answer = (await self._reached(name, waiter, timeout)).answer
        if answer is None:
            raise TimeoutError(
                f"step {self._call.work.step!r} waited for {event_type.__name__}, and it did not "
                f"come in time"
            )
        return answer

    async def sleep(self, seconds: float, given_name: str | None) -> None:
        """Return when so much time has passed, counted from the first life of the step."""
        _check_duration(seconds)
        name = self._count(f"sleep.{given_name}" if given_name else "sleep")
        if seconds == 0 and name not in self._call.work.progress.waiters:
            await asyncio.sleep(0)
            return
        await self._reached(name, Waiter(None, None, None, self._call.now() + seconds), seconds)

    async def _reached(self, name: str, waiter: Waiter, seconds: float | None) -> Waiter:
        """Return a wait that is over, at once if an earlier life of the step has come so far."""
        waiters = self._call.work.progress.waiters
        known = waiters.get(name)
        if known is None or known.is_open:
            await self._stand(WaitBegun(self._call.work, name, waiter, seconds))
        waiters[name].is_read = True
        return waiters[name]

    @property
    def stands(self) -> bool:
        """Whether the step stands still in one of them, here and now."""
        return any(not standing.done() for standing in self._standing.values())

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
                raise WaitingForEvent(f"step {tick.work.step!r} waits, and is run again afterwards")
            await standing
        except asyncio.CancelledError:
            if not (self._call.halted or self._call.ended):
                self._call.wait(WaitDropped(tick.work, tick.name))
            raise
        finally:
            del self._standing[tick.name]

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


def _check_duration(seconds: object) -> None:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (is_number and 0 <= cast("float", seconds) < math.inf):
        raise WorkflowRuntimeError(
            f"sleep({seconds!r:.80}): give a number of seconds that is not negative"
        )
