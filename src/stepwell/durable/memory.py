"""The checkpointer over memory: durable for as long as the process, for tests without a server."""

import threading
from collections import defaultdict
from typing import Literal

from typing_extensions import override

from stepwell.durable.checkpointer import Checkpointer
from stepwell.storage.memory import MemoryServer, MemoryStore
from stepwell.storage.protocol import RunStore

__all__ = ["MemoryCheckpointer"]

_servers: dict[str, MemoryServer] = defaultdict(MemoryServer)
"""Those that have a URL; they live as long as the process."""
_naming = threading.Lock()


class MemoryCheckpointer(Checkpointer):
    """Keeps runs in this process, as a server would: for the unit tests of workflows.

    What goes through a crash elsewhere goes on here too, as long as the process lives: a run that
    failed, or was cancelled, continues when it is started again with the same input.

    Args:
        source: `memory:`, or `memory:NAME`: the same URL is the same place in all of the process;
            or a MemoryServer, which nobody else has.
        durability: when a step boundary becomes durable: before anything that follows from it
            happens ("sync"), soon and in order ("async"), or at the end and on demand ("exit").
        reuse: whether a start without `run_id` goes on with an interrupted run of the same input
            ("interrupted"), or always begins a new one ("never").
        on_lost: what a handler does whose run another owner took over: wait for that one's result
            ("follow"), or raise LeaseLost ("raise").
        lease: how long an owner may be silent before its runs go elsewhere, in seconds.
        stall_limit: how long, in seconds, a step may block the event loop before they do.

    Raises:
        ValueError: an option, or the URL, means nothing.
    """

    def __init__(
        self,
        source: str | MemoryServer = "memory:",
        *,
        durability: Literal["sync", "async", "exit"] = "sync",
        reuse: Literal["interrupted", "never"] = "interrupted",
        on_lost: Literal["follow", "raise"] = "follow",
        lease: float = 15.0,
        stall_limit: float = 300.0,
    ) -> None:
        super().__init__(
            durability=durability,
            reuse=reuse,
            on_lost=on_lost,
            lease=lease,
            stall_limit=stall_limit,
        )
        self._server = source if isinstance(source, MemoryServer) else _server_at(source)
        self._address = source if isinstance(source, str) else f"memory at {id(source):x}"

    @property
    @override
    def identity(self) -> tuple[str, ...]:
        return (self._address,)

    @override
    def connect(self) -> RunStore:
        return MemoryStore(self._server, lease=self.lease)

    def __repr__(self) -> str:
        return f"MemoryCheckpointer({self._address!r})"


def _server_at(url: str) -> MemoryServer:
    if not url.startswith("memory:"):
        raise ValueError(f"{url!r} is no address in memory: take 'memory:' or 'memory:NAME'")
    with _naming:
        return _servers[url]
