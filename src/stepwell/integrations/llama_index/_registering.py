"""Our codecs, where the program has none of its own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from stepwell._serialization import DEFAULT_TYPES
from stepwell._serialization.registry import ForeignCodec

__all__ = ["use_codec"]

T = TypeVar("T")


def use_codec(
    cls: type[T],
    encode: Callable[[Any], Any],
    decode: Callable[[Any], T],
    *,
    capture: Callable[[T], Awaitable[Any]] | None = None,
    lends: Callable[[T], Mapping[str, Any]] | None = None,
) -> None:
    """Register a codec for a class, unless the program has done so."""
    if DEFAULT_TYPES.codec_of(cls) is None:
        DEFAULT_TYPES.register_codec(cls, None, ForeignCodec(encode, decode, capture, lends))
