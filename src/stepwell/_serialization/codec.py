"""Codec: from a value to JSON text and back."""

from collections.abc import Awaitable, Callable, Iterable
from math import isfinite
from typing import Any, cast

from pydantic import BaseModel

from stepwell._serialization.captures import Captured
from stepwell._serialization.classes import form_of
from stepwell._serialization.exceptions import encode_described
from stepwell._serialization.foreign import bring_codecs
from stepwell._serialization.forms import (
    PLAIN,
    TAG,
    VALUE,
    Decoder,
    Encoder,
    Form,
    Json,
    Refusal,
    item_step,
)
from stepwell._serialization.models import dumped_field
from stepwell._serialization.process_bound import is_process_bound
from stepwell._serialization.registry import DEFAULT_TYPES, TypeRegistry, is_registrable
from stepwell._serialization.text import dumps, loads
from stepwell._serialization.values import DECODERS, ENCODERS, refuse_unknown
from stepwell.errors import DecodingError, EncodingError

__all__ = ["Codec"]

MAX_DEPTH = 64  # levels
_LONGEST_INT = 10**4300  # Python's own limit for reading a number
_CONTAINERS: frozenset[type] = frozenset({list, dict})


class Codec:
    """Turns values into JSON text and back, with their types.

    What JSON has is written as it is. Everything else is an object `{"$type": ..., ...}`; a
    user's dict with a key `$type` is written in another way, so that it is never taken for one.
    Values may be nested 64 levels deep, and their ints may have 4300 digits.

    Args:
        types: the classes that may be written and come back.
    """

    def __init__(self, types: TypeRegistry = DEFAULT_TYPES) -> None:
        self.types = types
        self._encoders: dict[type, Encoder] = dict(ENCODERS)
        self._forms: dict[type, Form] = {}
        self._captures: dict[type, Callable[[Any], Awaitable[Any]] | None] = {}

    def encode(self, value: Any, where: str) -> str:
        """Return the value as JSON text, in ASCII.

        Args:
            value: anything that has a stored form.
            where: what the value is, for the error: "state key 'docs'".

        Raises:
            EncodingError: the value, or something in it, has no stored form.
        """
        try:
            return _write(value if type(value) in PLAIN else self.encode_value(value, 1))
        except Refusal as refusal:
            raise _encoding_error(where, refusal) from refusal.__cause__
        except RecursionError:
            raise _encoding_error(where, _too_deep()) from None
        except Exception as error:  # from the user's own serializers and codecs
            raise _encoding_error(where, Refusal(f"{type(error).__name__}: {error}")) from error

    def encode_field(self, model: BaseModel, name: str, where: str) -> str:
        """Return one field of a model as JSON text; the model itself need not be registered.

        Args:
            model: where the field is.
            name: of the field.
            where: what the value is, for the error: "state key 'docs'".

        Raises:
            EncodingError: the value, or something in it, has no stored form.
        """
        try:
            return self.encode(getattr(model, name), where)
        except EncodingError as error:
            if name not in type(model).__pydantic_fields__:
                raise
            try:
                return self.encode(dumped_field(model, name), where)
            except Refusal:
                raise error from None

    def decode(self, text: str | bytes, where: str) -> Any:
        """Return the value that `encode` made the text of.

        Args:
            text: JSON text.
            where: what the value is, for the error: "state key 'docs'".

        Raises:
            DecodingError: the text is damaged, or a type in it is not registered or has changed.
        """
        try:
            tree = loads(text)
        except RecursionError as error:
            raise _decoding_error(where, error) from None
        except ValueError as error:
            raise _unreadable(where, error) from error
        return self.decode_parsed(tree, where)

    def decode_parsed(self, tree: Json, where: str) -> Any:
        """Return the value that JSON data stands for: text of `encode` that somebody has parsed.

        Args:
            tree: parsed JSON.
            where: what the value is, for the error: "state key 'docs'".

        Raises:
            DecodingError: a type in it is not registered or has changed.
        """
        try:
            return self.decode_value(tree, 1)
        except (Refusal, RecursionError) as refusal:
            raise _decoding_error(where, refusal) from None
        except Exception as error:  # from validators, constructors and the user's own codecs
            raise _unreadable(where, error) from error

    def must_capture(self, value: object) -> bool:
        """Whether a value can only be encoded inside `captured(await codec.capture(...))`."""
        return self._capture_of(value) is not None

    async def capture(self, values: Iterable[Any]) -> Captured:
        """Read those of the values that only an await can read.

        Raises:
            Exception: whatever the codec of such a value raised.
        """
        forms: dict[int, tuple[Any, Any]] = {}
        for value in values:
            read = self._capture_of(value)
            if read is not None:
                forms[id(value)] = (value, await read(value))
        return forms

    def _capture_of(self, value: object) -> Callable[[Any], Awaitable[Any]] | None:
        kind = type(value)
        if kind in PLAIN or kind in ENCODERS:
            return None
        if kind not in self._captures:
            bring_codecs(kind.__module__)
            codec = self.types.codec_of(kind)
            self._captures[kind] = codec and codec.capture
        return self._captures[kind]

    def check(self, value: Any, where: str) -> None:
        """Look at the type of the value alone, not at what it holds.

        Raises:
            EncodingError: no value of this type has a stored form.
        """
        try:
            if type(value) not in PLAIN:
                self._encoder_of(value)
        except Refusal as refusal:
            raise _encoding_error(where, refusal) from None

    def encode_value(self, value: object, depth: int) -> Json:
        """Return the value as JSON data, for a form that holds it."""
        kind = type(value)
        if kind in PLAIN or (type(value) is float and isfinite(value)):
            return value
        if depth > MAX_DEPTH:
            raise _too_deep()
        encoder = self._encoders.get(kind) or self._encoder_of(value)
        return encoder(self, value, depth + 1)

    def _encoder_of(self, value: object) -> Encoder:
        kind = type(value)
        if isinstance(value, type):
            return ENCODERS[type]
        if kind not in self._encoders:
            form = self._form_of(kind)
            if form is None and isinstance(value, Exception):
                return encode_described  # not kept: its class may be registered later
            if form is None:
                raise _no_form(value)
            self._encoders[kind] = form.encode
        return self._encoders[kind]

    def _form_of(self, cls: type) -> Form | None:
        form = self._forms.get(cls) or form_of(cls, self.types)
        if form is not None:
            self._forms[cls] = form
        return form

    def decode_value(self, tree: Json, depth: int) -> Any:
        """Return the value that JSON data stands for, for a form that holds it."""
        if type(tree) not in _CONTAINERS:
            return tree
        if depth > MAX_DEPTH:
            raise _too_deep()
        if type(tree) is list:
            return self._decode_list(cast("list[Json]", tree), depth + 1)
        if TAG in tree:
            return self._decoder_of(tree[TAG])(self, tree, depth + 1)
        return self._decode_dict(tree, depth + 1)

    def _decode_list(self, trees: list[Json], depth: int) -> list[Any]:
        if _CONTAINERS.isdisjoint(map(type, trees)):
            return trees
        return [self.decode_value(tree, depth) for tree in trees]

    def _decode_dict(self, trees: dict[str, Json], depth: int) -> dict[str, Any]:
        if _CONTAINERS.isdisjoint(map(type, trees.values())):
            return trees
        return {key: self.decode_value(tree, depth) for key, tree in trees.items()}

    def _decoder_of(self, tag: Json) -> Decoder:
        if type(tag) is not str:
            raise Refusal(f"the type name in it is no text but {type(tag).__name__}")
        decoder = DECODERS.get(tag)
        if decoder is not None:
            return decoder
        form = self._form_of(self._resolve(tag))
        return form.decode if form is not None else refuse_unknown(tag)

    def _resolve(self, tag: str) -> type:
        known = self.types.resolve(tag)
        if known is None:
            bring_codecs(tag)
        return known or self.types.resolve(tag) or refuse_unknown(tag)


