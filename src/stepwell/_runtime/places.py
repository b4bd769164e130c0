"""Where something of a step begins, which names it, so that it is found again after a crash."""

from collections.abc import Iterable, Iterator
from contextvars import ContextVar

from stepwell.errors import WorkflowRuntimeError

__all__ = ["Contents", "Place", "name_of_user"]

_here: ContextVar["Place | None"] = ContextVar("_here", default=None)
"""The item that the current task is at; a task begins where the one stands that starts it."""


class Place:
    """A step outside of its loops, or one item of a loop: things that begin there are counted.

    The names given here are paths that begin with a slash: the second loop in the third item of
    the first loop is `/1/2/2`.

    Attributes:
        path: what the names of all that begins here begin with.
        outer: where the loop began whose item this is.
        is_left: the item is done, or its loop was left.
    """

    def __init__(self, path: str = "/", outer: "Place | None" = None) -> None:
        self.path = path
        self.is_left = False
        self.outer = outer
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def name(self, given: str | None) -> str:
        """Return the name of a loop that begins here: the user's, or its number.

        Raises:
            WorkflowRuntimeError: another loop in the same place has it.
        """
        number = self._number("")
        own = _escaped(given) if given else str(number)
        if own in self._taken:
            raise WorkflowRuntimeError(
                f"two loops of one step are named {own!r}: the second would go on where the "
                f"first one stood. Give each a name of its own, such as one with the item in it."
            )
        self._taken.add(own)
        return self.path + own

    def count(self, what: str) -> str:
        """Return a name for one of several things of a kind that are done here."""
        what = _escaped(what)
        return f"{self.path}{what}#{self._number(what)}"

    def enter(self, loop: str, item: int) -> "Place":
        """Go on to an item of a loop that began here; what begins now begins inside of it."""
        inside = Place(f"{loop}/{item}/", self)
        _here.set(inside)
        return inside

    def innermost(self) -> "Place":
        """The place inside of this one where the current task is."""
        found = place = _here.get() or self
        while place.outer is not None:
            if place.is_left:
                found = place.outer
            place = place.outer
        return found if place is self else self

    def _number(self, kind: str) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]


class Contents:
    """What there is inside of the items of loops, by their names: found without a search."""

    def __init__(self, names: Iterable[str]) -> None:
        self._children: dict[str, dict[str, None]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Note that there is something of this name, if it is one that a place gave."""
        if name.startswith("//"):
            return
        while (parent := name.rpartition("/")[0]).startswith("/"):
            self._children.setdefault(parent, {})[name] = None
            name = parent

    def take(self, item: str) -> list[str]:
        """Forget an item, and return the names of all that was inside of it."""
        self._children.get(item.rpartition("/")[0], {}).pop(item, None)
        return list(self._take(item))

    def _take(self, name: str) -> Iterator[str]:
        for child in self._children.pop(name, ()):
            yield from self._take(child)
            yield child


def _escaped(given: str) -> str:
    """A name without the sign that parts the names of places."""
    return given.replace("%", "%25").replace("/", "%2F")


def name_of_user(given: str) -> str:
    """A name that a user gave to an effect or a wait, told from all those that places give."""
    return f"/{given}" if given.startswith("/") else given
