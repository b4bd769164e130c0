"""Deep copies for `edit_state`: what can't be copied, a lock or a client, is shared."""

from copy import deepcopy
from typing import Any, cast

from pydantic import BaseModel

from stepwell.context._paths import shallow_copy

__all__ = ["IMMUTABLE", "Copies"]

IMMUTABLE = frozenset({str, int, bool, float, bytes, complex, type(None)})
"""The classes whose values are never changed in place."""


class Copies:
    """Copies of values that belong together: an object that two of them hold is copied once.

    Lists, dictionaries, tuples and models are taken apart, so that one part that can't be copied
    leaves the others isolated. What is nested deeper than Python can follow is shared.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}  # with the original: it keeps its id alive

    def of(self, value: Any) -> Any:
        """Return the copy of a value, or the value itself if it has none."""
        kind = cast("type[Any]", type(value))
        if kind in IMMUTABLE:
            return value
        if id(value) not in self._made:
            try:
                self._made[id(value)] = (value, self._copy(kind, value))
            except RecursionError:
                self._made[id(value)] = (value, value)
        return self._made[id(value)][1]

    def _copy(self, kind: type[Any], value: Any) -> Any:
        if kind is list:
            return self._copy_list(value)
        if kind is dict:
            return self._copy_dict(value)
        if kind is tuple:
            return tuple([self.of(item) for item in value])
        if isinstance(value, BaseModel) and kind.__deepcopy__ is BaseModel.__deepcopy__:
            return self._copy_model(value)
        try:
            return deepcopy(value)
        except Exception:  # noqa: BLE001  any class may refuse in its own way
            return value

    def _copy_list(self, items: list[Any]) -> list[Any]:
        copied: list[Any] = []
        self._made[id(items)] = (items, copied)
        copied.extend([self.of(item) for item in items])
        return copied

    def _copy_dict(self, items: dict[Any, Any]) -> dict[Any, Any]:
        copied: dict[Any, Any] = {}
        self._made[id(items)] = (items, copied)
        copied.update({self.of(key): self.of(value) for key, value in items.items()})
        return copied

    def _copy_model(self, model: BaseModel) -> BaseModel:
        """A field that the class never wants written is shared: it is no part of the state."""
        copied: BaseModel = shallow_copy(model)
        self._made[id(model)] = (model, copied)
        shared = {name for name, field in type(model).model_fields.items() if field.exclude}
        for part in (vars(copied), copied.__pydantic_extra__, copied.__pydantic_private__):
            values: dict[str, Any] = part or {}
            values.update({key: self.of(values[key]) for key in values if key not in shared})
        return copied
