"""The time of the store, by which all its clients agree on when something is due."""

import time

__all__ = ["StoreClock"]


class StoreClock:
    """Tells the time of the store, never too early; that of this machine until it was told.

    Between two readings of the store's time it goes by the monotonic clock of this process: whoever
    sets a wall clock here moves no timer.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def __call__(self) -> float:
        """The time in seconds since 1970."""
        return time.monotonic() + self._ahead

    def adjust(self, now: int) -> None:
        """Learn the time, in ms since 1970: it was read before this is called, so it is later."""
        self._ahead = now / 1000 - time.monotonic()
