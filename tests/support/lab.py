"""A lab for scripts: one namespace of a server, in which each script is called by hand."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from redis import Redis

from stepwell.redis.keys import Keys
from stepwell.redis.scripts import script
from stepwell.redis.wire import Word
from stepwell.storage.records import Lane

__all__ = ["FIELDS", "HOUR_MS", "LANE", "RUN", "Call", "Lab"]

RUN = "d1~1"
FIELDS = {"format": "1", "workflow": "Letters", "status": "running"}
LANE = Lane("default", "Letters")
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Call:
    """A script with its keys and arguments, to be run once or more often."""

    name: str
    keys: Sequence[str]
    arguments: Sequence[Word]


class Lab:
    """Calls scripts on the run `RUN`, its digest `d1`, and looks at what they leave behind."""

    def __init__(self, url: str, namespace: str) -> None:
        self.keys = Keys(namespace, 4)
        self.redis = cast("Any", Redis.from_url(url, decode_responses=True, protocol=2))
        self.partition = self.keys.partition_of(RUN)
        self._pattern = f"stepwell:{{{namespace}*"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.redis.close()

    def run(self, call: Call) -> list[Any]:
        """Run a script and return its reply."""
        return self.redis.eval(script(call.name).text, len(call.keys), *call.keys, *call.arguments)

    def open(self, partitions: int = 4, layout: str = "1") -> Call:
        return Call("open", [self.keys.meta], [layout, partitions, self.keys.done("x")])

    def create(
        self,
        owner: str = "ann",
        nonce: str = "n1",
        fields: Mapping[str, str] = FIELDS,
        run_id: str = RUN,
    ) -> Call:
        return Call(
            "create",
            [
                *self._of_birth(run_id),
                self.owned(owner),
                self.owners_key,
                *self.keys.same_of(run_id),
            ],
            [run_id, owner, nonce, "d1", LANE.queue, "{}", *_flat(fields)],
        )

    def enqueue(
        self,
        delay_ms: int = 0,
        nonce: str = "n1",
        fields: Mapping[str, str] = FIELDS,
        run_id: str = RUN,
    ) -> Call:
        return Call(
            "enqueue",
            [*self._of_birth(run_id), self.due_key, *self.keys.same_of(run_id)],
            [
                run_id, nonce, "d1", LANE.queue, "{}", LANE.workflow, delay_ms, self.due_channel,
                *_flat({**fields, "status": "pending"}),
            ],
        )  # fmt: skip

    def claim(
        self,
        owner: str = "bob",
        was: str = "",
        nonce: str = "n2",
        lane: Lane = LANE,
        *,
        due: bool = False,
        since: int | str = "",
        epoch: int | str = "",
    ) -> Call:
        return Call(
            "claim",
            [
                self.run_key,
                self.log_key,
                self.inbox_key,
                self.sent_key,
                self.keys.due(self.partition, lane),
                self.keys.blocked(self.partition, lane),
                *self._owners,
                self.owned(owner),
                self.owned(was or owner),
                self.mail_key(was or owner),
                self.ended_key,
                self.same_key,
            ],
            [RUN, owner, was, nonce, *lane, int(due), since, epoch, self.keys.done(RUN)],
        )

    def deliver(
        self,
        text: str = "hello",
        key: str = "k1",
        owner: str = "ann",
        *,
        urgent: bool = False,
        wait: tuple[str, str] | None = None,
        inbox_max: int = 1000,
        keys_max: int = 10_000,
        lane: Lane = LANE,
    ) -> Call:
        return Call(
            "deliver",
            [
                self.run_key, self.inbox_key, self.sent_key, self.mail_key(owner),
                self.keys.due(self.partition, lane),
            ],
            [
                RUN, text, key, int(urgent), owner, *lane, self.channel(owner), self.due_channel,
                inbox_max, keys_max, *(wait or ()),
            ],
        )  # fmt: skip

    def mail(self, owner: str = "ann", nonce: str = "n1", heard: str = "") -> Call:
        keys = [self.mail_key(owner), self.keys.mailed(self.partition, owner)]
        return Call("mail", keys, [nonce, heard])

    def due(self, *lanes: Lane, limit: int = 100) -> Call:
        keys = [self.keys.due(self.partition, lane) for lane in lanes or (LANE,)]
        return Call("due", keys, [limit])

    def commit(
        self,
        fence: str = "1:n1",
        seq: int = 2,
        cid: str = "c2",
        patch: Mapping[str, str | None] | None = None,
        log: Sequence[str] = ('"write",1,0.5,"returned"',),
        *,
        taken: int = 0,
        progress: bool = False,
        staged: int = 0,
    ) -> Call:
        head, books = (fence, seq, cid, taken, staged), {"claims": "0"} if progress else {}
        words = _commit_words(head, {**(patch or {}), **books}, log)
        inbox = [self.inbox_key] if taken or staged else []
        stage = [self.stage_key] if staged else []
        return Call("commit", [self.run_key, self.log_key, *inbox, *stage], words)

    def stage(self, *words: str, fence: str = "1:n1", seq: int = 2, cid: str = "c2") -> Call:
        return Call("stage", [self.run_key, self.stage_key], [fence, seq, cid, *words])

    def settle(self, cid: str = "c2", cursor: int = 0, limit: int = 1000) -> Call:
        return Call("settle", [self.run_key, self.stage_key], [cid, cursor, limit])

    def finish(
        self,
        status: str = "completed",
        fence: str = "1:n1",
        seq: int = 2,
        cid: str = "c2",
        owner: str = "ann",
        *,
        taken: int = 0,
        staged: int = 0,
    ) -> Call:
        words = _commit_words((fence, seq, cid, taken, staged), {"status": status}, ())
        return Call(
            "finish",
            [
                self.run_key, self.log_key, self.inbox_key, self.sent_key, self.owned(owner),
                self.ended_key, self.stage_key, self.same_key,
            ],
            [RUN, owner, status, self.keys.done(RUN), *words],
        )  # fmt: skip

    def release(
        self,
        fence: str = "1:n1",
        owner: str = "ann",
        due_at: int | str = 0,
        lane: Lane = LANE,
        *,
        parked: bool = False,
        counted: bool = False,
    ) -> Call:
        return Call(
            "release",
            [
                self.run_key, self.log_key, self.inbox_key, self.owned(owner),
                self.keys.due(self.partition, lane),
            ],
            [
                RUN, fence, owner, *lane, due_at, int(parked), int(counted),
                self.keys.done(RUN), self.due_channel,
            ],
        )  # fmt: skip

    def block(
        self, fence: str = "1:n1", owner: str = "ann", fingerprint: str = "p1", lane: Lane = LANE
    ) -> Call:
        blocked = self.keys.blocked(self.partition, lane)
        return Call(
            "block",
            [self.run_key, self.log_key, self.owned(owner), blocked],
            [RUN, fence, owner, *lane, fingerprint, '"why"', self.keys.done(RUN)],
        )

    def unblock(self, fingerprint: str = "p2", cursor: int = 0, limit: int = 100) -> Call:
        keys, words = [self.blocked_key, self.due_key], [fingerprint, *LANE, cursor, limit]
        return Call("unblock", keys, [*words, self.due_channel])

    def orphan(self, owner: str = "ann", lane: Lane = LANE) -> Call:
        return Call(
            "orphan",
            [
                self.run_key, self.log_key, self.owned(owner), self.owners_key,
                self.mail_key(owner), self.keys.due(self.partition, lane),
            ],
            [RUN, owner, *lane, self.keys.done(RUN), self.due_channel],
        )  # fmt: skip

    def sweep(self, absent_ms: int = 0) -> Call:
        keys = [*self._owners, self.runs_key, self.ended_key]
        return Call("sweep", keys, [self.channel(""), absent_ms])

    def disown(self, owner: str = "ann") -> Call:
        return Call("disown", [self.owned(owner)], [RUN])

    def prune(self, *names: str) -> Call:
        return Call("prune", [self.same_key, *map(self.keys.run, names)], names)

    def delete(self, owner: str = "ann", lane: Lane = LANE) -> Call:
        return Call(
            "delete",
            [
                self.run_key, self.log_key, self.inbox_key, self.sent_key, self.stage_key,
                self.owned(owner), self.owners_key, self.keys.due(self.partition, lane),
                self.keys.blocked(self.partition, lane), self.runs_key, self.ended_key,
                self.same_key,
            ],
            [RUN, owner, *lane, self.keys.done(RUN)],
        )  # fmt: skip

    def runs(self, limit: int = 100, before: int | str = "+inf", after: str = "") -> Call:
        return Call("runs", [self.runs_key], [limit, before, after])

    def time(self) -> Call:
        return Call("time", [self.keys.meta], [])

    def appear(self, owner: str = "ann", lease_ms: int = 60_000) -> Call:
        return Call("appear", self._owners, [owner, self.channel(owner), lease_ms])

    def renew(self, owner: str = "ann", lease_ms: int = 60_000) -> Call:
        return Call("renew", self._owners, [owner, self.channel(owner), lease_ms])

    def disappear(self, owner: str = "ann") -> Call:
        keys = [*self._owners, self.owned(owner), self.mail_key(owner)]
        return Call("disappear", keys, [owner])

    def bury(self, owner: str = "ann") -> Call:
        return Call("bury", [*self._owners, self.owned(owner), self.mail_key(owner)], [owner])

    def presence(self, owner: str = "ann", absent_ms: int = 0) -> Call:
        return Call("presence", self._owners, [owner, self.channel(owner), absent_ms])

    @property
    def run_key(self) -> str:
        return self.keys.run(RUN)

    @property
    def log_key(self) -> str:
        return self.keys.log(RUN)

    @property
    def same_key(self) -> str:
        return self.keys.same("d1")

    @property
    def due_key(self) -> str:
        return self.keys.due(self.partition, LANE)

    @property
    def due_channel(self) -> str:
        return self.keys.due_news(self.partition)

    @property
    def blocked_key(self) -> str:
        return self.keys.blocked(self.partition, LANE)

    @property
    def inbox_key(self) -> str:
        return self.keys.inbox(RUN)

    @property
    def stage_key(self) -> str:
        return self.keys.stage(RUN)

    @property
    def sent_key(self) -> str:
        return self.keys.sent(RUN)

    @property
    def runs_key(self) -> str:
        return self.keys.runs(self.partition)

    @property
    def ended_key(self) -> str:
        return self.keys.ended(self.partition)

    @property
    def owners_key(self) -> str:
        return self.keys.owners(self.partition)

    @property
    def seen_key(self) -> str:
        return self.keys.seen(self.partition)

    @property
    def absent_key(self) -> str:
        return self.keys.absent(self.partition)

    def owned(self, owner: str) -> str:
        return self.keys.owned(self.partition, owner)

    def mail_key(self, owner: str) -> str:
        return self.keys.mail(self.partition, owner)

    def channel(self, owner: str) -> str:
        return self.keys.owner(self.partition, owner)

    def fields(self) -> dict[str, str]:
        """The hash of the run."""
        return self.redis.hgetall(self.run_key)

    def now_ms(self) -> int:
        """The server's clock."""
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000

    def written(self) -> int:
        """How often something was written so far, for replicas and the disk."""
        return self.redis.info("persistence")["rdb_changes_since_last_save"]

    def names(self) -> set[str]:
        """All keys of the namespace."""
        return set(self.redis.keys(self._pattern.replace("{", "\\{")))

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """All keys of the namespace: what they hold, and when they expire."""
        return {name: (self._dump(name), self.redis.pexpiretime(name)) for name in self.names()}

    @contextmanager
    def subscribed(self, channel: str) -> Generator[Any]:
        """Somebody who listens to a channel; yields a function for the next message."""
        with self.redis.pubsub() as listener:
            listener.ssubscribe(channel)
            assert listener.get_message(timeout=5)["type"] == "ssubscribe"
            yield lambda: listener.get_message(timeout=5)["data"]

    def assert_repeatable(self, call: Call) -> None:
        """Sent twice, a script leaves what it left the first time, and is answered well."""
        self.run(call)
        before = self.contents()
        assert self.run(call)[0] in ("OK", "DUP")
        assert self.contents() == before

    def assert_types_checked(self, call: Call) -> None:
        """A key of another type, whichever it is, is named, and all stays as it was."""
        for key in dict.fromkeys(call.keys):
            with self._occupied(key):
                before = self.contents()
                reply = self.run(call)
                assert (reply[0], reply[1], reply[3]) == ("WRONGTYPE", key, "string")
                assert self.contents() == before

    @contextmanager
    def _occupied(self, key: str) -> Generator[None]:
        """A key that somebody else uses as a string meanwhile."""
        spare = f"{key}:spare"
        if exists := self.redis.exists(key):
            self.redis.rename(key, spare)
        self.redis.set(key, "not ours")
        yield
        self.redis.delete(key)
        if exists:
            self.redis.rename(spare, key)

    def _dump(self, name: str) -> bytes:
        connection = self.redis.connection_pool.get_connection()
        try:
            connection.send_command("DUMP", name)
            return connection.read_response(disable_decoding=True)
        finally:
            self.redis.connection_pool.release(connection)

    @property
    def _owners(self) -> list[str]:
        return [self.owners_key, self.seen_key, self.absent_key]

    def _of_birth(self, run_id: str) -> list[str]:
        keys = self.keys
        own = [keys.run(run_id), keys.log(run_id), keys.inbox(run_id), keys.sent(run_id)]
        return [*own, self.runs_key, self.ended_key]


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [word for pair in fields.items() for word in pair]


def _commit_words(
    head: Sequence[Word], patch: Mapping[str, str | None], log: Sequence[str]
) -> list[Word]:
    texts = {name: text for name, text in patch.items() if text is not None}
    sets: list[Word] = [word for pair in texts.items() for word in pair]
    sets += ["seq", head[1], "cid", head[2]]
    deletes = [name for name, text in patch.items() if text is None]
    return [*head, len(sets) // 2, len(deletes), *sets, *deletes, *log]
