"""Ticks that come in time: the ends of waits and sleeps, and the next attempts of steps."""

import asyncio
from collections.abc import Callable

from stepwell._engine.commands import Remind
from stepwell._engine.state import Waiter
from stepwell._engine.ticks import RetryDue, WaitExpired

__all__ = ["Reminders"]

EARLY = 1e-6
"""How early a reminder may be, in seconds: no float is a more exact instant."""


class Reminders:
    """Feeds ticks when they are due, and never before that by the clock of the run.

    Args:
        loop: of the run, which need not run at present.
        clock: tells that time, in seconds of Unix time.
        feed: takes a tick.
    """

    __slots__ = ("_clock", "_feed", "_loop", "_set")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        feed: Callable[[RetryDue | WaitExpired], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._feed = feed
        self._set: dict[int, asyncio.TimerHandle] = {}

    def set(self, command: Remind) -> None:
        """Feed a tick after a delay."""
        tick = command.tick
        about = id(tick.waiter if isinstance(tick, WaitExpired) else tick.work)

        def remind() -> None:
            left = (_due(tick) or 0.0) - self._clock()
            if left > EARLY:  # by the loop's clock it is time, by that of the run it is not
                self._set[about] = self._loop.call_later(left, remind)
                return
            del self._set[about]
            self._feed(tick)

        self._set[about] = self._loop.call_later(command.delay, remind)

    def forget(self, waiter: Waiter) -> None:
        """Feed no more what was to be said of a wait."""
        reminder = self._set.pop(id(waiter), None)
        if reminder is not None:
            reminder.cancel()

    def clear(self) -> None:
        """Feed nothing any more."""
        for reminder in self._set.values():
            reminder.cancel()
        self._set.clear()


def _due(tick: WaitExpired | RetryDue) -> float | None:
    """When a tick is to be fed, in seconds of Unix time."""
    if isinstance(tick, WaitExpired):
        return tick.waiter.deadline
    return tick.work.failure.due if tick.work.failure else None
