"""Dotted paths into the state: `"user.tags.0"` is a key, a key or attribute, and an index."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, cast

from stepwell.events import DictLikeModel

__all__ = [
    "MAX_DEPTH",
    "assign",
    "follow",
    "get_by_path",
    "set_by_path",
    "shallow_copy",
    "split",
    "split_to_set",
    "with_value",
]

MAX_DEPTH = 1000
"""How many segments a path may have."""


def get_by_path(state: Any, path: str, default: Any = ...) -> Any:
    """Return the value at a dotted path; `""` is the state itself.

    Args:
        state: a model, a mapping or a sequence.
        path: keys, fields and indexes, with dots between them.
        default: returned where there is nothing.

    Raises:
        ValueError: there is nothing at the path, and no default; or it has too many segments.
    """
    segments = split(path)
    try:
        return follow(state, segments)
    except (LookupError, AttributeError, TypeError, ValueError):
        if default is ...:
            raise ValueError(
                f"Path {path!r} not found in state: set it first, or give a default"
            ) from None
        return default


def set_by_path(state: Any, path: str, value: Any) -> None:
    """Set the value at a dotted path, in place; dictionaries on the way are made.

    Args:
        state: a model, a dictionary or a list.
        path: keys, fields and indexes, with dots between them.
        value: what to put there.

    Raises:
        ValueError: the path is empty or too long, or a model has no such field.
        AttributeError: an index that a list does not have; something that nothing can be set in.
    """
    *way, last = split_to_set(path)
    for segment in way:
        try:
            state = follow(state, [segment])
        except (LookupError, AttributeError):
            state = _with_new_dictionary(state, segment)
    assign(state, last, value)


def _with_new_dictionary(state: Any, segment: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    assign(state, segment, made)
    return made


def split(path: str) -> list[str]:
    """Return the segments of a path.

    Raises:
        ValueError: it has more than `MAX_DEPTH` segments.
        TypeError: it is no text.
    """
    if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise TypeError(f"the path {path!r:.80} is no text: give a str, with dots between the keys")
    segments = path.split(".") if path else []
    if len(segments) > MAX_DEPTH:
        raise ValueError(f"a path has at most {MAX_DEPTH} segments, not {len(segments)}: nest less")
    return segments


def split_to_set(path: str) -> list[str]:
    """Return the segments of a path at which something is to be set.

    Raises:
        ValueError: it is empty, or has more than `MAX_DEPTH` segments.
    """
    segments = split(path)
    if not segments:
        raise ValueError("the path to set is empty: name a key, or use set_state()")
    return segments


def follow(obj: Any, segments: Sequence[str]) -> Any:
    """Follow the segments from an object.

    Raises:
        LookupError, AttributeError, TypeError, ValueError: a segment is not there.
    """
    for segment in segments:
        obj = _get(obj, segment)
    return obj


def with_value(obj: Any, segments: Sequence[str], value: Any) -> Any:
    """Return `obj` with the value at the path; containers on the way are copied or made.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: the path can't be set.
    """
    if not segments:
        return value
    segment, rest = segments[0], segments[1:]
    inner = with_value(_get_or_new(obj, segment), rest, value) if rest else value
    changed = shallow_copy(obj)
    assign(changed, segment, inner)
    return changed


def shallow_copy(obj: Any) -> Any:
    """Return a copy; a model that takes any key has those in a dictionary of its own."""
    copied: Any = copy(obj)
    if isinstance(copied, DictLikeModel):
        copied._data = dict(copied.to_dict())  # pyright: ignore[reportPrivateUsage]  its own copy, not the original's
    return copied


def assign(obj: Any, segment: str, value: Any) -> None:
    """Set one key, field, attribute or element, in place.

    Raises:
        AttributeError, TypeError, ValueError: it can't be set.
    """
    dynamic = isinstance(obj, DictLikeModel) and segment not in type(obj).model_fields
    if dynamic or isinstance(obj, dict):
        cast("dict[str, Any]", obj)[segment] = value
    elif isinstance(obj, list):
        _assign_element(cast("list[Any]", obj), segment, value)
    else:
        _assign_attribute(obj, segment, value)


def _assign_attribute(obj: Any, segment: str, value: Any) -> None:
    try:
        setattr(obj, segment, value)
    except AttributeError as error:
        raise AttributeError(
            f"{segment!r} can't be set in a value of type {type(obj).__name__} ({error}): only in "
            f"a dict, a list or an object with such an attribute"
        ) from None


def _assign_element(items: list[Any], segment: str, value: Any) -> None:
    if not segment.lstrip("-").isdecimal() or not -len(items) <= int(segment) < len(items):
        raise AttributeError(
            f"a list of {len(items)} has no element {segment!r} to set: append to it first"
        )
    items[int(segment)] = value


def _get(obj: Any, segment: str) -> Any:
    if isinstance(obj, DictLikeModel) and segment not in type(obj).model_fields:
        return obj[segment]
    if isinstance(obj, Mapping):
        return cast("Mapping[str, Any]", obj)[segment]
    if isinstance(obj, Sequence) and not isinstance(obj, str | bytes):
        return cast("Sequence[Any]", obj)[int(segment)]
    return getattr(obj, segment)


def _get_or_new(obj: Any, segment: str) -> Any:
    try:
        return _get(obj, segment)
    except (LookupError, AttributeError):
        return {}
