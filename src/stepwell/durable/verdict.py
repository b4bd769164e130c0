"""Ends of runs that need none of their code: of those that nobody executes, or nobody can read."""

import secrets
from collections.abc import Iterable
from contextlib import suppress
from itertools import takewhile

from stepwell._engine.snapshot import encode_error
from stepwell.durable.messages import CANCEL, cancel_message
from stepwell.durable.recovery import is_gone
from stepwell.errors import InboxFull, LeaseLost, WorkflowCancelledByUser
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit, Received, RunInfo

__all__ = ["cancel", "cancel_unexecuted", "end", "end_as_wished", "is_wished"]

CANCELLER = "canceller"
"""The owner of a run that is being ended by whoever cancels it.

It never has a lease. So whoever dies between the claim and the end, or does not hear that the
claim was granted, leaves a run that any sweep frees, and any other canceller takes; and the wish
still waits in its inbox. All share the name, so that many cancellers are no crowd among the owners.
"""

TRIES = 3
"""How often a run that nobody has is claimed: a sweep, or one who gives it back, may be faster."""


async def cancel(store: RunStore, run_id: str) -> None:
    """Ask that a run ends; end it at once if nobody executes it.

    The wish is durable first: whoever is faster than this with the run ends it.

    Raises:
        RunOver: it has ended.
        RunNotFound: there is no such run, or not any more.
        InboxFull: too many messages wait for it, others wished the same, and somebody executes it.
        RunCorrupt: what is stored can't be read.
        StoreError: the store can't be reached, or refuses; if it heard the wish, that stays.
    """
    try:
        await store.deliver(cancel_message(run_id))
    except InboxFull:  # of wishes, too
        if not await cancel_unexecuted(store, run_id):
            raise
    else:
        await cancel_unexecuted(store, run_id)


async def cancel_unexecuted(store: RunStore, run_id: str) -> bool:
    """End a run that was asked to end, if nobody executes it: that needs none of its code.

    Returns:
        Whether it was ended here.

    Raises:
        RunNotFound: it is not there any more.
        RunCorrupt: what is stored can't be read.
        StoreError: the store can't be reached, or refuses.
    """
    for _ in range(TRIES):
        info = await store.peek(run_id)
        if info is None or not await _is_nobodys(store, info):
            break
        claim = await _claim(store, info)
        if claim is not None:
            with suppress(LeaseLost):
                await end_as_wished(store, claim)
                return True
    return False


async def _is_nobodys(store: RunStore, info: RunInfo) -> bool:
    """Whether a run is there to be ended, and nobody lives who would."""
    if info.ended_at is not None:
        return False
    return not info.owner or await is_gone(store, info.owner, info.run_id)


async def _claim(store: RunStore, info: RunInfo) -> Claim | None:
    """Take a run from nobody, or from the dead; None if somebody was faster.

    If others had it since it was seen it may have ended: a claim would begin it again.
    """
    run_id, was, lane = info.run_id, info.owner, info.lane
    return await store.claim(run_id, CANCELLER, was, lane, epoch=info.epoch)


async def end_as_wished(store: RunStore, claim: Claim) -> None:
    """End a run that was claimed, and consume the wish.

    Events that nobody read stay in the inbox, with the wish if it is behind one: they are for the
    run when it is run again, as if it had been executed when it was cancelled.

    Raises:
        DurabilityError: the run went elsewhere, or the store can't be reached.
    """
    wishes = list(takewhile(_is_wish, claim.inbox))
    error = encode_error(WorkflowCancelledByUser(), None)
    await end(store, claim, "cancelled", error, taken=wishes[-1].number if wishes else 0)


def is_wished(messages: Iterable[Received]) -> bool:
    """Whether somebody wishes that the run ends which has these messages in its inbox."""
    return any(map(_is_wish, messages))


def _is_wish(message: Received) -> bool:
    return message.text == CANCEL


async def end(store: RunStore, claim: Claim, status: str, error: str, *, taken: int = 0) -> None:
    """End a run whose code does not run.

    Args:
        store: has it.
        claim: the right to.
        status: how it ended.
        error: why, as a run's field tells it.
        taken: the number of the last message that is consumed.

    Raises:
        DurabilityError: the run went elsewhere, or the store can't be reached.
    """
    await store.commit(
        Commit(
            claim.run_id,
            claim.token,
            claim.seq + 1,
            secrets.token_urlsafe(9),
            {"status": status, "error": error},
            (f'"({status})",{claim.claims},0,"{status}"',),
            ended=status,
            taken=taken,
        )
    )
