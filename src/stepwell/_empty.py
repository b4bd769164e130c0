"""Factories of empty containers, for the fields of dataclasses."""

from collections.abc import Callable
from typing import TypeVar, get_origin

__all__ = ["empty"]

_T = TypeVar("_T")


def empty(kind: type[_T]) -> Callable[[], _T]:
    """Return what makes empty containers of a kind: `empty(set[str])` is `set`.

    `set[str]` could be called itself, at ten times the price: it tries to note its argument on each
    object that it makes.
    """
    return get_origin(kind) or kind
