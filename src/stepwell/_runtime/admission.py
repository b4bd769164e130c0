"""How many runs of a workflow go on at once; the others wait for their turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["Admission"]


class Admission:
    """Lets runs begin in the order in which they were asked for.

    Args:
        limit: how many go on at once; None for all. Each event loop counts for itself, since a run
            ends with its loop, at the latest.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._doors: WeakKeyDictionary[asyncio.AbstractEventLoop, _Door] = WeakKeyDictionary()

    @property
    def is_unlimited(self) -> bool:
        """Whether nobody ever waits."""
        return self._limit is None

    def enter(self, begin: Callable[[], None], ended: asyncio.Future[None]) -> bool:
        """Begin a run now, or when another one has ended; return whether it began.

        Args:
            begin: begins it.
            ended: is done when the run is over, even if that is before it began.
        """
        if self._limit is None:
            begin()
            return True
        door = self._doors.setdefault(asyncio.get_running_loop(), _Door(self._limit))
        return door.enter(begin, ended)


class _Door:
    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, begin: Callable[[], None], ended: asyncio.Future[None]) -> bool:
        def admit() -> None:
            if ended.done():  # it was cancelled while it waited
                self._next()
                return
            ended.add_done_callback(lambda _: self._next())
            begin()

        if not self._free:
            self._waiting.append(admit)
            return False
        self._free -= 1
        admit()
        return True

    def _next(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1
