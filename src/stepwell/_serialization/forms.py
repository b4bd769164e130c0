"""What a form is: how values of one type are written as JSON, and read back."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from reprlib import repr as short_repr
from types import NoneType
from typing import Any, Protocol, Self, TypeAlias, cast

from stepwell._serialization.registry import TypeRegistry

Json: TypeAlias = Any
Encoder: TypeAlias = Callable[["Walker", Any, int], Json]
Decoder: TypeAlias = Callable[["Walker", dict[str, Json], int], Any]

TAG = "$type"
VALUE = "value"
PLAIN: frozenset[type] = frozenset({str, int, bool, NoneType})  # JSON as they stand
PATH_STEPS = 8  # what an error message shows of a deep path


class Walker(Protocol):
    """Encodes and decodes the parts of a value; `depth` is the level at which the part sits."""

    types: TypeRegistry

    def encode_value(self, value: Any, depth: int) -> Json:
        """Return the value as JSON data; raises Refusal."""
        ...

    def decode_value(self, tree: Json, depth: int) -> Any:
        """Return the value that the JSON data stands for; raises Refusal."""
        ...


class Form(Protocol):
    """The stored form of one class. `depth` is the level of what its instances hold."""

    def encode(self, walker: Walker, value: Any, depth: int, /) -> dict[str, Json]:
        """Return a tagged object."""
        ...

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int, /) -> Any:
        """Return an instance."""
        ...


class Refusal(Exception):  # noqa: N818 - internal: Codec makes an error with place and remedy of it
    """A part of a value has no form. Collects the path to that part on its way up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._steps: list[str] = []

    @property
    def path(self) -> str:
        """The way from the whole value to the refused part: `[3].author`."""
        steps = self._steps[::-1]
        return "".join(steps if len(steps) <= PATH_STEPS else [*steps[:PATH_STEPS], "..."])

    def under(self, step: str) -> Self:
        """Add the step that leads to the part from what holds it."""
        self._steps.append(step)
        return self


def item_step(key: object) -> str:
    """How a path shows an index or a key."""
    return f"[{short_repr(key)}]"


def attribute_step(name: str) -> str:
    """How a path shows an attribute."""
    return f".{name}"


def is_plain(values: Iterable[Any]) -> bool:
    """Whether all values are JSON scalars as they stand: a float is one if it is finite."""
    kinds = set(map(type, values))
    if kinds <= PLAIN:
        return True
    return kinds <= PLAIN | {float} and all(isfinite(v) for v in values if type(v) is float)


def encode_list(walker: Walker, values: Iterable[Any], depth: int) -> list[Json]:
    """Encode the values one by one."""
    encoded: list[Json] = []
    try:
        for value in values:
            encoded.append(value if type(value) in PLAIN else walker.encode_value(value, depth))  # noqa: PERF401 - its length is the index of a refused value
    except Refusal as refusal:
        raise refusal.under(item_step(len(encoded))) from None
    return encoded


def encode_map(
    walker: Walker,
    values: Mapping[str, Any],
    depth: int,
    step: Callable[[str], str] = item_step,
) -> dict[str, Json]:
    """Encode the values of a mapping by name; `step` shows a name in the path of a refusal."""
    encoded: dict[str, Json] = {}
    name = ""
    try:
        for name, value in values.items():
            encoded[name] = value if type(value) in PLAIN else walker.encode_value(value, depth)
    except Refusal as refusal:
        raise refusal.under(step(name)) from None
    return encoded


def decode_list(walker: Walker, trees: Json, depth: int) -> list[Any]:
    """Decode a list that belongs to a form."""
    if type(trees) is not list:
        raise Refusal("a list is missing in its stored form")
    trees = cast("list[Json]", trees)
    return [t if type(t) in PLAIN else walker.decode_value(t, depth) for t in trees]


def decode_map(walker: Walker, trees: Json, depth: int) -> dict[str, Any]:
    """Decode the values of a mapping that belongs to a form: it is no value, and has no tag."""
    if type(trees) is not dict:
        raise Refusal("an object is missing in its stored form")
    items = cast("dict[str, Json]", trees).items()
    return {n: t if type(t) in PLAIN else walker.decode_value(t, depth) for n, t in items}


def text_of(tagged: dict[str, Json]) -> str:
    """Return the text that a tagged object stands for."""
    text = tagged[VALUE]
    if type(text) is not str:
        raise Refusal("a text is missing in its stored form")
    return text
