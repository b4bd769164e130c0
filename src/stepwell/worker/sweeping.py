"""What workers do for each other: runs of the dead become due, blocked ones are tried again."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping

from stepwell.errors import DurabilityError
from stepwell.storage.limits import AT_ONCE_MAX
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Lane

__all__ = ["Sweeping"]

SWEEP_EVERY = 0.2
"""How often, in seconds, each worker looks for dead owners: two looks show that one is dead."""

FEW_OWNERS = 4
"""With more owners than these each looks more seldom, so that all together look as often."""

UNBLOCK_EVERY = 10.0
"""How often, in seconds, runs are looked for that other code could not go on with."""

log = logging.getLogger("stepwell")


class Sweeping:
    """Looks through all partitions, again and again.

    Args:
        store: has the runs.
        fingerprints: of the code that serves a lane.

    Attributes:
        swept_at: when all was looked through last, by the monotonic clock.
    """

    def __init__(self, store: RunStore, fingerprints: Mapping[Lane, str]) -> None:
        self.swept_at: float | None = None
        self._store = store
        self._fingerprints = fingerprints

    async def serve(self) -> None:
        """Sweep until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            tasks.create_task(self._unblock())

    async def _sweep(self) -> None:
        owners = 1
        while True:
            every = SWEEP_EVERY * max(1.0, owners / FEW_OWNERS)
            await asyncio.sleep(every * random.uniform(0.5, 1.5))  # noqa: S311  not all at once
            looks = [self._look(partition) for partition in range(self._store.partitions)]
            found = await asyncio.gather(*looks)
            if None not in found:
                self.swept_at = time.monotonic()
            owners = max((number for number in found if number is not None), default=owners)

    async def _look(self, partition: int) -> int | None:
        """Look through one partition; how many owners it has, None if the store can't be asked."""
        try:
            while True:
                swept = await self._store.sweep(partition)
                if swept.orphaned < AT_ONCE_MAX:
                    return swept.owners
                await asyncio.sleep(SWEEP_EVERY * random.random())  # noqa: S311  others have a turn
        except DurabilityError as error:
            log.warning("runs of dead processes are looked for again: %s", error)
            return None

    async def _unblock(self) -> None:
        while True:
            for partition in range(self._store.partitions):
                for lane, fingerprint in self._fingerprints.items():
                    await self._unblock_lane(partition, lane, fingerprint)
            await asyncio.sleep(UNBLOCK_EVERY * random.uniform(0.5, 1.5))  # noqa: S311  as above

    async def _unblock_lane(self, partition: int, lane: Lane, fingerprint: str) -> None:
        try:
            number = AT_ONCE_MAX  # those that are blocked again by others wait for the next look
            while number == AT_ONCE_MAX:
                number = await self._store.unblock(partition, lane, fingerprint)
                if number:
                    log.info("%d blocked runs of %s are tried again", number, lane.workflow)
        except DurabilityError as error:
            log.warning("blocked runs of %s are looked for again: %s", lane.workflow, error)
