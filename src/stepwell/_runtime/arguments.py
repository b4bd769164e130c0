"""What users give to the loops and effects of a step, checked before anything is done."""

from collections.abc import Awaitable, Iterable
from inspect import isawaitable
from typing import Any

from stepwell._names import kind_of

__all__ = ["awaitable", "check_function", "check_items", "check_number"]


def check_number(method: str, option: str, number: object) -> None:
    """Refuse anything but a whole number of at least 1.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less than 1.
    """
    if type(number) is not int:
        raise TypeError(f"{method}({option}={number!r:.80}): give a whole number")
    if number < 1:
        raise ValueError(f"{method}({option}={number}): give at least 1")


def check_function(method: str, option: str, function: object) -> None:
    """Refuse what can't be called, above all what was called already.

    Raises:
        TypeError: naming the argument.
    """
    if not callable(function):
        raise TypeError(
            f"{method}: its {option} is {kind_of(function)}, which can't be called. Give the "
            f"function itself, without parentheses."
        )


def check_items(method: str, items: object) -> None:
    """Refuse what has no items, or gives them only in an `async for`.

    Raises:
        TypeError: naming what was given.
    """
    if not isinstance(items, Iterable):
        raise TypeError(
            f"{method} loops over items, and {kind_of(items)} has none. Give it a list; collect "
            f"what comes from an `async for` into one first."
        )


def awaitable(function: object, returned: object) -> Awaitable[Any]:
    """Return what a function returned, if that can be awaited.

    Raises:
        TypeError: naming the function.
    """
    if isawaitable(returned):
        return returned
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(
        f"{name} returned {kind_of(returned)}, which can't be awaited. Write it as `async def`."
    )
