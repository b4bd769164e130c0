"""The time that a run may take: it does not count while the run waits for an answer."""

import asyncio
from collections.abc import Callable

from stepwell._engine.state import RunState, TimeLeft

__all__ = ["TimeLimit"]

MAY_DIFFER = 1.0
"""How far, in seconds, the stored time of a busy run may be from what is left of it."""


class TimeLimit:
    """Counts the time that one run works, and ends it when that is over.

    Args:
        seconds: how long a run may work in all.
        stored: what was left of that when somebody executed the run before; None if nobody did.
        clock: tells the time of the run, in seconds of Unix time.
        stands_still: whether no time counts now.
        expire: called once, from the event loop, when the time is over.
    """

    __slots__ = ("_clock", "_expire", "_handle", "_left", "_loop", "_seconds", "_stands_still")

    def __init__(
        self,
        seconds: float,
        stored: TimeLeft | None,
        clock: Callable[[], float],
        stands_still: Callable[[], bool],
        expire: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._left = min(stored.after(clock()), seconds) if stored else seconds
        self._clock = clock
        self._stands_still = stands_still
        self._expire = expire
        self._handle: asyncio.TimerHandle | None = None

    @property
    def left(self) -> float:
        """How long the run may still work, in seconds."""
        if self._handle is None:
            return self._left
        return max(0.0, self._handle.when() - self._loop.time())

    @property
    def due(self) -> float | None:
        """When it is over, in seconds of Unix time; None if no time counts now."""
        return None if self._handle is None else self._clock() + self.left

    def watch(self) -> None:
        """Let the time count from now on, unless the run stands still."""
        if self._stands_still():
            self.pause()
        elif self._handle is None:
            self._handle = self._loop.call_later(self._left, self._expire)

    def pause(self) -> None:
        """Let no time count, until the next `watch`."""
        if self._handle is not None:
            self._left = self.left
            self._handle.cancel()
            self._handle = None

    def note(self, run: RunState) -> None:
        """Let what is left go into the commit that comes now.

        Exactly where nobody may execute the run for a while, else only if it went far from what is
        stored: most runs are over before.
        """
        goes_on = run.rests and not self._stands_still()
        now_left = TimeLeft(self.left, self._clock() if goes_on else None)
        stored = run.time_left or TimeLeft(self._seconds)
        is_far = abs(stored.left - now_left.left) > MAY_DIFFER
        if now_left != stored and (run.rests or stored.at is not None or is_far):
            run.time_left = now_left
            run.note("timer:run", now_left)
