"""What a client asks for, as the run that is to be created: pure, nothing is sent here."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from pydantic import ValidationError

from stepwell._names import kind_of
from stepwell.client.known import Known
from stepwell.context.context import FORMAT
from stepwell.durable.identity import digest_of_input, new_run_id
from stepwell.durable.messages import GIVEN
from stepwell.errors import RunConflict, WorkflowRuntimeError
from stepwell.events import StartEvent
from stepwell.storage.limits import check_queue
from stepwell.storage.records import NewRun, RunInfo

__all__ = [
    "TAGS_MAX",
    "check_same",
    "checked_run_id",
    "checked_seconds",
    "checked_tags",
    "pending_run",
]

TAGS_MAX = 16
"""How many tags a run may have."""

_TAG_CHARACTERS_MAX = 64
_VALUE_CHARACTERS_MAX = 256
_DAYS_MAX = 36_500


def pending_run(
    known: Known,
    given: StartEvent | Mapping[str, Any],
    *,
    run_id: str | None,
    queue: str,
    tags: Mapping[str, str],
) -> NewRun:
    """The run of a workflow and input that somebody shall begin.

    Raises:
        WorkflowRuntimeError: the input is none of this workflow.
        EncodingError: it has no durable form.
        ValueError: the name of the run, its queue or a tag can't be used.
        TypeError: one of them is of the wrong type.
    """
    check_queue(queue)
    field, text = _encoded(known, given)
    digest = digest_of_input(known.name, text)
    fields = {"format": FORMAT, "workflow": known.name, "status": "pending", field: text}
    if known.plan.version is not None:
        fields["version"] = known.plan.version
    name = new_run_id(digest) if run_id is None else checked_run_id(run_id)
    return NewRun(name, digest, "", fields, queue, checked_tags(tags))


def check_same(run: NewRun, info: RunInfo) -> None:
    """Refuse to take a stored run for the one that was asked for, unless it is that.

    Raises:
        RunConflict: it has another workflow or input.
    """
    if info.workflow != run.fields["workflow"]:
        raise RunConflict(
            f"run {run.run_id!r} belongs to workflow {info.workflow!r}, not "
            f"{run.fields['workflow']!r}: choose another run_id"
        )
    if info.digest != run.digest:
        raise RunConflict(
            f"run {run.run_id!r} of {info.workflow!r} has another input, or one that was given in "
            "another way: start it with what it had, or choose another run_id. Nothing of it was "
            "changed."
        )


def _encoded(known: Known, given: StartEvent | Mapping[str, Any]) -> tuple[str, str]:
    """The field that holds the input of a run, and its text."""
    where = f"the input of {known.name}"
    if isinstance(given, StartEvent):
        _check_taken(known, given)
        return "input", known.codec_for(given).encode(given, where)
    fields = _checked_mapping(known, given)
    if known.start_event is None:
        return GIVEN, known.plan.codec.encode(fields, where)
    event = _start_event(known, known.start_event, fields)
    return "input", known.codec_for(event).encode(event, where)


def _check_taken(known: Known, event: StartEvent) -> None:
    if known.start_event is not None and not known.plan.receivers(type(event)).anyone:
        raise WorkflowRuntimeError(
            f"{known.name}: no step takes {type(event).__name__}, so that the run would never "
            f"begin: give {known.start_event.__name__}, or a mapping of its fields"
        )


def _start_event(known: Known, cls: type[StartEvent], fields: dict[str, Any]) -> StartEvent:
    try:
        return cls(**fields)
    except ValidationError as error:
        raise WorkflowRuntimeError(
            f"{known.name}: its {cls.__name__} can't be made of the fields {sorted(fields)}: "
            f"{_told(error)}. Correct these fields of the input."
        ) from error


def _told(error: ValidationError) -> str:
    """What is wrong with which field, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'all of them'}: {one['msg']}"
        for one in error.errors(include_url=False)
    )


def _checked_mapping(known: Known, given: object) -> dict[str, Any]:
    if isinstance(given, Mapping):
        fields = dict(cast("Mapping[Any, Any]", given))
        wrong = [name for name in fields if not isinstance(name, str)]
        if not wrong:
            return fields
        given = wrong[0]
    raise TypeError(
        f"{known.name}: the input is, or has as the name of a field, {kind_of(given)}: give a "
        "StartEvent, or a mapping of the names of its fields to their values"
    )


def checked_run_id(run_id: object) -> str:
    """The name of a run; each store says for itself which characters it takes.

    Raises:
        ValueError: it is no text, or an empty one.
    """
    if isinstance(run_id, str) and run_id:
        return run_id
    raise ValueError(f"run id {run_id!r} can't be used: take 1 to 200 of A-Z a-z 0-9 _ . : ~ @ / -")


def checked_seconds(option: str, given: object) -> float:
    """A time span in seconds.

    Raises:
        TypeError: it is neither a number nor a timedelta.
        ValueError: it is negative, or longer than a hundred years.
    """
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{option}={given!r:.80}: give seconds as a number, or a timedelta")
    if not 0 <= seconds <= _DAYS_MAX * 86_400:
        raise ValueError(f"{option}={given!r:.80}: give seconds from 0 to those of 100 years")
    return float(seconds)


def checked_tags(tags: object) -> dict[str, str]:
    """Tags that a run can have.

    Raises:
        TypeError: they are no mapping of text to text.
        ValueError: there are too many, or one is empty or too long.
    """
    if not isinstance(tags, Mapping):
        raise TypeError(f"tags={tags!r:.80}: give a mapping of text to text")
    found = dict(cast("Mapping[Any, Any]", tags))
    if len(found) > TAGS_MAX:
        raise ValueError(f"tags: {len(found)} are too many, a run has up to {TAGS_MAX}")
    for name, value in found.items():
        _check_tag(name, value)
    return found


def _check_tag(name: object, value: object) -> None:
    if not (isinstance(name, str) and isinstance(value, str)):
        raise TypeError(f"tags: {name!r:.80}: {value!r:.80} should be text and text")
    if not 1 <= len(name) <= _TAG_CHARACTERS_MAX or len(value) > _VALUE_CHARACTERS_MAX:
        raise ValueError(
            f"tags: {name!r:.80}: {value!r:.80} is too long, or empty: a name has 1 to "
            f"{_TAG_CHARACTERS_MAX} characters, a value up to {_VALUE_CHARACTERS_MAX}"
        )
    if not (name + value).isprintable():
        raise ValueError(f"tags: {name!r:.80}: {value!r:.80} has characters that can't be printed")
