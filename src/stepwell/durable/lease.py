"""The lease: shows the store that this process lives.

Renewal has a thread, an event loop and a connection of its own, so that a step which blocks the
event loop of the runs does not lose them.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from stepwell.errors import LeaseLost, StepwellError
from stepwell.storage.protocol import RunStore

__all__ = ["Lease"]

LAST_WORDS = 1.0
"""How long, in seconds, the end of a lease may take; after that it ends by itself."""

log = logging.getLogger("stepwell")


class Lease:
    """One owner identity: random, never a host name, good for one session of one process.

    Args:
        connect: makes a store, not yet open, for the thread.
        seconds: how long the lease lasts; it is renewed after a third of it.
    """

    def __init__(self, connect: Callable[[], RunStore], seconds: float) -> None:
        self.owner = secrets.token_hex(8)
        self._connect = connect
        self._seconds = seconds
        self._covered: set[int] = set()
        self._watching: dict[int, Callable[[LeaseLost], None]] = {}
        self._user_loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._starting: asyncio.Future[_Inside] | None = None

    async def cover(self, partition: int) -> None:
        """Be known as an owner in a partition, before a run of it is claimed.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        thread = await self._started()
        if partition not in self._covered:
            appearing = thread.store.appear(self.owner, partition)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(appearing, thread.loop))
            self._covered.add(partition)

    def watch(self, on_lost: Callable[[LeaseLost], None]) -> Callable[[], object]:
        """Have a run stopped when the lease could not be renewed in time; returns the undoing."""
        key = id(on_lost)
        self._watching[key] = on_lost
        return partial(self._watching.pop, key, None)

    async def close(self) -> None:
        """End the lease."""
        if self._thread is None or self._starting is None:
            return
        await asyncio.wait([self._starting])
        if not self._starting.exception():
            inside = self._starting.result()
            inside.loop.call_soon_threadsafe(inside.stop.set)
        await asyncio.to_thread(self._thread.join)

    async def _started(self) -> "_Inside":
        if self._starting is None:
            self._starting = self._user_loop.create_future()
            self._thread = threading.Thread(target=self._main, name="stepwell-lease", daemon=True)
            self._thread.start()
        try:
            return await asyncio.shield(self._starting)
        except StepwellError:
            self._starting = None  # whoever asks next may be luckier
            raise

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        starting = cast("asyncio.Future[_Inside]", self._starting)
        inside = _Inside(asyncio.get_running_loop(), self._connect(), asyncio.Event())
        try:
            await inside.store.open()
        except Exception as error:  # noqa: BLE001  whoever asked for the lease gets it
            self._on_user_loop(starting.set_exception, error)
            return
        self._on_user_loop(starting.set_result, inside)
        renewing = inside.loop.create_task(self._renew(inside.store))
        try:
            await inside.stop.wait()
            renewing.cancel()
            async with asyncio.timeout(LAST_WORDS):
                await inside.store.disappear(self.owner)
        except (StepwellError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            log.warning("the lease of owner %s ends by itself: %s", self.owner, reason)
        finally:
            renewing.cancel()
            await inside.store.close()

    async def _renew(self, store: RunStore) -> None:
        """Renew in time, or tell the runs to stop: both before the lease ends."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                async with asyncio.timeout(self._seconds * 0.45):
                    await store.renew(self.owner)
            except (StepwellError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                log.warning("owner %s could not renew its lease: %s", self.owner, reason)
                self._lose()

    def _lose(self) -> None:
        error = LeaseLost(
            f"owner {self.owner} could not renew its lease in {self._seconds:.0f} s: its runs stop "
            f"here, and go on wherever the store can be reached"
        )
        for on_lost in list(self._watching.values()):
            self._on_user_loop(on_lost, error)

    def _on_user_loop(self, action: Callable[[Any], object], argument: object) -> None:
        try:
            self._user_loop.call_soon_threadsafe(action, argument)
        except RuntimeError:
            log.debug("the event loop of owner %s is closed: nobody is left to tell", self.owner)


@dataclass(frozen=True, slots=True)
class _Inside:
    """What lives in the thread."""

    loop: asyncio.AbstractEventLoop
    store: RunStore
    stop: asyncio.Event
