"""The lease: shows the store that this process lives.

Renewal has a thread, an event loop and a connection of its own, so that a step which blocks the
event loop of the runs does not lose them.
"""

import asyncio
import logging
import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from stepwell.durable.clock import StoreClock
from stepwell.durable.hearing import heard
from stepwell.durable.outage import Outage
from stepwell.durable.watchdog import Watchdog
from stepwell.errors import LeaseLost, StepwellError, StoreUnavailable
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Renewal

__all__ = ["Lease"]

LAST_WORDS = 1.0
"""How long, in seconds, the end of a lease may take; after that it ends by itself."""

WATCH_EVERY = 1.0
"""How often, in seconds, the event loop of the runs is asked for a sign of life."""

log = logging.getLogger("stepwell")


class Lease:
    """One owner identity: random, never a host name, good for one session of one process.

    Args:
        connect: makes a store, not yet open, for the thread.
        seconds: how long the lease lasts; it is renewed after a third of it.
        stall_limit: how long, in seconds, the event loop of the runs may be blocked meanwhile.
        on_lapse: told, in the event loop of the runs, that the lease had been over for a while.
        outage: notes whether the store renews it.

    Attributes:
        clock: tells the time of the store.
        seconds: how long it lasts.
        renewed_at: when it was renewed last, by the monotonic clock.
    """

    def __init__(
        self,
        connect: Callable[[], RunStore],
        seconds: float,
        stall_limit: float,
        on_lapse: Callable[[], object],
        outage: Outage,
    ) -> None:
        self.owner = secrets.token_hex(8)
        self.clock = StoreClock()
        self.renewed_at: float | None = None
        self._connect = connect
        self.seconds = seconds
        self._on_lapse = on_lapse
        self._renewing = outage.request(f"renewing the lease of owner {self.owner}")
        self._covered: set[int] = set()
        self._watching: dict[int, Callable[[LeaseLost], None]] = {}
        self._user_loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(stall_limit)
        self._thread: threading.Thread | None = None
        self._starting: asyncio.Future[_Inside] | None = None

    @property
    def covered(self) -> frozenset[int]:
        """The partitions in which it is known."""
        return frozenset(self._covered)

    async def cover(self, partition: int) -> None:
        """Be known as an owner in a partition, before a run of it is claimed.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        thread = await self._started()
        if partition not in self._covered:
            appearing = self._appear(thread.store, partition)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(appearing, thread.loop))
            self._covered.add(partition)

    async def _appear(self, store: RunStore, partition: int) -> None:
        """Become known. In the thread: the time is read when it comes, whatever blocks the runs."""
        renewal = await store.appear(self.owner, partition)
        self.clock.adjust(renewal.now)
        self.renewed_at = self.renewed_at or time.monotonic()

    def watch(self, on_lost: Callable[[LeaseLost], None]) -> Callable[[], object]:
        """Have a run stopped when the lease could not be renewed in time; returns the undoing."""
        key = id(on_lost)
        self._watching[key] = on_lost
        return partial(self._watching.pop, key, None)

    def renew_soon(self) -> None:
        """Renew before it is time: a run was lost, so others may take this process for dead.

        Until then they would go on to take from it what it claims.
        """
        if self._starting is not None and self._starting.done():
            inside = self._starting.result()
            inside.loop.call_soon_threadsafe(inside.hurry.set)

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
        inside = _Inside(asyncio.get_running_loop(), self._connect())
        try:
            await inside.store.open()
        except Exception as error:  # noqa: BLE001  whoever asked for the lease gets it
            self._on_user_loop(starting.set_exception, error)
            return
        self._on_user_loop(starting.set_result, inside)
        renewing = inside.loop.create_task(self._renew(inside))
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

    async def _renew(self, inside: "_Inside") -> None:
        """Renew in time, or tell the runs to stop: both before the lease ends.

        For runs whose event loop is blocked for too long it is not renewed: they go elsewhere.
        """
        renew_at = time.monotonic() + self.seconds / 3
        while True:
            wait = min(WATCH_EVERY, max(0.05, renew_at - time.monotonic()))
            if await heard(inside.hurry, wait):
                renew_at = 0.0
            if self._watchdog.look() and time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self.seconds / 3
                await self._renew_once(inside.store)

    async def _renew_once(self, store: RunStore) -> None:
        renewal: Renewal | None = None
        try:
            with self._renewing.noted():
                renewal = await self._renewed(store)
        except Exception:  # whatever it is, the runs must stop in time
            log.exception("owner %s could not renew its lease", self.owner)
        if renewal is None:
            self._lose()
        else:
            await self._learn(store, renewal)

    async def _renewed(self, store: RunStore) -> Renewal:
        try:
            async with asyncio.timeout(self.seconds * 0.45):
                return await store.renew(self.owner)
        except TimeoutError as error:
            raise StoreUnavailable(f"{self._renewing.what}: no answer in time") from error

    async def _learn(self, store: RunStore, renewal: Renewal) -> None:
        self.clock.adjust(renewal.now)
        self.renewed_at = time.monotonic()
        if renewal.lapsed:
            log.warning("the lease of owner %s was over for a while", self.owner)
            self._on_user_loop(lambda _: self._on_lapse(), None)
        await self._tidy(store)

    async def _tidy(self, store: RunStore) -> None:
        """Look through one partition for what the dead left: there may be no worker who does."""
        if not self._covered:
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                await store.sweep(random.choice(sorted(self._covered)))  # noqa: S311  each some time
        except (StepwellError, TimeoutError) as error:
            log.debug("owner %s will tidy up later: %s", self.owner, error)

    def _lose(self) -> None:
        error = LeaseLost(
            f"owner {self.owner} could not renew its lease in {self.seconds:.0f} s: its runs stop "
            f"here, and go on wherever the store can be reached"
        )
        losers = list(self._watching.values())
        if losers:
            log.warning("%s", error)
        for on_lost in losers:
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
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
