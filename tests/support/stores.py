"""Places where runs are kept, as tests see them: connections to them, their time, what they hold.

Time passes in a place when a test says so, and only then. In memory the clock is moved; that of a
server can't be, so there the scripts read the time from a key instead, which shares the hash tag
of theirs: a cluster lets them read no other.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import sha1
from typing import Any, Protocol
from unittest.mock import patch

from redis.exceptions import ResponseError

from stepwell.redis.keys import Keys
from stepwell.redis.scripts import Script, script
from stepwell.redis.slots import slot_of
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.memory import MemoryServer, MemoryStore, StoredOwner, StoredRun
from stepwell.storage.names import digest_of, partition_of
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import BOOKKEEPING, Topic

__all__ = ["PARTITIONS", "Contents", "KeptOwner", "KeptRun", "MemoryPlace", "Place", "RedisPlace"]

PARTITIONS = 4

_START_MS = 1_700_000_000_000
_DAY_MS = 86_400_000
_TIME = "redis.call('TIME')"
_TOLD_TIME = "redis.call('HMGET', 'clock:' .. string.match(KEYS[1], '{[^}]*}'), 's', 'us')"
_TAG = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class KeptRun:
    """A run as a place keeps it; `days_left` if it is forgotten some day."""

    fields: Mapping[str, str]
    digest: str
    owner: str
    token: str
    seq: int
    cid: str
    created_at: int
    ended_at: int | None
    due_at: int | None
    days_left: int | None
    log: list[list[Any]]
    queue: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    claims: int = 1
    parked: bool = False
    blocked_by: str | None = None
    inbox: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    sends: int = 0
    keys: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class KeptOwner:
    """An owner as a place keeps it in one partition.

    Attributes:
        seen: whether it was seen listening on this incarnation of the server.
        absent: whether it was found absent on this incarnation, and when.
    """

    lease_ends_at: int
    seen: bool | None
    absent: tuple[bool, int] | None


@dataclass(frozen=True)
class Contents:
    """All that a place keeps; what is due, lane by lane (`queue:workflow`)."""

    runs: Mapping[str, KeptRun]
    owners: Mapping[tuple[int, str], KeptOwner]
    owned: Mapping[tuple[int, str], set[str]]
    same: Mapping[str, list[str]]
    due: Mapping[tuple[int, str], set[str]]
    mail: Mapping[tuple[int, str], set[str]]


class Place(Protocol):
    """Where runs are kept."""

    def connect(self, *, lease: float = 15.0) -> RunStore:
        """Return a connection, not yet open."""
        ...

    def now_ms(self) -> int:
        """The time of the place."""
        ...

    def let_pass(self, seconds: float) -> None:
        """Let time pass; set the clock back if it is negative."""
        ...

    def restart(self) -> None:
        """Be another incarnation, to which all connections have come back."""
        ...

    def until_absent(self, owner: str) -> None:
        """Return when nobody listens to the channels of an owner whose connection was closed."""
        ...

    async def until_waited_for(self, run_id: str) -> None:
        """Return when somebody waits for news of a run."""
        ...

    async def until_watched(self, topic: Topic) -> None:
        """Return when somebody listens for news of a topic."""
        ...

    def contents(self) -> Contents:
        """All that is kept here now."""
        ...

    def close(self) -> None:
        """Nobody will look any more."""
        ...


class MemoryPlace:
    """A server in memory; its clock moves only when a test says so."""

    def __init__(self) -> None:
        self._now = _START_MS
        self._server = MemoryServer(clock=self.now_ms, partitions=PARTITIONS)

    def connect(self, *, lease: float = 15.0) -> RunStore:
        return MemoryStore(self._server, lease=lease)

    def now_ms(self) -> int:
        return self._now

    def let_pass(self, seconds: float) -> None:
        self._now += round(seconds * 1000)

    def restart(self) -> None:
        self._server.restart()

    def until_absent(self, owner: str) -> None:
        assert not any(self._server.listens(owner, number) for number in range(PARTITIONS))

    async def until_waited_for(self, run_id: str) -> None:
        await self.until_watched(Topic("run", partition_of(run_id, PARTITIONS), run_id))

    async def until_watched(self, topic: Topic) -> None:
        while not self._server.is_watched(topic):  # noqa: ASYNC110 - the server's fact
            await asyncio.sleep(0)

    def contents(self) -> Contents:
        runs = [run for run in self._server.runs.values() if not run.has_expired(self._now)]
        return Contents(
            {run.run_id: self._kept(run) for run in runs},
            {key: self._known(owner) for key, owner in self._server.owners.items()},
            _by_owner(runs),
            _by_input(runs),
            _by_lane(runs),
            {key: names for key, names in self._server.mail.items() if names},
        )

    def close(self) -> None:
        assert not self._server.connections

    def _kept(self, run: StoredRun) -> KeptRun:
        return KeptRun(
            fields=dict(run.fields),
            digest=run.digest,
            owner=run.owner,
            token=run.token,
            seq=run.seq,
            cid=run.cid,
            created_at=run.created_at,
            ended_at=run.ended_at,
            due_at=run.due_at,
            days_left=_days(run.expires_at, self._now),
            log=_lines(run.log),
            queue=run.queue,
            tags=run.tags,
            claims=run.claims,
            parked=run.parked,
            blocked_by=run.blocked_by,
            inbox=[(number, text) for number, text in run.inbox],
            sends=run.sends,
            keys=list(run.keys),
        )

    def _known(self, owner: StoredOwner) -> KeptOwner:
        here = self._server.incarnation
        return KeptOwner(
            owner.lease_ends_at,
            None if owner.seen_on is None else owner.seen_on == here,
            owner.absent_since and (owner.absent_since[0] == here, owner.absent_since[1]),
        )


def _by_owner(runs: Iterable[StoredRun]) -> dict[tuple[int, str], set[str]]:
    found: dict[tuple[int, str], set[str]] = {}
    for run in runs:
        if run.owner:
            key = partition_of(run.run_id, PARTITIONS), run.owner
            found.setdefault(key, set()).add(run.run_id)
    return found


def _by_input(runs: Iterable[StoredRun]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda run: (run.created_at, run.run_id)):
        if run.digest == digest_of(run.run_id) != "" and run.fields["status"] != "completed":
            found.setdefault(run.digest, []).append(run.run_id)
    return found


def _by_lane(runs: Iterable[StoredRun]) -> dict[tuple[int, str], set[str]]:
    found: dict[tuple[int, str], set[str]] = {}
    for run in runs:
        if run.due_at is not None:
            key = partition_of(run.run_id, PARTITIONS), ":".join(run.lane)
            found.setdefault(key, set()).add(run.run_id)
    return found


class RedisPlace:
    """A namespace of a server, or of several that belong together.

    Args:
        source: what stores connect to.
        namespace: one that nobody else uses.
        client_of: gives a client of the server that has a slot, as long as the place is in use.
        adapted: makes of the text of a script one that the server can run.
    """

    def __init__(
        self,
        source: Source,
        namespace: str,
        client_of: Callable[[int], Any],
        adapted: Callable[[str], str] = str,
    ) -> None:
        self._source = source
        self._namespace = namespace
        self._keys = Keys(namespace, PARTITIONS)
        self._server_by_tag = _servers_by_tag(self._keys, client_of)
        self._servers = set(self._server_by_tag.values())
        self._key = re.compile(rf"stepwell:\{{{namespace}/(\d+)\}}:(\w+):?(.*)", re.DOTALL)
        self._now = _START_MS
        self._tell_time()
        told = partial(_script_with_told_time, adapted)
        self._scripts = patch("stepwell.redis.gateway.script", cache(told))
        self._scripts.start()

    def connect(self, *, lease: float = 15.0) -> RunStore:
        return RedisStore(
            self._source, self._namespace, lease=lease, partitions=PARTITIONS, stats=Stats()
        )

    def now_ms(self) -> int:
        return self._now

    def let_pass(self, seconds: float) -> None:
        passed = round(seconds * 1000)
        self._now += passed
        self._tell_time()
        for name in self._names():  # the server deletes by its own clock
            client = self._at(name).client
            expires_at = client.pexpiretime(name)
            if expires_at > 0:
                client.pexpireat(name, expires_at - passed)

    def restart(self) -> None:
        assert self.tells_its_lives_apart
        for name in self._names():
            if name.endswith((":seen", ":absent")):
                self._at(name).seem_restarted(name)

    @property
    def tells_its_lives_apart(self) -> bool:
        """Whether an incarnation of the server is told from others."""
        return all(server.incarnation for server in self._servers)

    def until_absent(self, owner: str) -> None:
        while self.listens(owner):
            pass

    def listens(self, owner: str) -> bool:
        """Whether somebody listens to the channels of an owner."""
        channels = [self._keys.owner(number, owner) for number in range(PARTITIONS)]
        return any(self._at(channel).listeners(channel) for channel in channels)

    async def until_waited_for(self, run_id: str) -> None:
        await self.until_watched(Topic("run", partition_of(run_id, PARTITIONS), run_id))

    async def until_watched(self, topic: Topic) -> None:
        channel = self._keys.channel(topic)
        while not self._at(channel).listeners(channel):  # noqa: ASYNC110 - the server's fact
            await asyncio.sleep(0)

    def contents(self) -> Contents:
        names = [(*self._parsed(name), self._at(name).client, name) for name in self._names()]
        return Contents(
            {rest: self._run(rest, name) for _, kind, rest, _, name in names if kind == "run"},
            {
                (number, owner): self._owner(name, owner, ends_at)
                for number, kind, _, client, name in names
                if kind == "owners"
                for owner, ends_at in client.zrange(name, 0, -1, withscores=True)
            },
            {
                (n, rest): client.smembers(name)
                for n, kind, rest, client, name in names
                if kind == "owned"
            },
            {
                rest: client.zrange(name, 0, -1)
                for _, kind, rest, client, name in names
                if kind == "same"
            },
            {
                (n, rest): set(client.zrange(name, 0, -1))
                for n, kind, rest, client, name in names
                if kind == "due"
            },
            {
                (n, rest): client.smembers(name)
                for n, kind, rest, client, name in names
                if kind == "mail"
            },
        )

    def close(self) -> None:
        self._scripts.stop()

    def _tell_time(self) -> None:
        told = {"s": self._now // 1000, "us": self._now % 1000 * 1000}
        for tag, server in self._server_by_tag.items():
            server.client.hset(f"clock:{tag}", mapping=told)

    def _run(self, run_id: str, name: str) -> KeptRun:
        ask = self._at(name).client
        fields = ask.hgetall(name)
        books = {book: fields.pop(book, None) for book in BOOKKEEPING}
        prefix = name[: -len(f"run:{run_id}")]
        expires_at = ask.pexpiretime(name)
        for part in ("log", "inbox", "keys"):
            assert abs(ask.pexpiretime(f"{prefix}{part}:{run_id}") - expires_at) <= 1 or (
                part != "log" and not ask.exists(f"{prefix}{part}:{run_id}")
            )
        assert ask.zscore(f"{prefix}runs", run_id) == int(books["created_at"])
        assert (ask.zscore(f"{prefix}ended", run_id) is None) == (books["ended_at"] is None)
        lane = f"{books['queue']}:{fields['workflow']}"
        due_at = ask.zscore(f"{prefix}due:{lane}", run_id)
        entries = [entry.partition(" ") for entry in ask.lrange(f"{prefix}inbox:{run_id}", 0, -1)]
        return KeptRun(
            fields=fields,
            digest=books["digest"],
            owner=books["owner"] or "",
            token=books["token"],
            seq=int(books["seq"]),
            cid=books["cid"],
            created_at=int(books["created_at"]),
            ended_at=books["ended_at"] and int(books["ended_at"]),
            due_at=due_at and int(due_at),
            days_left=_days(expires_at if expires_at > 0 else None, time.time() * 1000),
            log=_lines(ask.lrange(f"{prefix}log:{run_id}", 0, -1)),
            queue=books["queue"],
            tags=json.loads(books["tags"]),
            claims=int(books["claims"]),
            parked=books["parked"] == "1",
            blocked_by=ask.hget(f"{prefix}blocked:{lane}", run_id),
            inbox=[(int(number), text) for number, _, text in entries],
            sends=int(books["sends"] or 0),
            keys=ask.zrangebyscore(f"{prefix}keys:{run_id}", 1, "+inf"),
        )

    def _owner(self, name: str, owner: str, ends_at: float) -> KeptOwner:
        server, prefix = self._at(name), name[: -len("owners")]
        here = server.incarnation
        seen = server.client.hget(f"{prefix}seen", owner)
        absent = server.client.hget(f"{prefix}absent", owner)
        where, _, since = (absent or "").partition(":")
        return KeptOwner(
            int(ends_at),
            None if seen is None else seen == here,
            absent and (where == here, int(since)),
        )

    def _names(self) -> list[str]:
        pattern = f"stepwell:\\{{{self._namespace}/*"
        return sorted(name for server in self._servers for name in server.client.keys(pattern))

    def _at(self, name: str) -> "_Server":
        """Who has a key or a channel."""
        return self._server_by_tag[_tag_of(name)]

    def _parsed(self, name: str) -> tuple[int, str, str]:
        match = self._key.fullmatch(name)
        assert match is not None, f"{name} has no place in the layout"
        return int(match[1]), match[2], match[3]


class _Server:
    """What a place asks of one server.

    Attributes:
        client: as untyped as its replies.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    @cached_property
    def incarnation(self) -> str:
        """What tells its present life from earlier ones; empty if it does not say."""
        with suppress(ResponseError):
            return self.client.info("server")["run_id"]
        return ""

    def seem_restarted(self, name: str) -> None:
        """Let the marks of owners under a name be of another incarnation."""
        here = self.incarnation
        for owner, mark in self.client.hgetall(name).items():
            self.client.hset(name, owner, mark.replace(here, "0" * len(here)))

    def listeners(self, channel: str) -> int:
        """How many connections listen to a channel."""
        return self.client.pubsub_shardnumsub(channel)[0][1]


def _servers_by_tag(keys: Keys, client_of: Callable[[int], Any]) -> dict[str, _Server]:
    """Who has what has a hash tag, for all tags of a namespace."""
    server_of = cache(_Server)
    names = [keys.meta, *(keys.runs(number) for number in range(keys.partitions))]
    return {_tag_of(name): server_of(client_of(slot_of(name))) for name in names}


def _tag_of(name: str) -> str:
    tag = _TAG.search(name)
    assert tag is not None, f"{name} has no hash tag"
    return tag[0]


def _script_with_told_time(adapted: Callable[[str], str], name: str) -> Script:
    text = adapted(script(name).text.replace(_TIME, _TOLD_TIME))
    return Script(name, text, sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice


def _days(instant: float | None, now: float) -> int | None:
    return None if instant is None else round((instant - now) / _DAY_MS)


def _lines(log: Iterable[str]) -> list[list[Any]]:
    return [json.loads(line) for line in log]
