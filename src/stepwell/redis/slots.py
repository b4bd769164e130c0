"""Which server of a cluster serves which of its 16,384 slots, as far as it was told; no I/O.

A key's slot is the CRC16 of its hash tag: https://valkey.io/topics/cluster-spec
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

__all__ = ["SLOTS", "Node", "Redirect", "SlotMap", "slot_of"]

SLOTS = 16384
_UNKNOWN_HOST = "?"


class Node(NamedTuple):
    """A place of a server on TCP."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def slot_of(key: str | bytes) -> int:
    """The slot of a key or a sharded channel."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


class SlotMap:
    """The master of each slot.

    Args:
        masters: of all slots in their order; None where nobody is known.
        nodes: all that are known, replicas too.
    """

    def __init__(self, masters: Sequence[Node | None], nodes: Sequence[Node]) -> None:
        self._masters = tuple(masters)
        self.nodes = tuple(nodes)
        self.masters = frozenset(master for master in self._masters if master is not None)

    @classmethod
    def unknown(cls) -> "SlotMap":
        """Of a cluster of which nothing is known yet."""
        return cls([None] * SLOTS, [])

    @classmethod
    def parse(cls, reply: Sequence[Any], asked: Node) -> "SlotMap":
        """Read the reply to CLUSTER SLOTS.

        Args:
            reply: a list of ranges: first and last slot, the master, its replicas.
            asked: who gave it; it means itself where it names no host.
        """
        masters = list[Node | None]([None] * SLOTS)
        known = dict[Node, None]()
        for first, last, *servers in reply:
            nodes = [_node(server, asked) for server in servers]
            masters[first : last + 1] = [nodes[0]] * (last + 1 - first)
            known.update((node, None) for node in nodes if node is not None)
        return cls(masters, list(known))

    def master_of(self, slot: int) -> Node | None:
        """Who serves a slot."""
        return self._masters[slot]

    def moved(self, slot: int, master: Node) -> "SlotMap":
        """The same, but for one slot."""
        masters = [*self._masters[:slot], master, *self._masters[slot + 1 :]]
        return SlotMap(masters, list(dict.fromkeys([*self.nodes, master])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SlotMap) and self._masters == other._masters

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it is compared, never looked up


@dataclass(frozen=True, slots=True)
class Redirect:
    """A server told to ask another one.

    Attributes:
        for_good: the slot lives there from now on; otherwise only this key does, perhaps.
    """

    slot: int
    node: Node
    for_good: bool

    @classmethod
    def of(cls, error: AskError, asked: Node) -> "Redirect":
        """What ASK, or MOVED, which is one too, tell when `asked` says it."""
        slot, _, place = str(error).rpartition(" ")
        host, _, port = place.rpartition(":")
        node = Node(host.strip("[]") or asked.host, int(port))
        return cls(int(slot), node, isinstance(error, MovedError))


def _node(server: Sequence[Any], asked: Node) -> Node | None:
    host = (server[0] or b"").decode()
    return None if host == _UNKNOWN_HOST else Node(host or asked.host, server[1])
