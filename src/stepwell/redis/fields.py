"""The fields of a run on their way to the server and back: texts here, UTF-8 there."""

from collections.abc import Sequence

from stepwell.redis.errors import undecodable
from stepwell.redis.wire import Word
from stepwell.storage.limits import encoded_patch
from stepwell.storage.records import BOOKKEEPING, Commit

__all__ = ["commit_words", "decoded", "text"]

_OURS = frozenset(BOOKKEEPING)


def commit_words(commit: Commit) -> list[Word]:
    """The last arguments of `commit` and `finish`; raises as `encoded_patch`."""
    sets, deletes = encoded_patch(commit)
    head = (commit.token, commit.seq, commit.cid, len(sets) // 2, len(deletes))
    return [*head, *sets, *deletes, *commit.log]


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
