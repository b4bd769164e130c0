"""The time that a run may take. Waiting for an answer does not count."""

import asyncio
from collections.abc import Callable

__all__ = ["Stopwatch"]


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

    def run(self) -> None:
        """Let the time count."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._left, self._expire)

    def pause(self) -> None:
        """Let the time stand still."""
        if self._handle is not None:
            self._left = max(0.0, self._handle.when() - self._loop.time())
            self._handle.cancel()
            self._handle = None
