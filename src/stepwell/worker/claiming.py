"""How a worker gets runs: it asks for those that are due, and claims as many as it has room for."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from stepwell.durable.hearing import Ear
from stepwell.durable.session import Session
from stepwell.errors import DurabilityError, RunCorrupt
from stepwell.storage.records import Claim, Lane, Topic
from stepwell.worker.hosting import Hosting

__all__ = ["Claiming"]

LOOK_EVERY = 1.0
"""How often, in seconds, the store is asked for due runs that it told nothing of."""

AVOID_FOR = 30.0
"""For how many seconds a run is left alone that can't be read, and so not be set aside."""

AT_ONCE = 32
"""How many runs of a partition are claimed together."""

log = logging.getLogger("stepwell")


class Claiming:
    """Claims due runs, partition by partition, until it is told to stop.

    Args:
        session: claims.
        hosting: has room, or not.
        lanes: whose runs are claimed.
    """

    def __init__(self, session: Session, hosting: Hosting, lanes: Sequence[Lane]) -> None:
        self._session = session
        self._hosting = hosting
        self._lanes = lanes
        store = session.store
        self._ears = [Ear(store, Topic("due", partition)) for partition in range(store.partitions)]
        self._stopping = False
        self._avoided: dict[str, float] = {}

    async def serve(self) -> None:
        """Claim until told to stop; what was being claimed then is taken, too."""
        async with asyncio.TaskGroup() as tasks:
            for partition, ear in enumerate(self._ears):
                tasks.create_task(self._serve(partition, ear))

    def stop(self) -> None:
        """Claim nothing any more."""
        self._stopping = True
        for ear in self._ears:
            ear.ring()
        self._hosting.close()

    async def _serve(self, partition: int, ear: Ear) -> None:
        try:
            while not self._stopping:
                await ear.open(LOOK_EVERY)
                try:
                    next_look = await self._claim_due(partition)
                except DurabilityError as error:
                    log.warning("due runs are looked for again: %s", error)
                    next_look = LOOK_EVERY
                await ear.hear(next_look)
        finally:
            ear.close()

    async def _claim_due(self, partition: int) -> float:
        """Claim what is due as far as there is room; the seconds until the next look."""
        while True:
            await self._hosting.wait_for_room()
            places = self._hosting.reserve(AT_ONCE)
            if self._stopping:
                self._hosting.give_up(places)
                return 0.0
            try:
                # Others look at the same line: each takes its pick of twice as many.
                asked = 2 * places + len(self._avoided)
                due = await self._session.store.due(partition, self._shuffled(), asked)
            except BaseException:
                self._hosting.give_up(places)
                raise
            self._forgive()
            found = [one for one in due.runs if one[0] not in self._avoided]
            picked = random.sample(found, min(places, len(found)))
            self._hosting.give_up(places - len(picked))
            await asyncio.gather(*(self._claim(run_id, lane) for run_id, lane in picked))
            if len(found) <= places:
                return LOOK_EVERY if due.next_in is None else min(LOOK_EVERY, due.next_in / 1000)

    def _forgive(self) -> None:
        """Runs that were found to be damaged a while ago may have been mended."""
        now = time.monotonic()
        self._avoided = {one: until for one, until in self._avoided.items() if until > now}

    def _shuffled(self) -> list[Lane]:
        """All lanes, another one first each time, so that none has to wait for the others."""
        return random.sample(self._lanes, len(self._lanes))

    async def _claim(self, run_id: str, lane: Lane) -> None:
        claim: Claim | None = None
        try:
            claim = await self._session.claim(run_id, "", lane, due=True)
        except DurabilityError as error:
            log.warning("run %s can't be claimed: %s", run_id, error)
            if isinstance(error, RunCorrupt):
                self._avoided[run_id] = time.monotonic() + AVOID_FOR
        finally:
            if claim is None:
                self._hosting.give_up(1)
        if claim is not None:
            self._hosting.take(claim)
