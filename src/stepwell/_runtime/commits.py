"""Commits: between the engine, which decides at once, and the store, which takes its time.

What changed goes into the next commit; what was commanded is held until that commit is durable.
While one commit is under way, all further changes of the run gather in the next one. So a boundary
is atomic (it is in one batch whole), a step never starts before the commit that caused it, and a
busy run makes fewer and larger commits.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from stepwell._empty import empty
from stepwell._engine.commands import Command, Finish, Invoke, Publish, Wake
from stepwell._engine.ledger import Ledger
from stepwell._engine.loading import load
from stepwell._engine.snapshot import FACTS, encode_fact, encode_outcome
from stepwell._engine.state import Fact, Status, Work
from stepwell._engine.writes import Writes
from stepwell._serialization import NOTHING_CAPTURED, Captured, captured
from stepwell.context.context import Internals, restore
from stepwell.errors import DurabilityError, EncodingError
from stepwell.events import Event
from stepwell.storage.records import Claim, Commit

__all__ = ["BEGUN", "RESUMED", "Boundary", "CommitStore", "Commits", "Durability"]


class Durability(StrEnum):
    """When a step boundary becomes durable."""

    SYNC = "sync"
    """Before anything that follows from it happens."""
    ASYNC = "async"
    """Soon, in order, behind execution; before the result of the run is there."""
    EXIT = "exit"
    """At the end of the run, or when a step asks for it."""


LOG_LINES_MAX = 1000
"""How many lines of a run's log a store keeps, so that one commit never needs more."""

_HELD: dict[Durability, tuple[type[Command], ...]] = {
    Durability.SYNC: (Invoke, Wake, Publish, Finish),
    Durability.ASYNC: (Publish, Finish),
    Durability.EXIT: (),
}


class CommitStore(Protocol):
    """The part of a store that a running run needs."""

    def commit(self, commit: Commit) -> Awaitable[None]:
        """Apply a commit once, however often it has to be sent; done when it is durable."""
        ...


@dataclass(slots=True)
class Boundary:
    """What is said in the run's log about one commit: the step, its attempt, its time in ms."""

    step: str
    attempt: int
    took: float
    outcome: str

    def entry(self) -> str:
        """The JSON fragment that the store completes with number and time."""
        return f'"{self.step}",{self.attempt},{self.took:.3f},"{self.outcome}"'

    @property
    def is_of_step(self) -> bool:
        """Whether a step came so far; else something happened to the run."""
        return self.step.isidentifier()


BEGUN = Boundary("(begun)", 0, 0.0, "Begun")
"""A run that was only asked for has work now."""

RESUMED = Boundary("(resumed)", 0, 0.0, "Resumed")
"""Commits that the steps which start now have one attempt more: the next may be the last."""


