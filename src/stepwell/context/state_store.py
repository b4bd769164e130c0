"""The state that the steps of a run share: `ctx.store`.

A store is a *view* on the state of a run. Each running step has a view of its own, which remembers
what the step wrote, so that a commit carries that step's writes and none of its siblings'.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, ValidationError

from stepwell._empty import empty
from stepwell._engine.ledger import WHOLE
from stepwell._engine.writes import Writes
from stepwell._names import kind_of
from stepwell.context._copies import IMMUTABLE
from stepwell.context._edits import Edit
from stepwell.context._paths import (
    MAX_DEPTH,
    assign,
    follow,
    get_by_path,
    set_by_path,
    shallow_copy,
    split,
    split_to_set,
    with_value,
)
from stepwell.context.serializers import BaseSerializer, check_serializer
from stepwell.context.state_facade import StateStorage, StateStoreFacade
from stepwell.context.state_models import (
    MODEL_T,
    DictState,
    copy_state_for_edit,
    infer_state_type,
    merge_state,
    new_state,
    only_as_a_whole,
    stored_values,
    unstored_fields,
)
from stepwell.context.state_patches import StateCheckpoint, apply_state_patch
from stepwell.context.state_records import (
    KNOWN_UNSERIALIZABLE_KEYS,
    InMemorySerializedState,
    StateRecord,
    UnserializableKeyWarning,
    decode_state,
    deserialize_state_from_dict,
    encode_state,
    parse_in_memory_state,
    serialized_state,
)
from stepwell.events import DictLikeModel

__all__ = [
    "KNOWN_UNSERIALIZABLE_KEYS",
    "MAX_DEPTH",
    "MODEL_T",
    "DictState",
    "InMemorySerializedState",
    "InMemoryStateStore",
    "StateCheckpoint",
    "StateRecord",
    "StateStorage",
    "StateStore",
    "StateStoreFacade",
    "UnserializableKeyWarning",
    "apply_state_patch",
    "copy_state_for_edit",
    "create_cleared_state",
    "decode_state",
    "deserialize_state_from_dict",
    "encode_state",
    "get_by_path",
    "infer_state_type",
    "merge_state",
    "parse_in_memory_state",
    "set_by_path",
]

create_cleared_state = new_state
"""The name that `new_state` has for others."""

_T = TypeVar("_T")


@runtime_checkable
class StateStore(Protocol[MODEL_T]):
    """What every state store can do."""

    state_type: type[MODEL_T]

    async def get_state(self) -> MODEL_T:
        """Return a shallow copy of the state."""
        ...

    async def set_state(self, state: MODEL_T) -> None:
        """Replace the state."""
        ...

    async def get(self, path: str, default: Any = ...) -> Any:
        """Return the value at a dotted path."""
        ...

    async def set(self, path: str, value: Any) -> None:
        """Set the value at a dotted path."""
        ...

    async def clear(self) -> None:
        """Begin anew, with the defaults of the state's class."""
        ...

    def edit_state(self) -> AbstractAsyncContextManager[MODEL_T]:
        """Edit the state with nobody else writing."""
        ...

    def to_dict(self, serializer: BaseSerializer) -> dict[str, Any]:
        """Return the state as data for JSON, its values written by the serializer."""
        ...


