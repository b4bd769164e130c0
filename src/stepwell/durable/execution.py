"""A run whose truth is in a store: found or created, executed or followed, to its end."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from stepwell._engine.commands import Command
from stepwell._engine.ledger import Ledger, Writes
from stepwell._engine.state import RunState
from stepwell._engine.ticks import RunResumed, RunStarted
from stepwell._runtime.commits import Boundary, Commits, Durability
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.port import ElsewherePort, RunPort
from stepwell._runtime.runner import Runner
from stepwell._runtime.stream import EventStream
from stepwell._serialization import captured
from stepwell.context.context import Internals, describe, new_ledger
from stepwell.durable import loader
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.outside import write_again
from stepwell.durable.recovery import Elsewhere, Ended, Request, find, follow
from stepwell.durable.session import Session
from stepwell.errors import (
    DurabilityError,
    LeaseLost,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
)
from stepwell.events import WorkflowCancelledEvent
from stepwell.resource import ResourceDefinition
from stepwell.storage.records import Claim, NewRun

__all__ = ["Beginning", "Durable", "DurableExecution"]

RESUMED = Boundary("(resumed)", 0, 0.0, "Resumed")
"""Commits that the steps which start now have one attempt more: the next may be the last."""

log = logging.getLogger("stepwell")


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a new run begins: with an event, or with what a context that was handed over says."""

    tick: RunStarted | RunResumed
    new_id: str


@dataclass(frozen=True, slots=True)
class Durable:
    """Where and when a run becomes durable.

    Attributes:
        source: the checkpointer, or the resource of a step that is one.
    """

    source: Checkpointer | ResourceDefinition
    durability: Durability