@dataclass(slots=True)
class _Batch:
    """What goes into one commit.

    Attributes:
        created: the fields that no commit before it knows.
        taken: the last message of the inbox whose effect is in it.
        is_of_step: a step came so far.
    """

    patch: dict[str, str | None] = field(default_factory=empty(dict[str, str | None]))
    created: set[str] = field(default_factory=empty(set[str]))
    log: list[str] = field(default_factory=empty(list[str]))
    commands: list[Command] = field(default_factory=empty(list[Command]))
    waiting: list[asyncio.Future[None]] = field(default_factory=empty(list[asyncio.Future[None]]))
    ended: Status | None = None
    taken: int = 0
    is_of_step: bool = False
    due: bool = False

    def durable(self) -> asyncio.Future[None]:
        """Something to await until it is."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def note(self, line: str) -> None:
        """Say something of it in the log, which keeps the last lines only."""
        self.log.append(line)
        if len(self.log) >= 2 * LOG_LINES_MAX:
            del self.log[:-LOG_LINES_MAX]


class Commits:
    """Gathers the changes of one run and commits them, in order.

    Args:
        claim: the right to commit; `seq` is counted on from it.
        ledger: what is stored of the state.
        perform: carries out a command, once it may be.
        on_failure: told when no commit of this run can succeed any more.

    Attributes:
        run_id: the name of the run.
        on_settled: told each time that no commit is due or under way any more.
    """

    def __init__(
        self,
        store: CommitStore,
        claim: Claim,
        internals: Internals,
        ledger: Ledger,
        durability: Durability,
        perform: Callable[[Command], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self.run_id, self._token, self._seq = claim.run_id, claim.token, claim.seq
        self._nonce = secrets.token_urlsafe(6)
        self._internals = internals
        self._ledger = ledger
        self._durability = durability
        self._perform = perform
        self._on_failure = on_failure
        self.on_settled: Callable[[], None] = _nobody_listens
        self._batch = _Batch()
        self._fields = {**claim.fields, "status": "running"}  # as the present batch leaves them
        self._next_id = int(claim.fields.get("next", "0"))
        self._has_progressed = False
        self._texts: dict[int, str] = {}
        self._context = copy_context()  # one for all callbacks, of no step's
        self._under_way: _Batch | None = None
        self._failure: BaseException | None = None

    @property
    def are_settled(self) -> bool:
        """Whether all that was taken is durable."""
        return not (self._is_busy or self._batch.patch)

    @property
    def _is_busy(self) -> bool:
        return self._under_way is not None or self._batch.due

    @property
    def has_unlogged(self) -> bool:
        """Whether there is something in the next commit of which nothing is said in the log yet."""
        return bool(self._batch.patch) and not self._batch.log

    def stage(
        self,
        writes: Writes,
        events: Sequence[Event] = (),
        captures: Captured = NOTHING_CAPTURED,
    ) -> None:
        """Put a step's writes into the next commit, and encode the events that it produced.

        Nothing is staged when it raises: a value without a durable form fails its own step alone.

        Raises:
            EncodingError: names the key, the path in it and the type.
        """
        codec = self._internals.plan.codec
        texts = {id(event): codec.encode(event, type(event).__name__) for event in events}
        if not writes.are_none:  # most steps don't touch the state, and a large one is slow to read
            with captured(captures):
                self._stage_state(writes, writes)
        self._texts = texts

    def stage_rest(self, writes: Writes, captures: Captured = NOTHING_CAPTURED) -> bool:
        """Stage of writes that failed what has a durable form, key by key; take back the rest.

        Returns:
            Whether there was no rest.
        """
        rest = list[str]()
        with captured(captures):
            for key in sorted(writes.keys):
                try:
                    self._stage_state(writes, writes.of(key))
                except EncodingError:
                    rest.append(key)
        self._take_back(writes, rest)
        return not rest

    def _stage_state(self, writes: Writes, part: Writes) -> None:
        cell = self._internals.store.cell
        values, shared = cell.without_others(writes), cell.shared_by_others(writes)
        self.put(self._ledger.draft(part, values, shared).accept())

    def take_back(self, writes: Writes) -> None:
        """Make the live state what it would be without writes that are not committed."""
        self._take_back(writes, sorted(writes.keys))

    def _take_back(self, writes: Writes, keys: Collection[str]) -> None:
        if keys:
            self._internals.store.cell.take_back(writes, keys, self._committed_state())

    def _committed_state(self) -> dict[str, Any]:
        """The values of the state by top-level key, as the next commit leaves them."""
        scratch = Internals.of_plan(self._internals.plan)
        restore(scratch, {name: self._fields[name] for name in self._fields if _is_state(name)})
        return scratch.store.cell.values()

    def mend(self, work: Work) -> None:
        """Give a failing step's work its events as they are stored, if they can't be any more.

        The step, which had the live objects, put something into them that has no durable form.
        """
        self._text_of_fact(f"work:{work.id}", work)

    def roll_back(self, work: Work) -> None:
        """Let the loops of a step stand where they are committed, as the state does."""
        if work.begun is not None:
            committed, progress = self._as_committed(work).progress, work.begun
            progress.cursors = committed.cursors
            progress.effects = committed.effects | progress.effects
            progress.waiters = committed.waiters | progress.waiters

    def _as_committed(self, work: Work) -> Work:
        """Work and what its step has done so far, as the next commit leaves it."""
        name, kinds = f"work:{work.id}", ("each", "once", "wait")
        begun = tuple(f"{kind}:{work.id}:" for kind in kinds)
        fields = {name: text for name, text in self._fields.items() if name.startswith(begun)}
        gathered = (f"join:{work.stream}:{number}" for number in work.batch or ())
        fields |= {name: self._fields[name] for name in gathered}
        alone: dict[str, Any] = {**json.loads(self._fields[name]), "scope": []}
        run = load(self._internals.plan, {**fields, name: json.dumps(alone)})
        return next(run.works())

    def text_of(self, event: Event) -> str:
        """The text of an event that was just staged."""
        return self._texts[id(event)]

    def add(
        self, commands: list[Command], boundary: Boundary, *, waits: bool = False, taken: int = 0
    ) -> None:
        """Take what a tick changed into the next commit, and hold its commands until then.

        Args:
            commands: what is to be done next.
            boundary: what happened.
            waits: a step stands still from now on: that is committed soon in every mode.
            taken: the number of the last message in the inbox that is consumed with it, 0 for none:
                that is committed soon, too.
        """
        self._take(boundary)
        self._batch.taken = max(self._batch.taken, taken)
        held = self._held()
        for command in commands:
            if isinstance(command, held):
                self._batch.commands.append(command)
            else:
                self._perform(command)
        if waits or taken or self._batch.ended or self._durability is not Durability.EXIT:
            self._send_soon()

    async def flush(self, boundary: Boundary) -> None:
        """Commit all that was staged, and wait until it is durable.

        Raises:
            LeaseLost: another process owns the run now.
            StoreError: the store can't be reached, or refuses.
        """
        if self._failure is not None:
            raise self._failure
        self._take(boundary)
        self._send_soon()
        await self._batch.durable()

    async def settle(self) -> None:
        """Commit what is there, if there is anything, and wait until all of it is durable.

        Raises:
            LeaseLost: another process owns the run now.
            StoreError: the store can't be reached, or refuses.
        """
        self._take_changes()
        if self._batch.patch or self._batch.log:
            self._send_soon()
        while self._failure is None and self._is_busy:
            await (self._batch if self._batch.due else self._under_way or self._batch).durable()
        if self._failure is not None:
            raise self._failure

    def _held(self) -> tuple[type[Command], ...]:
        return (Publish, Finish) if self._batch.ended else _HELD[self._durability]

    def _take(self, boundary: Boundary) -> None:
        self._take_changes()
        self._batch.note(boundary.entry())
        self._batch.is_of_step = self._batch.is_of_step or boundary.is_of_step

    def _take_changes(self) -> None:
        """Put what changed into the present batch: all of it, or nothing if that raises."""
        run = self._internals.run
        changed = run.changed or {}
        self.put({name: self._text_of_fact(name, fact) for name, fact in changed.items()})
        run.changed = {}
        if run.next_id != self._next_id:
            self._next_id = run.next_id
            self.put({"next": str(run.next_id)})
        if run.status.ended and self._batch.ended is None:
            self._take_end(run.status)
        self._texts = {}

    def _text_of_fact(self, name: str, fact: Fact | None) -> str | None:
        if fact is None:
            return None
        try:
            return encode_fact(fact, self._encode)
        except EncodingError:
            if not isinstance(fact, Work) or name not in self._fields:
                raise
        fact.payload = self._as_committed(fact).payload
        return encode_fact(fact, self._encode)

    def put(self, patch: Mapping[str, str | None]) -> None:
        """Take fields into the present batch; None deletes one. What is there already stays out.

        A field that came and went within one batch leaves nothing in it: the batch of a run that
        commits only at its end would hold all that ever happened.
        """
        batch = self._batch
        for name, text in patch.items():
            if text is not None:
                known = self._fields.get(name)
                if known == text:
                    continue
                if known is None and name not in batch.patch:
                    batch.created.add(name)
                batch.patch[name] = self._fields[name] = text
            elif self._fields.pop(name, None) is not None:
                if name in batch.created:
                    batch.created.discard(name)
                    del batch.patch[name]
                else:
                    batch.patch[name] = None

    def _take_end(self, status: Status) -> None:
        self.put(encode_outcome(self._internals.run, self._encode))
        if status is Status.COMPLETED:
            over = [name for name in self._fields if _is_fact(name) or name == "error"]
            self.put(dict.fromkeys(over))
        self._batch.ended = status

    def _encode(self, value: Any, where: str) -> str:
        return self._texts.get(id(value)) or self._internals.plan.codec.encode(value, where)

    # --- one commit at a time ---

    def _send_soon(self) -> None:
        """Commit the batch as soon as it may be: what happens in the same moment goes with it."""
        if self._batch.due:
            return
        self._batch.due = True
        if self._under_way is None and self._failure is None:
            asyncio.get_running_loop().call_soon(self._send, context=self._context)

    def _send(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._under_way = batch
        try:
            committing = asyncio.ensure_future(self._store.commit(self._commit_of(batch)))
        except Exception as error:  # noqa: BLE001  whatever it is, the run must not wait for ever
            self._fail(error)
        else:
            committing.add_done_callback(self._sent, context=self._context)

    def _commit_of(self, batch: _Batch) -> Commit:
        self._seq += 1
        progress = batch.is_of_step and bool(batch.patch) and not self._has_progressed
        self._has_progressed = self._has_progressed or progress
        cid = f"{self._nonce}{self._seq}"
        log = batch.log[-LOG_LINES_MAX:]
        what = batch.patch, log, batch.ended, batch.taken, progress
        return Commit(self.run_id, self._token, self._seq, cid, *what)

    def _sent(self, committing: asyncio.Future[None]) -> None:
        """Release what was held, and go on with what came meanwhile."""
        try:
            committing.result()
            self._release()
        except asyncio.CancelledError:
            self._fail(self._interrupted())
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)
        else:
            self._go_on()

    def _interrupted(self) -> DurabilityError:
        return DurabilityError(
            f"run {self.run_id!r} was interrupted: a commit of it was cancelled from outside of "
            f"the run. Start the run again to go on."
        )

    def _release(self) -> None:
        batch = self._under_way
        assert batch is not None  # noqa: S101  it was sent, and just became durable
        for command in batch.commands:
            self._perform(command)
        for future in batch.waiting:
            if not future.done():
                future.set_result(None)

    def _go_on(self) -> None:
        self._under_way = None
        if self._batch.due:
            self._send()
        else:
            self.on_settled()

    def _fail(self, error: Exception) -> None:
        batch, self._under_way = self._under_way, None
        self._failure = error
        for future in [*(batch.waiting if batch else ()), *self._batch.waiting]:
            if not future.done():
                future.set_exception(error)
        self._on_failure(error)
        self.on_settled()


def _nobody_listens() -> None:
    """Most runs are over before anybody wants to know whether they rest."""


def _is_fact(name: str) -> bool:
    return name.partition(":")[0] in FACTS


def _is_state(name: str) -> bool:
    return name.partition(":")[0] == "state"
