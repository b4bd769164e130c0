"""Dotted paths into the state: `"user.tags.0"` is a key, a key or attribute, and an index."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, cast

from stepwell.events import DictLikeModel

__all__ = ["MAX_DEPTH", "get_by_path", "set_by_path", "set_item", "shallow_copy", "split"]

MAX_DEPTH = 1000


def split(path: str) -> list[str]:
    """Return the segments of a path.

    Raises:
        ValueError: it has more than `MAX_DEPTH` segments.
    """
    segments = path.split(".") if path else []
    if len(segments) > MAX_DEPTH:
        raise ValueError(f"Path length exceeds {MAX_DEPTH} segments")
    return segments


def get_by_path(obj: Any, segments: Sequence[str]) -> Any:
    """Follow the segments from an object.

    Raises:
        LookupError, AttributeError, TypeError, ValueError: a segment is not there.
    """
    for segment in segments:
        obj = _get(obj, segment)
    return obj


def set_by_path(obj: Any, segments: Sequence[str], value: Any) -> Any:
    """Return `obj` with the value at the path; containers on the way are copied or made.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: the path can't be set.
    """
    if not segments:
        return value
    segment, rest = segments[0], segments[1:]
    inner = set_by_path(_get_or_new(obj, segment), rest, value) if rest else value
    return _with(obj, segment, inner)


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


def _with(obj: Any, segment: str, value: Any) -> Any:
    """A shallow copy of `obj` in which one segment has another value."""
    if isinstance(obj, list):
        return _with_element(cast("list[Any]", obj), segment, value)
    changed = shallow_copy(obj)
    set_item(changed, segment, value)
    return changed


def shallow_copy(obj: Any) -> Any:
    """Return a copy; a model that takes any key has those in a dictionary of its own."""
    copied: Any = copy(obj)
    if isinstance(copied, DictLikeModel):
        copied._data = dict(copied.to_dict())  # pyright: ignore[reportPrivateUsage]  its own copy, not the original's
    return copied


def set_item(obj: Any, segment: str, value: Any) -> None:
    """Set one key, field or attribute, in place.

    Raises:
        AttributeError, TypeError, ValueError: it can't be set.
    """
    dynamic = isinstance(obj, DictLikeModel) and segment not in type(obj).model_fields
    if dynamic or isinstance(obj, dict):
        cast("dict[str, Any]", obj)[segment] = value
    else:
        setattr(obj, segment, value)


def _with_element(items: list[Any], segment: str, value: Any) -> list[Any]:
    if not segment.lstrip("-").isdecimal() or not -len(items) <= int(segment) < len(items):
        raise AttributeError(f"a list of {len(items)} has no element {segment!r} to set")
    changed = list(items)
    changed[int(segment)] = value
    return changed
