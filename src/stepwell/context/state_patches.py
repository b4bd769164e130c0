"""States as trees of JSON, and what changed between two of them as a JSON Patch (RFC 6902)."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, cast

from pydantic import BaseModel

from stepwell.context.serializers import JsonSerializer
from stepwell.context.state_models import DictState
from stepwell.context.state_records import (
    DATA,
    KNOWN_UNSERIALIZABLE_KEYS,
    TREE,
    InMemorySerializedState,
    encoded_values,
)

__all__ = ["StateCheckpoint", "apply_state_patch"]

_IDENTITY = ("state_type", "state_module")


class StateCheckpoint:
    """A state as it is at some moment, to be compared with another moment's.

    Args:
        state: the state; it is read when `to_dict` or `diff` is called.
        serializer: turns values into data for JSON.
    """

    def __init__(self, state: BaseModel, serializer: JsonSerializer) -> None:
        self._state = state
        self._serializer = serializer

    @property
    def state(self) -> BaseModel:
        """The state itself."""
        return self._state

    def to_dict(self) -> dict[str, Any]:
        """Return the state as data, which `InMemoryStateStore.from_dict` reads too.

        Raises:
            ValueError: a value has no JSON; names its key.
        """
        cls = type(self._state)
        return InMemorySerializedState(
            state_type=cls.__name__, state_module=cls.__module__, state_data=self._tree()
        ).model_dump()

    def _tree(self) -> dict[str, Any]:
        if not isinstance(self._state, DictState):
            return {TREE: "model", **self._encode(self._state)}
        values = encoded_values(self._state, self._encode, KNOWN_UNSERIALIZABLE_KEYS)
        return {TREE: "dict", DATA: dict(values)}

    def _encode(self, value: Any) -> Any:
        """The value as data of its own, that later changes of the value do not reach."""
        return json.loads(json.dumps(self._serializer.serialize_value(value)))

    def diff(self, since: "StateCheckpoint") -> list[dict[str, Any]]:
        """Return the patch that makes the data of an earlier checkpoint those of this one.

        Raises:
            ValueError: a value has no JSON; names its key.
        """
        before, after = since.to_dict(), self.to_dict()
        if any(before[key] != after[key] for key in _IDENTITY):
            return [_operation("replace", "", after)]
        return list(_changes("", before, after))


def apply_state_patch(state: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the data of a checkpoint with a patch of `StateCheckpoint.diff` applied.

    Args:
        state: the data; they stay as they are.
        patch: operations `add`, `replace` and `remove`.

    Raises:
        ValueError: another operation, or a path that leads nowhere; names both.
    """
    patched = deepcopy(state)
    for operation in patch:
        patched = _apply(patched, operation)
    return patched


def _apply(tree: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation.get("op"), operation.get("path")
    if kind not in ("add", "replace", "remove") or not isinstance(path, str):
        raise ValueError(
            f"operation {kind!r} at {path!r} is no add, replace or remove of a state patch"
        )
    if not path:
        return deepcopy(operation.get("value"))
    try:
        _apply_below(tree, kind, path, operation)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"a state patch can't {kind} {path!r}: {error!r}") from error
    return tree


def _apply_below(tree: Any, kind: str, path: str, operation: dict[str, Any]) -> None:
    *way, last = [_unescaped(part) for part in path.split("/")[1:]]
    for part in way:
        tree = tree[_key(tree, part)]
    key = _key(tree, last)
    if kind == "remove":
        del tree[key]
    elif kind == "add" and type(tree) is list:
        cast("list[Any]", tree).insert(key, deepcopy(operation["value"]))
    else:
        tree[key] = deepcopy(operation["value"])


def _key(tree: Any, part: str) -> Any:
    """A part of a path as what its container takes."""
    return int(part) if type(tree) is list else part


def _changes(path: str, before: Any, after: Any) -> Iterator[dict[str, Any]]:
    kind = cast("type[Any]", type(before))
    if kind is not type(after) or (kind not in (dict, list) and before != after):
        yield _operation("replace", path, after)
    elif kind is dict:
        yield from _changes_of_dict(path, before, after)
    elif kind is list:
        yield from _changes_of_list(path, before, after)


def _changes_of_dict(
    path: str, before: dict[str, Any], after: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for key in before.keys() - after.keys():
        yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        if key in before:
            yield from _changes(f"{path}/{_escaped(key)}", before[key], value)
        else:
            yield _operation("add", f"{path}/{_escaped(key)}", value)


def _changes_of_list(path: str, before: list[Any], after: list[Any]) -> Iterator[dict[str, Any]]:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _changes(f"{path}/{index}", old, new)
    for _ in before[len(after) :]:
        yield {"op": "remove", "path": f"{path}/{len(after)}"}
    for index, value in enumerate(after[len(before) :], len(before)):
        yield _operation("add", f"{path}/{index}", value)


def _operation(kind: str, path: str, value: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