def _write(tree: Json) -> str:
    try:
        return dumps(tree)
    except ValueError:  # of an int; Python does not say of which
        path = _path_of_long_int(tree) or ""
        raise Refusal("an int of more than 4300 digits can't be stored").under(path) from None


def _path_of_long_int(tree: Json) -> str | None:
    if type(tree) is int:
        return None if -_LONGEST_INT < tree < _LONGEST_INT else ""
    for step, item in _tree_items(tree):
        path = _path_of_long_int(item)
        if path is not None:
            return step + path
    return None


def _tree_items(tree: Json) -> Iterable[tuple[str, Json]]:
    if isinstance(tree, dict):
        items = cast("dict[str, Json]", tree).items()
        return [("" if TAG in tree and k == VALUE else item_step(k), item) for k, item in items]
    if isinstance(tree, (list, tuple)):
        return [(item_step(i), item) for i, item in enumerate(cast("list[Json]", tree))]
    return ()


def _too_deep() -> Refusal:
    return Refusal(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")


def _no_form(value: object) -> Refusal:
    cls = type(value)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    return Refusal(f"a value of type {name} can't be stored; {_remedy(value)}")


def _remedy(value: object) -> str:
    cls = type(value)
    if is_process_bound(value):
        return "it belongs to this process: let a step take it from a Resource instead"
    if is_registrable(cls):
        return (
            f"register it with stepwell.register({cls.__qualname__}),"
            " or name it in a step's signature"
        )
    return f"say how with stepwell.register_codec({cls.__qualname__}, encode=..., decode=...)"


def _encoding_error(where: str, refusal: Refusal) -> EncodingError:
    place = f"{where}, at {refusal.path}" if refusal.path else where
    return EncodingError(f"{place}: {refusal}")


def _decoding_error(where: str, refusal: Exception) -> DecodingError:
    reason = refusal if isinstance(refusal, Refusal) else _too_deep()
    return DecodingError(f"{where} can't be read back: {reason}")


def _unreadable(where: str, error: Exception) -> DecodingError:
    return DecodingError(f"{where} can't be read back: {type(error).__name__}: {error}")
