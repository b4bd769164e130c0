"""What is sent to a run from outside, as the text that waits in its inbox: an event, or `cancel`.

    {"event": ..., "step": "name" or null}
    {"cancel": true}

and how a run that was asked for without its code says what it is to begin with:

    {"field": value, ...}          of its start event, whose class the code will know
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, cast

from stepwell._engine.ticks import CancelAsked, EventArrived
from stepwell._serialization.codec import Codec
from stepwell.errors import DecodingError
from stepwell.events import Event
from stepwell.storage.records import Message

__all__ = ["CANCEL", "GIVEN", "cancel_message", "event_message", "read_message"]

CANCEL = '{"cancel":true}'
"""The wish that a run ends."""

GIVEN = "given"
"""The field of a pending run that has what it is to begin with, if it has no start event yet."""


def event_message(
    codec: Codec,
    run_id: str,
    event: Event,
    step: str | None = None,
    key: str | None = None,
    open_wait: tuple[str, str] | None = None,
) -> Message:
    """An event for a run.

    Args:
        codec: knows the class of the event.
        run_id: of the run.
        event: for it.
        step: its only receiver; None for all that take it.
        key: by which it is known when it is sent again.
        open_wait: the wait that it is meant for, as the sender saw it.

    Raises:
        EncodingError: it has no durable form.
    """
    text = codec.encode(event, f"{type(event).__name__} for run {run_id!r}")
    message = f'{{"event":{text},"step":{json.dumps(step)}}}'
    return Message(run_id, message, _key(key), open_wait=open_wait)


def cancel_message(run_id: str) -> Message:
    """The wish that a run ends."""
    return Message(run_id, CANCEL, _key(None), urgent=True)


def read_message(codec: Codec, number: int, text: str) -> EventArrived | CancelAsked:
    """What a message tells the run.

    Raises:
        DecodingError: this code can't read it.
    """
    try:
        told: object = json.loads(text)
    except ValueError as error:
        raise DecodingError(f"message {number} in the inbox is no JSON: {text!r:.80}") from error
    match cast("Mapping[str, Any]", told):
        case {"cancel": True}:
            return CancelAsked()
        case {"event": parsed, "step": str() | None as step}:
            event = codec.decode_parsed(parsed, f"message {number} in the inbox")
            if isinstance(event, Event):
                return EventArrived(event, step)
        case _:
            pass
    raise DecodingError(f"message {number} in the inbox is none: {text!r:.80}")


def _key(given: str | None) -> str:
    """What a sender gave is told from what we made up."""
    return f"~{secrets.token_urlsafe(9)}" if given is None else f"={given}"
