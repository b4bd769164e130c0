"""Runs in memory: a store without a server, and the executable specification of all stores.

A `MemoryServer` is what a server keeps, as plain data. A `MemoryStore` is a connection to it; each
of its verbs is one transition, told in full: first what refuses it, then what it changes. What a
store has to do, read here; `tests/storage` holds every other store to it.

Runs live as long as the process. Connections may belong to several event loops and threads.
"""

import asyncio
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from stepwell.storage.limits import ABSENT_MS, encoded_patch, encoded_run, lease_ms
from stepwell.storage.names import digest_of, partition_of
from stepwell.storage.records import Claim, Commit, NewRun, Presence, RunInfo
from stepwell.storage.refusals import closed, gone, lease_lost, out_of_order

__all__ = ["MemoryServer", "MemoryStore", "StoredOwner", "StoredRun"]

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_LOG_LINES_MAX = 1000
_BURIED_AT_ONCE_MAX = 16


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class StoredRun:
    """A run: the fields of its context, and the books that are kept beside them.

    Attributes:
        token: `epoch:nonce`, the fence; `epoch:` while nobody holds the run.
        owner: who executes it; empty if nobody does.
        seq: the number of its last commit; its creation is number 1.
        cid: the name of its last commit, by which it is known when it is sent again.
        due_at: since when, in ms, somebody should own it who does not.
        expires_at: when, in ms, it is forgotten; None while it has not ended.
        log: the last 1,000 lines of what happened.
    """

    run_id: str
    digest: str
    fields: dict[str, str]
    owner: str
    token: str
    cid: str
    created_at: int
    seq: int = 1
    due_at: int | None = None
    ended_at: int | None = None
    expires_at: int | None = None
    log: deque[str] = field(default_factory=partial(deque[str], maxlen=_LOG_LINES_MAX))

    @property
    def epoch(self) -> int:
        """How often it was given to an owner."""
        return int(self.token.partition(":")[0])

    def was_given_up_by(self, token: str) -> bool:
        """Whether nobody has had it since the holder of this token gave it back, or ended it."""
        return self.token == f"{token.partition(':')[0]}:"

    def apply(self, commit: Commit, now: int) -> None:
        """Write the whole of a commit."""
        for name, text in commit.patch.items():
            if text is None:
                self.fields.pop(name, None)
            else:
                self.fields[name] = text
        self.log.extend(f"[{commit.seq},{now},{fragment}]" for fragment in commit.log)
        self.seq, self.cid = commit.seq, commit.cid

    def end(self, status: str, now: int) -> None:
        """Let nobody hold it any more, and keep it for 7 days if it completed, else for 30."""
        self.give_up()
        self.ended_at = now
        self.expires_at = now + (7 if status == "completed" else 30) * _DAY_MS

    def give_to(self, owner: str) -> None:
        """Let it run again, or on, with a new owner; all tokens given before are of no use."""
        self.owner, self.token = owner, f"{self.epoch + 1}:{secrets.token_hex(8)}"
        self.fields["status"] = "running"
        self.due_at = self.ended_at = self.expires_at = None

    def give_up(self) -> None:
        """Let nobody hold it; the epoch stays, so that the next one is higher."""
        self.owner, self.token = "", f"{self.epoch}:"

    def has_expired(self, now: int) -> bool:
        """Whether its time to live is over."""
        return self.expires_at is not None and self.expires_at <= now

    def note(self, what: str, status: str, now: int) -> None:
        """Append what happened to the run itself to its log; no step is named in parentheses."""
        self.log.append(f'[{self.seq},{now},"({what})",{self.epoch},0,{json.dumps(status)}]')


@dataclass(slots=True)
class StoredOwner:
    """An owner as it is known in one partition.

    Attributes:
        lease_ends_at: until when, in ms, it is trusted.
        seen_on: the incarnation of the server on which somebody listened to its channel.
        absent_since: the incarnation on which, and when, nobody was found listening any more.
    """

    lease_ends_at: int
    seen_on: str | None = None
    absent_since: tuple[str, int] | None = None

    def lasts(self, now: int) -> bool:
        """Whether its lease lasts.

        One that ends in more than an hour was given before the clock was set back: it is over.
        """
        return 0 < self.lease_ends_at - now <= _HOUR_MS


