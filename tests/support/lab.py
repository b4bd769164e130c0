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

__all__ = ["FIELDS", "HOUR_MS", "RUN", "Call", "Lab"]

RUN = "d1~1"
FIELDS = {"format": "1", "workflow": "Letters", "status": "running"}
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
        flat = [word for pair in fields.items() for word in pair]
        return Call(
            "create",
            [*self._of_run(owner), *self.keys.same_of(run_id)],
            [run_id, owner, nonce, "d1", *flat],
        )

    def claim(self, owner: str = "bob", was: str = "", nonce: str = "n2") -> Call:
        return Call(
            "claim",
            [
                self.run_key,
                self.log_key,
                self.due_key,
                *self._owners,
                self.owned(owner),
                self.owned(was or owner),
                self.same_key,
            ],
            [RUN, owner, was, nonce, self.keys.done(RUN)],
        )

    def commit(
        self,
        fence: str = "1:n1",
        seq: int = 2,
        cid: str = "c2",
        patch: Mapping[str, str | None] | None = None,
        log: Sequence[str] = ('"write",1,0.5,"returned"',),
    ) -> Call:
        words = _commit_words(fence, seq, cid, patch or {}, log)
        return Call("commit", [self.run_key, self.log_key], words)

    def finish(
        self,
        status: str = "completed",
        fence: str = "1:n1",
        seq: int = 2,
        cid: str = "c2",
        owner: str = "ann",
    ) -> Call:
        words = _commit_words(fence, seq, cid, {"status": status}, ())
        return Call(
            "finish",
            [*self._of_run(owner), self.same_key],
            [RUN, status, self.keys.done(RUN), *words],
        )

    def release(self, fence: str = "1:n1", owner: str = "ann") -> Call:
        return Call(
            "release", [*self._of_run(owner), self.due_key], [RUN, fence, self.keys.done(RUN)]
        )

    def appear(self, owner: str = "ann", lease_ms: int = 60_000) -> Call:
        return Call("appear", self._owners, [owner, self.channel(owner), lease_ms])

    def renew(self, owner: str = "ann", lease_ms: int = 60_000) -> Call:
        return Call("renew", self._owners, [owner, self.channel(owner), lease_ms])

    def disappear(self, owner: str = "ann") -> Call:
        return Call("disappear", [*self._owners, self.owned(owner)], [owner])

    def bury(self, owner: str = "ann") -> Call:
        return Call("bury", [*self._owners, self.owned(owner)], [owner])

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
        return self.keys.due(self.partition)

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

    def channel(self, owner: str) -> str:
        return self.keys.owner(self.partition, owner)

    def fields(self) -> dict[str, str]:
        """The hash of the run."""
        return self.redis.hgetall(self.run_key)

    def now_ms(self) -> int:
        """The server's clock."""
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000

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

    def _of_run(self, owner: str) -> list[str]:
        return [self.run_key, self.log_key, self.owned(owner)]


def _commit_words(
    fence: str, seq: int, cid: str, patch: Mapping[str, str | None], log: Sequence[str]
) -> list[Word]:
    sets = [word for name, text in patch.items() if text is not None for word in (name, text)]
    deletes = [name for name, text in patch.items() if text is None]
    return [fence, seq, cid, len(sets) // 2, len(deletes), *sets, *deletes, *log]
