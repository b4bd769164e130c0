"""What happens inside `edit_state`: an isolated state, and what the block changed in it."""

from collections.abc import Iterator, MutableMapping
from typing import Any, cast

from pydantic import BaseModel
from typing_extensions import override

from stepwell.context._copies import Copies
from stepwell.context.state_models import DictState, copy_state_for_edit, top_level

__all__ = ["Edit"]


class Edit:
    """An isolated state for `edit_state`: a key is copied when it is first touched."""

    def __init__(self, state: BaseModel) -> None:
        self._before = state
        self.state: BaseModel
        self._data: _CopyOnTouch | None = None
        if type(state) is DictState:
            self._data = _CopyOnTouch(state.to_dict())
            self.state = DictState()
            self.state._data = cast("dict[str, Any]", self._data)  # pyright: ignore[reportPrivateUsage]  the mapping stands in for the dictionary
        else:
            self.state = copy_state_for_edit(state)

    def changed(self) -> dict[str, Any]:
        """The keys that have, or may have, another value now."""
        if self._data is not None:
            return self._data.touched
        before = top_level(self._before)
        return {
            key: value
            for key, value in top_level(self.state).items()
            if key not in before or not _is_same(before[key], value)
        }

    def removed(self) -> set[str]:
        """The keys that are not there any more."""
        if self._data is not None:
            return self._data.removed
        return top_level(self._before).keys() - top_level(self.state).keys()


class _CopyOnTouch(MutableMapping[str, Any]):
    """A dictionary over another one, whose values it copies before it hands them out."""

    def __init__(self, below: dict[str, Any]) -> None:
        self._below = below
        self._copies = Copies()
        self.touched: dict[str, Any] = {}
        self.removed: set[str] = set()

    @override
    def __getitem__(self, key: str) -> Any:
        if key not in self.touched:
            if key in self.removed:
                raise KeyError(key)
            self.touched[key] = self._copies.of(self._below[key])
        return self.touched[key]

    @override
    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(f"a key of the state is text, not {type(key).__name__}: {key!r}")
        self.removed.discard(key)
        self.touched[key] = value

    @override
    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.touched.pop(key, None)
        self.removed.add(key)

    @override
    def __contains__(self, key: object) -> bool:
        return key in self.touched or (key in self._below and key not in self.removed)

    @override
    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self._below if key not in self.removed)
        yield from (key for key in self.touched if key not in self._below)

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_same(before: Any, after: Any) -> bool:
    """Whether an edit left a value as it was; in doubt it did not."""
    try:
        return type(before) is type(after) and bool(before == after)
    except Exception:  # noqa: BLE001  any class may refuse in its own way
        return False
