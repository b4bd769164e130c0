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
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from stepwell._empty import empty
from stepwell.storage.limits import (
    ABSENT_MS,
    AT_ONCE_MAX,
    INBOX_MAX,
    KEYS_MAX,
    URGENT_MAX,
    encoded_message,
    encoded_patch,
    encoded_run,
    lease_ms,
)
from stepwell.storage.names import digest_of, partition_of
from stepwell.storage.protocol import Bell
from stepwell.storage.records import (
    Claim,
    Commit,
    Due,
    DueRun,
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
from stepwell.storage.refusals import (
    closed,
    executed,
    gone,
    inbox_full,
    lease_lost,
    out_of_order,
    over,
    wait_closed,
)

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
        due_at: since or from when, in ms, somebody should own it who does not.
        parked: nobody has it, and nothing is wrong with it.
        claims: how often it was claimed since it last made progress.
        blocked_by: the fingerprint of the code that could not go on with it.
        inbox: the messages that no commit has taken.
        sends: the number of the last message.
        keys: those of the last 10,000 messages.
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
    queue: str
    tags: Mapping[str, str]
    seq: int = 1
    due_at: int | None = None
    parked: bool = False
    claims: int = 0
    blocked_by: str | None = None
    inbox: deque[Received] = field(default_factory=empty(deque[Received]))
    sends: int = 0
    keys: deque[str] = field(default_factory=partial(deque[str], maxlen=KEYS_MAX))
    ended_at: int | None = None
    expires_at: int | None = None
    log: deque[str] = field(default_factory=partial(deque[str], maxlen=_LOG_LINES_MAX))

    @property
    def epoch(self) -> int:
        """How often it was given to an owner."""
        return int(self.token.partition(":")[0])

    @property
    def lane(self) -> Lane:
        """Where it waits when nobody has it."""
        return Lane(self.queue, self.fields["workflow"])

    @property
    def info(self) -> RunInfo:
        """What can be said of it."""
        return RunInfo(
            self.run_id,
            self.fields["workflow"],
            self.fields["status"],
            self.digest,
            self.owner,
            self.queue,
            self.parked,
            self.claims,
            self.created_at,
            self.ended_at,
            self.tags,
            self.epoch,
        )

    def is_due(self, lane: Lane, now: int) -> bool:
        """Whether it waits in a lane, and its time has come."""
        return self.due_at is not None and self.due_at <= now and self.lane == lane

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
        while self.inbox and self.inbox[0].number <= commit.taken:
            self.inbox.popleft()
        if commit.progress:
            self.claims = 0
        self.log.extend(f"[{commit.seq},{now},{fragment}]" for fragment in commit.log)
        self.seq, self.cid = commit.seq, commit.cid

    def take_in(self, message: Message) -> None:
        """Put a message into the inbox."""
        self.sends += 1
        self.inbox.append(Received(self.sends, message.text))
        self.keys.append(message.key)

    def end(self, status: str, now: int) -> None:
        """Let nobody hold it any more, and keep it for 7 days if it completed, else for 30."""
        if self.inbox:
            self.note("unread", str(len(self.inbox)), now)
        self.give_up()
        self.ended_at = now
        self.expires_at = now + (7 if status == "completed" else 30) * _DAY_MS

    def give_to(self, owner: str) -> None:
        """Let it run again, or on, with a new owner; all tokens given before are of no use.

        An ended run that is begun again may be claimed as often as any.
        """
        self.owner, self.token = owner, f"{self.epoch + 1}:{secrets.token_hex(8)}"
        self.fields["status"] = "running"
        self.claims = 1 if self.ended_at is not None else self.claims + 1
        self.parked, self.blocked_by = False, None
        self.due_at = self.ended_at = self.expires_at = None

    def give_up(self) -> None:
        """Let nobody hold it; the epoch stays, so that the next one is higher."""
        self.owner, self.token = "", f"{self.epoch}:"

    def give_back(self, *, counted: bool = False) -> None:
        """Let its holder go, who lives: so the claim was nobody's death, if it does not count."""
        self.give_up()
        self.claims = max(0, self.claims - (not counted))

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
        self.mail: dict[tuple[int, str], set[str]] = {}
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

    def partition_of(self, run: StoredRun) -> int:
        """The partition that a run lives in."""
        return partition_of(run.run_id, self.partitions)

    def in_partition(self, partition: int) -> list[StoredRun]:
        """The runs of a partition."""
        return [run for run in self.runs.values() if self.partition_of(run) == partition]

    def owned(self, owner: str, partition: int) -> list[StoredRun]:
        """The runs that an owner has in a partition."""
        return [run for run in self.in_partition(partition) if run.owner == owner]

    def owns_any(self, owner: str, partition: int) -> bool:
        """Whether an owner has runs in a partition."""
        return bool(self.owned(owner, partition))

    def lasts(self, owner: str, partition: int, now: int) -> bool:
        """Whether the lease of an owner lasts; that of a stranger does not."""
        known = self.owners.get((partition, owner))
        return known is not None and known.lasts(now)

    def living(self, partition: int, now: int) -> int:
        """How many owners in a partition have a lease that is not over."""
        known = (one for (where, _), one in self.owners.items() if where == partition)
        return sum(one.lease_ends_at > now for one in known)

    def listens(self, owner: str, partition: int) -> bool:
        """Whether somebody listens to the channel of an owner: its process lives."""
        return any(partition in one.appeared.get(owner, ()) for one in self.connections)

    def extend(self, owner: str, partition: int, ends_at: int) -> None:
        """Let the lease of an owner last, and note that somebody listens to its channel."""
        known = self.owners.setdefault((partition, owner), StoredOwner(ends_at))
        known.lease_ends_at = ends_at
        if self.listens(owner, partition):
            known.seen_on, known.absent_since = self.incarnation, None

    def make_known(self, owner: str, partition: int, now: int) -> None:
        """Let an owner that gets a run be found by a sweep; a stranger has no lease."""
        self.owners.setdefault((partition, owner), StoredOwner(now))

    def bury(self, partition: int, now: int) -> None:
        """Forget owners that died without runs more than a minute ago."""
        late = [
            (known.lease_ends_at, owner)
            for (where, owner), known in self.owners.items()
            if where == partition and known.lease_ends_at <= now - _MINUTE_MS
        ]
        for _, owner in sorted(late)[:_BURIED_AT_ONCE_MAX]:
            if not self.owns_any(owner, partition):
                self.forget(owner, partition)

    def forget(self, owner: str, partition: int) -> None:
        """Forget an owner, and the mail that it did not fetch."""
        self.owners.pop((partition, owner), None)
        self.mail.pop((partition, owner), None)

    def presence(self, owner: str, partition: int, now: int) -> Presence:
        """Whether an owner still lives; one that is found gone has no lease any more."""
        known = self.owners.get((partition, owner))
        if known is None or not known.lasts(now):
            return Presence.GONE
        if self.listens(owner, partition):
            known.absent_since = None
            return Presence.PRESENT
        if known.seen_on != self.incarnation:
            return Presence.PRESENT
        where, since = known.absent_since or ("", 0)
        if where != self.incarnation or since > now:
            known.absent_since = self.incarnation, now
            return Presence.SUSPECT
        if now - since < ABSENT_MS:
            return Presence.SUSPECT
        self.owners[partition, owner] = StoredOwner(now)
        return Presence.GONE

    def orphan(self, run: StoredRun, now: int) -> None:
        """Take a run from an owner that is gone; somebody should go on with it now."""
        self.mail.get((self.partition_of(run), run.owner), set()).discard(run.run_id)
        run.give_up()
        run.note("orphaned", run.fields["status"], now)
        self.make_due(run, now)
        self.publish(self.news_of(run))

    def make_due(self, run: StoredRun, when: int) -> None:
        """Let somebody own a run from then on who does not."""
        run.due_at = when
        self.publish(Topic("due", self.partition_of(run)))

    def bring(self, run: StoredRun, now: int, *, urgent: bool) -> None:
        """Tell of a message: the owner of the run, or whoever may become that.

        A run that is not begun keeps its time, and a blocked one waits for code, unless it is
        urgent.
        """
        if run.owner:
            partition = self.partition_of(run)
            self.mail.setdefault((partition, run.owner), set()).add(run.run_id)
            self.publish(Topic("mail", partition, run.owner))
        elif urgent or run.fields["status"] not in ("pending", "blocked"):
            self.make_due(run, min(now, run.due_at or now))

    def news_of(self, run: StoredRun) -> Topic:
        """What those listen for who want to know what becomes of a run."""
        return Topic("run", self.partition_of(run), run.run_id)

    def is_watched(self, topic: Topic) -> bool:
        """Whether somebody listens for news of a topic."""
        return any(topic in one.bells for one in self.connections)

    def publish(self, topic: Topic) -> None:
        """Ring the bells of those who listen."""
        for connection in self.connections:
            connection.ring(topic)


class MemoryStore:
    """A connection to a MemoryServer; implements `stepwell.storage.protocol.RunStore`.

    Args:
        server: keeps the runs.
        lease: seconds that an owner is trusted without renewal.

    Attributes:
        appeared: the partitions in which an owner appeared through this connection.
        bells: who listens for what on it, and in which event loop.

    Raises:
        ValueError: a lease that can't be used.
    """

    def __init__(self, server: MemoryServer, *, lease: float = 15.0) -> None:
        self.appeared: dict[str, set[int]] = {}
        self._server = server
        self._lease_ms = lease_ms(lease)
        self.bells: dict[Topic, dict[Bell, asyncio.AbstractEventLoop]] = {}
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
            for topic in self.bells:
                self.ring(topic)

    @property
    def partitions(self) -> int:
        """How many groups of runs there are."""
        return self._server.partitions

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
            created = self._born(run, nonce, now)
            created.claims = 1
            server.make_known(run.owner, server.partition_of(created), now)
            created.note("created", "", now)
            return Claim(
                run.run_id, created.token, created.seq, dict(run.fields), run.queue, claims=1
            )

    async def enqueue(self, run: NewRun, delay: float) -> bool:
        """Create a run that nobody owns, due after so many seconds; False if the id is taken."""
        self.partition_of(run.run_id)
        encoded_run(run)
        nonce = secrets.token_hex(8)
        with self._transition() as (server, now):
            if server.find(run.run_id, now) is not None:
                return False
            created = self._born(run, nonce, now)
            created.give_up()
            created.parked = True
            created.note("enqueued", "", now)
            server.make_due(created, now + round(delay * 1000))
            return True

    def _born(self, run: NewRun, nonce: str, now: int) -> StoredRun:
        born = self._server.runs[run.run_id] = StoredRun(
            run.run_id, run.digest, dict(run.fields), run.owner, f"1:{nonce}", nonce, now,
            run.queue, dict(run.tags),
        )  # fmt: skip
        return born

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            return None if run is None else run.info

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

    async def due(self, partition: int, lanes: Sequence[Lane], limit: int) -> Due:
        """Up to `limit` runs of these lanes that are due, longest first in each lane."""
        with self._transition() as (server, now):
            waiting = [
                (run.due_at, run.run_id, run.lane)
                for run in server.in_partition(partition)
                if run.due_at is not None and run.lane in lanes and not run.has_expired(now)
            ]
        found = sorted((lanes.index(lane), at, name) for at, name, lane in waiting if at <= now)
        later = [at - now for at, _, _ in waiting if at > now]
        runs = [DueRun(name, lanes[index], at) for index, at, name in found[:limit]]
        return Due(runs, min(later, default=None))

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
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended."""
        partition = self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            if run is None or run.fields["status"] == "completed" or run.owner != was:
                return None
            if due and not (run.is_due(lane, now) and since in (None, run.due_at)):
                return None
            if epoch not in (None, run.epoch):
                return None
            if was not in ("", owner) and server.lasts(was, partition, now):
                return None
            before, parked = dict(run.fields), run.parked
            run.give_to(owner)
            run.note("claimed", before["status"], now)
            server.make_known(owner, partition, now)
            if was and not server.owns_any(was, partition):
                server.forget(was, partition)
            server.publish(server.news_of(run))
            return Claim(
                run_id, run.token, run.seq, before, run.queue, tuple(run.inbox), run.claims, parked
            )

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
                server.publish(server.news_of(run))

    async def release(self, release: Release) -> None:
        """Give a run back before it ended, so that anybody may claim it when it is due."""
        counted = release.counted
        with self._given_back(release.run_id, release.token, counted=counted) as (server, run, now):
            if run is None:
                return
            run.parked = release.parked
            run.note("parked" if release.parked else "released", run.fields["status"], now)
            if run.inbox or release.due_at is not None:
                server.make_due(run, now if run.inbox else max(now, release.due_at or 0))
            server.publish(server.news_of(run))

    async def block(self, claim: Claim, fingerprint: str, error: str) -> None:
        """Give a run back that this code can't go on with; other code is asked to try."""
        with self._given_back(claim.run_id, claim.token) as (server, run, now):
            if run is None:
                return
            run.fields |= {"status": "blocked", "error": error}
            run.blocked_by = fingerprint
            run.note("blocked", fingerprint, now)
            server.publish(server.news_of(run))

    @contextmanager
    def _given_back(
        self, run_id: str, token: str, *, counted: bool = False
    ) -> Generator[tuple[MemoryServer, StoredRun | None, int]]:
        """A run that its holder has just given back; None if that happened before."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.held(run_id, now)
            if run.was_given_up_by(token):
                yield server, None, now
                return
            if run.token != token:
                raise lease_lost(run_id, run.epoch)
            run.give_back(counted=counted)
            yield server, run, now

    async def unblock(self, partition: int, lane: Lane, fingerprint: str) -> int:
        """Make blocked runs of a lane due that were blocked by other code, up to 100."""
        with self._transition() as (server, now):
            blocked = [
                run
                for run in server.in_partition(partition)
                if run.lane == lane and run.blocked_by not in (None, fingerprint)
            ][:AT_ONCE_MAX]
            for run in blocked:
                run.blocked_by = None
                server.make_due(run, now)
            return len(blocked)

    async def deliver(self, message: Message) -> bool:
        """Put a message into the inbox of a run, once; it stays there until a commit takes it."""
        self.partition_of(message.run_id)
        encoded_message(message)
        with self._transition() as (server, now):
            run = server.held(message.run_id, now)
            if message.key in run.keys:
                return False
            if run.ended_at is not None:
                raise over(run.run_id, run.fields["status"])
            if message.open_wait is not None:
                name, text = message.open_wait
                if run.fields.get(name) != text:
                    raise wait_closed(run.run_id, name)
            if len(run.inbox) >= INBOX_MAX + URGENT_MAX * message.urgent:
                raise inbox_full(run.run_id)
            run.take_in(message)
            server.bring(run, now, urgent=message.urgent)
            return True

    async def mail(self, owner: str, partition: int) -> Sequence[str]:
        """The runs of an owner that got messages since this was last asked."""
        with self._transition() as (server, _):
            return sorted(server.mail.pop((partition, owner), ()))

    async def inbox(self, run_id: str, after: int) -> Sequence[Received]:
        """The messages of a run that no commit has taken, with higher numbers than `after`."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            return [one for one in run.inbox if one.number > after] if run else ()

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            return None if run is None else dict(run.fields)

    async def runs(self, limit: int, before: tuple[int, str] | None = None) -> Sequence[RunInfo]:
        """Up to `limit` runs, those created last first."""
        with self._transition() as (server, now):
            infos = [run.info for run in server.runs.values() if not run.has_expired(now)]
        infos.sort(key=_by_creation, reverse=True)
        return [info for info in infos if before is None or _by_creation(info) < before][:limit]

    async def delete(self, run_id: str) -> bool:
        """Forget a run; False if there is none."""
        partition = self.partition_of(run_id)
        with self._transition() as (server, now):
            run = server.find(run_id, now)
            if run is None:
                return False
            if run.owner and server.lasts(run.owner, partition, now):
                raise executed(run_id)
            del server.runs[run_id]
            server.publish(server.news_of(run))
            return True

    async def watch(self, topic: Topic, bell: Bell) -> None:
        """Ring a bell from now on whenever there may be news of a topic."""
        with self._transition():
            self.bells.setdefault(topic, {})[bell] = asyncio.get_running_loop()

    def unwatch(self, topic: Topic, bell: Bell) -> None:
        """Ring it no more."""
        with self._server.lock:
            self.bells.get(topic, {}).pop(bell, None)
            if not self.bells.get(topic):
                self.bells.pop(topic, None)

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after so many seconds."""
        topic, news = Topic("run", self.partition_of(run_id), run_id), asyncio.Event()
        await self.watch(topic, news)
        try:
            info = await self.peek(run_id)
            if info is not None and info.owner:
                async with asyncio.timeout(seconds):
                    await news.wait()
        except TimeoutError:
            return
        finally:
            self.unwatch(topic, news)

    async def appear(self, owner: str, partition: int) -> Renewal:
        """Make an owner known in a partition: its channel first, then its lease."""
        with self._transition() as (server, now):
            self.appeared.setdefault(owner, set()).add(partition)
            server.extend(owner, partition, now + self._lease_ms)
            server.bury(partition, now)
            return Renewal(now, lapsed=False)

    async def renew(self, owner: str) -> Renewal:
        """Renew the lease of an owner in all partitions in which it appeared, over or not."""
        with self._transition() as (server, now):
            partitions = self.appeared.get(owner, ())
            lapsed = any(not server.lasts(owner, partition, now) for partition in partitions)
            for partition in partitions:
                server.extend(owner, partition, now + self._lease_ms)
            return Renewal(now, lapsed)

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner; forget it, unless runs are still in its name."""
        with self._transition() as (server, now):
            for partition in self.appeared.pop(owner, ()):
                if server.owns_any(owner, partition):
                    server.owners[partition, owner] = StoredOwner(now)
                else:
                    server.forget(owner, partition)

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure.

        An owner is gone if its lease is over; or if it was once seen listening on this incarnation
        of the server, and then twice was not.
        """
        partition = self.partition_of(run_id)
        with self._transition() as (server, now):
            return server.presence(owner, partition, now)

    async def sweep(self, partition: int) -> Swept:
        """Look for owners that are gone, and make their runs due, up to 100."""
        with self._transition() as (server, now):
            for run in server.in_partition(partition):
                server.find(run.run_id, now)
            orphans = list(self._orphans(partition, now))[:AT_ONCE_MAX]
            for run in orphans:
                server.orphan(run, now)
            owners = server.living(partition, now)
            server.bury(partition, now)
            return Swept(len(orphans), owners)

    def _orphans(self, partition: int, now: int) -> Iterable[StoredRun]:
        server = self._server
        for where, owner in list(server.owners):
            if where == partition and server.presence(owner, partition, now) is Presence.GONE:
                yield from server.owned(owner, partition)

    def ring(self, topic: Topic) -> None:
        """Ring the bells of those who listen for a topic on this connection."""
        for bell, loop in self.bells.get(topic, {}).items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(bell.set)

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


def _by_creation(info: RunInfo) -> tuple[int, str]:
    return info.created_at, info.run_id
