"""The fields of a run on their way to the server and back: texts here, UTF-8 there."""

from collections.abc import Iterable, Sequence

from stepwell.errors import EncodingError, StoreRefused
from stepwell.redis.errors import undecodable
from stepwell.redis.wire import Word
from stepwell.storage.records import BOOKKEEPING, Commit, NewRun

__all__ = ["commit_words", "create_words", "decoded", "text"]

_OURS = frozenset(BOOKKEEPING)
_MANDATORY = ("format", "workflow", "status")
_FIELD_BYTES_MAX = 16 << 20
_COMMIT_BYTES_MAX = 64 << 20


def create_words(run: NewRun) -> list[Word]:
    """The last arguments of `create`: fields, each followed by its text.

    Raises:
        ValueError: a field that every run has is missing, or one has a name that is ours.
        EncodingError: a text is no Unicode.
        StoreRefused: a text, or all together, are too large.
    """
    missing = [name for name in _MANDATORY if name not in run.fields]
    if missing:
        raise ValueError(f"run {run.run_id} has no field {missing[0]!r}, which every run needs")
    return _encoded(run.run_id, run.fields.items())


def commit_words(commit: Commit) -> list[Word]:
    """The last arguments of `commit` and `finish`; raises as `create_words`."""
    sets = [(name, value) for name, value in commit.patch.items() if value is not None]
    deletes = [name for name, value in commit.patch.items() if value is None]
    head = (commit.token, commit.seq, commit.cid, len(sets), len(deletes))
    return [*head, *_encoded(commit.run_id, sets, deletes), *deletes, *commit.log]


def decoded(run_id: str, flat: Sequence[bytes]) -> dict[str, str]:
    """The fields of a context from a reply, without what is kept beside them.

    Raises:
        RunCorrupt: a field is not UTF-8.
    """
    pairs = zip(flat[::2], flat[1::2], strict=True)
    named = ((text(run_id, "?", name), value) for name, value in pairs)
    return {name: text(run_id, name, value) for name, value in named if name not in _OURS}


def text(run_id: str, name: str, value: bytes) -> str:
    """A text of a run; raises RunCorrupt if it is none."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise undecodable(run_id, name) from error


def _encoded(
    run_id: str, fields: Iterable[tuple[str, str]], deletes: Iterable[str] = ()
) -> list[Word]:
    words, size = list[Word](), 0
    for name, value in fields:
        data = _utf8(run_id, name, value)
        size += len(data)
        words += (name, data)
    if not _OURS.isdisjoint(words[::2]) or not _OURS.isdisjoint(deletes):
        raise ValueError(f"run {run_id}: a patch may not touch {', '.join(BOOKKEEPING)}")
    if size > _COMMIT_BYTES_MAX:
        raise StoreRefused(
            f"run {run_id}: {size} bytes in one commit are more than {_COMMIT_BYTES_MAX}; nothing "
            "was written. Commit more often, or keep large values elsewhere and their address here"
        )
    return words


def _utf8(run_id: str, name: str, value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise EncodingError(
            f"run {run_id}: the text of the field {name!r} holds half of a character pair at "
            f"{error.start}; nothing was written. Store text that is Unicode, or bytes"
        ) from error
    if len(data) > _FIELD_BYTES_MAX:
        raise StoreRefused(
            f"run {run_id}: the field {name!r} has {len(data)} bytes, more than "
            f"{_FIELD_BYTES_MAX}; nothing was written. Keep the value elsewhere, and its address "
            "here"
        )
    return data
