"""A run whose truth is in a store: found or created, executed or followed, to its end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stepwell._engine.ticks import RunResumed, RunStarted
from stepwell._runtime.commits import Durability
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.port import ElsewherePort, RunPort
from stepwell._runtime.runner import Runner
from stepwell._runtime.stream import EventStream
from stepwell.context.context import Internals
from stepwell.durable import loader
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.post import Post
from stepwell.durable.recovery import Elsewhere, Ended, Request, find, follow
from stepwell.durable.session import Session
from stepwell.durable.tenure import Tenure, Terms, interrupted
from stepwell.errors import (
    DurabilityError,
    LeaseLost,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
)
from stepwell.events import StartEvent, WorkflowCancelledEvent
from stepwell.resource import ResourceDefinition
from stepwell.storage.records import Claim

__all__ = ["Beginning", "Durable", "DurableExecution"]

log = logging.getLogger("stepwell")

_Held = TypeVar("_Held")


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
        self._post: Post | None = None
        self._cancelling: asyncio.Task[None] | None = None
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
        """End the run, or ask whoever executes it to."""
        if not self._turn.done():
            cancelled = WorkflowCancelledEvent()
            self.stream.publish(cancelled)
            self._outcome = Outcome(cancelled, WorkflowCancelledByUser())
            self._turn.cancel()  # not the task: one that has not begun would never end
            return
        if self._post is None:
            self._runner.cancel()
        else:
            self._cancelling = asyncio.get_running_loop().create_task(self._post.cancel())

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
            self._outcome = self._outcome or Outcome(None, interrupted(self.run_id))
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
                    found = await self._follow(session, run_id)
                case Ended(run_id):
                    return await self._stored_outcome(session, run_id)
                case Outcome():
                    return found

    async def _follow(self, session: Session, run_id: str) -> Claim | Ended | Elsewhere:
        """Look after a run that another process executes; what is asked of it goes by post."""
        self._post = Post(session.store, self._internals.plan.codec, run_id)
        self._internals.port = ElsewherePort(run_id, self.stream, self._post)
        try:
            if self._refuse_early(f"run {run_id!r} is executed by another process"):
                await self._post.cancel()
            return await follow(session, self._request, run_id)
        finally:
            self._post = None

    def _refuse_early(self, why: str) -> bool:
        """Refuse what was done before the run was found; whether it was asked to end."""
        outside = self._runner.outside
        if keys := sorted(outside.assigned | outside.commutative):
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
        """Begin a new run; if its name is taken meanwhile, that run is meant."""
        tenure = self._tenure(checkpointer, session)
        creating = tenure.create(self._beginning.tick, self.run_id, self._request.digest)
        created = await self._held(creating, checkpointer)
        return created or await find(session, replace(self._request, run_id=self.run_id))

    async def _go_on(
        self, checkpointer: Checkpointer, session: Session, claim: Claim
    ) -> Outcome | Elsewhere:
        """Go on with a run that was claimed."""
        return await self._held(self._tenure(checkpointer, session).go_on(claim), checkpointer)

    def _tenure(self, checkpointer: Checkpointer, session: Session) -> Tenure:
        terms = Terms(checkpointer, self._durable.durability, self._first_event)
        self._internals.port = RunPort(self._runner, self, self._check)
        return Tenure(session, self._internals, self._runner, terms)

    def _first_event(self, _: object) -> StartEvent:
        """What the run begins with is known here: it has the same input, or would be another."""
        tick = self._beginning.tick
        assert isinstance(tick, RunStarted)  # noqa: S101  a context that goes on has an input
        return tick.event

    async def _held(
        self, holding: Awaitable[_Held], checkpointer: Checkpointer
    ) -> _Held | Elsewhere:
        """What comes of a tenure; if the run was lost to another process, it is followed there."""
        try:
            return await holding
        except LeaseLost:
            if checkpointer.on_lost != "follow":
                raise
        self._runner = self._make_runner(run_id=self._runner.run_id, stream=self.stream)
        self._internals.store.track(self._runner.outside, self._check)
        return Elsewhere(self._runner.run_id)

    def _check(self, value: Any, where: str) -> None:
        """Refuse at once what a step could not commit: nobody else could be told later."""
        codec = self._internals.plan.codec
        if codec.must_capture(value):
            codec.check(value, where)
        else:
            codec.encode(value, where)
