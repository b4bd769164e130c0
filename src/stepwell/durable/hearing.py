"""Waiting for news that may get lost."""

import asyncio
from contextlib import suppress

from stepwell.durable.outage import Outage
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Topic

__all__ = ["Ear", "heard"]

LISTEN_AGAIN = 1.0
"""How long, in seconds, it is left alone that the store did not let us listen."""


class Ear:
    """Listens for one topic, as soon as the store lets it; nobody has to wait for that.

    Args:
        store: has the news.
        topic: what of.
        outage: notes whether the store lets it.
    """

    def __init__(self, store: RunStore, topic: Topic, outage: Outage) -> None:
        self._store = store
        self._topic = topic
        self._news = asyncio.Event()
        self._request = outage.request(
            f"listening for news of kind {topic.kind!r} in partition {topic.partition}"
        )
        self._opening: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def open(self, seconds: float) -> None:
        """Listen from now on; return when that is so, was refused, or takes so many seconds.

        If it was refused, it is tried again and again.
        """
        if self._opening is None or self._opening.done():
            self._tried.clear()
            self._opening = asyncio.get_running_loop().create_task(self._open())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._tried.wait()

    async def _open(self) -> None:
        try:
            while True:
                with self._request.noted():
                    await self._store.watch(self._topic, self._news)
                    return
                self._tried.set()
                await asyncio.sleep(LISTEN_AGAIN)
        finally:
            self._tried.set()
            self._request.end()

    async def hear(self, seconds: float) -> None:
        """Return as soon as there are news, which are old then; after so many seconds without."""
        await heard(self._news, seconds)

    def ring(self) -> None:
        """Be news."""
        self._news.set()

    def close(self) -> None:
        """Listen no more."""
        if self._opening is not None:
            self._opening.cancel()
        self._store.unwatch(self._topic, self._news)


async def heard(news: asyncio.Event, seconds: float) -> bool:
    """Return as soon as there are news, which are old then; False after seconds without any."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    news.clear()
    return True
