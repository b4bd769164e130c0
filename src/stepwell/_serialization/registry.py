"""Which classes may come back from stored data, by name. A name never causes an import."""

import builtins
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import (
    Any,
    Generic,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import BaseModel
from typing_extensions import TypeIs, is_typeddict

from stepwell import errors, events
from stepwell._names import type_name
from stepwell.errors import EncodingError

__all__ = ["DEFAULT_TYPES", "TypeRegistry", "register", "register_codec", "type_name"]

T = TypeVar("T")
C = TypeVar("C")

_CONTENT_TYPES = (str, bytes, bytearray, int, float, complex, list, dict, set, frozenset, PurePath)


@dataclass(frozen=True, slots=True)
class ForeignCodec(Generic[T]):
    """What the user told us about a class that is not theirs.

    Attributes:
        encode: takes an instance apart, or what `capture` made of it.
        decode: makes it again.
        capture: reads an instance where only an await can.
        lends: for events that a run begins with: what they hold for its state, by key.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], T]
    capture: Callable[[T], Awaitable[Any]] | None = None
    lends: Callable[[T], Mapping[str, Any]] | None = None


def is_class(value: object) -> TypeIs[type[Any]]:
    """Whether the value is a class, and not a generic alias of one."""
    return isinstance(value, type) and get_origin(value) is None


def is_registrable(cls: object) -> bool:
    """Whether instances of a class can be taken apart, and put together again, without a codec."""
    if not is_class(cls) or cls is tuple:
        return False
    if issubclass(cls, (BaseModel, Enum, BaseException, tuple)):
        return True
    return is_dataclass(cls) and not issubclass(cls, _CONTENT_TYPES)


class TypeRegistry:
    """The classes that may come back from stored data, by name. A name never causes an import.

    Args:
        parent: where a name is looked up that is not found here.
    """

    def __init__(self, parent: "TypeRegistry | None" = None) -> None:
        self._parent = parent
        self._types: dict[str, type] = {}
        self._names: dict[type, str] = {}
        self._codecs: dict[type, ForeignCodec[Any]] = {}

    def register(self, *types: type) -> None:
        """Add models, dataclasses, enums, (named) tuples and exceptions.

        Another class of the same name is replaced: its module was imported again.

        Raises:
            EncodingError: it is a class of another kind.
        """
        for cls in types:
            if not is_registrable(cls):
                raise EncodingError(
                    f"{cls!r} is no model, dataclass, enum, tuple or exception:"
                    f" say how to store it with stepwell.register_codec(...)"
                )
            self._put(type_name(cls), cls)

    def register_codec(self, cls: type, name: str | None, codec: ForeignCodec[Any]) -> None:
        """Add a class that its own codec takes apart; `name` stands for it in stored data."""
        if name is not None and ":" not in name:
            raise EncodingError(f"the name {name!r} of a codec needs a colon: 'package:{name}'")
        self._put(name or type_name(cls), cls)
        self._codecs[cls] = codec

    def _put(self, name: str, cls: type) -> None:
        former = self._types.get(name)
        if former is not None and former is not cls:
            self._names.pop(former, None)
        self._types[name] = cls
        self._names[cls] = name

    def register_annotation(self, annotation: object) -> None:
        """Add every class that a type annotation mentions, and those that their fields mention.

        Forward references that can't be resolved are skipped.
        """
        for cls in _classes_in(annotation, {}):
            self.register(cls)

    def register_namespace(self, names: Mapping[str, object]) -> None:
        """Add the models, dataclasses, enums and named tuples of a namespace: `vars(module)`."""
        for value in tuple(names.values()):
            if (
                is_class(value)
                and is_registrable(value)
                and not issubclass(value, BaseException)
                and (hasattr(value, "_make") or not issubclass(value, tuple))
            ):
                self.register(value)

    def name_of(self, cls: type) -> str | None:
        """Return the name of a registered class."""
        name = self._names.get(cls)
        return self._parent.name_of(cls) if name is None and self._parent else name

    def resolve(self, name: str) -> type | None:
        """Return the class of that name, from here or from the parent."""
        cls = self._types.get(name)
        return self._parent.resolve(name) if cls is None and self._parent else cls

    def codec_of(self, cls: type) -> ForeignCodec[Any] | None:
        """Return the user's codec for a class."""
        codec = self._codecs.get(cls)
        return self._parent.codec_of(cls) if codec is None and self._parent else codec


def _classes_in(annotation: object, seen: dict[int, object]) -> Iterator[type]:
    """Walk an annotation: generics, unions, aliases, and the fields of the classes in it."""
    if id(annotation) in seen:
        return
    seen[id(annotation)] = annotation  # held, so that no other object gets its id
    if is_class(annotation) and is_registrable(annotation):
        yield annotation
    for part in _parts_of(annotation):
        yield from _classes_in(part, seen)


def _parts_of(annotation: object) -> list[object]:
    if isinstance(annotation, list):  # the arguments of a Callable
        return cast("list[object]", annotation)
    if is_class(annotation):
        return _field_types(annotation)
    if isinstance(annotation, Enum):  # a member, in a Literal
        return [type(annotation)]
    return [get_origin(annotation), *get_args(annotation), *_meanings(annotation)]


def _meanings(annotation: object) -> list[object]:
    """What a type variable, a NewType or a type alias stands for."""
    meanings: list[object] = []
    for attribute in ("__bound__", "__constraints__", "__supertype__", "__value__"):
        with contextlib.suppress(NameError):  # evaluated only now: a forward reference
            meaning: object = getattr(annotation, attribute, None)
            meanings.append(list(cast("Any", meaning)) if isinstance(meaning, tuple) else meaning)
    return meanings


def _field_types(cls: type[Any]) -> list[object]:
    if issubclass(cls, BaseModel):
        cls.model_rebuild(raise_errors=False)
        generic_args: tuple[object, ...] = cls.__pydantic_generic_metadata__["args"]
        return [*(field.annotation for field in cls.__pydantic_fields__.values()), *generic_args]
    if is_dataclass(cls) or is_typeddict(cls) or hasattr(cls, "_field_defaults"):
        return _type_hints(cls)
    return []


def _type_hints(cls: type[Any]) -> list[object]:
    try:
        return list(get_type_hints(cls).values())
    except (NameError, TypeError, AttributeError, SyntaxError):  # one forward reference fails all
        return list(cls.__annotations__.values())


DEFAULT_TYPES = TypeRegistry()
"""The process-wide registry. It knows the exceptions of Python, and our events and errors."""

for _module in (builtins, errors, events):
    DEFAULT_TYPES.register(
        *(
            cls
            for cls in vars(_module).values()
            if is_class(cls)
            and issubclass(cls, (BaseException, events.Event))
            and cls.__module__ == _module.__name__
        )
    )


@overload
def register(cls: type[T], /) -> type[T]: ...
@overload
def register(first: type, second: type, /, *others: type) -> None: ...
def register(*types: type) -> type | None:
    """Let instances of these classes be stored in runs, and come back as what they are.

    Not needed for events, models and other classes that are named in a step's signature: they,
    and the classes in their fields, are known. Needed for those that no annotation shows, such
    as a model that a step puts into `ctx.store`. Classes in the fields of `types` are
    registered with them.

    Args:
        *types: Pydantic models, dataclasses, enums, (named) tuples and exception classes.

    Returns:
        The class, if it is one, so that `@register` may stand above it.

    Raises:
        EncodingError: it is a class of another kind: use `register_codec`.
    """
    for cls in types:
        DEFAULT_TYPES.register(cls)
        DEFAULT_TYPES.register_annotation(cls)
    return types[0] if len(types) == 1 else None


@overload
def register_codec(
    cls: type[T],
    *,
    encode: Callable[[T], Any],
    decode: Callable[[Any], T],
    name: str | None = None,
) -> None: ...
@overload
def register_codec(
    cls: type[T],
    *,
    encode: Callable[[C], Any],
    decode: Callable[[Any], T],
    name: str | None = None,
    capture: Callable[[T], Awaitable[C]],
) -> None: ...
def register_codec(
    cls: type[T],
    *,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], T],
    name: str | None = None,
    capture: Callable[[T], Awaitable[Any]] | None = None,
) -> None:
    """Say how instances of a class that is not yours are stored in runs.

    It holds for this very class, not for its subclasses.

    Args:
        cls: the class.
        encode: returns what stands for an instance: anything that can be stored.
        decode: makes the instance again from what `encode` returned.
        name: what names the class in stored data, with a colon in it. By default
            `module:qualname`, which changes when the class moves.
        capture: reads an instance that can only be read by an await, such as one whose content
            is in a database; `encode` then gets what it returned. It is awaited before the
            commit of a step that had to do with the instance, which must be a top-level value
            of the state.

    Raises:
        EncodingError: `name` has no colon.
    """
    DEFAULT_TYPES.register_codec(cls, name, ForeignCodec(encode, decode, capture))
