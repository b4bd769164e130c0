"""The gateway: everything that a store asks of its servers goes through here, and is asked again.

A try is repeated with the same words, so what is asked must bear that: reading does, and every
script knows its own second coming by a commit id or a nonce.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, RedisError, ResponseError

from stepwell.errors import StoreRefused
from stepwell.redis.acks import Acks, Unacknowledged, syncs_always
from stepwell.redis.errors import first_word, wrong_type
from stepwell.redis.first_try import FirstTry
from stepwell.redis.patience import Patience
from stepwell.redis.router import Router
from stepwell.redis.scripts import script
from stepwell.redis.slots import Node
from stepwell.redis.topology import Topology
from stepwell.redis.wire import Disconnected, Stats, Wire, Word

__all__ = ["Gateway", "Trouble"]

T = TypeVar("T")

Trouble = Disconnected | Unacknowledged | RedisError
"""What a try may end with, and another one may not."""


class Gateway:
    """The wires of a store, with patience.

    Args:
        topology: where keys live.
        stats: where to count.
        seconds: for all tries of one call.
    """

    def __init__(self, topology: Topology, stats: Stats, seconds: float) -> None:
        self._topology = topology
        self._stats = stats
        self._seconds = seconds
        self._seconds_alone = seconds
        self._router = Router(topology, stats)
        self._tasks = set[asyncio.Task[None]]()

    async def run(
        self,
        name: str,
        what: str,
        keys: Sequence[str],
        arguments: Sequence[Word],
        acks: Acks = Acks.SERVER,
        trouble: Trouble | None = None,
    ) -> list[Any]:
        """Run a script.

        Args:
            name: of the script.
            what: is done, as the subject of a sentence, for messages.
            keys: in the order of the script's header; all of one slot.
            arguments: likewise.
            acks: who has to have what it writes before it counts as done.
            trouble: what came of a first try.

        Returns:
            Its reply: a name, as text, and what goes with it, as bytes.

        Raises:
            RunCorrupt: a key is of another type.
            StoreError: the server can't be reached, refuses, or is alone with what was written.
        """
        chosen, key = script(name), keys[0]

        def attempt() -> Awaitable[Any]:
            return self._router.send(key, acks, lambda line: chosen.run(line, keys, arguments))

        if isinstance(trouble, NoScriptError):
            await self._persist(what, lambda: self._router.send(key, Acks.SERVER, chosen.load))
            trouble = None
        reply = await self._persist(what, attempt, trouble, changes=True)
        code = reply[0].decode()
        if code == "WRONGTYPE":
            raise wrong_type(what, *(text.decode() for text in reply[1:]))
        return [code, *reply[1:]]

    def run_at_once(
        self,
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Word],
        acks: Acks,
        otherwise: Callable[[Trouble | None], Coroutine[Any, Any, None]],
    ) -> asyncio.Future[None]:
        """Run a script, and be done when it says OK: that costs neither a task nor a coroutine.

        Args:
            name: of the script.
            keys: as in `run`.
            arguments: as in `run`.
            acks: as in `run`.
            otherwise: as in `FirstTry`.
        """
        done = FirstTry(otherwise, self._tasks)
        self._router.send_once(keys[0], acks, script(name).command(keys, arguments), done.hear)
        return done

    async def read(self, kind: str, what: str, *command: Word) -> Any:
        """Send a command that only reads a key, its second word, of a kind; raises as `run`."""
        key = str(command[1])

        async def attempt() -> Any:
            try:
                return await self._router.send(key, Acks.SERVER, lambda line: line.call(*command))
            except ResponseError as error:
                if first_word(error) != "WRONGTYPE":
                    raise
                raise wrong_type(what, key, kind, "value of another type") from error

        return await self._persist(what, attempt)

    async def greet(self, what: str, seconds: float) -> dict[str, Any]:
        """Connect, and ask the server what it is; give up soon if nobody is there.

        Of a cluster, the map is learnt as well.

        Raises:
            StoreRefused: it is a sentinel; or it is of a cluster, and does not tell the map.
        """
        self._seconds_alone = seconds
        try:
            server = await self._hello(what, self._router.wire(None))
        finally:
            self._seconds_alone = self._seconds
        if server["mode"] == b"sentinel":
            raise StoreRefused(
                f"{what}: the server at {self._topology.source.address} is a sentinel, which keeps "
                "no data; nothing was changed. Write redis+sentinel://host:port/service"
            )
        if server["mode"] == b"cluster":
            await self._persist(what, self._topology.learn)
        return server

    async def require(self, acks: Acks) -> None:
        """Check that what is written can be acknowledged so.

        Raises:
            StoreRefused: a server can't, or would not tell the truth.
        """
        if acks is Acks.DISK:
            always = [await self._syncs_always(node) for node in self._topology.masters]
            if all(always):
                self._router.trust(Acks.DISK)

    async def close(self) -> None:
        """Close all connections."""
        await self._topology.close()
        await self._router.close()

    async def _syncs_always(self, node: Node | None) -> bool:
        what, wire = "asking for the disk", self._router.wire(node)
        hello = await self._hello(what, wire)
        try:
            flat = await self._persist(what, lambda: wire.call("CONFIG", "GET", "append*"))
        except StoreRefused:  # hosted servers hide it
            flat = list[bytes]()
        return syncs_always(
            self._topology.source_of(node).address,
            (hello["server"].decode(), hello["version"].decode()),
            {name.decode(): value.decode() for name, value in _pairs(flat)},
        )

    async def _hello(self, what: str, wire: Wire) -> dict[str, Any]:
        reply = await self._persist(what, lambda: wire.call("HELLO"))
        return {name.decode(): value for name, value in _pairs(reply)}

    async def _persist(
        self,
        what: str,
        attempt: Callable[[], Awaitable[T]],
        trouble: Trouble | None = None,
        *,
        changes: bool = False,
    ) -> T:
        patience: Patience | None = None
        while True:
            if trouble is not None:
                patience = patience or self._patience(what, changes=changes)
                await patience.after(trouble)
                await self._topology.look()
                self._stats.retries += 1
            try:
                return await attempt()
            except (Disconnected, Unacknowledged, RedisError) as error:
                trouble = error

    def _patience(self, what: str, *, changes: bool) -> Patience:
        address, seconds = self._topology.source.address, self._seconds
        return Patience(what, address, seconds, self._seconds_alone, changes=changes)


def _pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