class MemoryServer:
    """What all connections share.

    Args:
        clock: tells the time, in ms since 1970.
        partitions: how many groups of runs there are; owners are known group by group.

    Attributes:
        incarnation: another one after each restart.
        lock: held during a transition.
    """

    def __init__(self, *, clock: Callable[[], int] = _wall_clock, partitions: int = 16) -> None:
        self.clock = clock
        self.partitions = partitions
        self.incarnation = secrets.token_hex(8)
        self.runs: dict[str, StoredRun] = {}
        self.owners: dict[tuple[int, str], StoredOwner] = {}
        self.connections: set[MemoryStore] = set()
        self.lock = threading.Lock()

    def restart(self) -> None:
        """Be another process with the same data, to which all connections have come back."""
        self.incarnation = secrets.token_hex(8)

    def find(self, run_id: str, now: int) -> StoredRun | None:
        """A run; None if there is none, or its time to live is over."""
        run = self.runs.get(run_id)
        if run is not None and run.has_expired(now):
            del self.runs[run_id]
            return None
        return run

    def held(self, run_id: str, now: int) -> StoredRun:
        """A run that has to be there; raises RunNotFound if it is not."""
        run = self.find(run_id, now)
        if run is None:
            raise gone(run_id)
        return run

    def owns_any(self, owner: str, partition: int) -> bool:
        """Whether an owner has runs in a partition."""
        return any(
            run.owner == owner and partition_of(run.run_id, self.partitions) == partition
            for run in self.runs.values()
        )

    def lasts(self, owner: str, partition: int, now: int) -> bool:
        """Whether the lease of an owner lasts; that of a stranger does not."""
        known = self.owners.get((partition, owner))
        return known is not None and known.lasts(now)

    def listens(self, owner: str, partition: int) -> bool:
        """Whether somebody listens to the channel of an owner: its process lives."""
        return any(partition in one.appeared.get(owner, ()) for one in self.connections)

    def extend(self, owner: str, partition: int, ends_at: int) -> None:
        """Let the lease of an owner last, and note that somebody listens to its channel."""
        known = self.owners.setdefault((partition, owner), StoredOwner(ends_at))
        known.lease_ends_at = ends_at
        if self.listens(owner, partition):
            known.seen_on, known.absent_since = self.incarnation, None

    def bury(self, partition: int, now: int) -> None:
        """Forget owners that died without runs more than a minute ago."""
        late = [
            (known.lease_ends_at, owner)
            for (where, owner), known in self.owners.items()
            if where == partition and known.lease_ends_at <= now - _MINUTE_MS
        ]
        for _, owner in sorted(late)[:_BURIED_AT_ONCE_MAX]:
            if not self.owns_any(owner, partition):
                del self.owners[partition, owner]

    def is_waited_for(self, run_id: str) -> bool:
        """Whether somebody waits for news of a run."""
        return any(one.awaits(run_id) for one in self.connections)

    def publish(self, run_id: str) -> None:
        """Wake those who wait for news of a run."""
        for connection in self.connections:
            connection.hear(run_id)