@dataclass(slots=True)
class Cell:
    """The one place where the state of a run lives; all views share it.

    Attributes:
        whole: the state can only be stored as one value, not key by key.
        editor: the task inside `edit_state`.
        is_lent: somebody outside holds the very object, and must not see what is written later.
        views: write sets of the steps that are running.
    """

    state: BaseModel
    whole: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    editor: "asyncio.Task[Any] | None" = None
    is_lent: bool = True
    views: dict[int, Writes] = field(default_factory=empty(dict[int, Writes]))

    def values(self) -> dict[str, Any]:
        """The state by top-level key, as it is stored."""
        return {WHOLE: self.state} if self.whole else stored_values(self.state)

    def lent(self) -> BaseModel:
        """The state itself, for somebody who may keep it."""
        self.is_lent = True
        return self.state

    def writable(self) -> BaseModel:
        """The state, for writing: a copy of it once, if somebody holds it."""
        if self.is_lent:
            self.state, self.is_lent = shallow_copy(self.state), False
        return self.state

    def put(self, key: str, value: Any) -> None:
        """Set the value of a top-level key.

        Raises:
            ValueError: a typed state has no such field.
        """
        state = self.writable()
        try:
            assign(state, key, value)
        except ValidationError:
            raise
        except ValueError as error:
            fields = ", ".join(type(state).model_fields)
            raise ValueError(
                f"{type(state).__name__} has no field {key!r}: declare it, or set one of {fields}"
            ) from error

    def remove(self, key: str) -> None:
        """Remove a key that the class of the state did not declare."""
        state = self.writable()
        if isinstance(state, DictLikeModel):
            state.to_dict().pop(key, None)
        elif state.__pydantic_extra__ is not None:
            state.__pydantic_extra__.pop(key, None)

    def shared_by_others(self, writes: Writes) -> set[str]:
        """The keys that other running steps have written and not committed."""
        others = [view for view in self.views.values() if view is not writes]
        return set[str]().union(*(view.assigned | view.commutative for view in others))

    def without_others(self, writes: Writes) -> dict[str, Any]:
        """The state, less what other running steps have added to the keys that this one assigned.

        That is theirs to commit: they do it again if they are run again.
        """
        values = self.values()
        for view in self.views.values():
            if view is not writes:
                for key in writes.assigned & view.commutative & values.keys():
                    values = {**values, key: view.taken_from(key, values[key])}
        return values

    def take_back(self, writes: Writes, keys: Iterable[str], durable: Mapping[str, Any]) -> None:
        """Undo what a step wrote, and nothing of what other running steps did.

        Args:
            writes: the step's, not committed.
            keys: which of its keys.
            durable: their values as they were committed, as far as they were.
        """
        others = [view for view in self.views.values() if view is not writes]
        for key in keys:
            if any(key in view.assigned | view.fetched for view in others):
                self._take_from(writes, key)  # the others hold the object itself
            else:
                self._reset(key, durable, others)

    def _take_from(self, writes: Writes, key: str) -> None:
        live = self.values().get(key)
        left = writes.taken_from(key, live)
        if isinstance(live, list):
            cast("list[Any]", live)[:] = left
        elif isinstance(live, set):
            cast("set[Any]", live).intersection_update(left)
        elif key in writes.increments:
            self.put(key, left)

    def _reset(self, key: str, durable: Mapping[str, Any], others: list[Writes]) -> None:
        adding = [view for view in others if key in view.commutative]
        if key == WHOLE and key in durable:
            self.state, self.is_lent = durable[key], False
        elif key in durable or adding:
            self.put(key, reduce(partial(_with_added, key), adding, durable.get(key)))
        else:
            self.remove(key)


def _with_added(key: str, value: Any, view: Writes) -> Any:
    """A value with what a step added to it; what can't be added to is replaced."""
    if key in view.increments:
        return (value if isinstance(value, int | float) else 0) + view.increments[key]
    if key in view.appended:
        return [*(cast("list[Any]", value) if isinstance(value, list) else ()), *view.appended[key]]
    return {*(cast("set[Any]", value) if isinstance(value, set) else ()), *view.added[key]}


