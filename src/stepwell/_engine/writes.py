"""What a step did to the state, on its way into the ledger."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, TypeVar, cast

__all__ = ["Writes"]

_V = TypeVar("_V")

NO_KEYS: AbstractSet[str] = frozenset()
NO_VALUES: Mapping[str, Any] = MappingProxyType({})


class Writes:
    """What one step did to the state since its last commit.

    Most steps don't touch the state, and there is one for each that is about to run: so nothing of
    it is made before it is needed.

    Args:
        assigned: keys that it set or removed.
        fetched: keys that it got as live objects, and may have changed in place.
    """

    __slots__ = ("_added", "_appended", "_assigned", "_fetched", "_increments")

    def __init__(self, assigned: Iterable[str] = (), fetched: Iterable[str] = ()) -> None:
        self._assigned: set[str] | None = set(assigned) if assigned else None
        self._fetched: set[str] | None = set(fetched) if fetched else None
        self._increments: dict[str, float] | None = None
        self._appended: dict[str, list[Any]] | None = None
        self._added: dict[str, list[Any]] | None = None

    # --- what there is ---

    @property
    def assigned(self) -> AbstractSet[str]:
        """Keys that it set or removed."""
        return self._assigned or NO_KEYS

    @property
    def fetched(self) -> AbstractSet[str]:
        """Keys that it got as live objects, and may have changed in place."""
        return self._fetched or NO_KEYS

    @property
    def increments(self) -> Mapping[str, float]:
        """Sums by key, of `increment`."""
        return self._increments or NO_VALUES

    @property
    def appended(self) -> Mapping[str, list[Any]]:
        """Values by key, of `append`."""
        return self._appended or NO_VALUES

    @property
    def added(self) -> Mapping[str, list[Any]]:
        """Values by key, of `add`."""
        return self._added or NO_VALUES

    @property
    def are_none(self) -> bool:
        """Whether there is nothing."""
        return not (
            self._assigned or self._fetched or self._increments or self._appended or self._added
        )

    @property
    def commutative(self) -> AbstractSet[str]:
        """The keys that were changed by commutative operations."""
        return {*self.increments, *self.appended, *self.added}

    @property
    def keys(self) -> AbstractSet[str]:
        """All keys that were changed, or may have been."""
        return self.assigned | self.fetched | self.commutative

    def of(self, key: str) -> "Writes":
        """What is about one key."""
        part = Writes(self.assigned & {key}, self.fetched & {key})
        part._increments = _of(self._increments, key)
        part._appended = _of(self._appended, key)
        part._added = _of(self._added, key)
        return part

    def taken_from(self, key: str, value: Any) -> Any:
        """A value as it would be without what was added here."""
        if isinstance(value, list):
            return _without(cast("list[Any]", value), self.appended.get(key, []))
        if isinstance(value, set):
            return cast("set[Any]", value).difference(self.added.get(key, []))
        if isinstance(value, int | float):
            return value - self.increments.get(key, 0)
        return value

    # --- what is done ---

    def assign(self, keys: Iterable[str]) -> None:
        """Keys are set or removed."""
        self._assigned = _joined(self._assigned, keys)

    def fetch(self, keys: Iterable[str]) -> None:
        """Keys are given out as live objects."""
        self._fetched = _joined(self._fetched, keys)

    def increment(self, key: str, amount: float) -> None:
        """A sum is added to."""
        self._increments = sums = self._increments or {}
        sums[key] = sums.get(key, 0) + amount

    def append(self, key: str, values: Iterable[Any]) -> None:
        """A list is appended to."""
        self._appended = _extended(self._appended, key, values)

    def add(self, key: str, values: Iterable[Any]) -> None:
        """A set is added to."""
        self._added = _extended(self._added, key, values)

    def commit(self) -> None:
        """All of it was staged. What the step holds it may still change, in place."""
        held = self.fetched | self.assigned
        self.forget()
        self.fetch(held)

    def forget(self) -> None:
        """All of it was staged, and nobody holds any of it."""
        self._assigned = self._fetched = None
        self._increments = self._appended = self._added = None


def _joined(known: set[str] | None, keys: Iterable[str]) -> set[str]:
    if known is None:
        return set(keys)
    known.update(keys)
    return known


def _extended(
    known: dict[str, list[Any]] | None, key: str, values: Iterable[Any]
) -> dict[str, list[Any]]:
    known = known or {}
    known.setdefault(key, []).extend(values)
    return known


def _of(values: dict[str, _V] | None, key: str) -> dict[str, _V] | None:
    return {key: values[key]} if values and key in values else None


def _without(values: list[Any], appended: list[Any]) -> list[Any]:
    """A list without elements that were appended to it, wherever they stand by now."""
    left = Counter(map(id, appended))
    kept: list[Any] = []
    for value in reversed(values):
        if left[id(value)] > 0:
            left[id(value)] -= 1
        else:
            kept.append(value)
    return kept[::-1]
