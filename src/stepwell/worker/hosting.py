"""The runs that a worker holds: each is executed until it ends, rests, or is lost."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from stepwell._engine.snapshot import encode_error
from stepwell._runtime.commits import Durability
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.session import Session
from stepwell.durable.tenure import Parked, Tenure, Terms
from stepwell.durable.verdict import cancel_unexecuted, end_as_wished, is_wished
from stepwell.errors import DurabilityError, LeaseLost, RunBlocked, RunCorrupt
from stepwell.storage.records import Claim, Release, RunInfo
from stepwell.worker.isolation import Isolation
from stepwell.worker.quarantine import quarantine
from stepwell.workflow import Workflow

__all__ = ["Hosting", "Served"]

PUT_OFF_FOR = 1.0
"""For how long, in seconds and up to twice that, a run is first left to others."""

PUT_OFF_MAX = 30.0
"""And for how long at last."""

ASK_FOR = 1.0
"""How long, in seconds, the store may take to tell how the runs here stand."""

log = logging.getLogger("stepwell")


@dataclass(frozen=True, slots=True)
class Served:
    """A workflow whose runs are executed here.

    Attributes:
        fingerprint: tells this code from other code for the same runs.
    """

    workflow: Workflow
    durability: Durability
    fingerprint: str


class Hosting:
    """Holds runs.

    Args:
        session: claimed them.
        checkpointer: of the session.
        served: what may be executed, by the name of the workflow.
        concurrency: how many runs may be at work at once; those that rest don't count.
        idle_timeout: after how many seconds of rest a run is given back.
        claims_max: how often a run may be claimed without getting further.
    """

    def __init__(
        self,
        session: Session,
        checkpointer: Checkpointer,
        served: Mapping[str, Served],
        concurrency: int,
        idle_timeout: float,
        claims_max: int,
    ) -> None:
        self._session = session
        self._served = served
        self._terms = {
            name: _terms(one, checkpointer, idle_timeout) for name, one in served.items()
        }
        self._concurrency = concurrency
        self._claims_max = claims_max
        self._isolation = Isolation(claims_max)
        self._acquitting = False
        self._reserved = 0
        self._tenures: set[Tenure] = set()
        self._resting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._queued: dict[asyncio.Task[None], Claim] = {}
        self._room = asyncio.Event()
        self._closed = False

    @property
    def executing(self) -> int:
        """How many runs it holds."""
        return len(self._tasks)

    @property
    def resting(self) -> int:
        """How many of them rest."""
        return len(self._resting)

    # --- places for more ---

    def reserve(self, number: int) -> int:
        """Keep up to so many free places for runs that are about to be claimed."""
        taken = max(0, min(number, self._free()))
        self._reserved += taken
        return taken

    def give_up(self, number: int) -> None:
        """So many reserved places are not needed."""
        self._reserved -= number
        self._tell_of_room()

    async def wait_for_room(self) -> None:
        """Return when there may be a free place, or never will be."""
        while self._free() <= 0 and not self._closed:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        """There will be no free place any more."""
        self._closed = True
        self._room.set()

    def _free(self) -> int:
        return self._concurrency - self._reserved - self.executing + self.resting

    def _tell_of_room(self) -> None:
        if self._free() > 0:
            self._room.set()

    # --- the runs ---

    def take(self, claim: Claim) -> float:
        """Execute a run that was claimed, in a place that was reserved.

        Returns:
            0; or for how many seconds it is to be left to others, if it can't be beside those that
            are here: then it is given back, as it was.
        """
        self._reserved -= 1
        now = time.monotonic()
        # Now, not when its turn comes: it would be counted also for a death that it waits at.
        admitted = self._isolation.admit(claim, now)
        work = self._host(claim) if admitted else self._put_off(claim)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self._queued[task] = claim
        task.add_done_callback(partial(self._ended, claim))
        return 0.0 if admitted else _pause(self._isolation.waits(claim.run_id, now))

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._queued.pop(task, None)
        self._tasks.discard(task)
        self._resting.discard(claim.token)
        self._isolation.let_go(claim.token)
        self._session.let_go(claim.run_id, claim.token)
        self._tell_of_room()

    async def _host(self, claim: Claim) -> None:
        served = self._served[claim.fields["workflow"]]
        try:
            async with served.workflow.__stepwell_turn__():
                self._leave_queue()
                if self._session.holds(claim) and not self._closed:
                    await self._execute(claim, served)
                else:
                    await self._session.give_back(_untouched(claim))
        except Exception as error:
            log.exception("run %s can't be executed here", claim.run_id)
            await self._session.block(claim, served.fingerprint, encode_error(error, None))

    def _leave_queue(self) -> None:
        del self._queued[cast("asyncio.Task[None]", asyncio.current_task())]

    async def _execute(self, claim: Claim, served: Served) -> None:
        try:
            if claim.claims > self._claims_max:
                await self._end(claim)
            else:
                await self._hold_or_set_aside(claim, served)
        except Parked:
            log.debug("run %s was given back", claim.run_id)
        except LeaseLost as error:
            log.warning("run %s stops here: %s", claim.run_id, error)
        except DurabilityError as error:
            log.warning("run %s was interrupted here: %s", claim.run_id, error)

    async def _hold_or_set_aside(self, claim: Claim, served: Served) -> None:
        """Execute a run; if this code can't read it, somebody may want it to end all the same."""
        try:
            await self._hold(claim, served)
        except (RunBlocked, RunCorrupt):
            await self._end_if_asked(claim.run_id)

    async def _end_if_asked(self, run_id: str) -> None:
        """End a run that was given back, if that is what somebody wants: it needs no code."""
        store = self._session.store
        if is_wished(await store.inbox(run_id, 0)):
            await cancel_unexecuted(store, run_id)

    async def _hold(self, claim: Claim, served: Served) -> None:
        if claim.claims > 1:
            log.info("run %s is taken over: claim %d without progress", claim.run_id, claim.claims)
        tenure = self._tenure(claim, served)
        self._tenures.add(tenure)
        try:
            outcome = await tenure.go_on(claim)
        finally:
            self._tenures.discard(tenure)
        if isinstance(outcome.error, DurabilityError):
            raise outcome.error
        if isinstance(outcome.error, Exception):
            name = served.workflow.workflow_name
            log.error("run %s of %s failed", claim.run_id, name, exc_info=outcome.error)

    def _tenure(self, claim: Claim, served: Served) -> Tenure:
        internals, runner = served.workflow.__stepwell_host__(claim.run_id)
        terms = self._terms[claim.fields["workflow"]]
        rests = partial(self._rests, claim.token)
        return Tenure(self._session, internals, runner, terms, on_rest=rests)

    async def _end(self, claim: Claim) -> None:
        """End a run that was claimed too often, as somebody wished or for that; or try again."""
        store = self._session.store
        try:
            if is_wished(claim.inbox):
                await end_as_wished(store, claim)
            else:
                log.error("run %s is quarantined: it stopped its workers, or itself", claim.run_id)
                await quarantine(store, claim)
        finally:
            await self._session.give_back(Release(claim.run_id, claim.token, claim.lane))

    def _rests(self, token: str, rests: bool) -> None:
        (self._resting.add if rests else self._resting.discard)(token)
        self._isolation.let_go(token)
        self._tell_of_room()

    # --- those that may kill the process ---

    async def _put_off(self, claim: Claim) -> None:
        """Leave a run to another worker, or to another time, since others here may kill it."""
        log.debug("run %s does not go on beside those that are here", claim.run_id)
        self._leave_queue()
        await self._session.give_back(_untouched(claim))
        with suppress(DurabilityError):  # its wish is still there when it is claimed again
            if is_wished(claim.inbox):
                await cancel_unexecuted(self._session.store, claim.run_id)
        if not self._acquitting:
            await self._acquit()

    async def _acquit(self) -> None:
        """Find out which of the suspects here got further: their claims were set back."""
        self._acquitting = True
        try:
            async with asyncio.timeout(ASK_FOR):
                suspects = self._isolation.suspects
                asking = [self._session.store.peek(one.run_id) for one in suspects]
                told = await asyncio.gather(*asking, return_exceptions=True)
            for claim, info in zip(suspects, told, strict=True):
                if isinstance(info, RunInfo) and self._got_further(info):
                    self._isolation.let_go(claim.token)
        except TimeoutError:
            log.debug("the store does not tell who got further")
        finally:
            self._acquitting = False

    def _got_further(self, info: RunInfo) -> bool:
        """Whether a run made progress since it was claimed here."""
        return info.owner == self._session.lease.owner and info.claims == 0

    # --- the end ---

    async def drain(self, grace: float, at_once: asyncio.Event) -> None:
        """Give all runs back at their next boundaries; in the middle of a step when time is over.

        Args:
            grace: how long that may take, in seconds.
            at_once: set when somebody does not want to wait for that.
        """
        await self._give_back_queued()
        draining = asyncio.create_task(self._drain())
        hurry = asyncio.create_task(at_once.wait())
        await asyncio.wait([draining, hurry], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (draining, hurry):
            waiting.cancel()
        for tenure in list(self._tenures):
            tenure.park()
        await asyncio.wait([draining, hurry, *self._tasks])

    async def _give_back_queued(self) -> None:
        """Runs that wait for their turn have done nothing here: others may give it to them."""
        queued = dict(self._queued)
        for task in queued:
            task.cancel()
        await asyncio.gather(*(self._session.give_back(_untouched(one)) for one in queued.values()))

    async def _drain(self) -> None:
        # A commit that fails ends its own run, and lets the others go on to their boundaries.
        drains = [tenure.drain() for tenure in self._tenures]
        await asyncio.gather(*drains, return_exceptions=True)


def _pause(waits: float) -> float:
    """For how long a run that waits is left to others: shorter at first, as most can soon be here.

    Each time it comes back, two lines are written into its log, and all workers wake up.
    """
    return random.uniform(1.0, 2.0) * min(PUT_OFF_FOR + waits / 2, PUT_OFF_MAX)  # noqa: S311  no secret


def _untouched(claim: Claim) -> Release:
    """Giving a run back as it was claimed."""
    return Release(claim.run_id, claim.token, claim.lane, 0, claim.parked)


def _terms(served: Served, checkpointer: Checkpointer, idle_timeout: float) -> Terms:
    """On what terms the runs of a workflow are held."""
    return Terms(
        checkpointer,
        served.durability,
        served.workflow.__stepwell_begin__,
        idle_timeout,
        served.fingerprint,
    )
