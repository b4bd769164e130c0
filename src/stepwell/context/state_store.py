"""The state that the steps of a run share: `ctx.store`.

A store is a *view* on the state of a run. Each running step has a view of its own, which remembers
what the step wrote, so that a commit carries that step's writes and none of its siblings'.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, Protocol, cast, runtime_checkable

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVar, override

from stepwell._engine.ledger import WHOLE, Writes
from stepwell.context._paths import (
    MAX_DEPTH,
    get_by_path,
    set_by_path,
    set_item,
    shallow_copy,
    split,
)
from stepwell.events import DictLikeModel

__all__ = [
    "MAX_DEPTH",
    "MODEL_T",
    "DictState",
    "InMemoryStateStore",
    "StateStore",
    "infer_state_type",
]

IMMUTABLE = frozenset({str, int, bool, float, bytes, complex, type(None)})


class DictState(DictLikeModel):
    """The state of a workflow that declares no state of its own: any key, any value."""


_T = TypeVar("_T")
MODEL_T = TypeVar("MODEL_T", bound=BaseModel, default=DictState)

_MISSING: Any = object()


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


@dataclass(slots=True)
class Cell:
    """The one place where the state of a run lives; all views share it.

    Attributes:
        whole: the state can only be stored as one value, not key by key.
        editor: the task inside `edit_state`.
        views: write sets of the steps that are running.
    """

    state: BaseModel
    whole: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    editor: "asyncio.Task[Any] | None" = None
    views: dict[int, Writes] = field(default_factory=dict[int, Writes])

    def values(self) -> dict[str, Any]:
        """The state by top-level key, as it is stored."""
        if self.whole:
            return {WHOLE: self.state}
        values, excluded = _top_level(self.state), _excluded_fields(type(self.state))
        if not excluded:
            return values
        return {key: value for key, value in values.items() if key not in excluded}

    def shared_by_others(self, writes: Writes) -> set[str]:
        """The keys that other running steps have written and not committed."""
        others = [view for view in self.views.values() if view is not writes]
        return set[str]().union(*(view.assigned | view.commutative() for view in others))

    def without_others(self, writes: Writes) -> dict[str, Any]:
        """The state, less what other running steps have added to the keys that this one assigned.

        That is theirs to commit: they do it again if they are run again.
        """
        values = self.values()
        for view in self.views.values():
            if view is not writes:
                for key in writes.assigned & view.commutative() & values.keys():
                    values = {**values, key: view.taken_from(key, values[key])}
        return values


class InMemoryStateStore(Generic[MODEL_T]):
    """A view on a state that lives in this process.

    Args:
        initial_state: the state to begin with.
    """

    def __init__(self, initial_state: MODEL_T) -> None:
        whole = _only_as_a_whole(type(initial_state))
        self._cell = Cell(initial_state, whole=whole)
        self._writes: Writes | None = None
        self._check: Callable[[Any, str], None] = _accept

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

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return the value at a dotted path; `""` is the state itself.

        Args:
            path: keys, fields and indexes, with dots between them.
            default: returned where there is nothing.

        Raises:
            ValueError: there is nothing at the path, and no default.
        """
        segments = split(path)
        try:
            value = get_by_path(self._cell.state, segments)
        except (LookupError, AttributeError, TypeError, ValueError):
            if default is _MISSING:
                raise ValueError(f"Path {path!r} not found in state") from None
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
        segments = split(path)
        if not segments:
            raise ValueError("Path cannot be empty")
        self._check_storable(segments[0], value, path)
        await self._exclusively(lambda: self._set(segments, value))

    def _set(self, segments: list[str], value: Any) -> None:
        state, key = self._cell.state, segments[0]
        if len(segments) > 1:
            try:
                inner = get_by_path(state, segments[:1])
            except (LookupError, AttributeError):
                inner = {}
            value = set_by_path(inner, segments[1:], value)
        _set_key(state, key, value)
        self._assigned([key])

    async def set_state(self, state: MODEL_T) -> None:
        """Replace the state; fields of a parent class are merged over the present ones.

        Raises:
            ValueError: the state is of an unrelated class.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("set_state")
        await self._exclusively(lambda: self._replace(_merged(self._cell.state, state)))

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
                edit = _Edit(self._cell.state)
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
        return await self._exclusively(lambda: self._increment(key, amount))

    def _increment(self, key: str, amount: float) -> Any:
        total = self._number(key) + amount
        _set_key(self._cell.state, key, total)
        if self._writes is not None:
            sums = self._writes.increments
            sums[key] = sums.get(key, 0) + amount
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
        await self._exclusively(lambda: self._append(key, values))

    def _append(self, key: str, values: tuple[Any, ...]) -> None:
        self._collection(key, list).extend(values)
        if self._writes is not None:
            self._writes.appended.setdefault(key, []).extend(values)

    async def add(self, key: str, *values: Any) -> None:
        """Add to a set; exact across crashes, also when several running steps do it.

        Args:
            key: a top-level key; missing counts as an empty set.
            values: what to add.

        Raises:
            TypeError: there is something else than a set.
        """
        self._check_not_editing("add")
        await self._exclusively(lambda: self._add(key, values))

    def _add(self, key: str, values: tuple[Any, ...]) -> None:
        self._collection(key, set).update(values)
        if self._writes is not None:
            self._writes.added.setdefault(key, []).extend(values)

    def _number(self, key: str) -> Any:
        value = self._top(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(
                f"state key {key!r} holds {type(value).__name__}, not a number to add to"
            )
        return value

    def _collection(self, key: str, kind: type[Any]) -> Any:
        value = self._top(key, _MISSING)
        if value is _MISSING:
            value = kind()
            _set_key(self._cell.state, key, value)
        if not isinstance(value, kind):
            holds = type(value).__name__
            raise TypeError(f"state key {key!r} holds {holds}, not a {kind.__name__} to add to")
        return value

    def _top(self, key: str, default: Any) -> Any:
        """The value of a top-level key."""
        if self._cell.whole:
            raise TypeError(
                f"{self.state_type.__name__} is stored as one value (it has its own serializer or "
                f"validators), so that {key!r} can't be added to by several steps: use edit_state()"
            )
        try:
            return get_by_path(self._cell.state, [key])
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
        if key not in _excluded_fields(self.state_type):
            self._check(value, f"state key {path!r}")

    def _publish(self, edit: "_Edit") -> None:
        changed = edit.changed()
        for key, value in changed.items():
            self._check_storable(key, value, key)
        for key in edit.removed():
            _remove_key(self._cell.state, key)
        for key, value in changed.items():
            _set_key(self._cell.state, key, value)
        self._assigned([*edit.removed(), *changed])

    def _replace(self, state: BaseModel) -> None:
        before = self._cell.values().keys()
        self._cell.state = state
        self._assigned([*before, *self._cell.values()])

    def _assigned(self, keys: Iterable[str]) -> None:
        if self._writes is not None:
            self._writes.assigned.update([WHOLE] if self._cell.whole else keys)

    def _fetched(self, keys: Iterable[str]) -> None:
        if self._writes is not None:
            self._writes.fetched.update([WHOLE] if self._cell.whole else keys)


class _Edit:
    """An isolated state for `edit_state`: a key is copied when it is first touched."""

    def __init__(self, state: BaseModel) -> None:
        self._before = state
        self.state: BaseModel
        self._data: _CopyOnTouch | None = None
        if type(state) is DictState:
            self._data = _CopyOnTouch(state.to_dict())
            self.state = DictState()
            self.state._data = cast("dict[str, Any]", self._data)  # pyright: ignore[reportPrivateUsage]  the mapping stands in for the dictionary
        else:
            self.state = _deep_copied(state)

    def changed(self) -> dict[str, Any]:
        """The keys that have, or may have, another value now."""
        if self._data is not None:
            return self._data.touched
        before = _top_level(self._before)
        return {
            key: value
            for key, value in _top_level(self.state).items()
            if key not in before or not _is_same(before[key], value)
        }

    def removed(self) -> set[str]:
        """The keys that are not there any more."""
        if self._data is not None:
            return self._data.removed
        return _top_level(self._before).keys() - _top_level(self.state).keys()


class _CopyOnTouch(MutableMapping[str, Any]):
    """A dictionary over another one, whose values it copies before it hands them out."""

    def __init__(self, below: dict[str, Any]) -> None:
        self._below = below
        self.touched: dict[str, Any] = {}
        self.removed: set[str] = set()

    @override
    def __getitem__(self, key: str) -> Any:
        if key not in self.touched:
            if key in self.removed:
                raise KeyError(key)
            self.touched[key] = _copied(self._below[key])
        return self.touched[key]

    @override
    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(f"a key of the state is text, not {type(key).__name__}: {key!r}")
        self.removed.discard(key)
        self.touched[key] = value

    @override
    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.touched.pop(key, None)
        self.removed.add(key)

    @override
    def __contains__(self, key: object) -> bool:
        return key in self.touched or (key in self._below and key not in self.removed)

    @override
    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self._below if key not in self.removed)
        yield from (key for key in self.touched if key not in self._below)

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)


def new_state(state_type: type[MODEL_T]) -> MODEL_T:
    """Return a state of the class's defaults.

    Raises:
        ValueError: a field has no default (pydantic's ValidationError is one).
    """
    return state_type()


def state_of(state_type: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    """Return a state of its values by field name, whatever the aliases; they are validated.

    Raises:
        ValidationError: a value does not fit, or is missing.
    """
    state = state_type.__new__(state_type)
    state_type.__pydantic_validator__.validate_python(
        values, self_instance=state, by_alias=False, by_name=True
    )
    if isinstance(state, DictLikeModel):
        dynamic = values.keys() - state_type.model_fields.keys()
        state.to_dict().update({key: values[key] for key in values if key in dynamic})
    return state


def infer_state_type(declared: Iterable[type[BaseModel] | None]) -> type[BaseModel]:
    """Return the most derived of the state classes that the steps name.

    Args:
        declared: the `T` of each step's `Context[T]`, None where there is none.

    Raises:
        ValueError: two of them are unrelated.
    """
    classes = [cls for cls in dict.fromkeys(declared) if cls is not None]
    for cls in classes:
        if all(issubclass(cls, other) for other in classes):
            return cls
    if classes:
        raise ValueError(
            f"The steps' state classes {', '.join(cls.__name__ for cls in classes)} are not in a "
            f"compatible inheritance hierarchy: let one of them extend the others"
        )
    return DictState


def _top_level(state: BaseModel) -> dict[str, Any]:
    """The values of a state by field, or by key where it takes any."""
    if type(state) is DictState:
        return state.to_dict()
    values, fields = vars(state), type(state).model_fields
    declared = {name: values[name] for name in fields if name in values}
    dynamic = state.to_dict() if isinstance(state, DictLikeModel) else state.model_extra
    return {**declared, **(dynamic or {})}


@cache
def _excluded_fields(cls: type[BaseModel]) -> frozenset[str]:
    """The fields that the class never wants written."""
    return frozenset(name for name, field in cls.model_fields.items() if field.exclude)


def _set_key(state: BaseModel, key: str, value: Any) -> None:
    try:
        set_item(state, key, value)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValueError(f"{type(state).__name__} has no field {key!r}: {error}") from error


def _merged(present: BaseModel, wanted: BaseModel) -> BaseModel:
    if isinstance(wanted, type(present)):
        return wanted
    if not isinstance(present, type(wanted)):
        raise ValueError(  # noqa: TRY004  the interface says so
            f"The state must be of type {type(present).__name__} or a parent of it, "
            f"not {type(wanted).__name__}"
        )
    return state_of(type(present), {**_top_level(present), **_top_level(wanted)})


def _remove_key(state: BaseModel, key: str) -> None:
    if isinstance(state, DictLikeModel):
        state.to_dict().pop(key, None)
    elif state.__pydantic_extra__ is not None:
        state.__pydantic_extra__.pop(key, None)


def _is_same(before: Any, after: Any) -> bool:
    """Whether an edit left a value as it was; in doubt it did not."""
    try:
        return type(before) is type(after) and bool(before == after)
    except Exception:  # noqa: BLE001  any class may refuse in its own way
        return False


def _deep_copied(state: BaseModel) -> BaseModel:
    fields = type(state).model_fields
    copy: BaseModel = shallow_copy(state)
    kept = {name for name, field in fields.items() if field.exclude}
    values: dict[str, Any] = vars(copy)
    values.update({name: _copied(value) for name, value in values.items() if name not in kept})
    if isinstance(state, DictLikeModel):
        copied = {key: _copied(value) for key, value in state.items()}
        cast("DictLikeModel", copy)._data = copied  # pyright: ignore[reportPrivateUsage]  its own copy, not the original's
    return copy


def _copied(value: Any) -> Any:
    """A deep copy; what can't be copied (a client, a lock) is shared."""
    if type(value) in IMMUTABLE:
        return value
    try:
        return deepcopy(value)
    except Exception:  # noqa: BLE001  any class may refuse in its own way
        return value


def _only_as_a_whole(cls: type[BaseModel]) -> bool:
    """Whether a model decides itself how it is written or read, so that its fields mean nothing."""
    decorators = cls.__pydantic_decorators__
    own = decorators.model_serializers.keys() - DictState.__pydantic_decorators__.model_serializers
    reads = [one for one in decorators.model_validators.values() if one.info.mode != "after"]
    return bool(own or decorators.field_serializers or reads)


def _accept(value: Any, where: str) -> None:
    """Without a checkpointer every value will do."""
