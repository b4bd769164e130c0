"""From a stored run to a context, a result, or an error."""

import json
from collections.abc import Mapping

from stepwell._engine.ledger import Ledger
from stepwell._engine.loading import load
from stepwell._engine.plan import Plan
from stepwell._engine.state import Status
from stepwell._exceptions import rebuild_exception
from stepwell._runtime.outcome import Outcome
from stepwell.context.context import FORMAT, Internals, restore
from stepwell.errors import (
    ContextSerdeError,
    RunBlocked,
    RunCorrupt,
    RunFailed,
    RunNotFound,
    UnreconstructedException,
)

__all__ = ["check", "load_into", "outcome_of"]


def load_into(internals: Internals, run_id: str, fields: Mapping[str, str]) -> Ledger:
    """Make a context what a stored run says; return what of the state counts as written.

    Raises:
        RunBlocked: the run needs a step that the code does not have.
        RunCorrupt: a field can't be read.
    """
    try:
        _check_format(fields)
        return restore(internals, fields)
    except RunBlocked as error:
        raise RunBlocked(f"run {run_id!r} can't go on: {error}") from error
    except ContextSerdeError as error:
        raise RunCorrupt(
            f"run {run_id!r} can't be read: {error}. The stored run was left as it is: mend or "
            f"delete it, or bring the code back that can read it."
        ) from error


def check(plan: Plan, run_id: str, fields: Mapping[str, str]) -> None:
    """Refuse a run that this code can't go on with, before anything of it is touched."""
    if not fields:
        raise RunNotFound(f"run {run_id!r} is gone")
    scratch = Internals.of_plan(plan)
    load_into(scratch, run_id, fields)


def outcome_of(plan: Plan, run_id: str, fields: Mapping[str, str] | None) -> Outcome:
    """How a stored run ended.

    Raises:
        RunNotFound: it is not there (any more).
        RunCorrupt: its result can't be read.
    """
    if fields is None:
        raise RunNotFound(f"run {run_id!r} is not there: it was deleted, or its retention is over")
    try:
        run = load(plan, {name: fields[name] for name in ("status", "result") if name in fields})
    except ContextSerdeError as error:
        raise RunCorrupt(f"the result of run {run_id!r} can't be read: {error}") from error
    if run.status is Status.COMPLETED:
        return Outcome(run.result)
    return Outcome(None, _stored_error(run_id, fields.get("error", "{}")))


def _stored_error(run_id: str, text: str) -> Exception:
    """The error of a run: of the same class where that is loaded here, else described."""
    try:
        record = json.loads(text)
        name, message, step = str(record["type"]), str(record["message"]), record["step"]
    except (ValueError, LookupError, TypeError) as error:
        return RunCorrupt(
            f"run {run_id!r} did not complete, and its field 'error' can't be read: {error!r}. "
            f"Start it again: it goes on where it stopped."
        )
    rebuilt = rebuild_exception(name, message)
    if isinstance(rebuilt, UnreconstructedException):
        return RunFailed(f"run {run_id!r} failed in step {step!r} with {name}: {message}")
    return rebuilt


def _check_format(fields: Mapping[str, str]) -> None:
    if fields.get("format") != FORMAT:
        raise ContextSerdeError(
            f"field 'format' says {fields.get('format')!r}, and this Stepwell reads {FORMAT!r}"
        )
