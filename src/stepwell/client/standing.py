"""How a run stands that did not end in time, and what to do: the text of a TimeoutError."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from stepwell.client.waits import OpenWait, open_waits
from stepwell.durable.messages import CANCEL
from stepwell.errors import RunCorrupt
from stepwell.storage.records import Received, RunInfo

__all__ = ["standing", "stored_reason"]

_WAITS_MAX = 3
"""How many waits are told; a run may have thousands."""


def standing(
    info: RunInfo, fields: Mapping[str, str], inbox: Sequence[Received], seconds: float | None
) -> str:
    """How a run stands, and what to do.

    Args:
        info: the run, as it was seen last.
        fields: of the run; none if they could not be read.
        inbox: the messages that nobody has taken.
        seconds: how long it was waited for.
    """
    told = f"run {info.run_id!r} of {info.workflow} is {info.status} after {seconds} s"
    is_asked = any(message.text == CANCEL for message in inbox)
    if is_asked:
        told += ", and it was asked to end"
    if info.status == "blocked":
        return f"{told}: {_blocked(fields)}"
    if info.owner:
        return f"{told}, executed by {info.owner}: {_waits(fields) or 'wait longer'}"
    if is_asked:
        return f"{told}: {_a_worker(info)} has to be there to end it, or cancel it again"
    waits = "" if inbox else _waits(fields)
    if waits:
        return f"{told}: {waits}"
    return (
        f"{told}, in queue {info.queue!r}: nobody executes it now. Is {_a_worker(info)} running? "
        "Or does the run wait, for its time or for an event?"
    )


def _a_worker(info: RunInfo) -> str:
    return f"a worker that serves {info.workflow} in queue {info.queue!r}"


def _blocked(fields: Mapping[str, str]) -> str:
    """Why, and the remedy, which the reason of a run that never began names itself."""
    reason = stored_reason(fields).rstrip(".")
    if "can't begin" in reason:
        return reason
    return f"{reason}. Let a worker serve it that has the code which it needs"


def _waits(fields: Mapping[str, str]) -> str:
    """What its steps wait for; empty if that is not known, or its time has come already."""
    with suppress(RunCorrupt):
        now = time.time()
        waits = [one for one in open_waits(fields) if one.deadline is None or one.deadline > now]
        more = [f"{len(waits) - _WAITS_MAX} more"] if len(waits) > _WAITS_MAX else []
        return ", and ".join([*map(_told, waits[:_WAITS_MAX]), *more])
    return ""


def _told(wait: OpenWait) -> str:
    told = f"it waits for {wait.event}" if wait.event else "it sleeps"
    if wait.deadline is not None:
        told += f" until {datetime.fromtimestamp(wait.deadline, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{told} in step {wait.step}"


def stored_reason(fields: Mapping[str, str]) -> str:
    """What the field `error` of a run says."""
    text = fields.get("error", "it is not known why")
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(text)["message"])
    return text
