"""Finds what is open for an event: by the values that it must have, not one by one.

A thousand steps may wait for events of one class, each for those with another number in them.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stepwell._empty import empty

__all__ = ["Index"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_Names = tuple[str, ...]
_Values = tuple[Hashable, ...]


@dataclass(slots=True)
class Index(Generic[K, V]):
    """Entries by the attributes that they require.

    Those that name the same attributes are together; in there they are found by the values of
    these. What has no hash is found by looking at all of its group.

    Attributes:
        entries: all of them, in the order in which they came.
    """

    entries: dict[K, V] = field(default_factory=empty(dict[K, V]))
    _places: dict[K, tuple[_Names, _Values | None]] = field(
        default_factory=empty(dict[K, tuple[_Names, _Values | None]])
    )
    _groups: dict[_Names, dict[_Values | None, dict[K, None]]] = field(
        default_factory=empty(dict[_Names, dict[_Values | None, dict[K, None]]])
    )

    def add(self, key: K, value: V, required: Mapping[str, Any] | None) -> None:
        """Add an entry; without requirements that are known it is there, and fits nothing."""
        self.entries[key] = value
        if required is not None:
            names = tuple(sorted(required))
            place = self._places[key] = (names, _hashable(required[name] for name in names))
            self._groups.setdefault(names, {}).setdefault(place[1], {})[key] = None

    def remove(self, key: K) -> None:
        """Remove an entry, if it is there."""
        self.entries.pop(key, None)
        if key not in self._places:
            return
        names, values = self._places.pop(key)
        group = self._groups[names]
        del group[values][key]
        if not group[values]:
            del group[values]
        if not group:
            del self._groups[names]

    def candidates(self, value_of: Callable[[str], Any]) -> Iterator[tuple[K, V]]:
        """The entries that may fit something with these attributes; no other does."""
        for names, group in self._groups.items():
            values = _hashable(value_of(name) for name in names)
            wanted = (values, None) if values is not None else tuple(group)
            for place in wanted:
                yield from ((key, self.entries[key]) for key in group.get(place, ()))


def _hashable(values: Iterator[Any]) -> _Values | None:
    found = tuple(values)
    try:
        hash(found)
    except TypeError:
        return None
    return found
