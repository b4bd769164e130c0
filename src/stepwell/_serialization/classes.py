"""The forms of registered classes: dataclasses, enums, tuples, and foreign ones."""

import inspect
from dataclasses import fields
from enum import Enum, Flag
from typing import Any, cast

from pydantic import BaseModel

from stepwell._serialization.captures import captured_form
from stepwell._serialization.exceptions import ExceptionForm
from stepwell._serialization.foreign import bring_codecs
from stepwell._serialization.forms import (
    TAG,
    VALUE,
    Form,
    Json,
    Refusal,
    Walker,
    attribute_step,
    decode_list,
    decode_map,
    encode_list,
    encode_map,
    text_of,
)
from stepwell._serialization.models import ModelForm
from stepwell._serialization.registry import ForeignCodec, TypeRegistry


def form_of(cls: type, types: TypeRegistry) -> Form | None:
    """Return the form of a registered class."""
    bring_codecs(cls.__module__)
    name = types.name_of(cls)
    if name is None:
        return None
    codec = types.codec_of(cls)
    return _form_of_kind(cls, name) if codec is None else ForeignForm(name, codec)


def _form_of_kind(cls: type[Any], name: str) -> Form:
    if issubclass(cls, BaseModel):
        return ModelForm(name, cls)
    if issubclass(cls, Enum):
        return FlagForm(name, cls) if issubclass(cls, Flag) else EnumForm(name, cls)
    if issubclass(cls, BaseException):
        return ExceptionForm(name, cls)
    kind = TupleForm if issubclass(cls, tuple) else DataclassForm
    return kind(name, cast("type[Any]", cls))


class ForeignForm:
    """An instance is stored as what the user's codec makes of it."""

    def __init__(self, name: str, codec: ForeignCodec[Any]) -> None:
        self._name = name
        self._codec = codec

    def encode(self, walker: Walker, value: Any, depth: int) -> dict[str, Json]:
        if self._codec.capture is not None:
            value = captured_form(value)
        return {TAG: self._name, VALUE: walker.encode_value(self._codec.encode(value), depth)}

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int) -> Any:
        return self._codec.decode(walker.decode_value(tagged[VALUE], depth))


class EnumForm:
    """A member is stored by its name: values may be anything, and may be equal."""

    def __init__(self, name: str, cls: type[Enum]) -> None:
        self._name = name
        self._cls = cls

    def encode(self, _walker: Walker, value: Enum, _depth: int) -> dict[str, Json]:
        if value.name not in self._cls.__members__:
            raise Refusal(f"{value!r} is made on the fly: a member is stored by its name")
        return {TAG: self._name, VALUE: value.name}

    def decode(self, _walker: Walker, tagged: dict[str, Json], _depth: int) -> Enum:
        return self._cls[text_of(tagged)]


class FlagForm:
    """Flags are stored by their number: most combinations of members have no name."""

    def __init__(self, name: str, cls: type[Flag]) -> None:
        self._name = name
        self._cls = cls

    def encode(self, _walker: Walker, value: Flag, _depth: int) -> dict[str, Json]:
        return {TAG: self._name, VALUE: value.value}

    def decode(self, _walker: Walker, tagged: dict[str, Json], _depth: int) -> Flag:
        return self._cls(tagged[VALUE])


class TupleForm:
    """A tuple of a class of its own, in most cases a named one."""

    def __init__(self, name: str, cls: type[tuple[Any, ...]]) -> None:
        self._name = name
        self._make = getattr(cls, "_make", cls)

    def encode(self, walker: Walker, value: tuple[Any, ...], depth: int) -> dict[str, Json]:
        return {TAG: self._name, VALUE: encode_list(walker, value, depth)}

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int) -> tuple[Any, ...]:
        return self._make(decode_list(walker, tagged[VALUE], depth))


class DataclassForm:
    """A dataclass is made again by its constructor, then gets every stored field as it was."""

    def __init__(self, name: str, cls: type[Any]) -> None:
        self._name = name
        self._cls = cls
        self._fields = {field.name: field.init for field in fields(cls)}
        self._missing = [
            parameter.name
            for parameter in inspect.signature(cls).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            and not self._fields.get(parameter.name)
        ]

    def encode(self, walker: Walker, value: Any, depth: int) -> dict[str, Json]:
        if self._missing:
            raise Refusal(
                f"{self._cls.__qualname__} can't be made again from its fields: its constructor"
                f" needs {', '.join(self._missing)}; use stepwell.register_codec(...)"
            )
        values = {name: getattr(value, name) for name in self._fields if hasattr(value, name)}
        return {TAG: self._name, VALUE: encode_map(walker, values, depth, attribute_step)}

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int) -> Any:
        stored = decode_map(walker, tagged[VALUE], depth)
        known = {name: stored[name] for name in self._fields if name in stored}
        made = self._cls(**{name: known[name] for name in known if self._fields[name]})
        for name, value in known.items():
            object.__setattr__(made, name, value)  # also if it is frozen
        return made
