"""What every store takes, and what it refuses before anything is sent: texts, sizes, leases."""

import re
from collections.abc import Mapping

from stepwell.errors import EncodingError, StoreRefused
from stepwell.storage.records import BOOKKEEPING, Commit, Message, NewRun

__all__ = [
    "ABSENT_MS",
    "AT_ONCE_MAX",
    "INBOX_MAX",
    "KEYS_MAX",
    "MANDATORY",
    "URGENT_MAX",
    "check_queue",
    "encoded_message",
    "encoded_patch",
    "encoded_run",
    "lease_ms",
]

MANDATORY = ("format", "workflow", "status")
"""Fields that the context of every run has."""

ABSENT_MS = 400
"""How long an owner must have had no subscriber before it counts as gone."""

INBOX_MAX = 1000
"""How many messages wait for a run; its senders are refused when there are so many."""

URGENT_MAX = 100
"""How many more wait that are urgent: a run can be ended however much waits for it."""

KEYS_MAX = 10_000
"""Of how many messages, the last ones, a run knows that it has had them."""

AT_ONCE_MAX = 100
"""How many runs a transition over many of them moves, so that no server stands still for it."""

_QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OURS = frozenset(BOOKKEEPING)
_FIELD_BYTES_MAX = 16 << 20
_COMMIT_BYTES_MAX = 64 << 20
_LEASE_SECONDS_MAX = 1800


def lease_ms(seconds: float) -> int:
    """A lease in ms.

    Raises:
        ValueError: it is none, or so long that it looks like one from before a clock was set back.
    """
    if not 0 < seconds <= _LEASE_SECONDS_MAX:
        raise ValueError(f"a lease of {seconds} s can't be used: take up to {_LEASE_SECONDS_MAX}")
    return int(seconds * 1000)


def encoded_run(run: NewRun) -> list[str | bytes]:
    """The first fields of a run, each followed by its text.

    Raises:
        ValueError: a field that every run has is missing, or one has a name that is ours.
        EncodingError: a name or a text is no Unicode.
        StoreRefused: a text, or all together, are too large.
    """
    missing = [name for name in MANDATORY if name not in run.fields]
    if missing:
        raise ValueError(f"run {run.run_id} has no field {missing[0]!r}, which every run needs")
    check_queue(run.queue)
    return _encoded(run.run_id, run.fields)[0]


def check_queue(name: object) -> None:
    """Refuse what can't be part of a key.

    Raises:
        ValueError: it is no name of a queue.
    """
    if not (isinstance(name, str) and _QUEUE.fullmatch(name)):
        raise ValueError(f"queue {name!r} can't be used: take 1 to 64 of A-Z a-z 0-9 _ . -")


def encoded_message(message: Message) -> tuple[str | bytes, str | bytes]:
    """The text and the key of a message; raises EncodingError and StoreRefused as `encoded_run`."""
    run_id = message.run_id
    return _utf8(run_id, "inbox", message.text), _utf8(run_id, "inbox", message.key)


def encoded_patch(commit: Commit) -> tuple[list[str | bytes], list[str], int]:
    """What a commit sets and deletes.

    Returns:
        The fields that it sets, each followed by its text; those that it deletes; the size of the
        texts, in bytes.

    Raises:
        ValueError: it deletes a field that every run has, or touches one that is ours.
        EncodingError, StoreRefused: as `encoded_run`.
    """
    patch = commit.patch
    deletes = [name for name in patch if patch[name] is None]
    for name in MANDATORY:
        if name in deletes:
            raise ValueError(f"run {commit.run_id}: a patch may not delete {name!r}")
    words, size = _encoded(commit.run_id, patch)
    return words, deletes, size


def _encoded(run_id: str, fields: Mapping[str, str | None]) -> tuple[list[str | bytes], int]:
    words: list[str | bytes] = []
    size = 0
    for name, text in fields.items():
        if not name.isascii():
            _utf8(run_id, name, name)
        if text is not None:
            data = _utf8(run_id, name, text)
            size += len(data)
            words += (name, data)
    if not _OURS.isdisjoint(fields):
        raise ValueError(f"run {run_id}: a patch may not touch {', '.join(BOOKKEEPING)}")
    if size > _COMMIT_BYTES_MAX:
        raise StoreRefused(
            f"run {run_id}: {size} bytes in one commit are more than {_COMMIT_BYTES_MAX}; nothing "
            "was written. Commit more often, or keep large values elsewhere and their address here"
        )
    return words, size


def _utf8(run_id: str, name: str, text: str) -> str | bytes:
    """A text in UTF-8; one of ASCII is that already."""
    try:
        data = text if text.isascii() else text.encode()
    except UnicodeEncodeError as error:
        raise EncodingError(
            f"run {run_id}: the field {name!r} holds half of a character pair, in its name or at "
            f"{error.start} in its text; nothing was written. Store text that is Unicode, or bytes"
        ) from error
    if len(data) > _FIELD_BYTES_MAX:
        raise StoreRefused(
            f"run {run_id}: the field {name!r} has {len(data)} bytes, more than "
            f"{_FIELD_BYTES_MAX}; nothing was written. Keep the value elsewhere, and its address "
            "here"
        )
    return data