class DurableExecution:
    """Drives one durable run for its handler.

    Args:
        internals: the context of the run.
        make_runner: makes a runner for the context, given the run's name.
        durable: where and when it becomes durable.
        request: which run is meant.
        beginning: what to do if there is none.
    """

    def __init__(
        self,
        internals: Internals,
        make_runner: Callable[..., Runner],
        durable: Durable,
        request: Request,
        beginning: Beginning,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._internals = internals
        self._make_runner = make_runner
        self._durable = durable
        self._request = request
        self._beginning = beginning
        self._outcome: Outcome | None = None
        self.stream = EventStream()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._following = False
        self._runner = make_runner(run_id=request.run_id or beginning.new_id, stream=self.stream)
        internals.port = RunPort(self._runner, self, self._check)
        internals.store.track(self._runner.outside, self._check)
        self._turn: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._drive())

    def begin(self) -> None:
        """Go: it is the run's turn, if it was not cancelled before."""
        if not self._turn.done():
            self._turn.set_result(None)

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self._runner.run_id

    def cancel(self) -> None:
        """End the run, if it is executed here."""
        if not self._turn.done():
            cancelled = WorkflowCancelledEvent()
            self.stream.publish(cancelled)
            self._outcome = Outcome(cancelled, WorkflowCancelledByUser())
            self._turn.cancel()  # not the task: one that has not begun would never end
            return
        if not self._following:
            self._runner.cancel()
            return
        error = f"run {self.run_id!r} is executed by another process: cancel it there"
        self._outcome = Outcome(None, DurabilityError(error))
        self._task.cancel()

    def outcome(self) -> Outcome:
        """How the run ended."""
        if self._outcome is None:
            raise WorkflowRuntimeError(f"run {self.run_id!r} is not complete: await its handler")
        return self._outcome

    # --- the way of a run ---

    async def _drive(self) -> None:
        try:
            await self._turn
            async with self._checkpointer() as checkpointer, checkpointer.session() as session:
                self._outcome = await self._carry_through(checkpointer, session)
        except asyncio.CancelledError:
            self._outcome = self._outcome or Outcome(None, self._interrupted())
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the handler raises it
            self._outcome = Outcome(None, error)
        finally:
            await self._end()

    async def _end(self) -> None:
        """Whoever asks anything of the run from now on is told how it ended."""
        error = self._outcome.error if self._outcome else None
        why = error or WorkflowRuntimeError(f"run {self.run_id!r} is over")
        self._runner.drop_early(why)
        self._runner.abandon(why)
        try:
            await asyncio.shield(self._runner.ended)
        finally:
            self._internals.port = RunPort(self._runner, self, self._check)
            self.stream.close()
            self.ended.set_result(None)

    @asynccontextmanager
    async def _checkpointer(self) -> AsyncGenerator[Checkpointer]:
        source = self._durable.source
        if isinstance(source, Checkpointer):
            yield source
            return
        async with self._runner.resources.call([source]) as resources:
            yield resources[source.name]

    async def _carry_through(self, checkpointer: Checkpointer, session: Session) -> Outcome:
        if checkpointer.reuse == "never":
            self._request = replace(self._request, reuse=False)
        found = await find(session, self._request)
        while True:
            match found:
                case None:
                    found = await self._create(checkpointer, session)
                case Claim():
                    found = await self._go_on(checkpointer, session, found)
                case Elsewhere(run_id):
                    self._internals.port = ElsewherePort(run_id, self.stream)
                    self._following = True
                    if self._refuse_early(f"run {run_id!r} is executed by another process"):
                        self.cancel()
                    found = await follow(session, self._request, run_id)
                    self._following = False
                case Ended(run_id):
                    return await self._stored_outcome(session, run_id)
                case Outcome():
                    return found

    def _refuse_early(self, why: str) -> bool:
        """Refuse what was done before the run was found; whether it was asked to end."""
        outside = self._runner.outside
        if keys := sorted(outside.assigned | outside.commutative()):
            log.warning("what was written to the state (%s) is lost: %s", ", ".join(keys), why)
        outside.forget()
        return self._runner.drop_early(WorkflowRuntimeError(why))

    async def _stored_outcome(self, session: Session, run_id: str) -> Outcome:
        """How a run ended that is over; its stream ends with its last event, as everywhere."""
        self._runner.run_id = run_id
        self._refuse_early(f"run {run_id!r} had ended before")
        fields = await session.store.read(run_id)
        outcome = loader.outcome_of(self._internals.plan, run_id, fields)
        self._restore(run_id, fields or {})
        if outcome.event is not None:
            self.stream.publish(outcome.event)
        return outcome

    def _restore(self, run_id: str, fields: Mapping[str, str]) -> None:
        """Make the context that of a run that is over; its result does not depend on that."""
        try:
            loader.load_into(self._internals, run_id, fields)
        except DurabilityError as error:
            log.warning("the context of run %s is without its state: %s", run_id, error)

    async def _create(
        self, checkpointer: Checkpointer, session: Session
    ) -> Outcome | Claim | Elsewhere | Ended | None:
        """Begin a new run; its creation, with the work for its first steps, is its first commit."""
        internals = self._internals
        self._take_what_is_lent(self._beginning.tick)
        values = internals.store.cell.values()
        self._runner.outside.commit()
        captures = await internals.plan.codec.capture(values.values())
        internals.run.changed = {}
        commands = self._runner.begin(self._beginning.tick)
        ledger = new_ledger(internals)
        with captured(captures):
            state = ledger.draft(Writes(assigned=set(values)), values, ()).accept()
        fields = {**describe(internals), **{name: text for name, text in state.items() if text}}
        run = NewRun(self.run_id, self._request.digest, session.lease.owner, fields)
        internals.run.changed = {}
        claim = await session.create(run)
        if claim is not None:
            return await self._execute(checkpointer, session, claim, ledger, commands)
        internals.run = RunState.of_steps(list(internals.plan.steps))
        return await find(session, replace(self._request, run_id=self.run_id))

    def _take_what_is_lent(self, tick: RunStarted | RunResumed) -> None:
        """Put into the state what the first event holds for it, so that it is durable as such."""
        cell, types = self._internals.store.cell, self._internals.plan.codec.types
        codec = types.codec_of(type(tick.event)) if isinstance(tick, RunStarted) else None
        if codec is not None and codec.lends is not None and isinstance(tick, RunStarted):
            for key, value in codec.lends(tick.event).items():
                if key not in cell.values():
                    cell.put(key, value)

    async def _go_on(
        self, checkpointer: Checkpointer, session: Session, claim: Claim
    ) -> Outcome | Elsewhere:
        """Go on with a run that was claimed: load it, and every piece of work is pending again."""
        self._runner.run_id = claim.run_id
        before = self._internals.store.cell.values()
        try:
            ledger = loader.load_into(self._internals, claim.run_id, claim.fields)
        except DurabilityError:
            await session.give_back(claim)
            raise
        write_again(self._internals.store.cell, self._runner.outside, before)
        self._internals.run.changed = {}
        commands = self._runner.begin(RunResumed(time.time()))
        return await self._execute(checkpointer, session, claim, ledger, commands)

    async def _execute(
        self,
        checkpointer: Checkpointer,
        session: Session,
        claim: Claim,
        ledger: Ledger,
        commands: list[Command],
    ) -> Outcome | Elsewhere:
        runner, store = self._runner, session.store
        durability = self._durable.durability
        self._internals.port = RunPort(runner, self, self._check)
        runner.checkpointer = checkpointer
        commits = Commits(
            store, claim, self._internals, ledger, durability, runner.perform, runner.abandon
        )
        unwatch = session.lease.watch(runner.abandon)
        if self._internals.run.changed:
            commits.add(commands, RESUMED)
            commands = []
        try:
            runner.go(commands, commits)
            await asyncio.shield(runner.ended)
        finally:
            unwatch()
            session.executing.discard(claim.run_id)
            if runner.failure or not self._internals.run.status.ended:
                runner.abandon(self._interrupted())
                await session.give_back(claim)
        if isinstance(runner.failure, LeaseLost) and checkpointer.on_lost == "follow":
            self._runner = self._make_runner(run_id=claim.run_id, stream=self.stream)
            self._internals.store.track(self._runner.outside, self._check)
            return Elsewhere(claim.run_id)
        return runner.outcome()

    def _check(self, value: Any, where: str) -> None:
        """Refuse at once what a step could not commit: nobody else could be told later."""
        codec = self._internals.plan.codec
        if codec.must_capture(value):
            codec.check(value, where)
        else:
            codec.encode(value, where)

    def _interrupted(self) -> DurabilityError:
        return DurabilityError(
            f"run {self.run_id!r} was interrupted in this process. What was committed is there: "
            f"start the run again, with the same input, to go on."
        )
