"""The live stream of a run: every reader sees all of it, from the first event to the last."""

import asyncio
from collections.abc import AsyncIterator

from stepwell.events import Event, InternalDispatchEvent

__all__ = ["UNHEARD", "EventStream"]


class EventStream:
    """Events in the order in which they were published, kept as long as the run's handler.

    Args:
        keeps: whether anybody may read; in a worker nobody does, and nothing is kept.

    Attributes:
        is_watched: somebody wants to see what the steps do; only from then on such events are kept,
            so that a run that goes on for ever needs no memory for what nobody reads.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self._keeps = keeps
        self._events: list[Event] = []
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []
        self._queues: list[asyncio.Queue[Event]] = []
        self._left_at = 0
        self.is_watched = False

    def publish(self, event: Event) -> None:
        """Add an event, unless the stream is closed."""
        is_internal = isinstance(event, InternalDispatchEvent)
        if self._closed or not self._keeps or (is_internal and not self.is_watched):
            return
        self._events.append(event)
        if not is_internal:
            for queue in self._queues:
                queue.put_nowait(event)
        self._wake()

    def close(self) -> None:
        """Let the readers end."""
        self._closed = True
        self._wake()

    def read(self, *, internal: bool = False) -> AsyncIterator[Event]:
        """Yield all events, those of the past first; with `internal`, what the steps do too.

        A reader that is left before its end hands its place on: the next one goes on from there.
        """
        self.is_watched = self.is_watched or internal
        position, self._left_at = self._left_at, 0
        return _Reader(self, position, internal)

    def queue(self) -> asyncio.Queue[Event]:
        """Return a queue that has all events, and gets those that are still to come."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        for event in self._events:
            if not isinstance(event, InternalDispatchEvent):
                queue.put_nowait(event)
        self._queues.append(queue)
        return queue

    async def event_at(self, position: int) -> Event | None:
        """Return the event at a position, once it is there; None if the stream ends before it."""
        while position >= len(self._events):
            if self._closed:
                return None
            await self._news()
        return self._events[position]

    def leave(self, position: int) -> None:
        """A reader was left before its end."""
        self._left_at = position

    async def _news(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


UNHEARD = EventStream(keeps=False)
"""The stream of all runs that nobody in this process listens to."""


class _Reader:
    """Reads a stream once. No generator: it must know at once when a loop over it was left."""

    def __init__(self, stream: EventStream, position: int, internal: bool) -> None:
        self._stream = stream
        self._position = position
        self._internal = internal
        self._is_inside = False

    def __aiter__(self) -> "_Reader":
        return self

    async def __anext__(self) -> Event:
        while (event := await self._stream.event_at(self._position)) is not None:
            self._position += 1
            if self._internal or not isinstance(event, InternalDispatchEvent):
                self._is_inside = True
                return event
        self._is_inside = False
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave the stream here."""
        self._leave()

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._is_inside:
            self._is_inside = False
            self._stream.leave(self._position)
