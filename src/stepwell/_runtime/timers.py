"""The event loop, which may be another one here, and its time.

What a run may take of that does not count while it waits for an answer.
"""

import asyncio
import time
from collections.abc import Callable

__all__ = ["Stopwatch", "clock_of_loop", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def clock_of_loop(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """A clock that tells Unix time in seconds, as an event loop counts it on from now.

    Whoever sets the clock of the machine meanwhile moves no deadline.
    """
    began = time.time() - loop.time()
    return lambda: began + loop.time()


class Stopwatch:
    """Calls `expire` when it has run for `seconds` in all.

    Args:
        seconds: how long it may run.
        expire: called once, from the event loop.
    """

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = seconds
        self._expire = expire
        self._handle: asyncio.TimerHandle | None = None

    @property
    def left(self) -> float:
        """How long it may still run, in seconds."""
        if self._handle is None:
            return self._left
        return max(0.0, self._handle.when() - self._loop.time())

    @property
    def runs(self) -> bool:
        """Whether the time counts."""
        return self._handle is not None

    def run(self) -> None:
        """Let the time count."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._left, self._expire)

    def pause(self) -> None:
        """Let the time stand still."""
        if self._handle is not None:
            self._left = self.left
            self._handle.cancel()
            self._handle = None
