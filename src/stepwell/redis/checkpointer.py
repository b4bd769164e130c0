"""The checkpointer over Redis, or Valkey."""

from typing import Any, Literal

from typing_extensions import override

from stepwell.durable.checkpointer import Checkpointer, checked_choice
from stepwell.redis.acks import Acks
from stepwell.redis.keys import check_namespace
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.protocol import RunStore

__all__ = ["RedisCheckpointer"]


class RedisCheckpointer(Checkpointer):
    """Makes runs durable in Redis 7.0 or newer, or Valkey 7.2 or newer.

    Args:
        source: a URL (`redis://`, `rediss://`, `unix://`, `embedded:` or `embedded:///some/dir`;
            any node of a cluster will do; `redis+sentinel://a:26379,b:26379/name` asks sentinels),
            or any redis-py client, sync or async, of Cluster and Sentinel too: its settings are
            used, its connections are not.
        namespace: keeps the runs of several applications on one server apart.
        durability: when a step boundary becomes durable: before anything that follows from it
            happens ("sync"), soon and in order ("async"), or at the end and on demand ("exit").
        reuse: whether a start without `run_id` goes on with an interrupted run of the same input
            ("interrupted"), or always begins a new one ("never").
        on_lost: what a handler does whose run another process took over: wait for that one's
            result ("follow"), or raise LeaseLost ("raise").
        lease: how long this process may be silent before its runs go elsewhere, in seconds.
        stall_limit: how long, in seconds, a step may block the event loop before they do.
        acks: who has to have a commit before it counts: the memory of the server ("server"), its
            disk ("disk", where the server tells the truth about that), or a replica ("replica").

    Attributes:
        stats: what this checkpointer has done since it was made.

    Raises:
        ValueError: an option, or the URL, means nothing.
        TypeError: the source is neither a URL nor a client that can be used.
    """

    def __init__(
        self,
        source: Any,
        *,
        namespace: str = "default",
        durability: Literal["sync", "async", "exit"] = "sync",
        reuse: Literal["interrupted", "never"] = "interrupted",
        on_lost: Literal["follow", "raise"] = "follow",
        lease: float = 15.0,
        stall_limit: float = 300.0,
        acks: Literal["server", "disk", "replica"] = "server",
    ) -> None:
        super().__init__(
            durability=durability,
            reuse=reuse,
            on_lost=on_lost,
            lease=lease,
            stall_limit=stall_limit,
        )
        self._source = Source.of(source)
        check_namespace(namespace)
        self._namespace = namespace
        self._acks = Acks(checked_choice("acks", acks, tuple(Acks)))
        self.stats = Stats()

    @property
    @override
    def identity(self) -> tuple[str, ...]:
        return (self._source.address, self._namespace)

    @override
    def connect(self) -> RunStore:
        return RedisStore(
            self._source, self._namespace, lease=self.lease, stats=self.stats, acks=self._acks
        )

    def __repr__(self) -> str:
        return f"RedisCheckpointer({self._source.address!r}, namespace={self._namespace!r})"
