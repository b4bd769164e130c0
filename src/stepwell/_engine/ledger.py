"""What the store holds of the state, and the smallest patch that brings it up to date.

A top-level key of the state is one field, `state:<key>`. A list or set that only grew is not
written again: what was added becomes a chunk, `state:<key>+<n>`. Sixteen chunks of one level are
merged into one of the next, so an element is rewritten once a level: N elements cost O(N log N)
bytes with base 16, and a run never has more than about 16 log16(N) chunks (the log-structured
merge of O'Neil et al., 1996).

Changes are found by value, never by reference: steps get the live objects and may change them in
place. Lists of plain scalars are compared at the speed of C, other lists by the text of each
element, everything else by its whole text.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, cast
from urllib.parse import unquote

from stepwell._empty import empty
from stepwell._engine.loading import NUMBER
from stepwell._engine.snapshot import Encode
from stepwell._engine.writes import Writes
from stepwell._serialization import check_name
from stepwell.errors import DecodingError, EncodingError

__all__ = ["Draft", "Ledger", "state_field"]

FAN_IN = 16
PLAIN = frozenset({str, int, bool, float, type(None)})
EXACT = frozenset({str, type(None)})
GROWING: frozenset[type] = frozenset({list, set})
WHOLE = ""
"""The key of a state model that can only be stored as one value."""

Patch = dict[str, str | None]


@dataclass(slots=True)
class Draft:
    """A patch that was worked out; `accept` makes the ledger believe it."""

    patch: Patch = field(default_factory=empty(dict[str, str | None]))
    accepting: list[Callable[[], None]] = field(default_factory=empty(list[Callable[[], None]]))

    def accept(self) -> Patch:
        """Return the patch; from now on it counts as written."""
        for accept in self.accepting:
            accept()
        return self.patch


@dataclass(slots=True)
class _Chunk:
    number: int
    count: int
    level: int


@dataclass(slots=True)
class _Text:
    """A value that is stored as one text; a scalar keeps its value, to be added to."""

    text: str
    value: Any = None


class _Grown:
    """A stored list or set: its elements (themselves if plain, else as text) and its chunks."""

    def __init__(self, kind: type, elements: list[Any], *, plain: bool) -> None:
        self.kind = kind
        self.elements = elements
        self.plain = plain
        self.exact = EXACT.issuperset(map(type, elements))
        self.members: set[Any] | None = set(elements) if kind is set else None
        self.chunks: list[_Chunk] = []
        self.next = 1

    def tail(self, value: list[Any] | set[Any], encode: Callable[[Any], str]) -> list[Any] | None:
        """What was added at the end, as elements; None if anything else changed."""
        if self.members is not None:
            return self._added(cast("set[Any]", value), encode)
        listed = cast("list[Any]", value)
        kept = len(self.elements)
        if len(listed) < kept:
            return None
        if not self.plain:
            texts = [encode(element) for element in listed]
            return texts[kept:] if texts[:kept] == self.elements else None
        head, tail = listed[:kept], listed[kept:]
        if head != self.elements or not _are_plain(tail):
            return None
        if not self.exact and list(map(type, head)) != list(map(type, self.elements)):
            return None
        return tail

    def _added(self, value: set[Any], encode: Callable[[Any], str]) -> list[Any] | None:
        elements = value if self.plain else {encode(element) for element in value}
        members = cast("set[Any]", self.members)
        if not members <= elements or (self.plain and not _are_plain(elements)):
            return None
        if not self.exact and not set(map(_typed, members)) <= set(map(_typed, elements)):
            return None
        return sorted(elements - members, key=repr)

    def as_elements(self, values: list[Any], encode: Callable[[Any], str]) -> list[Any] | None:
        """Values as this list keeps them; None if it can't keep them as they are."""
        if not self.plain:
            return [encode(value) for value in values]
        return values if _are_plain(values) else None

    def plan_chunk(self, count: int) -> tuple[list[_Chunk], _Chunk]:
        """The chunks that a new one of `count` elements replaces, and what it becomes."""
        fresh, merged = _Chunk(self.next, count, 0), 0
        while self._full(merged, fresh.level):
            run = self.chunks[len(self.chunks) - merged - (FAN_IN - 1) : len(self.chunks) - merged]
            merged += len(run)
            total = fresh.count + sum(chunk.count for chunk in run)
            fresh = _Chunk(run[0].number, total, fresh.level + 1)
        return self.chunks[len(self.chunks) - merged :], fresh

    def _full(self, merged: int, level: int) -> bool:
        left = len(self.chunks) - merged
        run = self.chunks[max(0, left - FAN_IN + 1) : left]
        return len(run) == FAN_IN - 1 and all(chunk.level == level for chunk in run)

    def grow(self, tail: list[Any], replaced: int, fresh: _Chunk) -> None:
        """Take the tail in; `replaced` chunks at the end became `fresh`."""
        self.elements += tail
        self.exact = self.exact and EXACT.issuperset(map(type, tail))
        if self.members is not None:
            self.members.update(tail)
        del self.chunks[len(self.chunks) - replaced :]
        self.chunks.append(fresh)
        self.next += 1

    def text(self, elements: list[Any]) -> str:
        """The elements of one chunk as a JSON list."""
        if self.plain:
            return json.dumps(elements, separators=(",", ":"))
        return f"[{','.join(elements)}]"


