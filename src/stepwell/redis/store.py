"""The store on Redis: each verb is one script, or one command that reads.

The layout, and what each script promises, is told in docs/redis-layout.md.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from stepwell.errors import RunCorrupt, StoreRefused
from stepwell.redis.errors import run_refusal
from stepwell.redis.fields import commit_words, decoded, text
from stepwell.redis.gateway import Gateway
from stepwell.redis.keys import Keys
from stepwell.redis.listener import Listener
from stepwell.redis.patience import Patience
from stepwell.redis.source import Source
from stepwell.redis.wire import Stats
from stepwell.storage.limits import ABSENT_MS, encoded_run, lease_ms
from stepwell.storage.names import digest_of
from stepwell.storage.records import Claim, Commit, NewRun, Presence, RunInfo

__all__ = ["RedisStore"]

_FORMAT = "1"
_SERVER_FLOOR = (7, 0)
_OPEN_SECONDS = 1.0
_PATIENCE_SECONDS_MIN = 1.0
_PEEKED = ("workflow", "status", "digest", "owner", "token", "seq", "cid", "format")


class RedisStore:
    """Runs on one Redis server; implements `stepwell.storage.protocol.RunStore`.

    Args:
        source: the server.
        namespace: separates the runs of one application from those of others.
        lease: seconds that an owner is trusted without renewal, and that calls keep trying.
        partitions: of the namespace, fixed when it is first opened.
        stats: where to count.

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
    ) -> None:
        self._lease_ms = lease_ms(lease)
        self._source = source
        self._namespace = namespace
        self._lease = lease
        self._keys = Keys(namespace, partitions)
        self._stats = stats
        patience = max(lease / 3, _PATIENCE_SECONDS_MIN)
        self._gateway = Gateway(source, stats, lease, patience)
        self._listener = Listener(source, patience)
        self._appeared: dict[str, dict[int, asyncio.Event]] = {}

    async def open(self) -> None:
        """Connect, and check that the server and the namespace will do.

        Raises:
            StoreUnavailable: no server answers within about a second.
            StoreRefused: password, permissions, version, or a namespace that was made otherwise.
        """
        try:
            await self._check_server()
            await self._check_namespace()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give all connections back."""
        await self._listener.close()
        await self._gateway.close()

    def partition_of(self, run_id: str) -> int:
        """The partition that a run lives in."""
        return self._keys.partition_of(run_id)

    async def create(self, run: NewRun) -> Claim | None:
        """Create a run that the caller owns; None if the id is taken."""
        nonce = secrets.token_hex(8)
        reply = await self._gateway.run(
            "create",
            f"creating run {run.run_id}",
            [*self._run_keys(run.run_id, run.owner), *self._index(run)],
            [run.run_id, run.owner, nonce, run.digest, *encoded_run(run)],
        )
        if reply[0] == "EXISTS":
            return None
        return Claim(run.run_id, f"1:{nonce}", 1, dict(run.fields))

    async def peek(self, run_id: str) -> RunInfo | None:
        """What can be said of a run without loading it; None if there is none."""
        values = await self._gateway.read(
            "hash", f"looking at run {run_id}", "HMGET", self._keys.run(run_id), *_PEEKED
        )
        known = ((n, v) for n, v in zip(_PEEKED, values, strict=True) if v is not None)
        found = {name: text(run_id, name, value) for name, value in known}
        if not found:
            return None
        for name in _PEEKED:
            if name not in found and name != "owner":
                raise run_refusal(run_id, ["CORRUPT", name, ""])
        owner = found.get("owner", "")
        return RunInfo(found["workflow"], found["status"], found["digest"], owner)

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first."""
        key = self._keys.same(digest)
        members = await self._gateway.read(
            "zset", f"looking for runs with the input {digest}", "ZRANGE", key, 0, -1
        )
        return [member.decode() for member in members]

    async def claim(self, run_id: str, owner: str, was: str) -> Claim | None:
        """Take a run over from an owner that is gone (`was`, empty for nobody), or that ended."""
        reply = await self._gateway.run(
            "claim",
            f"claiming run {run_id}",
            self._claim_keys(run_id, owner, was),
            [run_id, owner, was, secrets.token_hex(8), self._keys.done(run_id)],
        )
        if reply[0] == "CORRUPT":
            raise run_refusal(run_id, reply)
        if reply[0] != "OK":
            return None
        return await self._claimed(run_id, *reply[1:])

    async def commit(self, commit: Commit) -> None:
        """Apply a commit once, however often it has to be sent."""
        what = f"commit {commit.seq} of run {commit.run_id}"
        if commit.ended is None:
            keys = [self._keys.run(commit.run_id), self._keys.log(commit.run_id)]
            reply = await self._gateway.run("commit", what, keys, commit_words(commit))
        else:
            reply = await self._finish(commit, commit.ended, what)
        if reply[0] not in ("OK", "DUP"):
            raise run_refusal(commit.run_id, reply)
        self._stats.commits += 1

    async def release(self, run_id: str, token: str) -> None:
        """Give a run back before it ended, so that anybody may claim it at once."""
        owner = await self._owner(run_id)
        reply = await self._gateway.run(
            "release",
            f"releasing run {run_id}",
            [*self._run_keys(run_id, owner), self._keys.due(self.partition_of(run_id))],
            [run_id, token, self._keys.done(run_id)],
        )
        if reply[0] not in ("OK", "DUP"):
            raise run_refusal(run_id, reply)

    async def read(self, run_id: str) -> dict[str, str] | None:
        """The context of a run; None if there is none."""
        fields = await self._gateway.read(
            "hash", f"reading run {run_id}", "HGETALL", self._keys.run(run_id)
        )
        return decoded(run_id, fields) if fields else None

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run ends or changes hands, at the latest after so many seconds."""
        channel, changed = self._keys.done(run_id), asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._join(f"following run {run_id}", channel, changed)
                if await self._owner(run_id):
                    await changed.wait()
        except TimeoutError:
            return
        finally:
            self._listener.leave(channel, changed)

    async def appear(self, owner: str, partition: int) -> None:
        """Make an owner known in a partition: its channel first, then its lease."""
        what, appeared = f"making owner {owner} known", self._appeared.setdefault(owner, {})
        channel = self._keys.owner(partition, owner)
        lost = appeared.get(partition, asyncio.Event())
        await self._join(what, channel, lost)
        appeared[partition] = lost
        reply = await self._gateway.run(
            "appear", what, self._owner_keys(partition), [owner, channel, self._lease_ms]
        )
        for gone in reply[2]:
            await self._bury(gone.decode(), partition)

    async def renew(self, owner: str) -> None:
        """Renew the lease of an owner in all partitions in which it appeared."""
        await asyncio.gather(*(self._renew(owner, p) for p in self._appeared.get(owner, ())))

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner that has no runs any more."""
        for partition, lost in self._appeared.pop(owner, {}).items():
            keys = [*self._owner_keys(partition), self._keys.owned(partition, owner)]
            what = f"ending the lease of owner {owner}"
            await self._gateway.run("disappear", what, keys, [owner])
            self._listener.leave(self._keys.owner(partition, owner), lost)

    async def presence(self, owner: str, run_id: str) -> Presence:
        """Whether an owner of a run still lives; asked twice, some time apart, it is sure."""
        partition = self.partition_of(run_id)
        reply = await self._gateway.run(
            "presence",
            f"looking for the owner of run {run_id}",
            self._owner_keys(partition),
            [owner, self._keys.owner(partition, owner), ABSENT_MS],
        )
        return Presence[reply[0]]

    async def _check_server(self) -> None:
        server = await self._gateway.greet("opening the store", _OPEN_SECONDS)
        version, mode = server["version"].decode(), server["mode"].decode()
        if tuple(int(part) for part in version.split(".")[:2]) < _SERVER_FLOOR:
            raise StoreRefused(
                f"the server at {self._source.address} has version {version}; nothing was changed. "
                "Stepwell needs Redis 7.0 or Valkey 7.2, or newer: update it"
            )
        if mode != "standalone":
            raise StoreRefused(
                f"the server at {self._source.address} runs in {mode} mode, which this version "
                "can't use; nothing was changed. Take a server that holds all keys"
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

    async def _finish(self, commit: Commit, status: str, what: str) -> list[Any]:
        run_id = commit.run_id
        owner = await self._owner(run_id)
        return await self._gateway.run(
            "finish",
            what,
            [*self._run_keys(run_id, owner), *self._keys.same_of(run_id)],
            [run_id, status, self._keys.done(run_id), *commit_words(commit)],
        )

    async def _claimed(self, run_id: str, token: bytes, seq: bytes, fields: list[bytes]) -> Claim:
        try:
            return Claim(run_id, token.decode(), int(seq), decoded(run_id, fields))
        except RunCorrupt:
            await self.release(run_id, token.decode())  # nobody can go on with it
            raise

    async def _renew(self, owner: str, partition: int) -> None:
        channel = self._keys.owner(partition, owner)
        reply = await self._gateway.run(
            "renew",
            f"renewing the lease of owner {owner}",
            self._owner_keys(partition),
            [owner, channel, self._lease_ms],
        )
        if reply[1] == 0:
            await self._listener.restart()

    async def _bury(self, owner: str, partition: int) -> None:
        keys = [*self._owner_keys(partition), self._keys.owned(partition, owner)]
        await self._gateway.run("bury", f"forgetting owner {owner}", keys, [owner])

    async def _owner(self, run_id: str) -> str:
        """The owner of a run; empty if it has none, or does not exist."""
        key = self._keys.run(run_id)
        owner = await self._gateway.read("hash", f"looking at run {run_id}", "HGET", key, "owner")
        return text(run_id, "owner", owner or b"")

    async def _join(self, what: str, channel: str, hearer: asyncio.Event) -> None:
        patience = Patience(what, self._source.address, self._lease, self._lease, changes=False)
        try:
            async with asyncio.timeout(self._lease):
                await self._listener.join(channel, hearer)
        except RedisError as error:
            raise patience.refused(error) from error
        except TimeoutError as error:
            raise patience.given_up(self._listener.trouble or error) from error

    def _run_keys(self, run_id: str, owner: str) -> list[str]:
        owned = self._keys.owned(self.partition_of(run_id), owner)
        return [self._keys.run(run_id), self._keys.log(run_id), owned]

    def _owner_keys(self, partition: int) -> list[str]:
        keys = self._keys
        return [keys.owners(partition), keys.seen(partition), keys.absent(partition)]

    def _claim_keys(self, run_id: str, owner: str, was: str) -> list[str]:
        partition = self.partition_of(run_id)
        return [
            self._keys.run(run_id),
            self._keys.log(run_id),
            self._keys.due(partition),
            *self._owner_keys(partition),
            self._keys.owned(partition, owner),
            self._keys.owned(partition, was or owner),
            *self._keys.same_of(run_id),
        ]

    def _index(self, run: NewRun) -> list[str]:
        """The index of runs by input, if the run's id tells its digest, so that all find it."""
        indexed = run.digest == digest_of(run.run_id)
        return self._keys.same_of(run.run_id) if indexed else []
