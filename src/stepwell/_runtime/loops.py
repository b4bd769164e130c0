"""`ctx.each`: a loop that goes on, after a crash, at the first item that was not finished."""

from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import sha256
from typing import Any, Protocol

from stepwell._engine.state import Cursor

__all__ = ["Looping", "each"]


class Looping(Protocol):
    """The call that a loop belongs to."""

    def cursor(self, name: str, digest: str) -> Cursor:
        """The position of a loop by name."""
        ...

    def advance(self, name: str, cursor: Cursor) -> None:
        """One more item is done."""
        ...

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        ...

    async def checkpoint(self) -> None:
        """Commit the position together with the state."""
        ...


async def each(
    call: Looping, items: Iterable[Any], key: Callable[[Any], Any], every: int, name: str
) -> AsyncIterator[Any]:
    """Yield the items that are not done yet; an item is done when the next one is asked for."""
    if every < 1:
        raise ValueError(f"ctx.each(every={every}): commit after at least one item")
    listed = list(items)
    identities = call.encode([key(item) for item in listed], "the items of ctx.each")
    cursor = call.cursor(name, sha256(identities.encode()).hexdigest()[:16])
    for number in range(cursor.done, len(listed)):
        yield listed[number]
        call.advance(name, cursor)
        if cursor.done % every == 0 or cursor.done == len(listed):
            await call.checkpoint()
