"""What workers do for each other: runs of the dead become due, blocked ones are tried again."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping

from stepwell.durable.outage import Outage, Request
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

UNBLOCK_AGAIN = 1.0
"""As above, during an outage: its end is to be noticed soon."""

log = logging.getLogger("stepwell")


class Sweeping:
    """Looks through all partitions, again and again.

    Args:
        store: has the runs.
        fingerprints: of the code that serves a lane.
        outage: notes whether the store answers.

    Attributes:
        swept_at: when all was looked through last, by the monotonic clock.
    """

    def __init__(self, store: RunStore, fingerprints: Mapping[Lane, str], outage: Outage) -> None:
        self.swept_at: float | None = None
        self._store = store
        self._fingerprints = fingerprints
        self._outage = outage
        self._sweeps = [self._request("dead owners", one) for one in range(store.partitions)]
        self._unblocks = {
            (partition, lane): self._request(f"blocked runs of {lane.workflow}", partition, lane)
            for partition in range(store.partitions)
            for lane in fingerprints
        }

    def _request(self, what: str, partition: int, lane: Lane | None = None) -> Request:
        queue = f" of queue {lane.queue}" if lane else ""
        return self._outage.request(f"looking for {what} in partition {partition}{queue}")

    async def serve(self) -> None:
        """Sweep until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sweep())
                tasks.create_task(self._unblock())
        finally:
            for request in (*self._sweeps, *self._unblocks.values()):
                request.end()

    async def _sweep(self) -> None:
        owners = 1
        while True:
            every = SWEEP_EVERY * max(1.0, owners / FEW_OWNERS)
            await asyncio.sleep(every * random.uniform(0.5, 1.5))  # noqa: S311  not all at once
            found = await asyncio.gather(*map(self._look, range(self._store.partitions)))
            if None not in found:
                self.swept_at = time.monotonic()
            owners = max((number for number in found if number is not None), default=owners)

    async def _look(self, partition: int) -> int | None:
        """Look through one partition; how many owners it has, None if the store can't be asked."""
        with self._sweeps[partition].noted():
            while True:
                swept = await self._store.sweep(partition)
                if swept.orphaned < AT_ONCE_MAX:
                    return swept.owners
                await asyncio.sleep(SWEEP_EVERY * random.random())  # noqa: S311  others have a turn
        return None

    async def _unblock(self) -> None:
        while True:
            for (partition, lane), request in self._unblocks.items():
                with request.noted():
                    await self._unblock_lane(partition, lane)
            every = UNBLOCK_AGAIN if self._outage.lasts else UNBLOCK_EVERY
            await asyncio.sleep(every * random.uniform(0.5, 1.5))  # noqa: S311  as above

    async def _unblock_lane(self, partition: int, lane: Lane) -> None:
        number = AT_ONCE_MAX  # those that are blocked again by others wait for the next look
        while number == AT_ONCE_MAX:
            number = await self._store.unblock(partition, lane, self._fingerprints[lane])
            if number:
                log.info("%d blocked runs of %s are tried again", number, lane.workflow)
