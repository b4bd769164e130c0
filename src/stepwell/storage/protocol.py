"""The verbs of a store. Each is one atomic transition; no reading and writing by halves.

All verbs raise the same errors: StoreUnavailable if no server answers, OutcomeUnknown if the
connection broke in the middle for good, StoreRefused if the server does not let us, RunCorrupt if
what it holds under our names is not ours.
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
        """Create a run that the caller owns; None if the id is taken."""
        ...

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        ...

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first."""
        ...

    async def claim(self, run_id: str, owner: str, was: str) -> Claim | None:
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended.

        Returns:
            None if somebody else was faster, or its owner is alive.
        """
        ...

    async def commit(self, commit: Commit) -> None:
        """Apply a commit once, however often it has to be sent.

        Raises:
            LeaseLost: another process owns the run now.
            RunNotFound: the run is not there any more.
        """
        ...

    async def release(self, run_id: str, token: str) -> None:
        """Give a run back before it ended, so that anybody may claim it at once."""
        ...

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        ...

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after `seconds`."""
        ...

    async def appear(self, owner: str, partition: int) -> None:
        """Make an owner known in a partition: its channel first, then its lease."""
        ...

    async def renew(self, owner: str) -> None:
        """Renew the lease of an owner in all partitions in which it appeared."""
        ...

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner that has no runs any more."""
        ...

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure."""
        ...
