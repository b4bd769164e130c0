"""Which wait of a step an event is meant for, read from the fields of a stored run."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from stepwell._serialization import Codec
from stepwell.errors import DecodingError, RunCorrupt
from stepwell.events import Event

__all__ = ["OpenWait", "Wait", "find_wait", "open_waits"]

_NO_TEXT = ""
"""What no field of a run holds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait of a step, as a run has it: the name of its field, and the text in it."""

    field: str
    text: str
    is_open: bool

    @property
    def guard(self) -> tuple[str, str]:
        """Lets the store refuse a message unless the wait is open, as it was seen here."""
        return self.field, self.text if self.is_open else _NO_TEXT


@dataclass(frozen=True, slots=True)
class OpenWait:
    """What a step waits for.

    Attributes:
        step: its name.
        event: the name of the class of the event; empty if the step sleeps.
        deadline: when it is over, in seconds since 1970; None if only an event ends it.
    """

    step: str
    event: str
    deadline: float | None


def open_waits(fields: Mapping[str, str]) -> list[OpenWait]:
    """What the steps of a run wait for.

    Raises:
        RunCorrupt: a field can't be read.
    """
    return [
        OpenWait(step, _event_of(record), _deadline_of(record))
        for step, _, record in _waits_of(fields)
        if _is_open(record)
    ]


def _event_of(record: dict[str, Any]) -> str:
    match record.get("for"):
        case {"value": str(name)}:
            return name.rpartition(":")[2]
        case _:
            return ""


def _deadline_of(record: dict[str, Any]) -> float | None:
    deadline = record.get("deadline")
    return float(deadline) if isinstance(deadline, int | float) else None


def find_wait(
    codec: Codec, fields: Mapping[str, str], event: Event, step: str, *, subclasses: bool = False
) -> Wait | None:
    """Find the wait of a step that an event is meant for.

    Args:
        codec: knows the class of the event.
        fields: of the run.
        event: what is to be sent.
        step: its receiver.
        subclasses: the step takes events of derived classes.

    Returns:
        One that is open and that the event fits; else one that is closed; None if it fits none, as
        far as can be told: the event is kept for a wait that may come.

    Raises:
        RunCorrupt: a field can't be read.
    """
    fitting = [
        Wait(name, fields[name], _is_open(record))
        for waiting, name, record in _waits_of(fields)
        if waiting == step and _fits(codec, record, event, subclasses=subclasses)
    ]
    return next((wait for wait in fitting if wait.is_open), fitting[0] if fitting else None)


def _is_open(record: dict[str, Any]) -> bool:
    return record.get("answer") is None and not record.get("expired")


def _waits_of(fields: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The waits of a run: the step, the field, and what is in it."""
    for name in fields:
        kind, _, rest = name.partition(":")
        work = f"work:{rest.partition(':')[0]}"
        if kind == "wait" and work in fields:
            yield str(_record(fields, work).get("step")), name, _record(fields, name)


def _record(fields: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        record: object = json.loads(fields[name])
    except (ValueError, RecursionError) as error:
        raise _corrupt(name) from error
    if not isinstance(record, dict):
        raise _corrupt(name)
    return cast("dict[str, Any]", record)


def _corrupt(name: str) -> RunCorrupt:
    return RunCorrupt(
        f"field {name!r} of the run can't be read; nothing was sent, and nothing of it was "
        "changed. Mend or delete the run, or send the event without step="
    )


def _fits(codec: Codec, record: dict[str, Any], event: Event, *, subclasses: bool) -> bool:
    """Whether an event is known to fit. What the codec can't read is not known to."""
    with suppress(DecodingError):
        wanted = codec.decode_parsed(record.get("for"), "a wait")
        required = codec.decode_parsed(record.get("requirements"), "a wait")
        if wanted is type(event) or (subclasses and _is_base(wanted, event)):
            return isinstance(required, dict) and _meets(event, cast("dict[str, object]", required))
    return False


def _is_base(wanted: object, event: Event) -> bool:
    return isinstance(wanted, type) and isinstance(event, wanted)


def _meets(event: Event, required: Mapping[str, object]) -> bool:
    return all(getattr(event, name, None) == value for name, value in required.items())
