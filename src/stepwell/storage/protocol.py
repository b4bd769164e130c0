"""The verbs of a store. Each is one atomic transition; no reading and writing by halves.

What each does in full is told by `stepwell.storage.memory`, and tried on every store by the tests
in `tests/storage`.

All verbs raise the same errors: StoreUnavailable if no server answers or the store was closed,
OutcomeUnknown if the connection broke in the middle for good, StoreRefused if the server does not
let us, RunCorrupt if what it holds under our names is not ours, ValueError for an id that is none.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from stepwell.storage.records import (
    Claim,
    Commit,
    Due,
    Lane,
    Message,
    NewRun,
    Presence,
    Received,
    Release,
    Renewal,
    RunInfo,
    Swept,
    Topic,
)

__all__ = ["Bell", "RunStore"]


class Bell(Protocol):
    """Whom a store wakes, from its event loop, whenever there may be news."""

    def set(self) -> None:
        """There may be news."""
        ...


class RunStore(Protocol):
    """A connected store; it belongs to one event loop."""

    @property
    def partitions(self) -> int:
        """How many groups of runs there are; owners are known, and runs due, group by group."""
        ...

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

    async def enqueue(self, run: NewRun, delay: float) -> bool:
        """Create a run that nobody owns yet, due after so many seconds; False if the id is taken.

        Raises:
            ValueError, EncodingError, StoreRefused: as `create`.
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

    async def due(self, partition: int, lanes: Sequence[Lane], limit: int) -> Due:
        """Up to `limit` runs of these lanes that are due, longest first in each lane."""
        ...

    async def claim(
        self,
        run_id: str,
        owner: str,
        was: str,
        lane: Lane,
        *,
        due: bool = False,
        since: int | None = None,
        epoch: int | None = None,
    ) -> Claim | None:
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended.

        The claim is counted; a commit with `progress` sets the count back to nothing.

        It is taken out of the lane in which it waits; with `due`, only if it is due there.

        A try whose connection broke may get to the server after another one that was refused. That
        it then takes no run that others had meanwhile, of which nobody would hear, is what a
        claimer says with `since`: since when it is due, and with `epoch`: the number of its last
        owner.

        Returns:
            None if somebody else was faster, or its owner is alive.
        """
        ...

    def commit(self, commit: Commit) -> Awaitable[None]:
        """Apply a commit once, however often it has to be sent.

        It is asked for when this returns, so commits of many runs leave together; it is durable
        when what is returned is done. What no store takes is refused by either of both.

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

    async def release(self, release: Release) -> None:
        """Give a run back before it ended, so that anybody may claim it when it is due.

        At once if there are messages for it. This claim is not counted any more, unless the release
        says so. Nothing happens if the holder of this token gave it back before, or ended it.

        Raises:
            LeaseLost: another process owns the run now.
            RunNotFound: the run is not there any more.
        """
        ...

    async def block(self, claim: Claim, fingerprint: str, error: str) -> None:
        """Give a run back that this code can't go on with; other code is asked to try.

        Its status is `blocked` from now on, and its field `error` says why; the fingerprint is
        that of the code.

        Raises:
            LeaseLost, RunNotFound: as `release`.
        """
        ...

    async def unblock(self, partition: int, lane: Lane, fingerprint: str) -> int:
        """Make blocked runs of a lane due that were blocked by other code, up to 100.

        Returns:
            How many there were.
        """
        ...

    async def deliver(self, message: Message) -> bool:
        """Put a message into the inbox of a run, once; it stays there until a commit takes it.

        The owner of the run hears of it; a run that nobody owns is due now.

        Returns:
            False if one with its key, among the last 10,000, was there before.

        Raises:
            RunNotFound: there is no such run.
            RunOver: the run has ended.
            WaitClosed: the wait that it is meant for is not open any more.
            InboxFull: 1,000 messages wait there already, or 1,100 if it is urgent.
            EncodingError, StoreRefused: the text is no Unicode, or too large.
        """
        ...

    async def mail(self, owner: str, partition: int) -> Sequence[str]:
        """The runs of an owner that got messages since this was last asked."""
        ...

    async def inbox(self, run_id: str, after: int) -> Sequence[Received]:
        """The messages of a run that no commit has taken, with higher numbers than `after`."""
        ...

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        ...

    async def runs(self, limit: int, before: tuple[int, str] | None = None) -> Sequence[RunInfo]:
        """Up to `limit` runs, those created last first.

        With `before`, the `created_at` and the id of a run, only those that come after that one.
        """
        ...

    async def delete(self, run_id: str) -> bool:
        """Forget a run; False if there is none.

        Raises:
            StoreRefused: a living process executes it.
        """
        ...

    async def watch(self, topic: Topic, bell: Bell) -> None:
        """Ring a bell from now on whenever there may be news of a topic; once too often, maybe."""
        ...

    def unwatch(self, topic: Topic, bell: Bell) -> None:
        """Ring it no more."""
        ...

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after `seconds`.

        At once if nobody executes it.
        """
        ...

    async def appear(self, owner: str, partition: int) -> Renewal:
        """Make an owner known in a partition: its channel first, then its lease."""
        ...

    async def renew(self, owner: str) -> Renewal:
        """Renew the lease of an owner, over or not, in all partitions in which it appeared here."""
        ...

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner; forget the owner, unless runs are still in its name."""
        ...

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure."""
        ...

    async def sweep(self, partition: int) -> Swept:
        """Look for owners that are gone, and make their runs due, up to 100.

        Called again and again it finds all: who creates or claims a run is listed, also if it was
        forgotten. Owners without runs, and the names of runs whose time to live is over, are
        forgotten. A run that can't be read is passed over.
        """
        ...
