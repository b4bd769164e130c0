"""Looks after a run until it is over, whoever executes it, and while nobody does."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from stepwell.client.standing import standing
from stepwell.errors import StoreError
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import RunInfo, Topic
from stepwell.storage.refusals import gone

__all__ = ["Following"]

LOOK_AGAIN = 1.0
"""How often, in seconds, a run is looked after if nothing is heard of it: a message is a hint."""


class Following:
    """What becomes of a run.

    Args:
        store: holds it.
        run_id: its name.
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._info: RunInfo | None = None
        self._fields: Mapping[str, str] = {}

    async def end(self, seconds: float | None) -> Mapping[str, str]:
        """Wait for the end of the run; return its fields.

        Raises:
            TimeoutError: it did not end within so many seconds; tells how it stands.
            RunNotFound: it is not there (any more).
            StoreError: the store can't be reached, or refuses.
        """
        topic = Topic("run", self._store.partition_of(self._run_id), self._run_id)
        news = asyncio.Event()
        await self._store.watch(topic, news)
        try:
            if not await self._is_over():  # also when there is no time to wait
                async with asyncio.timeout(seconds):
                    await self._until_over(news)
        except TimeoutError:
            raise TimeoutError(await self._standing(seconds)) from None
        finally:
            self._store.unwatch(topic, news)
        return self._fields

    async def _until_over(self, news: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await news.wait()
            news.clear()
            if await self._is_over():
                return

    async def _is_over(self) -> bool:
        """Look at the run; read it when it stands still, unless it goes on again meanwhile."""
        self._info = info = await self._store.peek(self._run_id)
        if info is None:
            raise gone(self._run_id)
        if info.ended_at is None and info.status != "blocked":
            return False
        self._fields = await self._store.read(self._run_id) or {}
        return info.ended_at is not None and self._fields.get("status") == info.status

    async def _standing(self, seconds: float | None) -> str:
        """How the run stands, as it was seen last, and what to do."""
        info, inbox = self._info, ()
        if info is None:
            return f"nothing is known of run {self._run_id!r} after {seconds} s"
        with suppress(TimeoutError, StoreError):  # the store may be why it took so long
            async with asyncio.timeout(LOOK_AGAIN):
                self._fields = await self._store.read(self._run_id) or {}
                inbox = await self._store.inbox(self._run_id, 0)
        return standing(info, self._fields, inbox, seconds)