class MemoryStore:
    """A connection to a MemoryServer; implements `stepwell.storage.protocol.RunStore`.

    Args:
        server: keeps the runs.
        lease: seconds that an owner is trusted without renewal.

    Attributes:
        appeared: the partitions in which an owner appeared through this connection.

    Raises:
        ValueError: a lease that can't be used.
    """

    def __init__(self, server: MemoryServer, *, lease: float = 15.0) -> None:
        self.appeared: dict[str, set[int]] = {}
        self._server = server
        self._lease_ms = lease_ms(lease)
        self._waiting: set[_Waiting] = set()
        self._closed = False

    async def open(self) -> None:
        """Connect."""
        with self._transition() as (server, _):
            server.connections.add(self)

    async def close(self) -> None:
        """End the connection, and all that hangs on it: owners that appeared by it are absent."""
        with self._server.lock:
            self._closed = True
            self._server.connections.discard(self)
            for waiting in self._waiting:
                waiting.wake()

    def partition_of(self, run_id: str) -> int:
        """The partition that a run lives in; raises ValueError if it is no run id."""
        return partition_of(run_id, self._server.partitions)

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that the caller owns; None if the id is taken."""
        self.partition_of(run.run_id)
        encoded_run(run)
        nonce = secrets.token_hex(8)
        with self._transition() as (server, now):
            if server.find(run.run_id, now) is not None:
                return None
            created = StoredRun(
                run.run_id, run.digest, dict(run.fields), run.owner, f"1:{nonce}", nonce, now
            )
            created.note("created", "", now)
            server.runs[run.run_id] = created
            return Claim(run.run_id, created.token, created.seq, dict(run.fields))

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            if run is None:
                return None
            return RunInfo(run.fields["workflow"], run.fields["status"], run.digest, run.owner)

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first.

        A run is found if its id tells its digest: `digest~…`.
        """
        self.partition_of(digest)
        with self._transition() as (server, now):
            found = [
                (run.created_at, run.run_id)
                for run in server.runs.values()
                if run.digest == digest == digest_of(run.run_id)
                and run.fields["status"] != "completed"
                and not run.has_expired(now)
            ]
        return [run_id for _, run_id in sorted(found)]

    async def claim(self, run_id: str, owner: str, was: str) -> Claim | None:
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended."""
        partition = self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            if run is None or run.fields["status"] == "completed" or run.owner != was:
                return None
            if was not in ("", owner) and server.lasts(was, partition, now):
                return None
            before = dict(run.fields)
            run.give_to(owner)
            run.note("claimed", before["status"], now)
            if was and not server.owns_any(was, partition):
                server.owners.pop((partition, was), None)
            server.publish(run_id)
            return Claim(run_id, run.token, run.seq, before)

    async def commit(self, commit: Commit) -> None:
        """Apply a commit once, however often it has to be sent."""
        self.partition_of(commit.run_id)
        encoded_patch(commit)
        with self._transition() as (server, now):
            run = server.held(commit.run_id, now)
            if (run.seq, run.cid) == (commit.seq, commit.cid):
                return
            if run.token != commit.token:
                raise lease_lost(run.run_id, run.epoch)
            if commit.seq != run.seq + 1:
                raise out_of_order(run.run_id, run.seq)
            run.apply(commit, now)
            if commit.ended is not None:
                run.end(commit.ended, now)
                server.publish(run.run_id)

    async def release(self, run_id: str, token: str) -> None:
        """Give a run back before it ended, so that anybody may claim it at once."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.held(run_id, now)
            if run.was_given_up_by(token):
                return
            if run.token != token:
                raise lease_lost(run_id, run.epoch)
            run.give_up()
            run.due_at = now
            run.note("released", run.fields["status"], now)
            server.publish(run_id)

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            return None if run is None else dict(run.fields)

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after so many seconds."""
        self.partition_of(run_id)
        waiting = _Waiting(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            if run is None or not run.owner:
                return
            self._waiting.add(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting.woken.wait()
        except TimeoutError:
            return
        finally:
            with self._server.lock:
                self._waiting.discard(waiting)

    async def appear(self, owner: str, partition: int) -> None:
        """Make an owner known in a partition: its channel first, then its lease."""
        with self._transition() as (server, now):
            self.appeared.setdefault(owner, set()).add(partition)
            server.extend(owner, partition, now + self._lease_ms)
            server.bury(partition, now)

    async def renew(self, owner: str) -> None:
        """Renew the lease of an owner in all partitions in which it appeared, over or not."""
        with self._transition() as (server, now):
            for partition in self.appeared.get(owner, ()):
                server.extend(owner, partition, now + self._lease_ms)

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner; forget it, unless runs are still in its name."""
        with self._transition() as (server, now):
            for partition in self.appeared.pop(owner, ()):
                if not server.owns_any(owner, partition):
                    server.owners.pop((partition, owner), None)
                elif (partition, owner) in server.owners:
                    server.owners[partition, owner] = StoredOwner(now)

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure.

        An owner is gone if its lease is over; or if it was once seen listening on this incarnation
        of the server, and then twice was not.
        """
        partition = self.partition_of(run_id)
        with self._transition() as (server, now):
            known = server.owners.get((partition, owner))
            if known is None or not known.lasts(now):
                return Presence.GONE
            if server.listens(owner, partition):
                known.absent_since = None
                return Presence.PRESENT
            if known.seen_on != server.incarnation:
                return Presence.PRESENT
            where, since = known.absent_since or ("", 0)
            if where != server.incarnation or since > now:
                known.absent_since = server.incarnation, now
                return Presence.SUSPECT
            if now - since < ABSENT_MS:
                return Presence.SUSPECT
            server.owners[partition, owner] = StoredOwner(now)
            return Presence.GONE

    def awaits(self, run_id: str) -> bool:
        """Whether somebody waits for news of a run on this connection."""
        return any(waiting.run_id == run_id for waiting in self._waiting)

    def hear(self, run_id: str) -> None:
        """Wake those who wait for news of a run on this connection."""
        for waiting in self._waiting:
            if waiting.run_id == run_id:
                waiting.wake()

    @contextmanager
    def _transition(self) -> Generator[tuple[MemoryServer, int]]:
        """Be alone with what the server keeps, at an instant of its clock: the time stands still.

        Raises:
            StoreUnavailable: the connection was closed.
        """
        with self._server.lock:
            if self._closed:
                raise closed()
            yield self._server, self._server.clock()


class _Waiting:
    """Somebody in an event loop who waits for news of a run; the news may come from another one."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.woken.set)