_Stored = _Text | _Grown


class Ledger:
    """The committed side of one run's state.

    Args:
        encode: turns a value into text.
        encode_key: turns the value of a top-level key into text, where the key says more about it
            than the value does: a field of a typed state.
    """

    def __init__(self, encode: Encode, encode_key: Callable[[str, Any], str] | None = None) -> None:
        self._encode = encode
        self._encode_key: Callable[[str, Any], str] = encode_key or self._encode_plainly
        self._stored: dict[str, _Stored] = {}

    def _encode_plainly(self, key: str, value: Any) -> str:
        return self._encode(value, state_field(key))

    def draft(self, writes: Writes, values: Mapping[str, Any], shared: Collection[str]) -> Draft:
        """Work out the patch for what a step wrote.

        Args:
            writes: what it did.
            values: the live state by top-level key; a key that is not there was removed.
            shared: keys with commutative operations of other running steps on them. To have
                fetched one of these changes nothing: the others' work is theirs to commit.

        Raises:
            EncodingError: a value has no durable form; names key, path and type.
        """
        draft = Draft()
        whole = writes.assigned | (writes.fetched - frozenset(shared))
        for key in sorted(whole | writes.commutative):
            if key not in values:
                self._remove(draft, key)
            elif key in whole:
                self._assign(draft, key, values[key])
            else:
                self._apply(draft, key, writes, values[key])
        return draft

    def _apply(self, draft: Draft, key: str, writes: Writes, live: Any) -> None:
        """Add a step's own commutative operations to what is stored, none of its siblings'."""
        stored = self._stored.get(key)
        if key in writes.increments:
            before = stored.value if isinstance(stored, _Text) else 0
            before = before if isinstance(before, int | float) else 0
            self._assign(draft, key, before + writes.increments[key])
            return
        values = writes.appended.get(key) or writes.added.get(key, [])
        if not isinstance(stored, _Grown):
            self._assign(draft, key, type(live)(values))
            return
        tail = stored.as_elements(values, self._element_encoder(key))
        if tail is None:
            self._assign(draft, key, stored.kind([*stored.elements, *values]))
            return
        if stored.members is not None:
            tail = [element for element in dict.fromkeys(tail) if element not in stored.members]
        self._grow(draft, key, stored, tail)

    def _assign(self, draft: Draft, key: str, value: Any) -> None:
        stored = self._stored.get(key)
        if isinstance(stored, _Grown) and stored.kind is type(value):
            tail = stored.tail(value, self._element_encoder(key))
            if tail is not None:
                self._grow(draft, key, stored, tail)
                return
        text = self._encode_key(key, value)
        if isinstance(stored, _Text) and stored.text == text:
            return
        self._replace(draft, key, text, self._shadow(key, value, text))

    def _grow(self, draft: Draft, key: str, stored: _Grown, tail: list[Any]) -> None:
        if not tail:
            return
        replaced, fresh = stored.plan_chunk(len(tail))
        for chunk in replaced:
            draft.patch[_chunk_field(key, chunk.number)] = None
        behind = fresh.count - len(tail)
        elements = (stored.elements[-behind:] if behind else []) + tail
        draft.patch[_chunk_field(key, fresh.number)] = stored.text(elements)
        draft.accepting.append(lambda: stored.grow(tail, len(replaced), fresh))

    def _replace(self, draft: Draft, key: str, text: str, shadow: _Stored) -> None:
        check_name(key, "a key of the state")
        self._drop_chunks(draft, key)
        draft.patch[state_field(key)] = text
        draft.accepting.append(lambda: self._stored.__setitem__(key, shadow))

    def _remove(self, draft: Draft, key: str) -> None:
        if key not in self._stored:
            return
        self._drop_chunks(draft, key)
        draft.patch[state_field(key)] = None
        draft.accepting.append(lambda: self._stored.__delitem__(key))

    def _drop_chunks(self, draft: Draft, key: str) -> None:
        stored = self._stored.get(key)
        if isinstance(stored, _Grown):
            for chunk in stored.chunks:
                draft.patch[_chunk_field(key, chunk.number)] = None

    def _shadow(self, key: str, value: object, text: str) -> _Stored:
        kind = type(value)
        if kind not in GROWING:
            return _Text(text, value if kind in PLAIN else None)
        elements = list(cast("Iterable[Any]", value))
        if _are_plain(elements):
            return _Grown(kind, elements, plain=True)
        encode = self._element_encoder(key)
        try:
            return _Grown(kind, [encode(element) for element in elements], plain=False)
        except EncodingError:  # only the field as a whole has a text
            return _Text(text)

    def _element_encoder(self, key: str) -> Callable[[Any], str]:
        where = f"{state_field(key)}, in an element"
        return lambda element: self._encode(element, where)

    def load(
        self, fields: Mapping[str, str], decode: Callable[[str, str], Any]
    ) -> Iterator[tuple[str, Any]]:
        """Read the state out of a map, and count it as written; yields keys and values.

        Raises:
            DecodingError: a field can't be read; names it.
        """
        chunks = _chunks_by_key(fields)
        for name, text in fields.items():
            key = _key_of(name)
            if key is None:
                continue
            value = decode(text, f"field {name!r}")
            shadow = self._shadow(key, value, text)
            for number, chunk in sorted(chunks.pop(key, {}).items()):
                self._load_chunk(
                    name, shadow, value, number, decode(chunk, f"field {name}+{number}")
                )
            self._stored[key] = shadow
            yield key, value
        if chunks:
            raise DecodingError(
                f"field {state_field(min(chunks))!r} is missing: only chunks are there"
            )

    def _load_chunk(self, name: str, shadow: _Stored, value: Any, number: int, tail: Any) -> None:
        if not isinstance(shadow, _Grown) or not isinstance(tail, list):
            raise DecodingError(f"field '{name}+{number}' is a chunk of something that is no list")
        listed = cast("list[Any]", tail)
        try:
            value.extend(listed) if shadow.kind is list else value.update(listed)
        except TypeError as error:
            raise DecodingError(f"field '{name}+{number}' is no chunk of a set: {error}") from error
        if shadow.plain and not _are_plain(listed):
            raise DecodingError(f"field '{name}+{number}' holds other values than its list")
        elements = listed if shadow.plain else [self._encode(one, name) for one in listed]
        shadow.next = number
        shadow.grow(elements, 0, _Chunk(number, len(elements), _level(len(elements))))


