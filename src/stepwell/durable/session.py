"""A session: the connection of one event loop to a store, with its owner identity."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stepwell.durable.lease import Lease
from stepwell.durable.mailbox import Mailbox
from stepwell.durable.outage import Outage, Request
from stepwell.errors import (
    DurabilityError,
    LeaseLost,
    StepwellError,
    StoreError,
    StoreUnavailable,
)
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, DueRun, NewRun, Release, RunInfo

__all__ = ["Session"]

RELEASE_AGAIN = 1.0
"""How long, in seconds, one attempt to give a run back may take, and the pause after it."""

RENOUNCE_AFTER = 1.0, 2.0, 4.0, 8.0
"""When, in seconds, each look after the last one, it is looked whether a run was claimed unheard.

A claim that was given up may still be on its way, and get there after what was asked later.
"""

log = logging.getLogger("stepwell")


class Session:
    """Shared by all runs of one event loop that use the same checkpointer.

    Args:
        connect: makes a store, not yet open.
        lease: how long this process may be silent before its runs go elsewhere, in seconds.
        stall_limit: how long, in seconds, the event loop may be blocked before that.

    Attributes:
        executing: the runs that this session executes, or asks for.
        outage: whatever is asked of the store again until it answers is noted there.
    """

    def __init__(
        self, connect: Callable[[], RunStore], lease: float, stall_limit: float = 300.0
    ) -> None:
        self.store = connect()
        self.outage = Outage()
        self.lease = Lease(connect, lease, stall_limit, self._look_after_runs, self.outage)
        self.executing: dict[str, Hold] = {}
        self.mailbox = Mailbox(self.store, self.lease.owner, self.executing, self.outage)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        await self.store.open()

    async def close(self) -> None:
        """End the lease, and with it our hold on all runs; give the connections back."""
        for task in self._tasks:
            task.cancel()
        await self.mailbox.close()
        await self.lease.close()
        await self.store.close()
        self.outage.close()

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that we own; None if the name is taken."""
        await self.lease.cover(self.store.partition_of(run.run_id))
        return await self._taken(run.run_id, self.store.create(run))

    async def claim(self, seen: RunInfo) -> Claim | None:
        """Take a run over as it was seen; None if somebody was faster."""
        await self.lease.cover(self.store.partition_of(seen.run_id))
        return await self._taken(seen.run_id, self._claim_as_seen(seen))

    async def _claim_as_seen(self, seen: RunInfo) -> Claim | None:
        owner, (run_id, was, lane) = self.lease.owner, (seen.run_id, seen.owner, seen.lane)
        return await self.store.claim(run_id, owner, was, lane, epoch=seen.epoch)

    async def claim_due(self, due: DueRun) -> Claim | None:
        """Take a run that is due; None if somebody was faster."""
        run_id, lane, since = due
        await self.lease.cover(self.store.partition_of(run_id))
        asking = self.store.claim(run_id, self.lease.owner, "", lane, due=True, since=since)
        return await self._taken(run_id, asking)

    async def _taken(self, run_id: str, asking: Awaitable[Claim | None]) -> Claim | None:
        """Count a run as executed here from before it is claimed, and on only if it was.

        If the answer is lost, the store may say that it is ours, and nobody executes it: then it
        is given back as soon as the store answers, or whoever wants it here claims it from
        ourselves.
        """
        self.executing.setdefault(run_id, ASKING)
        claim: Claim | None = None
        try:
            claim = await asking
        except (StoreError, asyncio.CancelledError):
            self._in_background(self._renounce(run_id))
            raise
        finally:
            self.let_go(run_id, ASKING.token)
        if claim is not None:
            self._stop(run_id, f"run {run_id} was taken from this process, and taken back")
            self.executing[run_id] = Hold(claim.token)
        return claim

    async def _renounce(self, run_id: str) -> None:
        """Give back what may have been claimed unheard, as often as it is found so."""
        request = self.outage.request(f"asking whether run {run_id} was claimed unheard")
        looks = 0
        try:
            while looks < len(RENOUNCE_AFTER):
                await asyncio.sleep(RENOUNCE_AFTER[looks])
                looks = looks + 1 if await self._gave_back_unheard(run_id, request) else 0
        finally:
            request.end()

    async def _gave_back_unheard(self, run_id: str, request: Request) -> bool:
        with request.noted(), self._unless_lost(run_id):
            await self._give_back_unheard(run_id)
        return request.is_served

    async def _give_back_unheard(self, run_id: str) -> None:
        """Give a run back that is ours, unless somebody here executes it, or asks for it."""
        owner = self.lease.owner
        info = await self.store.peek(run_id)
        if info is None or info.owner != owner or run_id in self.executing:
            return
        claim = await self._claim_as_seen(info)
        if claim is not None:
            await self.store.release(Release(run_id, claim.token, claim.lane))

    def hold(self, claim: Claim, stop: Callable[[LeaseLost], None]) -> None:
        """Have a run that was claimed here stopped when it went elsewhere."""
        self.executing[claim.run_id] = Hold(claim.token, stop)

    def let_go(self, run_id: str, token: str) -> None:
        """The run is not executed here any more, by the right of this token."""
        if run_id in self.executing and self.executing[run_id].token == token:
            del self.executing[run_id]

    async def give_back(self, release: Release) -> None:
        """Let whoever comes next have a run at once, without waiting for our lease.

        As long as this process lives and holds it, nobody else would go on with it. So if the store
        can't be reached now, it is tried until it can.
        """
        self.let_go(release.run_id, release.token)
        request = self.outage.request(_giving_back(release))
        if not await self._released(release, request):
            self._in_background(self._release_some_time(release, request))

    async def block(self, claim: Claim, fingerprint: str, error: str) -> None:
        """Set a run aside that this code does not know; where that fails, give it back."""
        try:
            await self.store.block(claim, fingerprint, error)
        except StepwellError as reason:
            log.warning("run %s can't be set aside: %s", claim.run_id, reason)
            await self.give_back(Release(claim.run_id, claim.token, claim.lane))
        self.let_go(claim.run_id, claim.token)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release_some_time(self, release: Release, request: Request) -> None:
        try:
            while not request.is_served:
                await asyncio.sleep(RELEASE_AGAIN)
                await self._released(release, request)
        finally:
            request.end()

    async def _released(self, release: Release, request: Request) -> bool:
        with request.noted(), self._unless_lost(release.run_id):
            await self._release(release)
        return request.is_served

    async def _release(self, release: Release) -> None:
        try:
            async with asyncio.timeout(RELEASE_AGAIN):
                await self.store.release(release)
        except TimeoutError as error:
            raise StoreUnavailable(f"{_giving_back(release)}: no answer in time") from error

    @contextmanager
    def _unless_lost(self, run_id: str) -> Generator[None]:
        """Give a run back, in a block that ends if it is not ours any more."""
        try:
            yield
        except StoreError:
            raise
        except DurabilityError as error:
            log.info("run %s is not ours to give back: %s", run_id, error)
            if isinstance(error, LeaseLost):
                self.lease.renew_soon()

    def _look_after_runs(self) -> None:
        """The lease was over for a while: runs that were given to others have to stop here."""
        for run_id in self.executing:
            self._in_background(self._look_after(run_id))

    async def _look_after(self, run_id: str) -> None:
        try:
            info = await self.store.peek(run_id)
        except StepwellError as error:
            log.warning("run %s may belong to another process: %s", run_id, error)
            return
        if info is None or info.owner != self.lease.owner:
            self._stop(
                run_id,
                f"run {run_id} went to another process while this one was silent for longer than "
                f"its lease: it stops here, and is followed by its id",
            )

    def _stop(self, run_id: str, why: str) -> None:
        held = self.executing.get(run_id, ASKING)
        if held.stop is not None:
            held.stop(LeaseLost(why))
            self.lease.renew_soon()
        elif held is not ASKING:  # it has not begun, and won't
            del self.executing[run_id]

    def holds(self, claim: Claim) -> bool:
        """Whether a run that was claimed is still ours, as far as is known."""
        held = self.executing.get(claim.run_id)
        return held is not None and held.token == claim.token


def _giving_back(release: Release) -> str:
    return f"giving run {release.run_id} back"


@dataclass(frozen=True, slots=True)
class Hold:
    """A run that is executed here, by the right of a token.

    Attributes:
        stop: ends that at once; None as long as it has not begun.
    """

    token: str
    stop: Callable[[LeaseLost], None] | None = None


ASKING = Hold("")
"""The store was asked for a run, and has not answered."""
