"""The fields of a run on their way to the server and back: texts here, UTF-8 there."""

import json
from collections.abc import Iterable, Mapping, Sequence
from sys import intern

from stepwell.redis.errors import run_refusal, undecodable
from stepwell.redis.slices import Patch
from stepwell.redis.wire import Word
from stepwell.storage.records import BOOKKEEPING, Commit, Received, RunInfo

__all__ = [
    "PEEKED",
    "commit_words",
    "context_of",
    "decoded",
    "encoded_tags",
    "received",
    "run_info",
    "text",
]

PEEKED = (
    "workflow", "status", "digest", "token", "seq", "cid", "format", "created_at", "queue",
    "owner", "parked", "claims", "ended_at", "tags",
)  # fmt: skip
"""The fields that tell of a run without its context; the first ones every run has."""

_MANDATORY = PEEKED[:9]
_OURS = frozenset(BOOKKEEPING)


def commit_words(commit: Commit, patch: Patch, staged: int) -> list[Word]:
    """The last arguments of `commit` and `finish`: a patch, of which so many fields are aside.

    The books of the commit are written with the patch, last: one call less on the server.
    """
    head = (commit.token, commit.seq, commit.cid, commit.taken, staged)
    books: tuple[Word, ...] = ("seq", commit.seq, "cid", commit.cid)
    if commit.progress:
        books += ("claims", 0)
    sets, deletes = (*patch.sets, *books), patch.deletes
    return [*head, len(sets) // 2, len(deletes), *sets, *deletes, *commit.log]


def encoded_tags(tags: Mapping[str, str]) -> str:
    """The tags of a run in one text."""
    return json.dumps(tags)


def decoded(run_id: str, flat: Sequence[bytes]) -> dict[str, str]:
    """The fields of a run from a reply; thousands of runs share the words that name them.

    Raises:
        RunCorrupt: a field is not UTF-8.
    """
    pairs = zip(flat[::2], flat[1::2], strict=True)
    named = ((text(run_id, "?", name), value) for name, value in pairs)
    return {intern(name): text(run_id, name, value) for name, value in named}


def context_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a context, without what is kept beside them."""
    return {name: value for name, value in fields.items() if name not in _OURS}


def run_info(run_id: str, values: Sequence[bytes | None]) -> RunInfo | None:
    """What the `PEEKED` fields of a run say; None if it has none of them.

    Raises:
        RunCorrupt: one that every run has is missing, or one makes no sense.
    """
    known = ((n, v) for n, v in zip(PEEKED, values, strict=True) if v is not None)
    found = {name: text(run_id, name, value) for name, value in known}
    if not found:
        return None
    for name in _MANDATORY:
        if name not in found:
            raise run_refusal(run_id, ["CORRUPT", name, ""])
    return RunInfo(
        run_id,
        found["workflow"],
        found["status"],
        found["digest"],
        found.get("owner", ""),
        found["queue"],
        found.get("parked") == "1",
        _number(run_id, "claims", found.get("claims", "0")),
        _number(run_id, "created_at", found["created_at"]),
        _number(run_id, "ended_at", found["ended_at"]) if "ended_at" in found else None,
        _tags(run_id, found.get("tags", "{}")),
        _number(run_id, "token", found["token"].partition(":")[0]),
    )


def received(run_id: str, entries: Iterable[bytes]) -> tuple[Received, ...]:
    """The messages in the entries of an inbox."""
    split = (text(run_id, "inbox", entry).partition(" ") for entry in entries)
    return tuple(
        Received(_number(run_id, "inbox", number), message) for number, _, message in split
    )


def text(run_id: str, name: str, value: bytes) -> str:
    """A text of a run; raises RunCorrupt if it is none."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise undecodable(run_id, name) from error


def _number(run_id: str, name: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal()):
        raise run_refusal(run_id, ["CORRUPT", name, digits])
    return int(digits)


def _tags(run_id: str, given: str) -> dict[str, str]:
    try:
        return dict(json.loads(given))
    except (ValueError, TypeError) as error:
        raise run_refusal(run_id, ["CORRUPT", "tags", given]) from error
