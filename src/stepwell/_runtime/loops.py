"""`ctx.each`: a loop that goes on, after a crash, at the first item that was not finished."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Protocol

from stepwell._runtime.arguments import check_function, check_items, check_number
from stepwell._runtime.places import Place
from stepwell._runtime.progress import StepProgress

__all__ = ["Loop", "Looping"]


class Looping(Protocol):
    """The call that a loop belongs to."""

    @property
    def progress(self) -> StepProgress:
        """Where its loops stand."""
        ...

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        ...

    async def checkpoint(self) -> None:
        """Commit the position together with the state."""
        ...


class Loop:
    """Yields the items that are not done yet; an item is done when the next one is asked for.

    No generator: it must know at once, and not when it is collected, that a loop was left.
    """

    def __init__(
        self,
        call: Looping,
        items: Iterable[Any],
        key: Callable[[Any], Any],
        every: int,
        name: str | None,
    ) -> None:
        check_number("ctx.each", "every", every)
        check_items("ctx.each", items)
        check_function("ctx.each", "key", key)
        self._call = call
        self._items = list(items)
        self._every = every
        self._item: Place | None = None
        identities = call.encode([key(item) for item in self._items], "the items of ctx.each")
        self._place = call.progress.place
        self._name = self._place.name(name)
        digest = sha256(identities.encode()).hexdigest()[:16]
        self._cursor = call.progress.cursor(self._name, digest)

    def __aiter__(self) -> "Loop":
        return self

    async def __anext__(self) -> Any:
        if self._item is not None:
            await self._finish(self._item)
        done = self._cursor.done
        if done == len(self._items):
            raise StopAsyncIteration
        self._item = self._place.enter(self._name, done)
        return self._items[done]

    async def _finish(self, item: Place) -> None:
        item.is_left = True
        self._item = None
        self._call.progress.advance(self._name, self._cursor)
        done = self._cursor.done
        if done % self._every == 0 or done == len(self._items):
            await self._call.checkpoint()

    def __del__(self) -> None:
        item: Place | None = getattr(self, "_item", None)
        if item is not None:
            item.is_left = True
