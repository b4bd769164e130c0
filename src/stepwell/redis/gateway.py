"""The gateway: everything that a store asks of its server goes through here, and is asked again.

A try is repeated with the same words, so what is asked must bear that: reading does, and every
script knows its own second coming by a commit id or a nonce.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import RedisError, ResponseError

from stepwell.redis.errors import first_word, wrong_type
from stepwell.redis.patience import Patience
from stepwell.redis.scripts import script
from stepwell.redis.source import Source
from stepwell.redis.wire import Disconnected, Stats, Wire, Word

__all__ = ["Gateway"]

T = TypeVar("T")


class Gateway:
    """A wire, with patience.

    Args:
        source: the server.
        stats: where to count.
        seconds: for all tries of one call.
        patience: seconds to wait for a connection, and for a reply, in one try.
    """

    def __init__(self, source: Source, stats: Stats, seconds: float, patience: float) -> None:
        self._source = source
        self._stats = stats
        self._seconds = seconds
        self._seconds_alone = seconds
        self._wire = Wire(source, stats, patience)

    async def run(
        self, name: str, what: str, keys: Sequence[str], arguments: Sequence[Word]
    ) -> list[Any]:
        """Run a script.

        Args:
            name: of the script.
            what: is done, as the subject of a sentence, for messages.
            keys: in the order of the script's header.
            arguments: likewise.

        Returns:
            Its reply: a name, as text, and what goes with it, as bytes.

        Raises:
            RunCorrupt: a key is of another type.
            StoreError: the server can't be reached, or refuses.
        """
        chosen = script(name)
        reply = await self._persist(
            what, lambda: chosen.run(self._wire, keys, arguments), changes=True
        )
        code = reply[0].decode()
        if code == "WRONGTYPE":
            raise wrong_type(what, *(text.decode() for text in reply[1:]))
        return [code, *reply[1:]]

    async def read(self, kind: str, what: str, *command: Word) -> Any:
        """Send a command that only reads a key, its second word, of a kind; raises as `run`."""

        async def attempt() -> Any:
            try:
                return await self._wire.call(*command)
            except ResponseError as error:
                if first_word(error) != "WRONGTYPE":
                    raise
                raise wrong_type(what, str(command[1]), kind, "value of another type") from error

        return await self._persist(what, attempt)

    async def greet(self, what: str, seconds: float) -> dict[str, Any]:
        """Connect, and ask the server what it is; give up soon if nobody is there."""
        self._seconds_alone = seconds
        try:
            reply = await self._persist(what, lambda: self._wire.call("HELLO"))
        finally:
            self._seconds_alone = self._seconds
        return dict(zip((name.decode() for name in reply[::2]), reply[1::2], strict=True))

    async def close(self) -> None:
        """Close the connection."""
        await self._wire.close()

    async def _persist(
        self, what: str, attempt: Callable[[], Awaitable[T]], *, changes: bool = False
    ) -> T:
        patience: Patience | None = None
        while True:
            try:
                return await attempt()
            except (Disconnected, RedisError) as trouble:
                patience = patience or self._patience(what, changes=changes)
                await self._recover(patience, trouble)

    def _patience(self, what: str, *, changes: bool) -> Patience:
        address, seconds = self._source.address, self._seconds
        return Patience(what, address, seconds, self._seconds_alone, changes=changes)

    async def _recover(self, patience: Patience, trouble: Disconnected | RedisError) -> None:
        """Return when another try makes sense."""
        if (
            first_word(trouble) == "READONLY"
        ):  # the server became a replica: the address may lead elsewhere
            await self._wire.drop()
        await patience.after(trouble)
        self._stats.retries += 1
