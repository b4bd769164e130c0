"""The error that tells how a run ended which did not complete: of which run, and what to do."""

import json
from collections.abc import Mapping
from contextlib import suppress

from stepwell._runtime.outcome import Outcome
from stepwell.client.standing import stored_reason
from stepwell.errors import (
    RunQuarantined,
    StepwellError,
    WorkflowCancelledByUser,
    WorkflowTimeoutError,
)

__all__ = ["noted", "unfinished"]

_ENDS: dict[str, type[StepwellError]] = {
    "cancelled": WorkflowCancelledByUser,
    "timed_out": WorkflowTimeoutError,
    "quarantined": RunQuarantined,
}
"""What those statuses mean that are ends, and for which no step is to blame."""


def unfinished(run_id: str, fields: Mapping[str, str]) -> StepwellError | None:
    """The error of a run that ended without an error of a step; None if it ended otherwise."""
    status = fields["status"]
    if status not in _ENDS:
        return None
    told = f"{_named(run_id, fields)} {'timed out' if status == 'timed_out' else f'was {status}'}"
    error = _ENDS[status](stored_reason(fields) or told)
    if status != "cancelled":
        error.add_note(f"{told}: {_again(run_id)}")
    return error


def noted(run_id: str, fields: Mapping[str, str], outcome: Outcome) -> Outcome:
    """The outcome; the error of a failed run with a note that names run and step."""
    if outcome.error is not None:
        step = _step(fields)
        where = f" in step {step}" if step else ""
        outcome.error.add_note(f"{_named(run_id, fields)} failed{where}: {_again(run_id)}")
    return outcome


def _named(run_id: str, fields: Mapping[str, str]) -> str:
    return f"run {run_id!r} of {fields.get('workflow', 'an unknown workflow')}"


def _again(run_id: str) -> str:
    return f"run it again with workflow.run(run_id={run_id!r}, ...), its input and a checkpointer"


def _step(fields: Mapping[str, str]) -> str:
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(fields["error"])["step"] or "")
    return ""
