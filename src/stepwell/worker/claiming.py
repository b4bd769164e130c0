"""How a worker gets runs: it asks for those that are due, and claims as many as it has room for."""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from stepwell.durable.hearing import Ear
from stepwell.durable.outage import Request
from stepwell.durable.session import Session
from stepwell.errors import DurabilityError, RunCorrupt, StoreError
from stepwell.storage.records import Claim, DueRun, Lane, Topic
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
        self._ears = [
            Ear(store, Topic("due", partition), session.outage)
            for partition in range(store.partitions)
        ]
        self._asking = 0
        self._stopping = False
        self._avoided = [dict[str, float]() for _ in range(store.partitions)]

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
        request = self._session.outage.request(f"claiming due runs of partition {partition}")
        try:
            while not self._stopping:
                await ear.open(LOOK_EVERY)
                await ear.hear(await self._claim_due(partition, request))
        finally:
            ear.close()
            request.end()

    async def _claim_due(self, partition: int, request: Request) -> float:
        """Claim what is due as far as there is room; the seconds until the next look."""
        next_look: float | None = None
        while next_look is None and (places := await self._reserve(request)):
            next_look = LOOK_EVERY
            self._asking += 1
            try:
                with request.noted():
                    next_look = await self._claim_some(partition, places)
            finally:
                self._asking -= 1
        return next_look or 0.0

    async def _reserve(self, request: Request) -> int:
        """Reserve places as soon as there are any; none when told to stop."""
        while not self._stopping:
            if places := self._hosting.reserve(AT_ONCE):
                return places
            await self._wait_for_room(request)
        return 0

    async def _wait_for_room(self, request: Request) -> None:
        """Wait, but not for long while other partitions may give back what they reserved.

        While runs take all the room, the request is not made.
        """
        if not self._asking:
            request.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY if self._asking else None):
                await self._hosting.wait_for_room()

    async def _claim_some(self, partition: int, places: int) -> float | None:
        """Claim what is due; the seconds until the next look, None if there was more than places.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        try:
            # Others look at the same line: each takes its pick of twice as many.
            asked = 2 * places + len(self._avoided[partition])
            due = await self._session.store.due(partition, self._shuffled(), asked)
        except BaseException:
            self._hosting.give_up(places)
            raise
        self._forgive(partition)
        found = [run for run in due.runs if run.run_id not in self._avoided[partition]]
        picked = random.sample(found, min(places, len(found)))
        self._hosting.give_up(places - len(picked))
        await _make_all(self._claim(run) for run in picked)
        if len(found) > places:
            return None
        return LOOK_EVERY if due.next_in is None else min(LOOK_EVERY, due.next_in / 1000)

    def _avoid(self, run_id: str, seconds: float) -> None:
        """Leave a run alone for a while."""
        partition = self._session.store.partition_of(run_id)
        self._avoided[partition][run_id] = time.monotonic() + seconds

    def _forgive(self, partition: int) -> None:
        """Runs may have been mended that were damaged, and may be let in that were not."""
        now, avoided = time.monotonic(), self._avoided[partition]
        self._avoided[partition] = {one: until for one, until in avoided.items() if until > now}

    def _shuffled(self) -> list[Lane]:
        """All lanes, another one first each time, so that none has to wait for the others."""
        return random.sample(self._lanes, len(self._lanes))

    async def _claim(self, due: DueRun) -> None:
        claim: Claim | None = None
        try:
            claim = await self._session.claim_due(due)
        except StoreError:
            raise
        except DurabilityError as error:
            log.warning("run %s can't be claimed: %s", due.run_id, error)
            if isinstance(error, RunCorrupt):
                self._avoid(due.run_id, AVOID_FOR)
        finally:
            if claim is None:
                self._hosting.give_up(1)
        if claim is not None and (pause := self._hosting.take(claim)):
            self._avoid(due.run_id, pause)


async def _make_all(claims: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Make all claims; an error of one is raised when the others are made, too."""
    for outcome in await asyncio.gather(*claims, return_exceptions=True):
        if outcome is not None:
            raise outcome
