"""The verbs of a store. Each is one atomic transition; no reading and writing by halves.

What each does in full is told by `stepwell.storage.memory`, and tried on every store by the tests
in `tests/storage`.

All verbs raise the same errors: StoreUnavailable if no server answers or the store was closed,
OutcomeUnknown if the connection broke in the middle for good, StoreRefused if the server does not
let us, RunCorrupt if what it holds under our names is not ours, ValueError for an id that is none.
"""

from collections.abc import Sequence
from typing import Protocol

from stepwell.storage.records import Claim, Commit, NewRun, Presence, RunInfo

__all__ = ["RunStore"]


class RunStore(Protocol):
    """A connected store; it belongs to one event loop."""

    async def open(self) -> None:
        """Connect, and check that the server and the namespace will do."""
        ...

    async def close(self) -> None:
        """Give all connections back."""
        ...

    def partition_of(self, run_id: str) -> int:
        """The partition that a run lives in."""
        ...

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that the caller owns; None if the id is taken.

        Raises:
            ValueError: it lacks a field that every run has, or has one that is the store's.
            EncodingError: a name or a text in it is no Unicode.
            StoreRefused: it is too large.
        """
        ...

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        ...

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first.

        Only those are found whose id tells their digest: `digest~...`.
        """
        ...

    async def claim(self, run_id: str, owner: str, was: str) -> Claim | None:
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended.

        Returns:
            None if somebody else was faster, or its owner is alive.
        """
        ...

    async def commit(self, commit: Commit) -> None:
        """Apply a commit once, however often it has to be sent.

        One with `ended` is the last: nobody holds the run from then on, and it is forgotten 7 days
        later if it completed, else 30. Its patch sets the status.

        Raises:
            LeaseLost: another process owns the run now, or it ended.
            RunNotFound: the run is not there any more.
            StoreRefused: its number does not follow that of the last commit, or it is too large.
            EncodingError: a name or a text in it is no Unicode.
            ValueError: it deletes a field that every run has, or touches one that is the store's.
        """
        ...

    async def release(self, run_id: str, token: str) -> None:
        """Give a run back before it ended, so that anybody may claim it at once.

        Nothing happens if the holder of this token gave it back before, or ended it.

        Raises:
            LeaseLost: another process owns the run now.
            RunNotFound: the run is not there any more.
        """
        ...

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        ...

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after `seconds`.

        At once if nobody executes it.
        """
        ...

    async def appear(self, owner: str, partition: int) -> None:
        """Make an owner known in a partition: its channel first, then its lease."""
        ...

    async def renew(self, owner: str) -> None:
        """Renew the lease of an owner, over or not, in all partitions in which it appeared here."""
        ...

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner; forget the owner, unless runs are still in its name."""
        ...

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure."""
        ...
