"""The store on Redis: each verb is one script, or one command that reads.

The layout, and what each script promises, is told in docs/redis-layout.md.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from stepwell.errors import RunCorrupt, StoreRefused
from stepwell.redis.acks import Acks
from stepwell.redis.errors import run_refusal
from stepwell.redis.fields import (
    PEEKED,
    commit_words,
    context_of,
    decoded,
    encoded_tags,
    received,
    run_info,
    text,
)
from stepwell.redis.gateway import Gateway, Trouble
from stepwell.redis.indexes import Indexes
from stepwell.redis.keys import Keys
from stepwell.redis.listener import Listener
from stepwell.redis.owners import Owners
from stepwell.redis.slices import Patch, Slices
from stepwell.redis.source import Source
from stepwell.redis.topology import Topology
from stepwell.redis.whereabouts import Whereabouts, WhereaboutsMemory
from stepwell.redis.wire import Stats, Word
from stepwell.storage.limits import (
    AT_ONCE_MAX,
    INBOX_MAX,
    KEYS_MAX,
    URGENT_MAX,
    encoded_message,
    encoded_run,
    lease_ms,
)
from stepwell.storage.names import digest_of
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

__all__ = ["RedisStore"]

_FORMAT = "1"
_SERVER_FLOOR = (7, 0)
_OPEN_SECONDS = 1.0
_PATIENCE_SECONDS_MIN = 1.0
_PAGE = 200
_MESSAGES = 100
"""How many messages come with a claim at most, and are then fetched at once."""
_TAIL = 16
"""How many messages are fetched at first, where a run has got news."""


class RedisStore:
    """Runs on one Redis server; implements `stepwell.storage.protocol.RunStore`.

    Args:
        source: the server.
        namespace: separates the runs of one application from those of others.
        lease: seconds that an owner is trusted without renewal, and that calls keep trying.
        partitions: of the namespace, fixed when it is first opened.
        stats: where to count.
        acks: who has to have what was written before it counts.

    Raises:
        ValueError: a namespace, number of partitions or lease that can't be used.
    """

    def __init__(
        self,
        source: Source,
        namespace: str,
        *,
        lease: float = 15.0,
        partitions: int = 16,
        stats: Stats,
        acks: Acks = Acks.SERVER,
    ) -> None:
        lease_ms(lease)
        self._source = source
        self._namespace = namespace
        self._keys = Keys(namespace, partitions)
        self._stats = stats
        patience = max(lease / 3, _PATIENCE_SECONDS_MIN)
        topology = Topology(source, patience)
        self._acks = acks
        self._gateway = Gateway(topology, stats, lease)
        self._write = partial(self._gateway.run, acks=acks)
        self._listener = Listener(topology)
        self._owners = Owners(self._gateway, self._listener, self._keys, source.address, lease)
        self._indexes = Indexes(self._gateway, self._keys)
        self._slices = Slices(self._gateway, self._keys)
        self._seen = WhereaboutsMemory()

    async def open(self) -> None:
        """Connect, and check that the server and the namespace will do.

        Raises:
            StoreUnavailable: no server answers within about a second.
            StoreRefused: password, permissions, version, a namespace that was made otherwise, or a
                server that can't acknowledge as it should.
        """
        try:
            await self._check_server()
            await self._gateway.require(self._acks)
            await self._check_namespace()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give all connections back."""
        await self._listener.close()
        await self._gateway.close()

    @property
    def partitions(self) -> int:
        """How many groups of runs there are."""
        return self._keys.partitions

    def partition_of(self, run_id: str) -> int:
        """The partition that a run lives in."""
        return self._keys.partition_of(run_id)

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that the caller owns; None if the id is taken."""
        nonce, fields = secrets.token_hex(8), encoded_run(run)
        keys, partition = self._keys, self.partition_of(run.run_id)
        reply = await self._write(
            "create",
            f"creating run {run.run_id}",
            [
                *self._birth_keys(run.run_id),
                keys.owned(partition, run.owner),
                keys.owners(partition),
                *self._index(run),
            ],
            [run.run_id, run.owner, nonce, *_identity(run), *fields],
        )
        if reply[0] == "EXISTS":
            return None
        claim = Claim(run.run_id, f"1:{nonce}", 1, dict(run.fields), run.queue, claims=1)
        self._seen.note(run.run_id, run.owner, claim.lane)
        return claim

    async def enqueue(self, run: NewRun, delay: float) -> bool:
        """Create a run that nobody owns, due after so many seconds; False if the id is taken."""
        nonce, fields = secrets.token_hex(8), encoded_run(run)
        partition, lane = self.partition_of(run.run_id), Lane(run.queue, run.fields["workflow"])
        news, delay_ms = self._keys.due_news(partition), round(delay * 1000)
        reply = await self._write(
            "enqueue",
            f"enqueueing run {run.run_id}",
            [
                *self._birth_keys(run.run_id),
                self._keys.due(partition, lane),
                *self._index(run),
            ],
            [run.run_id, nonce, *_identity(run), lane.workflow, delay_ms, news, *fields],
        )
        return reply[0] == "OK"

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        values = await self._gateway.read(
            "hash", f"looking at run {run_id}", "HMGET", self._keys.run(run_id), *PEEKED
        )
        info = run_info(run_id, values)
        if info is not None:
            self._seen.note(run_id, info.owner, info.lane)
        return info

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first."""
        return await self._indexes.same_input(digest)

    async def due(self, partition: int, lanes: Sequence[Lane], limit: int) -> Due:
        """Up to `limit` runs of these lanes that are due, longest first in each lane."""
        if not lanes:
            return Due((), None)
        keys = [self._keys.due(partition, lane) for lane in lanes]
        what = f"looking for runs that are due in partition {partition}"
        reply = await self._gateway.run("due", what, keys, [limit])
        runs = [
            DueRun(name.decode(), lanes[place], int(since))
            for place, name, since in zip(reply[2::3], reply[3::3], reply[4::3], strict=True)
        ]
        return Due(runs, None if reply[1] < 0 else reply[1])

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
        nonce = secrets.token_hex(8)
        known = ["" if fact is None else fact for fact in (since, epoch)]
        while True:
            reply = await self._gateway.run(
                "claim",
                f"claiming run {run_id}",
                self._claim_keys(run_id, owner, was, lane),
                [run_id, owner, was, nonce, *lane, int(due), *known, self._keys.done(run_id)],
            )
            if reply[0] != "LANE" or due:
                break
            lane = _lane(run_id, reply[1:])
        if reply[0] == "CORRUPT":
            raise run_refusal(run_id, reply)
        if reply[0] != "OK":
            return None
        self._seen.note(run_id, owner, lane)
        return await self._claimed(run_id, *reply[1:])

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        """Apply a commit once, however often it has to be sent."""
        patch = Patch.of(commit)
        self._stats.commits += 1
        if patch.is_large:
            return asyncio.ensure_future(self._commit_in_slices(commit, patch))
        if commit.ended is not None:
            return asyncio.ensure_future(self._commit(commit, None))
        keys, words = self._commit_keys(commit, aside=False), commit_words(commit, patch, 0)
        patiently = partial(self._commit, commit)
        return self._gateway.run_at_once("commit", keys, words, self._acks, patiently)

    async def _commit(self, commit: Commit, trouble: Trouble | None) -> None:
        reply = await self._send_commit(commit, Patch.of(commit), trouble=trouble)
        _check(commit.run_id, reply)

    async def release(self, release: Release) -> None:
        """Give a run back before it ended, so that anybody may claim it when it is due."""
        run_id, keys = release.run_id, self._keys
        partition = self.partition_of(run_id)
        when = "" if release.due_at is None else release.due_at

        async def attempt(at: Whereabouts) -> list[Any]:
            return await self._gateway.run(
                "release",
                f"releasing run {run_id}",
                [
                    keys.run(run_id),
                    keys.log(run_id),
                    keys.inbox(run_id),
                    keys.owned(partition, at.owner),
                    keys.due(partition, at.lane),
                ],
                [
                    run_id, release.token, at.owner, *at.lane, when, int(release.parked),
                    int(release.counted), keys.done(run_id), keys.due_news(partition),
                ],
            )  # fmt: skip

        _check(run_id, await self._where_it_is(run_id, attempt))

    async def block(self, claim: Claim, fingerprint: str, error: str) -> None:
        """Give a run back that this code can't go on with; other code is asked to try."""
        run_id, keys = claim.run_id, self._keys
        partition = self.partition_of(run_id)

        async def attempt(at: Whereabouts) -> list[Any]:
            return await self._gateway.run(
                "block",
                f"giving run {run_id} back",
                [
                    keys.run(run_id),
                    keys.log(run_id),
                    keys.owned(partition, at.owner),
                    keys.blocked(partition, at.lane),
                ],
                [run_id, claim.token, at.owner, *at.lane, fingerprint, error, keys.done(run_id)],
            )

        _check(run_id, await self._where_it_is(run_id, attempt))

    async def unblock(self, partition: int, lane: Lane, fingerprint: str) -> int:
        """Make blocked runs of a lane due that were blocked by other code, up to 100."""
        keys = [self._keys.blocked(partition, lane), self._keys.due(partition, lane)]
        what, news = f"looking for blocked runs of {lane.workflow}", self._keys.due_news(partition)
        cursor, found = b"0", 0
        while True:
            words = [fingerprint, *lane, cursor, AT_ONCE_MAX - found, news]
            _, cursor, more = await self._gateway.run("unblock", what, keys, words)
            found += more
            if cursor == b"0" or found >= AT_ONCE_MAX:
                return found

    async def deliver(self, message: Message) -> bool:
        """Put a message into the inbox of a run, once; it stays there until a commit takes it."""
        run_id, keys = message.run_id, self._keys
        partition = self.partition_of(run_id)
        words, key = encoded_message(message)

        async def attempt(at: Whereabouts) -> list[Any]:
            return await self._write(
                "deliver",
                f"sending a message to run {run_id}",
                [
                    keys.run(run_id),
                    keys.inbox(run_id),
                    keys.sent(run_id),
                    keys.mail(partition, at.owner),
                    keys.due(partition, at.lane),
                ],
                [
                    run_id, words, key, int(message.urgent), at.owner, *at.lane,
                    keys.owner(partition, at.owner), keys.due_news(partition),
                    INBOX_MAX + URGENT_MAX * message.urgent, KEYS_MAX, *(message.open_wait or ()),
                ],
            )  # fmt: skip

        reply = await self._settled(run_id, lambda: self._where_it_is(run_id, attempt))
        _check(run_id, reply)
        return reply[0] == "OK"

    async def mail(self, owner: str, partition: int) -> Sequence[str]:
        """The runs of an owner that got messages since this was last asked."""
        return await self._owners.mail(owner, partition)

    async def inbox(self, run_id: str, after: int) -> Sequence[Received]:
        """The messages of a run that no commit has taken, with higher numbers than `after`."""
        messages = await self._messages(run_id, -_TAIL)
        if len(messages) == _TAIL and messages[0].number > after + 1:
            messages = await self._messages(run_id, 0)
        return [one for one in messages if one.number > after]

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        what, key = f"reading run {run_id}", self._keys.run(run_id)
        while True:
            fields = decoded(run_id, await self._gateway.read("hash", what, "HGETALL", key))
            if "staged" not in fields:
                return context_of(fields) if fields else None
            await self._slices.settle(run_id, fields["staged"])

    async def runs(self, limit: int, before: tuple[int, str] | None = None) -> Sequence[RunInfo]:
        """Up to `limit` runs, those created last first."""
        found = list[RunInfo]()
        while len(found) < limit:
            names = await self._names(limit - len(found), before)
            if not names:
                break
            infos = await asyncio.gather(*(self.peek(run_id) for _, run_id in names))
            found += (info for info in infos if info is not None)
            before = names[-1]
        return found

    async def delete(self, run_id: str) -> bool:
        """Forget a run; False if there is none."""
        info = await self.peek(run_id)
        if info is None:
            return False
        reply = await self._where_it_is(run_id, lambda at: self._delete(run_id, at))
        self._seen.forget(run_id)
        if reply[0] != "GONE":  # which is what a second try finds after the first
            _check(run_id, reply)
        return True

    async def watch(self, topic: Topic, bell: Bell) -> None:
        """Ring a bell from now on whenever there may be news of a topic."""
        what = f"listening for news of {topic.name or 'runs'} ({topic.kind})"
        await self._owners.join(what, self._keys.channel(topic), bell)

    def unwatch(self, topic: Topic, bell: Bell) -> None:
        """Ring it no more."""
        self._listener.leave(self._keys.channel(topic), bell)

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after so many seconds."""
        topic, changed = Topic("run", self.partition_of(run_id), run_id), asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self.watch(topic, changed)
                if (await self._look(run_id)).owner:
                    await changed.wait()
        except TimeoutError:
            return
        finally:
            self.unwatch(topic, changed)

    async def appear(self, owner: str, partition: int) -> Renewal:
        """Make an owner known in a partition: its channel first, then its lease."""
        return await self._owners.appear(owner, partition)

    async def renew(self, owner: str) -> Renewal:
        """Renew the lease of an owner in all partitions in which it appeared."""
        return await self._owners.renew(owner)

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner; forget it, unless runs are still in its name."""
        await self._owners.disappear(owner)

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure."""
        return await self._owners.presence(owner, self.partition_of(run_id))

    async def sweep(self, partition: int) -> Swept:
        """Look for owners that are gone, and make their runs due, up to 100."""
        return await self._owners.sweep(partition)

    async def _check_server(self) -> None:
        server = await self._gateway.greet("opening the store", _OPEN_SECONDS)
        version = server["version"].decode()
        if tuple(int(part) for part in version.split(".")[:2]) < _SERVER_FLOOR:
            raise StoreRefused(
                f"the server at {self._source.address} has version {version}; nothing was changed. "
                "Stepwell needs Redis 7.0 or Valkey 7.2, or newer: update it"
            )

    async def _check_namespace(self) -> None:
        partitions = str(self._keys.partitions)
        reply = await self._gateway.run(
            "open",
            f"opening the namespace {self._namespace}",
            [self._keys.meta],
            [_FORMAT, partitions, self._keys.done("x")],
        )
        if reply[0] == "DENIED":
            raise StoreRefused(
                f"the user at {self._source.address} may not run {reply[1].decode()} on keys and "
                f"channels of the namespace {self._namespace}; nothing was changed. Grant what "
                "docs/redis-layout.md lists"
            )
        if reply[0] == "DIFFERS":
            raise StoreRefused(
                f"the namespace {self._namespace} at {self._source.address} has format "
                f"{reply[1].decode()!r} and {reply[2].decode()!r} partitions, where this process "
                f"has {_FORMAT!r} and {partitions!r}; nothing was changed. Open it with its own "
                "numbers, or take another namespace"
            )

    async def _commit_in_slices(self, commit: Commit, patch: Patch) -> None:
        reply = ["UNSTAGED"]
        while reply[0] == "UNSTAGED":
            staged = await self._slices.put_aside(commit, patch)
            reply = await self._send_commit(commit, patch.core if staged else patch, staged)
        _check(commit.run_id, reply)
        await self._slices.settle(commit.run_id, commit.cid)

    async def _send_commit(
        self, commit: Commit, patch: Patch, staged: int = 0, trouble: Trouble | None = None
    ) -> list[Any]:
        what = f"commit {commit.seq} of run {commit.run_id}"
        words = commit_words(commit, patch, staged)
        if commit.ended is None:
            keys = self._commit_keys(commit, aside=staged > 0)
            attempt = partial(self._write, "commit", what, keys, words, trouble=trouble)
        else:
            attempt = partial(self._finish, commit, commit.ended, what, words)
        return await self._settled(commit.run_id, attempt)

    async def _finish(self, commit: Commit, status: str, what: str, words: list[Word]) -> list[Any]:
        run_id, keys = commit.run_id, self._keys
        partition = self.partition_of(run_id)
        seen = self._seen.of(run_id) or await self._look(run_id)
        owner = seen.owner
        while True:
            reply = await self._write(
                "finish",
                what,
                [
                    keys.run(run_id),
                    keys.log(run_id),
                    keys.inbox(run_id),
                    keys.sent(run_id),
                    keys.owned(partition, owner),
                    keys.ended(partition),
                    keys.stage(run_id),
                    *keys.same_of(run_id),
                ],
                [run_id, owner, status, keys.done(run_id), *words],
            )
            if reply[0] != "CHANGED":
                self._seen.note(run_id, "", seen.lane)
                return reply
            owner = text(run_id, "owner", reply[1])

    async def _settled(self, run_id: str, attempt: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        """Run a script, after what an earlier commit put aside was moved."""
        while True:
            reply = await attempt()
            if reply[0] != "SETTLE":
                return reply
            await self._slices.settle(run_id, reply[1].decode())

    async def _delete(self, run_id: str, at: Whereabouts) -> list[Any]:
        keys, partition = self._keys, self.partition_of(run_id)
        return await self._gateway.run(
            "delete",
            f"deleting run {run_id}",
            [
                keys.run(run_id),
                keys.log(run_id),
                keys.inbox(run_id),
                keys.sent(run_id),
                keys.stage(run_id),
                keys.owned(partition, at.owner),
                keys.owners(partition),
                keys.due(partition, at.lane),
                keys.blocked(partition, at.lane),
                keys.runs(partition),
                keys.ended(partition),
                *keys.same_of(run_id),
            ],
            [run_id, at.owner, *at.lane, keys.done(run_id)],
        )

    async def _claimed(
        self,
        run_id: str,
        token: bytes,
        seq: bytes,
        flat: list[bytes],
        claims: bytes,
        parked: bytes,
        entries: list[bytes],
    ) -> Claim:
        try:
            fields = await self._all_fields(run_id, decoded(run_id, flat))
            return Claim(
                run_id,
                token.decode(),
                int(seq),
                context_of(fields),
                fields["queue"],
                received(run_id, await self._all_messages(run_id, entries)),
                int(claims),
                parked == b"0",
            )
        except RunCorrupt:  # nobody can go on with it
            at = self._seen.of(run_id) or await self._look(run_id)
            await self.release(Release(run_id, token.decode(), at.lane))
            raise

    async def _all_fields(self, run_id: str, told: dict[str, str]) -> dict[str, str]:
        """The fields of a run that was just claimed, so that nobody else changes them.

        A claim tells all of a small run, and of a large one its status before.
        """
        if staged := told.get("staged"):
            await self._slices.settle(run_id, staged)
        elif "workflow" in told:
            return told
        cursor, flat = b"0", list[bytes]()
        key, what = self._keys.run(run_id), f"reading run {run_id}"
        while not flat or cursor != b"0":
            cursor, page = await self._gateway.read(
                "hash", what, "HSCAN", key, cursor, "COUNT", _PAGE
            )
            flat += page
        return decoded(run_id, flat) | {"status": told["status"]}

    async def _all_messages(self, run_id: str, entries: list[bytes]) -> list[bytes]:
        """The messages of a run that was just claimed, so that nobody else takes them."""
        key, what = self._keys.inbox(run_id), f"reading the messages of run {run_id}"
        while entries and len(entries) % _MESSAGES == 0:
            first, last = len(entries), len(entries) + _MESSAGES - 1
            page = await self._gateway.read("list", what, "LRANGE", key, first, last)
            if not page:
                break
            entries = entries + page
        return entries

    async def _where_it_is(
        self, run_id: str, attempt: Callable[[Whereabouts], Awaitable[list[Any]]]
    ) -> list[Any]:
        """Run a script with the keys of the present owner and lane of a run."""
        at = self._seen.of(run_id) or await self._look(run_id)
        while True:
            reply = await attempt(at)
            if reply[0] != "CHANGED":
                return reply
            owner = text(run_id, "owner", reply[1])
            at = self._seen.note(run_id, owner, _lane(run_id, reply[2:]))

    async def _look(self, run_id: str) -> Whereabouts:
        """Where a run is; nowhere, if it does not exist."""
        names = ("owner", "queue", "workflow")
        key, what = self._keys.run(run_id), f"looking at run {run_id}"
        found = await self._gateway.read("hash", what, "HMGET", key, *names)
        owner, *lane = (text(run_id, n, v or b"") for n, v in zip(names, found, strict=True))
        return self._seen.note(run_id, owner, Lane(*lane))

    async def _messages(self, run_id: str, first: int) -> Sequence[Received]:
        key, what = self._keys.inbox(run_id), f"reading the messages of run {run_id}"
        return received(run_id, await self._gateway.read("list", what, "LRANGE", key, first, -1))

    async def _names(self, limit: int, before: tuple[int, str] | None) -> list[tuple[int, str]]:
        """The next runs, with the instants of their creation; some may be forgotten meanwhile."""
        words: list[Word] = [limit, *(before or ("+inf", ""))]
        replies = await asyncio.gather(
            *(
                self._gateway.run("runs", "listing runs", [self._keys.runs(partition)], words)
                for partition in range(self.partitions)
            )
        )
        names = [
            (int(instant), name.decode())
            for _, *flat in replies
            for name, instant in zip(flat[::2], flat[1::2], strict=True)
        ]
        return sorted(names, reverse=True)[:limit]

    def _birth_keys(self, run_id: str) -> list[str]:
        keys, partition = self._keys, self.partition_of(run_id)
        return [
            keys.run(run_id),
            keys.log(run_id),
            keys.inbox(run_id),
            keys.sent(run_id),
            keys.runs(partition),
            keys.ended(partition),
        ]

    def _claim_keys(self, run_id: str, owner: str, was: str, lane: Lane) -> list[str]:
        keys, partition = self._keys, self.partition_of(run_id)
        return [
            keys.run(run_id),
            keys.log(run_id),
            keys.inbox(run_id),
            keys.sent(run_id),
            keys.due(partition, lane),
            keys.blocked(partition, lane),
            *self._owners.keys_of(partition),
            keys.owned(partition, owner),
            keys.owned(partition, was or owner),
            keys.mail(partition, was or owner),
            keys.ended(partition),
            *keys.same_of(run_id),
        ]

    def _commit_keys(self, commit: Commit, *, aside: bool) -> list[str]:
        run_id, keys = commit.run_id, self._keys
        inbox = [keys.inbox(run_id)] if commit.taken or aside else []
        stage = [keys.stage(run_id)] if aside else []
        return [keys.run(run_id), keys.log(run_id), *inbox, *stage]

    def _index(self, run: NewRun) -> list[str]:
        """The index of runs by input, if the run's id tells its digest, so that all find it."""
        indexed = run.digest == digest_of(run.run_id)
        return self._keys.same_of(run.run_id) if indexed else []


def _identity(run: NewRun) -> tuple[str, str, str]:
    return run.digest, run.queue, encoded_tags(run.tags)


def _lane(run_id: str, words: Sequence[bytes]) -> Lane:
    queue, workflow = words
    return Lane(text(run_id, "queue", queue), text(run_id, "workflow", workflow))


def _check(run_id: str, reply: list[Any]) -> None:
    if reply[0] not in ("OK", "DUP"):
        raise run_refusal(run_id, reply)
