"""The live stream of a run: every reader sees all of it, from the first event to the last."""

import asyncio
from collections.abc import AsyncIterator

from stepwell.events import Event

__all__ = ["EventStream"]


class EventStream:
    """Events in the order in which they were published, kept as long as the run's handler."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []

    def publish(self, event: Event) -> None:
        """Add an event, unless the stream is closed."""
        if not self._closed:
            self._events.append(event)
            self._wake()

    def close(self) -> None:
        """Let the readers end."""
        self._closed = True
        self._wake()

    async def read(self) -> AsyncIterator[Event]:
        """Yield all events, those of the past first."""
        position = 0
        while True:
            while position < len(self._events):
                position += 1
                yield self._events[position - 1]
            if self._closed:
                return
            await self._news()

    async def _news(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