def _are_plain(values: Collection[Any]) -> bool:
    """Whether JSON has all of these values as they are; it has no NaN and no infinity."""
    types = set(map(type, values))
    if not types <= PLAIN:
        return False
    return float not in types or all(type(one) is not float or isfinite(one) for one in values)


def state_field(key: str) -> str:
    """The field of a top-level key of the state; `+` separates chunk numbers, so it is quoted."""
    if key == WHOLE:
        return "state"
    return f"state:{key.replace('%', '%25').replace('+', '%2B')}"


def _chunk_field(key: str, number: int) -> str:
    return f"{state_field(key)}+{number}"


def _key_of(name: str) -> str | None:
    """The key that a field holds the value, not a chunk, of."""
    if name == "state":
        return WHOLE
    if not name.startswith("state:") or "+" in name:
        return None
    return unquote(name.removeprefix("state:"))


def _chunks_by_key(fields: Mapping[str, str]) -> dict[str, dict[int, str]]:
    chunks: dict[str, dict[int, str]] = {}
    for name, text in fields.items():
        base, plus, number = name.partition("+")
        key = _key_of(base)
        if not plus or key is None:
            continue
        if not NUMBER.fullmatch(number):
            raise DecodingError(f"field {name!r:.80} should end with the number of a chunk")
        chunks.setdefault(key, {})[int(number)] = text
    return chunks


def _typed(element: object) -> tuple[type, object]:
    """Tells 1, 1.0 and True apart, which are equal."""
    return type(element), element


def _level(count: int) -> int:
    """The level that a chunk of so many elements is counted to after loading."""
    level = 0
    while count >= FAN_IN:
        count //= FAN_IN
        level += 1
    return level
