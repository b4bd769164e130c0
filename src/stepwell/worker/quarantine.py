"""Runs that kill their workers are set aside, with what is known of it, before they kill more."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit

__all__ = ["cancel_unread", "quarantine"]


async def quarantine(store: RunStore, claim: Claim) -> None:
    """End a run that was claimed again and again, and never got further.

    Raises:
        DurabilityError: the run went elsewhere, or the store can't be reached.
    """
    times, steps = claim.claims - 1, ", ".join(_steps(claim.fields)) or "none"
    error = {
        "type": "stepwell.errors.RunQuarantined",
        "message": (
            f"run {claim.run_id} was claimed {times} times and each time its owner died, or a "
            f"step stopped it from inside, before any step of it got further. Steps that had been "
            f"begun: {steps}. It may also have shared its workers with a run that killed them. See "
            "what kills the process (memory? a crash in a library?), then run it again with "
            "workflow.run(run_id=...), its input and a checkpointer: it goes on at these steps"
        ),
        "step": None,
    }
    await _end(store, claim, "quarantined", error)


async def cancel_unread(store: RunStore, claim: Claim) -> None:
    """End a run that somebody wants to end, and that no code here can read.

    Raises:
        DurabilityError: the run went elsewhere, or the store can't be reached.
    """
    message = f"run {claim.run_id} was cancelled"
    error = {"type": "stepwell.errors.WorkflowCancelledByUser", "message": message, "step": None}
    await _end(store, claim, "cancelled", error)


async def _end(store: RunStore, claim: Claim, status: str, error: Mapping[str, Any]) -> None:
    await store.commit(
        Commit(
            claim.run_id,
            claim.token,
            claim.seq + 1,
            secrets.token_urlsafe(9),
            {"status": status, "error": json.dumps(error)},
            (f'"({status})",{claim.claims},0,"{status}"',),
            ended=status,
        )
    )


def _steps(fields: Mapping[str, str]) -> list[str]:
    """The steps that were to be run, with their attempts."""
    works = [json.loads(text) for name, text in fields.items() if name.startswith("work:")]
    return sorted(f"{work['step']} (attempt {work['attempt']})" for work in works)
