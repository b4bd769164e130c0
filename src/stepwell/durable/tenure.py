"""A tenure: the time in which this process holds a run, from its claim to its end, or its loss.

A run may be held here and executed to its end; it may be given back in peace, because it rests or
because this process stops; it may be set aside, because this code does not know it; or it is lost
to another process, which the store tells with the next commit.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepwell._engine import resting
from stepwell._engine.commands import Command
from stepwell._engine.ledger import Ledger
from stepwell._engine.snapshot import encode_error
from stepwell._engine.state import RunState, Status
from stepwell._engine.ticks import CancelAsked, EventArrived, RunResumed, RunStarted
from stepwell._engine.writes import Writes
from stepwell._runtime.commits import Commits, Durability
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.runner import Message, Runner
from stepwell._serialization import captured
from stepwell.context.context import Internals, describe, new_ledger
from stepwell.durable import loader
from stepwell.durable.messages import CANCEL, GIVEN, read_message
from stepwell.durable.outside import write_again
from stepwell.durable.session import Session
from stepwell.errors import (
    DecodingError,
    DurabilityError,
    LeaseLost,
    RunBlocked,
    RunCorrupt,
    StepwellError,
)
from stepwell.events import StartEvent
from stepwell.storage.records import Claim, NewRun, Release

__all__ = ["Parked", "Tenure", "Terms", "interrupted"]

log = logging.getLogger("stepwell")

Messages = Sequence[Message]
"""What came through the inbox of a run, with its numbers."""

NONE: Messages = ()

PAUSE = 0.5
"""For how long, in seconds, a run is left alone that stopped by itself; then twice as long."""

BEHIND = 0.5
"""So many seconds behind the store's the clock here may be, because answers take their time."""

PAUSE_MAX = 60.0
"""The longest such pause, in seconds."""


class Parked(DurabilityError):  # noqa: N818  it says what became of the run
    """The run was given back in peace; others go on with it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a run is held.

    Attributes:
        checkpointer: what the steps know the store as.
        durability: when a step boundary becomes durable.
        begin: makes the start event of a run that has only its fields, if such runs are begun here.
        idle_timeout: after how many seconds of rest the run is given back; None for never.
        fingerprint: of the code, where runs that it does not know are set aside for other code;
            None where somebody is there to be told.
    """

    checkpointer: object
    durability: Durability
    begin: Callable[[dict[str, Any]], StartEvent]
    idle_timeout: float | None = None
    fingerprint: str | None = None


