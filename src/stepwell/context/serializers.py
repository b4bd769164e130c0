"""Serializers: values to text and back, in the format of LlamaIndex Workflows.

    {"__is_pydantic": true, "value": {...}, "qualified_name": "module.Class"}     a model
    {"__is_component": true, "value": {...}, "qualified_name": "module.Class"}    see below
    anything else                                                                plain JSON

A component has a `class_name`, a `to_dict()` and a classmethod `from_dict(dict)`.

Reading imports the module that a name in the text names, so read only text that you trust, or say
with `allowed_types` what may come back. `ctx.to_dict()` needs none of this: it has a format of its
own, which keeps more types and imports nothing.
"""

import base64
import binascii
import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from importlib.util import find_spec
from typing import Any, Self, cast

from pydantic import BaseModel
from typing_extensions import override

from stepwell._names import kind_of
from stepwell.context.utils import get_qualified_name, import_module_from_qualified_name
from stepwell.errors import WorkflowValidationError

__all__ = [
    "BaseSerializer",
    "JsonPickleSerializer",
    "JsonSerializer",
    "PickleSerializer",
    "check_serializer",
]

_MODEL = "__is_pydantic"
_COMPONENT = "__is_component"
_NAME = "qualified_name"
_VALUE = "value"

_PEER = "workflows"
_OURS = "stepwell"


class BaseSerializer(ABC):
    """Turns values into text and back. Subclass it to store values in a way of your own."""

    @abstractmethod
    def serialize(self, value: Any) -> str:
        """Return the value as text.

        Raises:
            ValueError: the value has no text.
        """

    @abstractmethod
    def deserialize(self, value: str) -> Any:
        """Return the value that a text of `serialize` stands for."""


def check_serializer(serializer: Any, where: str) -> BaseSerializer:
    """Return what is a serializer; anything with its two methods is one.

    Raises:
        WorkflowValidationError: it is none; says where it was given.
    """
    methods = (getattr(serializer, name, None) for name in ("serialize", "deserialize"))
    if not isinstance(serializer, type) and all(map(callable, methods)):
        return serializer
    raise WorkflowValidationError(
        f"{where} is {kind_of(serializer)}: give an object with the methods serialize and "
        f"deserialize, such as JsonSerializer()"
    )


