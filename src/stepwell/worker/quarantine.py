"""Runs that kill their workers are set aside, with what is known of it, before they kill more."""

import json
from collections.abc import Mapping

from stepwell.durable.verdict import end
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim

__all__ = ["quarantine"]


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
            f"begun: {steps}. The last time, for five minutes no worker let another run in beside "
            "it that was taken over from the dead: so what kills is this one, or one that had "
            "killed nothing before. "
            "See what kills the process (memory? a crash in a library?), then run it again with "
            "workflow.run(run_id=...), its input and a checkpointer: it goes on at these steps"
        ),
        "step": None,
    }
    await end(store, claim, "quarantined", json.dumps(error))


def _steps(fields: Mapping[str, str]) -> list[str]:
    """The steps that were to be run, with their attempts."""
    works = [json.loads(text) for name, text in fields.items() if name.startswith("work:")]
    return sorted(f"{work['step']} (attempt {work['attempt']})" for work in works)
