"""A session: the connection of one event loop to a store, with its owner identity."""

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

from stepwell.durable.lease import Lease
from stepwell.errors import DurabilityError, StoreError
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, NewRun

__all__ = ["Session"]

RELEASE_AGAIN = 1.0
"""How long, in seconds, one attempt to give a run back may take, and the pause after it."""

log = logging.getLogger("stepwell")


class Session:
    """Shared by all runs of one event loop that use the same checkpointer.

    Args:
        connect: makes a store, not yet open.
        lease: how long this process may be silent before its runs go elsewhere, in seconds.

    Attributes:
        executing: the runs that this session executes.
    """

    def __init__(self, connect: Callable[[], RunStore], lease: float) -> None:
        self.store = connect()
        self.lease = Lease(connect, lease)
        self.executing: set[str] = set()
        self._giving_back: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        await self.store.open()

    async def close(self) -> None:
        """End the lease, and with it our hold on all runs; give the connections back."""
        for task in self._giving_back:
            task.cancel()
        await self.lease.close()
        await self.store.close()

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that we own; None if the name is taken."""
        await self.lease.cover(self.store.partition_of(run.run_id))
        with self._executing_if_ours(run.run_id) as ours:
            ours.append(await self.store.create(run))
        return ours[0]

    async def claim(self, run_id: str, was: str) -> Claim | None:
        """Take a run over; None if somebody was faster."""
        await self.lease.cover(self.store.partition_of(run_id))
        with self._executing_if_ours(run_id) as ours:
            ours.append(await self.store.claim(run_id, self.lease.owner, was))
        return ours[0]

    @contextmanager
    def _executing_if_ours(self, run_id: str) -> Generator[list[Claim | None]]:
        """Count a run as executed here from before it is claimed, and on only if it was.

        If the answer is lost, the store may say that it is ours, and nobody executes it: then the
        next one here who wants it claims it from ourselves.
        """
        known = run_id in self.executing
        self.executing.add(run_id)
        claims: list[Claim | None] = []
        try:
            yield claims
        finally:
            if not known and not any(claims):
                self.executing.discard(run_id)

    async def give_back(self, claim: Claim) -> None:
        """Let whoever comes next have a run at once, without waiting for our lease.

        As long as this process lives and holds it, nobody else would go on with it. So if the store
        can't be reached now, it is tried until it can.
        """
        self.executing.discard(claim.run_id)
        if not await self._released(claim):
            task = asyncio.get_running_loop().create_task(self._release_some_time(claim))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _release_some_time(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(RELEASE_AGAIN)
            if await self._released(claim):
                return

    async def _released(self, claim: Claim) -> bool:
        try:
            async with asyncio.timeout(RELEASE_AGAIN):
                await self.store.release(claim.run_id, claim.token)
        except (StoreError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            log.warning("run %s is given back when the store answers: %s", claim.run_id, reason)
            return False
        except DurabilityError as error:
            log.info("run %s is not ours to give back: %s", claim.run_id, error)
        return True
