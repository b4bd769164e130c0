"""Writes to the state of a run from outside of its steps, made before the run was found."""

from collections.abc import Mapping
from typing import Any

from stepwell._engine.ledger import WHOLE
from stepwell._engine.writes import Writes
from stepwell.context.state_store import Cell

__all__ = ["write_again"]


def write_again(cell: Cell, writes: Writes, before: Mapping[str, Any]) -> None:
    """Do to the loaded state what was done to the one in its place before.

    Args:
        cell: holds the loaded state.
        writes: what was done; it stays as it is, to be committed.
        before: the state that it was done to, with it, by top-level key.
    """
    for key in writes.assigned:
        _assign(cell, key, before)
    for key in writes.commutative - writes.assigned:
        loaded = cell.values().get(key)
        cell.put(key, before[key] if loaded is None else _added(loaded, writes, key))


def _assign(cell: Cell, key: str, before: Mapping[str, Any]) -> None:
    if key == WHOLE:
        cell.state = before[WHOLE]
    elif key in before:
        cell.put(key, before[key])
    else:
        cell.remove(key)


def _added(loaded: Any, writes: Writes, key: str) -> Any:
    if isinstance(loaded, list):
        return [*loaded, *writes.appended.get(key, ())]
    if isinstance(loaded, set):
        return {*loaded, *writes.added.get(key, ())}
    return loaded + writes.increments.get(key, 0)
