"""What only an `await` can read of a value: it is captured first, and encoded then.

Encoding is synchronous, so that a boundary is one instant. Whoever encodes such values awaits
`Codec.capture`, and encodes inside `captured(...)` before it awaits anything else.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from stepwell._names import type_name
from stepwell._serialization.forms import Refusal

__all__ = ["NOTHING_CAPTURED", "Captured", "captured", "captured_form"]

Captured = Mapping[int, tuple[Any, Any]]
"""By the id of a value: the value, which keeps its id alive, and what was captured of it."""

NOTHING_CAPTURED: Captured = MappingProxyType({})

_current: ContextVar[Captured] = ContextVar("stepwell_captured", default=NOTHING_CAPTURED)


@contextmanager
def captured(forms: Captured) -> Generator[None]:
    """Let what was captured stand for the values."""
    token = _current.set(forms)
    try:
        yield
    finally:
        _current.reset(token)


def captured_form(value: object) -> Any:
    """Return what was captured of a value.

    Raises:
        Refusal: nothing was.
    """
    known = _current.get().get(id(value))
    if known is None:
        raise Refusal(
            f"a value of type {type_name(type(value))} can only be read by an await, and only as a"
            f" top-level key of the state: use await ctx.to_dict_async(), or a checkpointer"
        )
    return known[1]