class Tenure:
    """Executes one run here.

    Args:
        session: holds the run.
        internals: the context of the run.
        runner: executes it.
        terms: on which it is held.
        on_rest: told each time whether the run rests from now on.
    """

    def __init__(
        self,
        session: Session,
        internals: Internals,
        runner: Runner,
        terms: Terms,
        on_rest: Callable[[bool], object] = bool,
    ) -> None:
        self._session = session
        self._internals = internals
        self._runner = runner
        self._terms = terms
        self._on_rest = on_rest
        self._claim: Claim | None = None
        self._read_up_to = 0
        self._heard = 0
        self._resting: asyncio.TimerHandle | None = None
        self._release: Release | None = None
        runner.clock = session.lease.clock

    # --- how it begins ---

    async def create(
        self, tick: RunStarted | RunResumed, run_id: str, digest: str
    ) -> Outcome | None:
        """Create a run, and execute it: the work for its first steps is part of its creation.

        Returns:
            How it ended; None if the name is taken, and nothing has happened then.

        Raises:
            LeaseLost, Parked: it did not end here.
            EncodingError: its input has no durable form.
            StoreError: the store can't be reached, or refuses.
        """
        commands, ledger, fields = await self._begun(tick)
        run = NewRun(run_id, digest, self._session.lease.owner, fields)
        claim = await self._session.create(run)
        if claim is None:
            self._internals.run = RunState.of_steps(list(self._internals.plan.steps))
            return None
        return await self._hold(claim, commands, self._commits(claim, ledger))

    async def go_on(self, claim: Claim) -> Outcome:
        """Go on with a run that was claimed: every piece of work in it is pending again.

        Raises:
            LeaseLost, Parked: it did not end here.
            RunBlocked, RunCorrupt: this code can't go on with it; it was given back, or set aside.
            StoreError: the store can't be reached, or refuses.
        """
        self._claim, self._runner.run_id = claim, claim.run_id
        try:
            self._heard = _last_heard(claim)
            messages = [(one.number, self._tick(one.number, one.text)) for one in claim.inbox]
            commands, commits = await self._prepared(claim)
        except Exception as reason:
            error = _blocks(claim.run_id, reason)
            await self._give_back(claim, error)
            raise error from reason
        return await self._hold(claim, commands, commits, messages)

    async def _prepared(self, claim: Claim) -> tuple[list[Command], Commits]:
        """Make the context that of a claimed run; what is to be done first is not yet done."""
        before = self._internals.store.cell.values()
        ledger = loader.load_into(self._internals, claim.run_id, claim.fields)
        first = self._first_event(claim)
        if first is not None:
            return await self._begin(claim, first)
        write_again(self._internals.store.cell, self._runner.outside, before)
        return self._resume(claim, ledger)

    def _first_event(self, claim: Claim) -> StartEvent | None:
        """What a run begins with that nobody has begun: it has no number for a piece of work."""
        if "next" in claim.fields:
            return None
        codec = self._internals.plan.codec
        try:
            given = codec.decode(claim.fields.get(GIVEN, "{}"), f"field {GIVEN!r}")
            return self._internals.run.input or self._terms.begin(given)
        except StepwellError as error:
            raise RunBlocked(
                f"run {claim.run_id!r} can't begin: {str(error).rstrip('.')}. Cancel it and start "
                "another run, or deploy code that takes this input"
            ) from error

    async def _begin(self, claim: Claim, first: StartEvent) -> tuple[list[Command], Commits]:
        self._internals.run = RunState.of_steps(list(self._internals.plan.steps))
        commands, ledger, fields = await self._begun(RunStarted(first))
        commits = self._commits(claim, ledger)
        commits.put({**fields, GIVEN: None})
        return commands, commits

    def _resume(self, claim: Claim, ledger: Ledger) -> tuple[list[Command], Commits]:
        self._internals.run.changed = {}
        self._look_at_clock(claim)
        interrupted = False if claim.parked else None
        commands = self._runner.begin(RunResumed(self._session.lease.clock(), interrupted))
        return commands, self._commits(claim, ledger)

    def _look_at_clock(self, claim: Claim) -> None:
        """Ask for the time if that of the store has jumped: it found a run due that is not yet.

        By the clock here the run would be parked again, and claimed again, until the next renewal.
        """
        due, lease = resting.next_due(self._internals.run), self._session.lease
        for_its_time = claim.parked and not claim.inbox
        if for_its_time and due is not None and due > lease.clock() + BEHIND:
            lease.renew_soon()

    async def _begun(
        self, tick: RunStarted | RunResumed
    ) -> tuple[list[Command], Ledger, Mapping[str, str]]:
        """Apply the first tick: what is to be done now, and all that is to be stored."""
        internals = self._internals
        self._take_what_is_lent(tick)
        values = internals.store.cell.values()
        self._runner.outside.commit()
        captures = await internals.plan.codec.capture(values.values())
        internals.run.changed = {}
        commands = self._runner.begin(tick)
        ledger = new_ledger(internals)
        with captured(captures):
            state = ledger.draft(Writes(assigned=set(values)), values, ()).accept()
        internals.run.changed = {}
        return commands, ledger, describe(internals) | {k: v for k, v in state.items() if v}

    def _take_what_is_lent(self, tick: RunStarted | RunResumed) -> None:
        """Put into the state what the first event holds for it, so that it is durable as such."""
        cell, types = self._internals.store.cell, self._internals.plan.codec.types
        codec = types.codec_of(type(tick.event)) if isinstance(tick, RunStarted) else None
        if codec is not None and codec.lends is not None and isinstance(tick, RunStarted):
            for key, value in codec.lends(tick.event).items():
                if key not in cell.values():
                    cell.put(key, value)

    def _commits(self, claim: Claim, ledger: Ledger) -> Commits:
        runner = self._runner
        return Commits(
            self._session.store,
            claim,
            self._internals,
            ledger,
            self._terms.durability,
            runner.perform,
            runner.abandon,
        )

    # --- while it lasts ---

    async def _hold(
        self,
        claim: Claim,
        commands: list[Command],
        commits: Commits,
        messages: Messages = NONE,
    ) -> Outcome:
        runner, session = self._runner, self._session
        self._claim = claim
        self._read_up_to = max((number for number, _ in messages), default=0)
        runner.checkpointer = self._terms.checkpointer
        session.hold(claim, runner.abandon)
        undo = (
            session.lease.watch(runner.abandon),
            session.mailbox.open(claim.run_id, self._read_mail),
        )
        runner.watch_rest(self._rest, self._stir)
        try:
            self._go(commands, commits, messages)
            await asyncio.shield(runner.ended)
        finally:
            for each in undo:
                each()
            self._end_rest()
            await self._let_go(claim)
        if isinstance(runner.failure, LeaseLost | Parked | RunBlocked):
            raise runner.failure
        return runner.outcome()

    def _go(self, commands: list[Command], commits: Commits, messages: Messages) -> None:
        try:
            refused = self._runner.go(commands, commits, messages)
        except Exception as reason:  # noqa: BLE001  a message may have code of the user's in it
            self._runner.abandon(_blocks(self._runner.run_id, reason))
            return
        if refused:
            self._read_up_to = refused[0][0] - 1
            self._session.mailbox.remind(self._runner.run_id)

    async def _let_go(self, claim: Claim) -> None:
        runner = self._runner
        if runner.failure is not None or not self._internals.run.status.ended:
            runner.abandon(interrupted(claim.run_id))
            await self._give_back(claim, runner.failure)
        if isinstance(runner.failure, LeaseLost):
            self._session.lease.renew_soon()
        self._session.let_go(claim.run_id, claim.token)

    async def _give_back(self, claim: Claim, why: BaseException | None) -> None:
        """Let others have the run: whoever comes, or those whose code knows it."""
        blocked = isinstance(why, RunBlocked | RunCorrupt)
        if blocked and self._terms.fingerprint is not None:
            log.warning("run %s is set aside: %s", claim.run_id, why)
            await self._session.block(claim, self._terms.fingerprint, encode_error(why, None))
        else:
            await self._session.give_back(self._release or self._unplanned(claim, why))

    def _unplanned(self, claim: Claim, why: BaseException | None) -> Release:
        """How the run is given back that stopped by itself.

        If something in it stopped it, it may be poison: its claim stays counted, and it is left
        alone for a while, longer each time.
        """
        if why is None or isinstance(why, DurabilityError):
            return Release(claim.run_id, claim.token, claim.lane)
        log.warning("run %s stopped in the middle of a step: %r", claim.run_id, why)
        pause = min(PAUSE * 2 ** min(claim.claims, 16), PAUSE_MAX)
        due_at = math.ceil((self._session.lease.clock() + pause) * 1000)
        return Release(claim.run_id, claim.token, claim.lane, due_at, counted=True)

    async def _read_mail(self) -> bool:
        """Take in the messages that came; whether all were taken. One call after the other.

        The wish to end the run stands back for none that there is no room for.
        """
        assert self._claim is not None  # noqa: S101  mail comes while the run is held
        found = await self._session.store.inbox(self._claim.run_id, self._read_up_to)
        taken_all = True
        for number, text in found:
            taken_all &= self._take(number, text, stands_back=not taken_all)
            self._read_up_to = number if taken_all else self._read_up_to
        return taken_all

    def _take(self, number: int, text: str, *, stands_back: bool) -> bool:
        try:
            tick = self._tick(number, text)
            if stands_back and not isinstance(tick, CancelAsked):
                return False
            return self._runner.receive(number, tick)
        except Exception as reason:  # noqa: BLE001  an event may have code of the user's in it
            self._runner.abandon(_blocks(self._runner.run_id, reason))
            return True

    def _tick(self, number: int, text: str) -> EventArrived | CancelAsked | None:
        if text == CANCEL and number <= self._heard:
            return None
        try:
            return read_message(self._internals.plan.codec, number, text)
        except DecodingError as error:
            raise RunBlocked(f"run {self._runner.run_id!r} can't go on: {error}") from error

    # --- rest, and giving back ---

    def _rest(self) -> None:
        """The run has come to rest."""
        self._on_rest(True)
        self._end_rest()
        if self._terms.idle_timeout is not None:
            loop = asyncio.get_running_loop()
            self._resting = loop.call_later(self._terms.idle_timeout, self._park_if_it_rests)

    def _stir(self) -> None:
        self._on_rest(False)
        self._end_rest()

    def _end_rest(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _park_if_it_rests(self) -> None:
        if self._runner.rests:
            self.park()

    def park(self) -> None:
        """Give the run back, now: until its time comes, or a message, if it rests.

        In the middle of a step it is as if that was interrupted: its attempt counts.
        """
        claim, runner = self._claim, self._runner
        if claim is None or runner.is_over:
            return
        due = runner.next_due() if runner.rests else 0.0
        due_at = None if due is None else math.ceil(due * 1000)
        quiet = runner.is_quiet
        self._release = Release(claim.run_id, claim.token, claim.lane, due_at, parked=quiet)
        runner.abandon(
            Parked(f"run {claim.run_id!r} was given back here; it goes on wherever it is served")
        )

    async def drain(self) -> None:
        """Give the run back at its next boundary."""
        await self._runner.drain()
        self.park()


def _last_heard(claim: Claim) -> int:
    """Up to which number a run that was claimed has heard the wishes in its inbox.

    One that is run again has ended after all of them: by such a wish, maybe, that stands behind
    events, which whoever ended it could not take out.
    """
    if not claim.inbox or not Status(claim.fields["status"]).ended:
        return 0
    return claim.inbox[-1].number


def _blocks(run_id: str, reason: Exception) -> DurabilityError:
    """What it means for a run that this code can't even make it ready to go on."""
    if isinstance(reason, DurabilityError):
        return reason
    return RunBlocked(f"run {run_id!r} can't go on: {type(reason).__name__}: {reason}")


def interrupted(run_id: str) -> DurabilityError:
    """Nothing of the run goes on here, and nobody knows of another place."""
    return DurabilityError(
        f"run {run_id!r} was interrupted in this process. What was committed is there: "
        f"start the run again, with the same input, to go on."
    )
