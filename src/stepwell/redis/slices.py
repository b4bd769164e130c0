"""Patches that are too large for one script: no script may hold the server up for long.

Such a patch is put aside, slice by slice, where nobody reads it. The commit names what was put
aside, and from then on it belongs to the run; at last it is moved there, part by part. Until that
is done nothing else is committed, and whoever comes across the run moves it on.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stepwell.redis.errors import run_refusal
from stepwell.redis.gateway import Gateway
from stepwell.redis.keys import Keys
from stepwell.redis.wire import Word
from stepwell.storage.limits import MANDATORY, encoded_patch
from stepwell.storage.records import Commit

__all__ = ["Patch", "Slices"]

_PATCH_FIELDS_MAX = 5000
_PATCH_BYTES_MAX = 1 << 20
_SLICE_FIELDS = 500
_SLICE_BYTES = 1 << 18


class Patch(NamedTuple):
    """A patch as it is sent.

    Attributes:
        sets: fields, each followed by its text.
        deletes: fields.
        size: of the texts, in bytes.
    """

    sets: Sequence[str | bytes]
    deletes: Sequence[str]
    size: int

    @classmethod
    def of(cls, commit: Commit) -> "Patch":
        """That of a commit; raises as `encoded_patch`."""
        return cls(*encoded_patch(commit))

    @property
    def is_large(self) -> bool:
        """Whether it has to be sliced: it has many fields, or large ones, but not one giant."""
        if len(self.sets) // 2 + len(self.deletes) > _PATCH_FIELDS_MAX:
            return True
        return self.size > _PATCH_BYTES_MAX and self.size > 2 * max(map(len, self.sets[1::2]))

    @property
    def core(self) -> "Patch":
        """What of a large one goes with the commit itself: the fields that every run has."""
        pairs = zip(self.sets[::2], self.sets[1::2], strict=True)
        words = [word for pair in pairs if pair[0] in MANDATORY for word in pair]
        return Patch(words, (), sum(map(len, words[1::2])))

    def aside(self) -> Iterator[tuple[str, str | bytes]]:
        """All the rest of it: `+field` with its text, `-field` with nothing."""
        for name, text in zip(self.sets[::2], self.sets[1::2], strict=True):
            if name not in MANDATORY:
                yield f"+{name!s}", text
        for name in self.deletes:
            yield f"-{name}", ""


class Slices:
    """Puts large patches aside, and moves them where they belong.

    Args:
        gateway: to the server.
        keys: of the namespace.
    """

    def __init__(self, gateway: Gateway, keys: Keys) -> None:
        self._gateway = gateway
        self._keys = keys

    async def put_aside(self, commit: Commit, patch: Patch) -> int:
        """Put a large patch aside for its commit; returns how many fields were.

        Raises:
            DurabilityError: the commit would be refused.
        """
        staged = 0
        for words in _sliced(patch.aside()):
            reply = await self._gateway.run(
                "stage",
                f"commit {commit.seq} of run {commit.run_id}",
                self._keys_of(commit.run_id),
                [commit.token, commit.seq, commit.cid, *words],
            )
            if reply[0] == "SETTLE":
                await self.settle(commit.run_id, reply[1].decode())
                return await self.put_aside(commit, patch)
            if reply[0] not in ("OK", "DUP"):
                raise run_refusal(commit.run_id, reply)
            staged += len(words) // 2
        return staged

    async def settle(self, run_id: str, cid: str) -> None:
        """Move what a commit put aside into the run.

        Raises:
            RunCorrupt: it is not there any more.
        """
        cursor, limit, what = b"0", 1, f"settling a commit of run {run_id}"
        while True:
            reply = await self._gateway.run(
                "settle", what, self._keys_of(run_id), [cid, cursor, limit]
            )
            if reply[0] == "DONE":
                return
            if reply[0] != "OK":
                raise run_refusal(run_id, reply)
            _, cursor, moved = reply
            wanted = limit * _SLICE_BYTES // moved if moved else limit
            limit = max(1, min(_SLICE_FIELDS, wanted))

    def _keys_of(self, run_id: str) -> list[str]:
        return [self._keys.run(run_id), self._keys.stage(run_id)]


def _sliced(pairs: Iterator[tuple[str, str | bytes]]) -> Iterator[list[Word]]:
    words, size = list[Word](), 0
    for name, text in pairs:
        words += (name, text)
        size += len(text)
        if len(words) >= 2 * _SLICE_FIELDS or size >= _SLICE_BYTES:
            yield words
            words, size = [], 0
    if words:
        yield words
