"""Places where runs are kept, as tests see them: connections to them, their time, what they hold.

Time passes in a place when a test says so, and only then. In memory the clock is moved; that of a
server can't be, so there the scripts read the time from a key instead.
"""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Protocol, cast
from unittest.mock import patch

from redis import Redis

from stepwell.redis.keys import Keys
from stepwell.redis.scripts import Script, script
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.memory import MemoryServer, MemoryStore, StoredOwner, StoredRun
from stepwell.storage.names import digest_of, partition_of
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import BOOKKEEPING

__all__ = ["PARTITIONS", "Contents", "KeptOwner", "KeptRun", "MemoryPlace", "Place", "RedisPlace"]

PARTITIONS = 4

_START_MS = 1_700_000_000_000
_DAY_MS = 86_400_000
_TIME = "redis.call('TIME')"
_TOLD_TIME = "redis.call('HMGET', 'clock:' .. string.match(KEYS[1], '{([^/}]*)'), 's', 'us')"


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
    """All that a place keeps."""

    runs: Mapping[str, KeptRun]
    owners: Mapping[tuple[int, str], KeptOwner]
    owned: Mapping[tuple[int, str], set[str]]
    same: Mapping[str, list[str]]


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
        while not self._server.is_waited_for(run_id):  # noqa: ASYNC110 - the server's fact
            await asyncio.sleep(0)

    def contents(self) -> Contents:
        runs = [run for run in self._server.runs.values() if not run.has_expired(self._now)]
        return Contents(
            {run.run_id: self._kept(run) for run in runs},
            {key: self._known(owner) for key, owner in self._server.owners.items()},
            _by_owner(runs),
            _by_input(runs),
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


class RedisPlace:
    """A namespace of a server."""

    def __init__(self, url: str, namespace: str) -> None:
        self._source = Source.of(url)
        self._namespace = namespace
        self._client = cast("Any", Redis.from_url(url, decode_responses=True, protocol=2))
        self._key = re.compile(rf"stepwell:\{{{namespace}/(\d+)\}}:(\w+):?(.*)", re.DOTALL)
        self._incarnation: str = self._client.info("server")["run_id"]
        self._now = _START_MS
        self._tell_time()
        self._scripts = patch("stepwell.redis.gateway.script", _script_with_told_time)
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
            expires_at = self._client.pexpiretime(name)
            if expires_at > 0:
                self._client.pexpireat(name, expires_at - passed)

    def restart(self) -> None:
        here = self._incarnation
        for name in self._names():
            if name.endswith((":seen", ":absent")):
                for owner, mark in self._client.hgetall(name).items():
                    self._client.hset(name, owner, mark.replace(here, "0" * len(here)))

    def until_absent(self, owner: str) -> None:
        keys = Keys(self._namespace, PARTITIONS)
        channels = [keys.owner(number, owner) for number in range(PARTITIONS)]
        while any(count for _, count in self._client.pubsub_shardnumsub(*channels)):
            pass

    async def until_waited_for(self, run_id: str) -> None:
        channel = Keys(self._namespace, PARTITIONS).done(run_id)
        while not self._client.pubsub_shardnumsub(channel)[0][1]:  # noqa: ASYNC110 - the server's fact
            await asyncio.sleep(0)

    def contents(self) -> Contents:
        names = [(*self._parsed(name), name) for name in self._names()]
        ask = self._client
        return Contents(
            {rest: self._run(rest, name) for _, kind, rest, name in names if kind == "run"},
            {
                (number, owner): self._owner(name, owner, ends_at)
                for number, kind, _, name in names
                if kind == "owners"
                for owner, ends_at in ask.zrange(name, 0, -1, withscores=True)
            },
            {(n, rest): ask.smembers(name) for n, kind, rest, name in names if kind == "owned"},
            {rest: ask.zrange(name, 0, -1) for _, kind, rest, name in names if kind == "same"},
        )

    def close(self) -> None:
        self._scripts.stop()
        self._client.close()

    def _tell_time(self) -> None:
        told = {"s": self._now // 1000, "us": self._now % 1000 * 1000}
        self._client.hset(f"clock:{self._namespace}", mapping=told)

    def _run(self, run_id: str, name: str) -> KeptRun:
        fields = self._client.hgetall(name)
        books = {book: fields.pop(book, None) for book in BOOKKEEPING}
        prefix = name[: -len(f"run:{run_id}")]
        expires_at = self._client.pexpiretime(name)
        assert abs(self._client.pexpiretime(f"{prefix}log:{run_id}") - expires_at) <= 1
        due_at = self._client.zscore(f"{prefix}due:default", run_id)
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
            log=_lines(self._client.lrange(f"{prefix}log:{run_id}", 0, -1)),
        )

    def _owner(self, name: str, owner: str, ends_at: float) -> KeptOwner:
        here, prefix = self._incarnation, name[: -len("owners")]
        seen = self._client.hget(f"{prefix}seen", owner)
        absent = self._client.hget(f"{prefix}absent", owner)
        where, _, since = (absent or "").partition(":")
        return KeptOwner(
            int(ends_at), seen and seen == here, absent and (where == here, int(since))
        )

    def _names(self) -> list[str]:
        return sorted(self._client.keys(f"stepwell:\\{{{self._namespace}/*"))

    def _parsed(self, name: str) -> tuple[int, str, str]:
        match = self._key.fullmatch(name)
        assert match is not None, f"{name} has no place in the layout"
        return int(match[1]), match[2], match[3]


def _script_with_told_time(name: str) -> Script:
    text = script(name).text.replace(_TIME, _TOLD_TIME)
    return Script(name, text, sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice


def _days(instant: float | None, now: float) -> int | None:
    return None if instant is None else round((instant - now) / _DAY_MS)


def _lines(log: Iterable[str]) -> list[list[Any]]:
    return [json.loads(line) for line in log]
