"""JSON text: compact, ASCII, and strict about what JSON does not have."""

import json
from collections.abc import Callable
from types import NoneType
from typing import Any, NoReturn


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _encoder() -> Callable[[Any], str]:
    """The encoder of `json`, made once: `JSONEncoder.encode` makes it anew for each text."""
    encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
    make: Callable[..., Any] | None = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    text = json.encoder.encode_basestring_ascii
    chunks = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return lambda tree: "".join(chunks(tree, 0))


_encode = _encoder()
_loads = json.JSONDecoder(parse_constant=_refuse_constant).decode


_WRITERS: dict[type, Callable[[Any], str]] = {
    int: repr,
    NoneType: lambda _: "null",
    bool: lambda value: "true" if value else "false",
}


def dumps(tree: object) -> str:
    """Return JSON data as text; raises ValueError if an int in it is too long for Python."""
    return _WRITERS.get(type(tree), _encode)(tree)


def loads(text: str | bytes) -> Any:
    """Parse JSON text; raises ValueError, or RecursionError if it is nested too deep."""
    return _loads(text if isinstance(text, str) else text.decode())
