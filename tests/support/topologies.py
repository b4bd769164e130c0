"""Several servers that belong together: a cluster, and a master that sentinels watch.

Both have a `url` on which a store can be opened, and wait for facts that the servers tell.
"""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from redis.exceptions import RedisError
from typing_extensions import override

from support.servers import RedisServer

__all__ = ["RedisCluster", "SentinelTrio"]

_POLL_SECONDS = 0.005
_SLOTS = 16384
_SERVICE = "main"

T = TypeVar("T")


class RedisCluster:
    """A cluster that a test owns: six nodes, of which three are masters at first.

    Args:
        binary: the server program; the one that Stepwell would choose, unless given.
        **settings: further lines of the configuration of each node, with `_` for `-`.

    Attributes:
        nodes: the servers; the first three begin as masters, each of a third of the slots.
    """

    def __init__(self, binary: Path | None = None, **settings: str) -> None:
        self.nodes = [_node(binary, settings) for _ in range(6)]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The addresses of all nodes."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def master_of(self, slot: int) -> RedisServer:
        """Who serves a slot, as the nodes that are up agree; it is one of these."""
        return _until(lambda: self._live_master_of(slot))

    @property
    def masters(self) -> dict[range, RedisServer]:
        """Who serves which slots, as the first node sees it."""
        seen = _slots_seen_by(self.nodes[0])
        return {range(first, last + 1): self._by_port(port) for first, last, port in seen}

    def replica_of(self, slot: int) -> RedisServer:
        """A replica of the slot's master, which is up and synced."""
        return self._wait_for_replica_of(self.master_of(slot))

    def kill_master_of(self, slot: int) -> RedisServer:
        """SIGKILL for who serves a slot; `heal` brings it back, and whoever took over stays."""
        self.replica_of(slot)
        killed = self.master_of(slot)
        killed.kill()
        return killed

    def freeze_master_of(self, slot: int) -> RedisServer:
        """Stop the process of who serves a slot; `heal` after `thaw`."""
        self.replica_of(slot)
        frozen = self.master_of(slot)
        frozen.freeze()
        return frozen

    def heal(self) -> None:
        """Start all nodes that are down, and wait until every master has a synced replica."""
        for node in self.nodes:
            if not node.is_up:
                node.start()
        self._wait_until_whole()

    def move(self, slot: int, target: RedisServer) -> None:
        """Migrate a slot with its keys."""
        with self.migrating(slot, target):
            self.migrate_keys(slot, target)

    @contextmanager
    def migrating(self, slot: int, target: RedisServer) -> Generator[None]:
        """Let a slot be on the way; at the end it belongs to the target."""
        source = self.master_of(slot)
        with source.client() as giver, target.client() as taker:
            new_id = taker.cluster("MYID")
            taker.cluster("SETSLOT", slot, "IMPORTING", giver.cluster("MYID"))
            giver.cluster("SETSLOT", slot, "MIGRATING", new_id)
            yield
            taker.cluster("SETSLOT", slot, "NODE", new_id)
            giver.cluster("SETSLOT", slot, "NODE", new_id)
        self._agreed_port_of(slot)

    def migrate_keys(self, slot: int, target: RedisServer) -> None:
        """Move all keys of a slot that is on the way."""
        with self._giver(slot, target).client() as giver:
            while keys := giver.cluster("GETKEYSINSLOT", slot, 100):
                giver.migrate("127.0.0.1", target.port, keys, 0, 5000)

    def close(self) -> None:
        """End all nodes and delete their data."""
        for node in self.nodes:
            node.close()

    def _start(self) -> None:
        for node in self.nodes:
            node.start()
        with ExitStack() as clients:
            asked = [clients.enter_context(node.client()) for node in self.nodes]
            for number, client in enumerate(asked):
                client.cluster("SET-CONFIG-EPOCH", number + 1)
                client.cluster("MEET", "127.0.0.1", self.nodes[0].port)
            thirds = [0, _SLOTS // 3, 2 * _SLOTS // 3, _SLOTS]
            for client, first, end in zip(asked[:3], thirds[:3], thirds[1:], strict=True):
                client.cluster("ADDSLOTSRANGE", first, end - 1)
            _until(lambda: all(len(client.cluster("NODES")) == 6 for client in asked))
            for master, replica in zip(asked[:3], asked[3:], strict=True):
                replica.cluster("REPLICATE", master.cluster("MYID"))
        self._wait_until_whole()

    def _wait_until_whole(self) -> None:
        for node in self.nodes:
            with node.client() as client:
                _until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
        _agreed(lambda: {self._masters_seen_by(node) for node in self._up()})
        for port in self._masters_seen_by(self.nodes[0]):
            self._wait_for_replica_of(self._by_port(port))

    def _wait_for_replica_of(self, master: RedisServer) -> RedisServer:
        return self._by_port(_until(lambda: self._synced_replica(master)))

    def _up(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.is_up and not _is_frozen(node)]

    def _by_port(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)

    def _giver(self, slot: int, target: RedisServer) -> RedisServer:
        return next(
            node
            for node in self._up()
            if node is not target and self._port_of(slot, node) == node.port
        )

    def _masters_seen_by(self, node: RedisServer) -> tuple[int, ...]:
        return tuple(sorted({port for _, _, port in _slots_seen_by(node)}))

    def _live_master_of(self, slot: int) -> RedisServer | None:
        master = self._by_port(self._agreed_port_of(slot))
        return master if master in self._up() else None

    def _agreed_port_of(self, slot: int) -> int:
        port = _agreed(lambda: {self._port_of(slot, node) for node in self._up()})
        assert port is not None, f"nobody serves slot {slot}"
        return port

    def _port_of(self, slot: int, node: RedisServer) -> int | None:
        ranges = _slots_seen_by(node)
        return next((port for first, last, port in ranges if first <= slot <= last), None)

    def _synced_replica(self, master: RedisServer) -> int | None:
        """The port of a replica of a master that has all of its data."""
        with master.client() as client:
            info = client.info("replication")
        replicas = [info[f"slave{n}"] for n in range(len(self.nodes)) if f"slave{n}" in info]
        synced = (one["port"] for one in replicas if one["state"] == "online" and one["offset"])
        return next(synced, None)


class SentinelTrio:
    """A master with two replicas, watched by three sentinels.

    Args:
        binary: the server program; the one that Stepwell would choose, unless given.
        down_after_ms: how long a server may be silent before a sentinel takes it for dead.

    Attributes:
        servers: the first begins as master.
        sentinels: who watch.
        service: the name of the master with the sentinels.
    """

    service = _SERVICE

    def __init__(self, binary: Path | None = None, down_after_ms: int = 1000) -> None:
        self.servers = [
            RedisServer(binary, repl_diskless_sync_delay="0", repl_timeout="5") for _ in range(3)
        ]
        self.sentinels = [_Sentinel(binary, self.servers[0], down_after_ms) for _ in range(3)]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The addresses of the sentinels, and the name of the master."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}/0"

    @property
    def master(self) -> RedisServer:
        """Who most sentinels call the master, and who is up and says so."""
        return _until(lambda: next(filter(self._is_master, self.servers), None))

    def kill_master(self) -> RedisServer:
        """SIGKILL for the master; `heal` brings it back as a replica."""
        killed = self.master
        killed.kill()
        return killed

    def fail_over(self) -> RedisServer:
        """Have a replica promoted while the master lives, which becomes a replica; who it was."""
        before = self.master
        _until(self._asked_to_fail_over)
        _until(lambda: self.master is not before)
        return before

    def heal(self) -> None:
        """Start what is down, and wait until the master has two synced replicas."""
        for server in self.servers:
            if not server.is_up:
                server.start()
        for server in self.servers:
            if server is not self.master:
                with server.client() as client:
                    client.replicaof("127.0.0.1", self.master.port)  # the sentinels would be slower
        _until(lambda: _replicas_online(self.master) == 2)

    def close(self) -> None:
        """End all and delete their data."""
        for server in (*self.sentinels, *self.servers):
            server.close()

    def _start(self) -> None:
        for server in self.servers:
            server.start()
        for replica in self.servers[1:]:
            with replica.client() as client:
                client.replicaof("127.0.0.1", self.servers[0].port)
        _until(lambda: _replicas_online(self.servers[0]) == 2)
        for sentinel in self.sentinels:
            sentinel.start()
        _until(lambda: all(map(self._knows_all, self.sentinels)))

    def _is_master(self, server: RedisServer) -> bool:
        named = sum(self._named_by(sentinel) == server.port for sentinel in self.sentinels)
        if named < 2 or not server.is_up:
            return False
        with server.client() as client:
            return client.info("replication")["role"] == "master"

    def _asked_to_fail_over(self) -> bool:
        """Whether the first sentinel does it; not as long as another failover is going on."""
        with self.sentinels[0].client() as client:
            return bool(client.execute_command("SENTINEL FAILOVER", _SERVICE))

    def _named_by(self, sentinel: RedisServer) -> int:
        with sentinel.client() as client:
            return int(client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", _SERVICE)[1])

    def _knows_all(self, sentinel: RedisServer) -> bool:
        with sentinel.client() as client:
            others = client.execute_command("SENTINEL SENTINELS", _SERVICE)
            replicas = client.execute_command("SENTINEL REPLICAS", _SERVICE)
        return len(others) == 2 and len(replicas) == 2


class _Sentinel(RedisServer):
    def __init__(self, binary: Path | None, master: RedisServer, down_after_ms: int) -> None:
        super().__init__(binary)
        self._master = master
        self._down_after_ms = down_after_ms

    @override
    def _options(self) -> list[str]:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket_path}",
            f"sentinel monitor {_SERVICE} 127.0.0.1 {self._master.port} 2",
            f"sentinel down-after-milliseconds {_SERVICE} {self._down_after_ms}",
            f"sentinel failover-timeout {_SERVICE} 5000",
        ]
        config = self.directory / "sentinel.conf"
        if not config.exists() or "myid" not in config.read_text():  # it keeps there what it learns
            config.write_text("\n".join(lines) + "\n")
        return [str(config), "--sentinel"]


