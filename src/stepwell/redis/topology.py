"""Where a key lives: one place for everything, or a master of a cluster for each slot.

It starts with one place. That this is a node of a cluster is told by its HELLO, or by a redirect;
then CLUSTER SLOTS of any node that answers tells the rest.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.exceptions import RedisError

from stepwell.errors import StoreError
from stepwell.redis.errors import is_final
from stepwell.redis.server import Server, ask_once
from stepwell.redis.slots import Node, Redirect, SlotMap, slot_of
from stepwell.redis.source import Source

__all__ = ["Topology"]

_LOOK_SECONDS_MAX = 1.0
_REST_SECONDS = 0.1
_NOWHERE = Node("localhost", 0)


class Topology:
    """The map of a cluster, kept up to date; of one loop.

    Args:
        source: the way to a server.
        patience: seconds to wait for a connection, and for a reply.
    """

    def __init__(self, source: Source, patience: float) -> None:
        self.source = source
        self.patience = patience
        self._look_seconds = min(patience, _LOOK_SECONDS_MAX)
        self._map: SlotMap | None = None
        self._hooks = list[Callable[[], None]]()
        self._looking: asyncio.Task[RedisError | None] | None = None
        self._looked_at = float("-inf")

    @property
    def masters(self) -> frozenset[Node | None]:
        """All places where keys live; None stands for the source itself."""
        return frozenset({None}) if self._map is None else self._map.masters

    def master_of(self, key: str | bytes) -> Node | None:
        """Where a key or a sharded channel lives; None: at the source itself."""
        return None if self._map is None else self._map.master_of(slot_of(key))

    def source_of(self, node: Node | None) -> Source:
        """The way to a place."""
        return self.source if node is None else self.source.at(node)

    def watch(self, hook: Callable[[], None]) -> None:
        """Call `hook` whenever keys live elsewhere than before."""
        self._hooks.append(hook)

    async def learn(self) -> None:
        """The source turned out to be a node of a cluster: look at all of it.

        Raises:
            RedisError: it will not tell, and neither will any other node.
        """
        self._map = self._map or SlotMap.unknown()
        refusal = await asyncio.shield(self._look_once())
        if refusal is not None:
            raise refusal

    def follow(self, redirect: Redirect) -> None:
        """Believe a redirect; one that is news is a reason to look at the whole map again."""
        known = self._map or SlotMap.unknown()
        if not redirect.for_good or known.master_of(redirect.slot) == redirect.node:
            return
        self._adopt(known.moved(redirect.slot, redirect.node))
        self._look_once(redirect.node)

    async def look(self, first: Node | None = None) -> None:
        """Learn the map again, unless that was just done, or there is none.

        Whoever asks meanwhile waits for the same look. Nothing is raised where nobody answers:
        what is asked of the old place will tell.

        Args:
            first: the node to be asked first, if one is known to know more.
        """
        rested = time.monotonic() - self._looked_at > _REST_SECONDS
        if self._map is not None and (rested or first is not None):
            await asyncio.wait([self._look_once(first)])

    def place_of(self, node: Node | None) -> Node:
        """Where a place is on TCP."""
        return node or next((seed.node for seed in self.source.door.seeds), _NOWHERE)

    async def close(self) -> None:
        """Look no more."""
        self._hooks.clear()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _look_once(self, first: Node | None = None) -> asyncio.Task[RedisError | None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(first))
        return self._looking

    async def _look(self, first: Node | None) -> RedisError | None:
        """Ask until somebody tells; if nobody does, what one says who never will."""
        refusal: RedisError | None = None
        for node, server in self._candidates(first):
            try:
                found = SlotMap.parse(await self._slots(server), node)
            except (RedisError, OSError, StoreError) as error:
                if isinstance(error, RedisError) and is_final(error):
                    refusal = error
                continue
            if found.masters:
                self._adopt(found)
                self._looked_at = time.monotonic()
                return None
        return refusal

    async def _slots(self, server: Server) -> Sequence[Any]:
        return await ask_once(server, self._look_seconds, "CLUSTER", "SLOTS")

    def _candidates(self, first: Node | None) -> Iterator[tuple[Node, Server]]:
        """Who may be asked: who knows more, then all others, not always in the same order."""
        known = [] if self._map is None else list(self._map.nodes)
        random.shuffle(known)
        for node in dict.fromkeys([first, *known]):
            if node is not None:
                yield node, self.source.door.at(node)
        for seed in self.source.door.seeds:
            yield seed.node, seed

    def _adopt(self, found: SlotMap) -> None:
        changed, self._map = found != self._map, found
        if changed:
            for hook in self._hooks:
                hook()
