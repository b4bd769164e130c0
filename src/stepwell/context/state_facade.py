"""A state store over a storage that somebody brings: read, change, save, one writer at a time."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Protocol, Self, cast, runtime_checkable

from pydantic import BaseModel

from stepwell.context._paths import get_by_path, set_by_path, split_to_set
from stepwell.context.serializers import BaseSerializer, JsonSerializer
from stepwell.context.state_models import MODEL_T, DictState, merge_state, new_state
from stepwell.context.state_records import (
    StateRecord,
    deserialize_state_from_dict,
    encode_state,
    parse_in_memory_state,
    serialized_state,
)

__all__ = ["StateStorage", "StateStoreFacade"]


@runtime_checkable
class StateStorage(Protocol):
    """Where a `StateStoreFacade` keeps the state of one run."""

    @property
    def run_id(self) -> str:
        """The run that the state is of."""
        ...

    async def load(self) -> StateRecord | None:
        """Return what was saved; None before the first time."""
        ...

    async def save(self, record: StateRecord) -> None:
        """Keep a record in place of the one before."""
        ...

    def session(self) -> AbstractAsyncContextManager[Self]:
        """Enter a section of one load and one save that no other writer comes between."""
        ...

    def to_handle(self) -> dict[str, Any]:
        """Return data from which the state is found again."""
        ...

    def parse_own_handle(self, payload: dict[str, Any]) -> Any | None:
        """Return the handle in data of `to_handle` of this kind of storage; else None."""
        ...

    async def copy_from_handle(self, handle: Any) -> None:
        """Take over the state that a handle of another run leads to."""
        ...


class StateStoreFacade(Generic[MODEL_T]):
    """A state store over a storage.

    Args:
        storage: keeps the state.
        state_type: the class of the state; `DictState` by default.
        serializer: turns values into text; a `JsonSerializer` by default.
    """

    def __init__(
        self,
        storage: StateStorage,
        state_type: type[MODEL_T] | None = None,
        serializer: BaseSerializer | None = None,
    ) -> None:
        self.state_type: type[MODEL_T] = state_type or cast("type[MODEL_T]", DictState)
        self._storage = storage
        self._serializer = serializer or JsonSerializer()
        self._seed: tuple[dict[str, Any], BaseSerializer] | None = None
        self._seeding = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._editor: asyncio.Task[Any] | None = None

    @property
    def run_id(self) -> str:
        """The run that the state is of."""
        return self._storage.run_id

    def add_seed(self, payload: Mapping[str, Any], serializer: BaseSerializer) -> None:
        """Begin with another state, in place of the stored one, at the next use.

        Args:
            payload: what `to_dict` of a store returned: a handle, or a state itself.
            serializer: reads a state.

        Raises:
            ValueError: there is nothing in it.
        """
        if not payload:
            raise ValueError("a state store can't begin with an empty payload: leave the seed out")
        self._seed = dict(payload), serializer

    async def ensure_seeded(self) -> None:
        """Store the state of `add_seed`, if it is not stored yet.

        Raises:
            ValueError: it is a handle of another kind of storage, or can't be read.
        """
        async with self._seeding:
            if self._seed is not None:
                await self._sow(*self._seed)
                self._seed = None

    async def _sow(self, payload: dict[str, Any], serializer: BaseSerializer) -> None:
        handle = self._storage.parse_own_handle(payload)
        if handle is None:
            parse_in_memory_state(payload)
            state = deserialize_state_from_dict(payload, serializer)
            await self._save(self._storage, state)
        elif handle != self._storage.parse_own_handle(self._storage.to_handle()):
            await self._storage.copy_from_handle(handle)

    async def get_state(self) -> MODEL_T:
        """Return the state; it is the caller's own."""
        await self.ensure_seeded()
        return await self._load(self._storage)

    async def get(self, path: str, default: Any = ...) -> Any:
        """Return the value at a dotted path; `""` is the state itself.

        Raises:
            ValueError: there is nothing at the path, and no default.
        """
        return get_by_path(await self.get_state(), path, default)

    async def set(self, path: str, value: Any) -> None:
        """Set the value at a dotted path; dictionaries on the way are made.

        Raises:
            ValueError: the path is empty, or a typed state has no such field.
            AttributeError: an index that the list does not have.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("set")
        split_to_set(path)
        async with self.edit_state() as state:
            set_by_path(state, path, value)

    async def set_state(self, state: MODEL_T) -> None:
        """Replace the state; fields of a parent class are merged over the present ones.

        Raises:
            ValueError: the state is of an unrelated class.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("set_state")
        async with self._writing() as storage:
            await self._save(storage, merge_state(await self._load(storage), state))

    async def clear(self) -> None:
        """Begin anew, with the defaults of the state's class.

        Raises:
            ValueError: the class has fields without a default.
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("clear")
        async with self._writing() as storage:
            await self._save(storage, new_state(type(await self._load(storage))))

    @asynccontextmanager
    async def edit_state(self) -> AsyncGenerator[MODEL_T]:
        """Edit the state with nobody else writing; an exception in the block saves nothing.

        Raises:
            RuntimeError: called inside this task's own `edit_state()`.
        """
        self._check_not_editing("edit_state")
        async with self._writing() as storage:
            self._editor = asyncio.current_task()
            try:
                state = await self._load(storage)
                yield state
                await self._save(storage, state)
            finally:
                self._editor = None

    async def snapshot(self, serializer: BaseSerializer) -> dict[str, Any]:
        """Return the state itself as data, which a store of any kind can begin with.

        Raises:
            ValueError: a value can't be serialized; names its key.
        """
        return serialized_state(await self.get_state(), serializer)

    async def serialize_for_handoff(self, serializer: BaseSerializer) -> dict[str, Any]:
        """Return the handle of the state, once all of the state is stored."""
        await self.ensure_seeded()
        return self.to_dict(serializer)

    def to_dict(self, serializer: BaseSerializer) -> dict[str, Any]:  # noqa: ARG002  as all stores have it
        """Return the handle of the state: the state itself stays where it is stored."""
        return self._storage.to_handle()

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[StateStorage]:
        await self.ensure_seeded()
        async with self._lock, self._storage.session() as storage:
            yield storage

    async def _load(self, storage: StateStorage) -> MODEL_T:
        record = await storage.load()
        if record is None:
            return new_state(self.state_type)
        data = {"state_data": record.data}
        state = deserialize_state_from_dict(data, self._serializer, self.state_type)
        return cast("MODEL_T", state)

    async def _save(self, storage: StateStorage, state: BaseModel) -> None:
        data, name, module = encode_state(state, self._serializer)
        text = data if isinstance(data, str) else json.dumps(data)
        await storage.save(StateRecord(data=text, state_type=name, state_module=module))

    def _check_not_editing(self, what: str) -> None:
        if self._editor is not None and self._editor is asyncio.current_task():
            raise RuntimeError(
                f"{what}() was called inside this task's own edit_state(): change the state that "
                f"the block was given instead"
            )