class JsonSerializer(BaseSerializer):
    """Models, components and what JSON has, as JSON.

    Args:
        allowed_types: classes, or their qualified names, that may come back; None for all.
    """

    def __init__(self, *, allowed_types: Iterable[type[Any] | str] | None = None) -> None:
        self._known: dict[str, type[Any]] = {}
        self._allowed: frozenset[str] | None = None
        if allowed_types is not None:
            self._allow(allowed_types)

    def _allow(self, types: Iterable[type[Any] | str]) -> None:
        if isinstance(types, str | type) or not isinstance(types, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(f"allowed_types is {types!r}: give a list of classes and their names")
        listed = list(types)
        self._known = self._known | {_name_of(one): one for one in listed if isinstance(one, type)}
        self._allowed = (self._allowed or frozenset()).union(map(_name_of, listed))

    def with_types(self, *classes: type[Any]) -> Self:
        """Return a serializer that also finds, and allows, these classes.

        They need not be importable: a class inside a function comes back too.
        """
        other = copy(self)
        other._known = self._known | {_name_of(cls): cls for cls in classes}
        if self._allowed is not None:
            other._allow(classes)
        return other

    @override
    def serialize(self, value: Any) -> str:
        """Return the value as JSON.

        Raises:
            ValueError: it, or something in it, has no JSON.
        """
        try:
            return json.dumps(self.serialize_value(value))
        except Exception as error:  # from the user's own models and components too
            raise ValueError(
                f"{_shown(value)} can't be serialized: {type(error).__name__}: {error}"
            ) from error

    def serialize_value(self, value: Any) -> Any:
        """Return the value as data for JSON, as far as this serializer knows how.

        Raises:
            ValueError: a dictionary looks like a serialized model; it would come back as one.
        """
        if _is_component(value):
            return _tagged(_COMPONENT, value, value.to_dict())
        if isinstance(value, BaseModel):
            return _tagged(_MODEL, value, value.model_dump(mode="json"))
        if isinstance(value, dict):
            return self._serialize_dict(cast("dict[Any, Any]", value))
        if isinstance(value, list):
            return [self.serialize_value(item) for item in cast("list[Any]", value)]
        return value

    def _serialize_dict(self, values: dict[Any, Any]) -> dict[Any, Any]:
        if _tag_of(values) is not None:
            raise ValueError(
                f"a dictionary with the keys {_tag_of(values)!r} and {_NAME!r} would be read back "
                f"as a {values[_NAME]!r}: rename one of the keys"
            )
        return {key: self.serialize_value(value) for key, value in values.items()}

    @override
    def deserialize(self, value: str) -> Any:
        """Return the value that JSON text stands for.

        Raises:
            ValueError: it is no JSON, or a class in it is not allowed or takes other values.
            ImportError, AttributeError: a class in it is not there.
        """
        return self.deserialize_value(_parsed(value))

    def deserialize_value(self, data: Any) -> Any:
        """Return the value that data of `serialize_value` stands for; raises as `deserialize`."""
        if isinstance(data, dict):
            return self._deserialize_dict(cast("dict[str, Any]", data))
        if isinstance(data, list):
            return [self.deserialize_value(item) for item in cast("list[Any]", data)]
        return data

    def _deserialize_dict(self, data: dict[str, Any]) -> Any:
        tag = _tag_of(data)
        if tag is None:
            return {key: self.deserialize_value(value) for key, value in data.items()}
        cls = self.resolve_class(data[_NAME])
        value = data.get(_VALUE)
        if tag == _COMPONENT and hasattr(cls, "from_dict"):
            return cls.from_dict(value)
        if tag == _MODEL and issubclass(cls, BaseModel):
            return cls.model_validate(value, by_alias=True, by_name=True)
        needed = "classmethod from_dict" if tag == _COMPONENT else "pydantic model"
        raise ValueError(f"{data[_NAME]!r} is no {needed}, so that {tag!r} can't be read back")

    def resolve_class(self, qualified_name: str) -> type[Any]:
        """Return the class of a name; its module is imported, if the class is not known yet.

        Args:
            qualified_name: `module.Class`; what `workflows` has is found in `stepwell`.

        Raises:
            ValueError: the class is not allowed, or the name is not that of a class.
            ImportError, AttributeError: there is no such class.
        """
        name = _own_name(qualified_name)
        if self._allowed is not None and name not in self._allowed:
            raise ValueError(
                f"class {qualified_name!r} may not come back: if this text may make such objects, "
                f"add the class to {type(self).__name__}(allowed_types=[...])"
            )
        found = self._known.get(name) or import_module_from_qualified_name(name)
        if not isinstance(found, type):
            raise ValueError(f"{qualified_name!r} is not a class")  # noqa: TRY004  bad data, not a bad call
        return found


class PickleSerializer(JsonSerializer):
    """JSON where that will do, and pickle, as base64, for everything else.

    Unpickling can run any code: read only what you wrote yourself. `allowed_types` holds for the
    JSON, not for the pickles.
    """

    @override
    def serialize(self, value: Any) -> str:
        """Return the value as JSON, or else as a pickle.

        Raises:
            ValueError: it can't be pickled either.
        """
        try:
            return super().serialize(value)
        except ValueError:
            return _pickled(value)

    @override
    def deserialize(self, value: str) -> Any:
        """Return the value of a pickle, or of JSON.

        Raises:
            ValueError: it is neither.
            Exception: whatever the classes in the pickle raise.
        """
        content = _pickle_in(value)
        if content is None:
            return super().deserialize(value)
        return pickle.loads(content)  # noqa: S301  the user chose this serializer


JsonPickleSerializer = PickleSerializer
"""The old name."""


def _parsed(text: str) -> Any:
    if not isinstance(text, str | bytes | bytearray):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise ValueError(f"a {kind_of(text)} can't be deserialized: give the text of serialize()")  # noqa: TRY004  as other bad data
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{text[:40]!r} is no JSON ({error}): give the text that serialize() returned"
        ) from error


def _name_of(cls: type[Any] | str) -> str:
    if not isinstance(cls, type | str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise TypeError(f"{cls!r:.80} is no class and no name of one: give the class itself")
    return _own_name(cls) if isinstance(cls, str) else f"{cls.__module__}.{cls.__name__}"


def _own_name(qualified_name: str) -> str:
    """Return the name that a class of LlamaIndex Workflows has here; other names stay.

    A user's own package may be called `workflows` too: only modules that exist here are ours.
    """
    module, _, attribute = qualified_name.rpartition(".")
    top, _, rest = module.partition(".")
    ours = f"{_OURS}.{rest}" if rest else _OURS
    if top != _PEER or not _exists(ours):
        return qualified_name
    return f"{ours}.{attribute}"


def _exists(module: str) -> bool:
    with suppress(ImportError):
        return find_spec(module) is not None
    return False


def _is_component(value: object) -> bool:
    """Asks the class: an event takes any attribute, a `class_name` too."""
    return hasattr(type(value), "class_name")


def _tagged(tag: str, value: object, content: Any) -> dict[str, Any]:
    return {tag: True, _VALUE: content, _NAME: get_qualified_name(value)}


def _tag_of(data: dict[Any, Any]) -> str | None:
    """What a dictionary says that it is, if it is the form of something else."""
    if not isinstance(data.get(_NAME), str):
        return None
    return next((tag for tag in (_MODEL, _COMPONENT) if data.get(tag)), None)


def _pickled(value: Any) -> str:
    try:
        return base64.b64encode(pickle.dumps(value)).decode()
    except Exception as error:  # from the value's own __reduce__ too
        raise ValueError(
            f"{_shown(value)} is no JSON, and can't be pickled: {type(error).__name__}: {error}"
        ) from error


def _pickle_in(text: str) -> bytes | None:
    """The pickle in a text. It begins with the byte 0x80, so that its base64 is never JSON."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if content.startswith(pickle.PROTO) else None


def _shown(value: object) -> str:
    return f"a value of type {type(value).__module__}.{type(value).__qualname__}"