class InMemoryStateStore(Generic[MODEL_T]):
    """A view on a state that lives in this process.

    Args:
        initial_state: the state to begin with.
    """

    def __init__(self, initial_state: MODEL_T) -> None:
        if not isinstance(initial_state, BaseModel):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(
                f"a state is an instance of a pydantic model, not {kind_of(initial_state)}: give "
                f"DictState(...), or an instance of a class derived from BaseModel"
            )
        whole = only_as_a_whole(type(initial_state))
        self._cell = Cell(initial_state, whole=whole)
        self._writes: Writes | None = None
        self._check: Callable[[Any, str], None] = _accept

    @classmethod
    def from_dict(
        cls, serialized_state: Mapping[str, Any], serializer: BaseSerializer
    ) -> "InMemoryStateStore[MODEL_T]":
        """Rebuild a store from what `to_dict` made of one.

        Args:
            serialized_state: the data; an empty one is an empty `DictState`.
            serializer: the one that wrote the values, or one that reads its texts.

        Raises:
            ValueError: it is the data of another kind of store, or a value can't be read.
        """
        parse_in_memory_state(serialized_state)
        check_serializer(serializer, "serializer")
        state = deserialize_state_from_dict(serialized_state, serializer)
        return cls(cast("MODEL_T", state))

    def to_dict(self, serializer: BaseSerializer) -> dict[str, Any]:
        """Return the state as data for JSON, its values written by the serializer.

        Args:
            serializer: turns each value into text.

        Raises:
            ValueError: a value can't be serialized; names its key. One of
                `KNOWN_UNSERIALIZABLE_KEYS` is left out instead, with a warning.
        """
        return serialized_state(self._cell.state, serializer)

    def view(self, writes: Writes | None, check: Callable[[Any, str], None]) -> Any:
        """Return another view on the same state.

        Args:
            writes: remembers what is written through the view.
            check: raises for a value that has no durable form.
        """
        other: InMemoryStateStore[MODEL_T] = object.__new__(type(self))
        other._cell = self._cell
        other.track(writes, check)
        return other

    def track(self, writes: Writes | None, check: Callable[[Any, str], None] | None = None) -> None:
        """Remember what is written through this view from now on.

        Args:
            writes: where; None to remember nothing.
            check: raises for a value that has no durable form; None to take all.
        """
        self._writes, self._check = writes, check or _accept
        if writes is not None:
            self._cell.views[id(writes)] = writes

    @property
    def cell(self) -> Cell:
        """The state that this and all other views share."""
        return self._cell

    @property
    def state_type(self) -> type[MODEL_T]:
        """The class of the state."""
        return cast("type[MODEL_T]", type(self._cell.state))

    async def get_state(self) -> MODEL_T:
        """Return a shallow copy of the state."""
        self._fetched(self._cell.values())
        return cast("MODEL_T", shallow_copy(self._cell.state))

    async def get(self, path: str, default: Any = ...) -> Any:
        """Return the value at a dotted path; `""` is the state itself.

        Args:
            path: keys, fields and indexes, with dots between them.
            default: returned where there is nothing.

        Raises:
            ValueError: there is nothing at the path, and no default.
        """
        segments = split(path)
        try:
            value = follow(self._cell.state if segments else self._cell.lent(), segments)
        except (LookupError, AttributeError, TypeError, ValueError):
            if default is ...:
                raise ValueError(
                    f"Path {path!r} not found in state: set it first, or give a default"
                ) from None
            return default
        if self._writes is not None and type(value) not in IMMUTABLE:
            self._fetched(segments[:1] or self._cell.values())
        return value

    async def set(self, path: str, value: Any) -> None:
        """Set the value at a dotted path; dictionaries on the way are made.

        Raises:
            ValueError: the path is empty, or the typed state has no such field.
            AttributeError: an index that the list does not have.
            EncodingError: with a checkpointer: a value that has no durable form.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("set")
        segments = split_to_set(path)
        self._check_storable(segments[0], value, path)
        await self._exclusively(lambda: self._set(segments, value))

    def _set(self, segments: list[str], value: Any) -> None:
        key, rest = segments[0], segments[1:]
        if rest:
            value = with_value(self._value_of(key, default={}), rest, value)
        self._cell.put(key, value)
        self._assigned([key])

    async def set_state(self, state: MODEL_T) -> None:
        """Replace the state; fields of a parent class are merged over the present ones.

        Raises:
            ValueError: the state is of an unrelated class.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("set_state")
        await self._exclusively(lambda: self._replace(merge_state(self._cell.state, state)))

    async def clear(self) -> None:
        """Begin anew, with the defaults of the state's class.

        Raises:
            ValueError: the class has fields without a default.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("clear")
        await self._exclusively(lambda: self._replace(new_state(self.state_type)))

    @asynccontextmanager
    async def edit_state(self) -> AsyncGenerator[MODEL_T]:
        """Edit the state with nobody else writing; an exception in the block undoes the edit.

        Readers see the state as it was until the block ends.

        Raises:
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("edit_state")
        async with self._cell.lock:
            self._cell.editor = asyncio.current_task()
            try:
                edit = Edit(self._cell.state)
                yield cast("MODEL_T", edit.state)
                self._publish(edit)
            finally:
                self._cell.editor = None

    async def increment(self, key: str, amount: float = 1) -> Any:
        """Add to a number; exact across crashes, also when several running steps do it.

        Args:
            key: a top-level key; missing counts as 0.
            amount: what to add.

        Returns:
            The sum, which the other running steps' additions are part of.

        Raises:
            TypeError: there is something else than a number.
        """
        self._check_not_editing("increment")
        _check_key("increment", key)
        if isinstance(amount, bool) or not isinstance(amount, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(f"increment({key!r}) by {amount!r:.80}: give a number")
        return await self._exclusively(lambda: self._increment(key, amount))

    def _increment(self, key: str, amount: float) -> Any:
        total = self._number(key) + amount
        self._cell.put(key, total)
        if self._writes is not None:
            self._writes.increment(key, amount)
        return total

    async def append(self, key: str, *values: Any) -> None:
        """Append to a list; exact across crashes, also when several running steps do it.

        Args:
            key: a top-level key; missing counts as an empty list.
            values: what to append.

        Raises:
            TypeError: there is something else than a list.
        """
        self._check_not_editing("append")
        _check_key("append", key)
        await self._exclusively(lambda: self._append(key, values))

    def _append(self, key: str, values: tuple[Any, ...]) -> None:
        self._collection(key, list).extend(values)
        if self._writes is not None:
            self._writes.append(key, values)

    async def add(self, key: str, *values: Any) -> None:
        """Add to a set; exact across crashes, also when several running steps do it.

        Args:
            key: a top-level key; missing counts as an empty set.
            values: what to add.

        Raises:
            TypeError: there is something else than a set.
        """
        self._check_not_editing("add")
        _check_key("add", key)
        for value in values:
            if not isinstance(value, Hashable):
                raise TypeError(
                    f"add({key!r}) of {kind_of(value)}, which has no hash: a set can't hold it. "
                    f"Use append(), or a value that can't change"
                )
        await self._exclusively(lambda: self._add(key, values))

    def _add(self, key: str, values: tuple[Any, ...]) -> None:
        self._collection(key, set).update(values)
        if self._writes is not None:
            self._writes.add(key, values)

    def _number(self, key: str) -> Any:
        value = self._top(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(
                f"state key {key!r} holds {type(value).__name__}, not a number to add to: "
                f"set() it to a number first"
            )
        return value

    def _collection(self, key: str, kind: type[Any]) -> Any:
        value = self._top(key, ...)
        if value is ...:
            value = kind()
            self._cell.put(key, value)
        if not isinstance(value, kind):
            holds = type(value).__name__
            raise TypeError(
                f"state key {key!r} holds {holds}, not a {kind.__name__} to add to: set() it to a "
                f"{kind.__name__} first"
            )
        return value

    def _top(self, key: str, default: Any) -> Any:
        """The value of a top-level key."""
        if self._cell.whole:
            raise TypeError(
                f"{self.state_type.__name__} is stored as one value (it has its own serializer or "
                f"validators), so that {key!r} can't be added to by several steps: use edit_state()"
            )
        return self._value_of(key, default)

    def _value_of(self, key: str, default: Any) -> Any:
        try:
            return follow(self._cell.state, [key])
        except (LookupError, AttributeError):
            return default

    async def _exclusively(self, write: Callable[[], _T]) -> _T:
        """Write when nobody edits the state."""
        if not self._cell.lock.locked():
            return write()
        async with self._cell.lock:
            return write()

    def _check_not_editing(self, what: str) -> None:
        editor = self._cell.editor
        if editor is not None and editor is asyncio.current_task():
            raise RuntimeError(
                f"{what}() was called inside this step's own edit_state(): change the state that "
                f"the block was given instead"
            )

    def _check_storable(self, key: str, value: Any, path: str) -> None:
        """Refuse a value that has no durable form, unless its field is never stored."""
        if key not in unstored_fields(self.state_type):
            self._check(value, f"state key {path!r}")

    def _publish(self, edit: Edit) -> None:
        changed = edit.changed()
        for key, value in changed.items():
            self._check_storable(key, value, key)
        for key in edit.removed():
            self._cell.remove(key)
        for key, value in changed.items():
            self._cell.put(key, value)
        self._assigned([*edit.removed(), *changed])

    def _replace(self, state: BaseModel) -> None:
        before = self._cell.values().keys()
        self._cell.state, self._cell.is_lent = state, True
        self._assigned([*before, *self._cell.values()])

    def _assigned(self, keys: Iterable[str]) -> None:
        if self._writes is not None:
            self._writes.assign([WHOLE] if self._cell.whole else keys)

    def _fetched(self, keys: Iterable[str]) -> None:
        if self._writes is not None:
            self._writes.fetch([WHOLE] if self._cell.whole else keys)


def _check_key(method: str, key: object) -> None:
    """Refuse what names no value at the top of the state."""
    if not isinstance(key, str):
        raise TypeError(f"{method}({key!r:.80}): the key is no text. Give a str.")
    if not key or "." in key:
        raise ValueError(
            f"{method}({key!r}): this works on a key at the top of the state, without dots. Use "
            f"edit_state() for what is inside of it."
        )


def _accept(value: Any, where: str) -> None:
    """Without a checkpointer every value will do."""