def _node(binary: Path | None, settings: dict[str, str]) -> RedisServer:
    defaults = {
        "cluster_enabled": "yes",
        "cluster_node_timeout": "1000",
        "repl_diskless_sync_delay": "0",
    }
    return RedisServer(binary, **{**defaults, **settings})


def _slots_seen_by(node: RedisServer) -> list[tuple[int, int, int]]:
    """First and last slot of each range, and the port of its master, as a node sees it."""
    with node.client() as client:
        reply = client.execute_command("CLUSTER SLOTS")
    return [(first, last, master[1]) for first, last, master, *_ in reply]


def _replicas_online(master: RedisServer) -> int:
    with master.client() as client:
        info = client.info("replication")
    return sum(f"slave{n}" in info and info[f"slave{n}"]["state"] == "online" for n in range(3))


def _is_frozen(server: RedisServer) -> bool:
    status = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return status[0] == "T"


def _until(look: Callable[[], T | None]) -> T:
    """The first answer that is something; errors of servers that are not up yet are none."""
    while True:
        with suppress(RedisError):
            if found := look():
                return found
        time.sleep(_POLL_SECONDS)


def _agreed(look: Callable[[], set[T]]) -> T:
    """What all say, as soon as they say the same."""
    return _until(lambda: one if len(one := look()) == 1 else None).pop()
