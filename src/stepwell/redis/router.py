"""The wires of a store: one to each place where keys live, and for each level of acknowledgement.

A redirect is followed with the command that it is about, and with no other.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import AskError, ReadOnlyError

from stepwell.redis.acks import Acks, Confirmation, confirmation
from stepwell.redis.home import Home
from stepwell.redis.resp import Word
from stepwell.redis.slots import Node, Redirect
from stepwell.redis.topology import Topology
from stepwell.redis.wire import Answer, Line, Stats, Wire

__all__ = ["Router"]

T = TypeVar("T")

_REDIRECTS_MAX = 5


class Router:
    """Finds the wire for a key.

    Args:
        topology: where keys live.
        stats: where to count.
    """

    def __init__(self, topology: Topology, stats: Stats) -> None:
        self._topology = topology
        self._stats = stats
        self._home = Home()
        self._wires: dict[tuple[Node | None, Acks], Wire] = {}
        self._confirmations: dict[Acks, Confirmation | None] = {
            acks: confirmation(acks, topology.patience / 2) for acks in Acks
        }
        topology.watch(self._leave_places)

    async def send(
        self, key: str | bytes, acks: Acks, attempt: Callable[[Line], Awaitable[T]]
    ) -> T:
        """Do something with the server that holds a key.

        Args:
            key: the key.
            acks: who has to have what is written.
            attempt: is called with a line to that server, and again with another one if it is
                told to go there.

        Raises:
            Disconnected: there is no reply.
            Unacknowledged: it was done, but not acknowledged.
            RedisError: the reply is an error.
        """
        node = self._topology.master_of(key)
        line: Line = self.wire(node, acks)
        redirects = 0
        while True:
            try:
                return await attempt(line)
            except ReadOnlyError:  # it became a replica: the address may lead elsewhere
                await self.wire(node, acks).drop()
                raise
            except AskError as error:  # MovedError is one too
                redirects += 1
                redirect = Redirect.of(error, self._topology.place_of(node))
                if redirects > _REDIRECTS_MAX:
                    raise
                node = redirect.node
                line = self._redirected(redirect, acks)

    def send_once(self, key: str, acks: Acks, command: Sequence[Word], answer: Answer) -> None:
        """Send one command to the server that holds a key, wherever it says that is; as a wire."""
        self.wire(self._topology.master_of(key), acks).send(command, answer)

    def wire(self, node: Node | None, acks: Acks = Acks.SERVER) -> Wire:
        """The wire to a place.

        Raises:
            StoreUnavailable: it is a new one, and all were closed.
        """
        known = self._wires.get((node, acks))
        if known is None:
            self._home.loop()
            known = self._wires[node, acks] = Wire(
                self._topology.source_of(node),
                self._stats,
                self._topology.patience,
                self._confirmations[acks],
            )
        return known

    def trust(self, acks: Acks) -> None:
        """Ask nobody for acknowledgements of a level, as no reply comes without them."""
        self._confirmations[acks] = None

    async def close(self) -> None:
        """Close all wires, and make no other."""
        self._home.leave()
        for wire in self._wires.values():
            await wire.close()

    def _redirected(self, redirect: Redirect, acks: Acks) -> Line:
        self._topology.follow(redirect)
        wire = self.wire(redirect.node, acks)
        return wire if redirect.for_good else _Asking(wire)

    def _leave_places(self) -> None:
        """Where no keys live any more, nobody is asked; what has no reply is asked elsewhere."""
        for place in [place for place in self._wires if place[0] not in self._topology.masters]:
            self._wires.pop(place).abandon()


class _Asking:
    """A line to a server that does not serve the slot yet, but got this key already."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def call(self, *command: Word) -> Any:
        return await self._wire.call(*command, asking=True)
