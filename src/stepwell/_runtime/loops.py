"""`ctx.each`: a loop that goes on, after a crash, at the first item that was not finished."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Protocol

from stepwell._engine.state import Cursor
from stepwell._runtime.arguments import check_function, check_items, check_number
from stepwell.errors import WorkflowRuntimeError

__all__ = ["Loop", "LoopNames", "Looping"]


class LoopNames:
    """Names the loops of one call by where they stand, so that they are found again.

    Unnamed loops are counted. A loop inside another one belongs to the item that the other one is
    at: the second loop in the third item of the first loop is `1/2/2`.
    """

    def __init__(self) -> None:
        self._open: list[Loop] = []
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def name(self, given: str | None) -> str:
        """Return the name of the loop that begins here.

        Raises:
            WorkflowRuntimeError: the user gave this name to another loop in the same place.
        """
        place = self._place()
        self._counts[place] = self._counts.get(place, 0) + 1
        name = place + (given or str(self._counts[place]))
        if name in self._taken:
            raise WorkflowRuntimeError(
                f"two loops of one step are named {given!r}: the second would go on where the "
                f"first one stood. Give each a name of its own, such as one with the item in it."
            )
        self._taken.add(name)
        return name

    def count(self, what: str) -> str:
        """Return a name for one of several things of a kind that are done in the same place."""
        kind = self._place() + what
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}#{self._counts[kind]}"

    def _place(self) -> str:
        return f"{self._open[-1].name}/{self._open[-1].cursor.done}/" if self._open else ""

    def enter(self, loop: "Loop") -> None:
        """A loop is at an item: loops that begin now are inside."""
        self._open.append(loop)

    def leave(self, loop: "Loop") -> None:
        """A loop has ended, or was left."""
        if loop in self._open:
            del self._open[self._open.index(loop) :]


class Looping(Protocol):
    """The call that a loop belongs to."""

    loops: LoopNames

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
        self._at_item = False
        identities = call.encode([key(item) for item in self._items], "the items of ctx.each")
        self.name = call.loops.name(name)
        self.cursor = call.cursor(self.name, sha256(identities.encode()).hexdigest()[:16])

    def __aiter__(self) -> "Loop":
        return self

    async def __anext__(self) -> Any:
        if self._at_item:
            await self._finish_item()
        if self.cursor.done == len(self._items):
            raise StopAsyncIteration
        self._at_item = True
        self._call.loops.enter(self)
        return self._items[self.cursor.done]

    async def _finish_item(self) -> None:
        self._at_item = False
        self._call.loops.leave(self)
        self._call.advance(self.name, self.cursor)
        done = self.cursor.done
        if done % self._every == 0 or done == len(self._items):
            await self._call.checkpoint()

    def __del__(self) -> None:
        if getattr(self, "_at_item", False):
            self._call.loops.leave(self)
