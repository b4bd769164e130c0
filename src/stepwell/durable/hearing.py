"""Waiting for news that may get lost."""

import asyncio

from stepwell.durable.outage import Outage
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Topic

__all__ = ["Ear", "heard"]


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

    async def open(self, seconds: float) -> None:
        """Listen from now on; return when that is so, was refused, or takes so many seconds.

        It is asked for again at each call.
        """
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())
        await asyncio.wait([self._opening], timeout=seconds)

    async def _open(self) -> None:
        with self._request.noted():
            await self._store.watch(self._topic, self._news)

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
        self._request.end()
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
