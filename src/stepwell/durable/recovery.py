"""Which run a start means: a new one, one to go on with, or one that lives elsewhere.

With a `run_id` it is the run of that name. Without one it is a run of the same workflow and input
that was interrupted or failed; while its owner lives, or while the run waits in peace for a worker,
its time or a message, equal input means nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stepwell._engine.plan import Plan
from stepwell._engine.state import Status
from stepwell.context.context import Context
from stepwell.durable.identity import digest_of_input
from stepwell.durable.session import Session
from stepwell.errors import RunConflict, RunCorrupt
from stepwell.events import StartEvent
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Presence, RunInfo

__all__ = ["Elsewhere", "Ended", "Request", "find", "follow", "input_digest", "is_gone"]

ABSENCE = 0.4
"""How long, in seconds, an owner must have no subscriber before it counts as dead."""

LOOK_AGAIN = 1.0
"""How often, in seconds, a run that lives elsewhere is looked after, if nothing is heard of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked to be run.

    Attributes:
        run_id: the name that the user gave; None to look for a run of the same input.
        digest: tells workflow and input from others.
        reuse: whether to look for a run of the same input at all.
        check: raises if the code at hand can't go on with such fields.
    """

    workflow: str
    run_id: str | None
    digest: str
    reuse: bool
    check: Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A run that a living process executes."""

    run_id: str


def input_digest(plan: Plan, event: StartEvent | None, ctx: Context[Any]) -> str:
    """Return 16 hex digits that tell a workflow and its input from others.

    The order of the fields in the input does not matter. A run that goes on with a context instead
    of an input has that one's input.

    Raises:
        EncodingError: the input has no durable form.
    """
    text = plan.codec.encode(event or ctx.internals.run.input, "the input of the run")
    return digest_of_input(plan.workflow, text)


async def find(session: Session, request: Request) -> Claim | Ended | Elsewhere | None:
    """Find the run that a request means, and claim it if it has no living owner.

    Returns:
        None if a new run is to be created.

    Raises:
        RunConflict: the run of that name has another workflow or input.
        RunBlocked, RunCorrupt: the run can't go on with this code; it was left as it is.
    """
    if request.run_id is not None:
        info = await session.store.peek(request.run_id)
        if info is not None:
            _check_same(request, request.run_id, info)
        return await _take(session, request, request.run_id)
    if not request.reuse:
        return None
    for run_id in await session.store.same_input(request.digest):
        info = await session.store.peek(run_id)
        if info is not None and not info.parked:
            found = await _take(session, request, run_id)
            if isinstance(found, Claim):
                return found
    return None


async def follow(session: Session, request: Request, run_id: str) -> Claim | Ended | Elsewhere:
    """Wait for news of a run that lives elsewhere; claim it if its owner died."""
    await session.store.wait_for_end(run_id, LOOK_AGAIN)
    info = await session.store.peek(run_id)
    if info is None or _status(run_id, info).ended:
        return Ended(run_id)
    return await _take(session, request, run_id) or Ended(run_id)


async def _take(
    session: Session, request: Request, run_id: str
) -> Claim | Ended | Elsewhere | None:
    while True:
        info = await session.store.peek(run_id)
        if info is None:
            return None
        if _status(run_id, info) is Status.COMPLETED:
            return Ended(run_id)
        if info.owner and not await _is_gone(session, info.owner, run_id):
            return Elsewhere(run_id)
        request.check(run_id, await session.store.read(run_id) or {})
        claim = await session.claim(info)
        if claim is not None:
            return claim


async def _is_gone(session: Session, owner: str, run_id: str) -> bool:
    if owner == session.lease.owner:
        return run_id not in session.executing
    return await is_gone(session.store, owner, run_id)


async def is_gone(store: RunStore, owner: str, run_id: str) -> bool:
    """Whether the owner of a run is dead.

    It looks twice, so that an owner that is just reconnecting is not taken for dead.
    """
    presence = await store.presence(owner, run_id)
    while presence is Presence.SUSPECT:
        await asyncio.sleep(ABSENCE)
        presence = await store.presence(owner, run_id)
    return presence is Presence.GONE


def _status(run_id: str, info: RunInfo) -> Status:
    try:
        return Status(info.status)
    except ValueError:
        raise RunCorrupt(
            f"run {run_id!r} can't be read: field 'status' holds {info.status!r}, which is no "
            f"status. The stored run was left as it is: mend or delete it."
        ) from None


def _check_same(request: Request, run_id: str, info: RunInfo) -> None:
    if info.workflow != request.workflow:
        raise RunConflict(
            f"run {run_id!r} belongs to workflow {info.workflow!r}, not {request.workflow!r}: "
            f"choose another run_id"
        )
    if info.digest != request.digest:
        raise RunConflict(
            f"run {run_id!r} of {info.workflow!r} has another input: start it with the input that "
            f"it had, or choose another run_id. Nothing of it was changed."
        )
