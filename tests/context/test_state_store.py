"""The state store: paths, isolation, exclusive edits, and typed states."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepwell._engine.writes import Writes
from stepwell.context.state_models import most_derived
from stepwell.context.state_store import (
    MAX_DEPTH,
    DictState,
    InMemoryStateStore,
    StateStore,
)
from stepwell.events import Event


class Counted(BaseModel):
    n: int = 0
    tags: list[str] = Field(default_factory=list[str])


class CountedMore(Counted):
    more: str = "x"
    hidden: Any = Field(default=None, exclude=True)


class Strict(BaseModel):
    model_config = ConfigDict(validate_assignment=True)
    n: int = 0


class Needy(BaseModel):
    n: int


class Mixed(DictState):
    n: int = 0


class Note(Event):
    text: str = ""


Store = InMemoryStateStore[Any]


def having(**values: Any) -> DictState:
    """A state with values that its class does not declare."""
    return DictState(**values)


def note(**values: Any) -> Note:
    return Note(**values)


@pytest.fixture
def store() -> Store:
    return InMemoryStateStore(DictState())


@pytest.fixture
def typed() -> InMemoryStateStore[Counted]:
    return InMemoryStateStore(Counted())


def test_it_is_a_state_store(store: Store) -> None:
    assert isinstance(store, StateStore)
    assert store.state_type is DictState


# --- get ---


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": [10, {"c": 30}]}),
        ("a.b.0", 10),
        ("a.b.1.c", 30),
        ("a.b.-1.c", 30),
        ("note.text", "hello"),
        ("note.more", 5),
        ("5", "five"),
        ("items", "a name that is a method too"),
        ("model_dump", 1),
    ],
)
async def test_a_path_leads_through_keys_indexes_and_attributes(path: str, value: Any) -> None:
    store = InMemoryStateStore(DictState())
    async with store.edit_state() as state:
        state["a"] = {"b": [10, {"c": 30}]}
        state["note"] = note(text="hello", more=5)
        state["5"] = "five"
        state["items"] = "a name that is a method too"
        state["model_dump"] = 1
    assert await store.get(path) == value


async def test_the_empty_path_is_the_state_itself(store: Store) -> None:
    await store.set("a", 1)
    assert await store.get("") == having(a=1)


@pytest.mark.parametrize("path", ["b", "a.b", "a.0.c", "list.7", "list.x", "text.x"])
async def test_where_there_is_nothing_is_an_error_or_the_default(store: Store, path: str) -> None:
    await store.set("a", {"0": 1})
    await store.set("list", [1])
    await store.set("text", "abc")
    assert await store.get(path, default=7) == 7
    assert await store.get(path, None) is None
    with pytest.raises(ValueError, match=f"Path '{path}' not found in state"):
        await store.get(path)


async def test_a_path_has_at_most_a_thousand_segments(store: Store) -> None:
    deep = ".".join(["a"] * MAX_DEPTH)
    assert await store.get(deep, "default") == "default"
    for use in (store.get(f"{deep}.a", "default"), store.set(f"{deep}.a", 1)):
        with pytest.raises(ValueError, match="1000"):
            await use


async def test_what_is_fetched_is_the_live_object(store: Store) -> None:
    await store.set("docs", [1])
    (await store.get("docs")).append(2)
    assert await store.get("docs") == [1, 2]


# --- set ---


async def test_dictionaries_on_the_way_are_made(store: Store) -> None:
    await store.set("a.b.c", 1)
    assert await store.get("a") == {"b": {"c": 1}}


async def test_an_element_of_a_list_is_replaced(store: Store) -> None:
    await store.set("items", [1, 2])
    await store.set("items.0", 5)
    assert await store.get("items") == [5, 2]


@pytest.mark.parametrize("path", ["items.2", "items.-3", "items.x", "items.2.deep"])
async def test_an_index_that_the_list_does_not_have_is_refused(store: Store, path: str) -> None:
    await store.set("items", [1, 2])
    with pytest.raises((AttributeError, ValueError)):
        await store.set(path, 5)
    assert await store.get("items") == [1, 2]


async def test_the_empty_path_can_t_be_set(store: Store) -> None:
    with pytest.raises(ValueError, match="empty"):
        await store.set("", 1)


async def test_who_holds_an_older_container_does_not_see_a_set(store: Store) -> None:
    await store.set("a", {"b": 1, "shared": [1]})
    before = await store.get("a")
    await store.set("a.b", 2)
    assert before["b"] == 1
    assert (await store.get("a"))["shared"] is before["shared"]


async def test_a_state_that_somebody_holds_is_copied_once_not_at_each_write(store: Store) -> None:
    held = await store.get("")
    await store.set("a", 1)
    written = store.cell.state
    await store.set("b", 2)
    await store.increment("n")
    assert store.cell.state is written
    assert written is not held


async def test_fields_and_extras_of_an_event_in_the_state_can_be_set(store: Store) -> None:
    before = note(text="old", extra=1)
    await store.set("note", before)
    await store.set("note.text", "new")
    await store.set("note.extra", 2)
    assert await store.get("note.text") == "new"
    assert await store.get("note") == note(text="new", extra=2)
    assert before == note(text="old", extra=1)


async def test_a_declared_field_of_a_mixed_state_is_set_as_a_field() -> None:
    store = InMemoryStateStore(Mixed())
    await store.set("n", 5)
    await store.set("other", 6)
    assert await store.get("n") == 5
    assert (await store.get_state()).n == 5
    assert await store.get("other") == 6


async def test_a_typed_state_has_no_other_fields(typed: InMemoryStateStore[Counted]) -> None:
    with pytest.raises(ValueError, match="Counted has no field 'other'"):
        await typed.set("other", 1)


async def test_a_typed_state_checks_values_only_if_it_says_so(
    typed: InMemoryStateStore[Counted],
) -> None:
    await typed.set("n", "not a number")
    assert await typed.get("n") == "not a number"
    strict = InMemoryStateStore(Strict())
    with pytest.raises(ValidationError):
        await strict.set("n", "not a number")
    assert await strict.get("n") == 0


# --- the state as a whole ---


async def test_get_state_is_a_shallow_copy(store: Store) -> None:
    await store.set("a", [1])
    copy = await store.get_state()
    copy.b = 2
    copy["c"] = 3
    copy.a.append(2)
    assert await store.get("a") == [1, 2]
    assert await store.get("b", None) is None
    assert await store.get("c", None) is None


async def test_set_state_replaces_with_the_same_class_or_a_subclass(
    typed: InMemoryStateStore[Counted],
) -> None:
    await typed.set_state(Counted(n=1))
    assert await typed.get("n") == 1
    await typed.set_state(CountedMore(n=2))
    assert typed.state_type is CountedMore


async def test_set_state_merges_a_parent_over_the_present() -> None:
    client = object()
    store: InMemoryStateStore[Any] = InMemoryStateStore(CountedMore(more="kept", hidden=client))
    await store.set_state(Counted(n=7, tags=["t"]))
    state = await store.get_state()
    assert state == CountedMore(n=7, tags=["t"], more="kept", hidden=client)
    assert state.hidden is client


async def test_a_merged_state_is_validated() -> None:
    store: InMemoryStateStore[Any] = InMemoryStateStore(CountedMore())
    with pytest.raises(ValidationError):
        await store.set_state(Counted.model_construct(n="no"))
    assert await store.get_state() == CountedMore()


async def test_set_state_refuses_another_class(typed: InMemoryStateStore[Any]) -> None:
    with pytest.raises(ValueError, match="must be of type Counted"):
        await typed.set_state(Strict())


async def test_clear_goes_back_to_the_defaults_of_the_present_class(
    typed: InMemoryStateStore[Counted],
) -> None:
    await typed.set_state(CountedMore(n=2, more="y"))
    await typed.clear()
    assert await typed.get_state() == CountedMore()


async def test_clear_refuses_a_class_without_defaults() -> None:
    store = InMemoryStateStore(Needy(n=1))
    with pytest.raises(ValueError, match="Needy"):
        await store.clear()
    assert await store.get("n") == 1


# --- edit_state ---


async def test_an_edit_is_published_at_the_end_of_its_block(store: Store) -> None:
    await store.set("a", 1)
    async with store.edit_state() as state:
        state.a += 1
        state.b = [1]
        assert await store.get("a") == 1
        assert await store.get("b", None) is None
    assert await store.get_state() == having(a=2, b=[1])


async def test_an_exception_undoes_the_edit(store: Store) -> None:
    await store.set("a", [1])

    async def edit() -> None:
        async with store.edit_state() as state:
            state.a.append(2)
            del state.to_dict()["a"]
            state.b = 1
            raise KeyError

    with pytest.raises(KeyError):
        await edit()
    assert await store.get_state() == having(a=[1])


async def test_cancellation_undoes_the_edit(store: Store) -> None:
    inside = asyncio.Event()

    async def edit() -> None:
        async with store.edit_state() as state:
            state.a = 1
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(edit())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await store.get("a", None) is None
    await store.set("a", 2)


async def test_an_edit_of_a_typed_state_is_undone_too(typed: InMemoryStateStore[Counted]) -> None:
    async def edit() -> None:
        async with typed.edit_state() as state:
            state.n = 5
            state.tags.append("t")
            raise KeyError

    with pytest.raises(KeyError):
        await edit()
    assert await typed.get_state() == Counted()


async def test_an_edit_can_remove_keys(store: Store) -> None:
    await store.set("a", 1)
    async with store.edit_state() as state:
        assert "a" in state
        del state.to_dict()["a"]
        assert "a" not in state
        assert state.get("a") is None
        assert len(state) == 0
    assert await store.get("a", None) is None


async def test_edits_are_exclusive(store: Store) -> None:
    await store.set("n", 0)

    async def add() -> None:
        async with store.edit_state() as state:
            n = state.n
            await asyncio.sleep(0)
            state.n = n + 1

    await asyncio.gather(*(add() for _ in range(20)))
    assert await store.get("n") == 20


async def test_other_writers_wait_for_the_end_of_an_edit(store: Store) -> None:
    setting: asyncio.Task[None] | None = None
    async with store.edit_state() as state:
        setting = asyncio.create_task(store.set("a", "theirs"))
        await asyncio.sleep(0)
        state.a = "mine"
        assert not setting.done()
    await setting
    assert await store.get("a") == "theirs"


Operation = Callable[[Store], Awaitable[Any]]

WRITES: list[Operation] = [
    lambda store: store.set("a", 1),
    lambda store: store.set_state(DictState()),
    lambda store: store.clear(),
    lambda store: store.increment("a"),
    lambda store: store.append("a", 1),
    lambda store: store.add("a", 1),
    lambda store: store.edit_state().__aenter__(),
    lambda store: store.set("", 1),
]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_inside_the_own_edit_is_refused(store: Store, write: Operation) -> None:
    async with store.edit_state():
        with pytest.raises(RuntimeError, match="edit_state"):
            await write(store)
    assert await store.get_state() == DictState()


async def test_what_can_t_be_copied_is_shared_with_the_edit(store: Store) -> None:
    lock = asyncio.Lock()
    generator = (n for n in range(3))
    await store.set("held", [lock, generator])
    await store.set("generator", generator)
    async with store.edit_state() as state:
        assert state.generator is generator
    assert await store.get("generator") is generator


async def test_fields_excluded_from_the_model_are_shared_with_the_edit() -> None:
    hidden = [1]
    store = InMemoryStateStore(CountedMore(hidden=hidden))
    async with store.edit_state() as state:
        assert state.hidden is hidden
        state.hidden = [2]
    assert await store.get("hidden") == [2]


async def test_an_edit_copies_only_what_it_touches(store: Store) -> None:
    class Costly:
        copies = 0

        def __deepcopy__(self, memo: Any) -> "Costly":
            Costly.copies += 1
            return self

    await store.set("costly", Costly())
    async with store.edit_state() as state:
        state.n = 1
    assert Costly.copies == 0
    async with store.edit_state() as state:
        _ = state.costly
    assert Costly.copies == 1


# --- commutative operations ---


async def test_increment_counts_from_nought_and_returns_the_sum(store: Store) -> None:
    assert await store.increment("n") == 1
    assert await store.increment("n", 2.5) == 3.5


async def test_append_and_add_make_their_collection(store: Store) -> None:
    await store.append("list", 1, 2)
    await store.add("set", 1, 1)
    await store.add("set", 2)
    assert await store.get("list") == [1, 2]
    assert await store.get("set") == {1, 2}


MISFITS: list[tuple[Any, Operation]] = [
    ("text", lambda store: store.increment("key")),
    (True, lambda store: store.increment("key")),
    ((1,), lambda store: store.append("key", 1)),
    ([1], lambda store: store.add("key", 1)),
]


@pytest.mark.parametrize(("value", "operation"), MISFITS)
async def test_a_value_of_another_kind_is_not_added_to(
    store: Store, value: Any, operation: Operation
) -> None:
    await store.set("key", value)
    with pytest.raises(TypeError, match="state key 'key' holds"):
        await operation(store)
    assert await store.get("key") == value


async def test_commutative_operations_reach_the_fields_of_a_typed_state(
    typed: InMemoryStateStore[Counted],
) -> None:
    await typed.increment("n", 4)
    await typed.append("tags", "t")
    assert await typed.get_state() == Counted(n=4, tags=["t"])
    with pytest.raises(ValueError, match="no field 'other'"):
        await typed.append("other", 1)


# --- views ---


def refusing(value: Any, where: str) -> None:
    if isinstance(value, asyncio.Lock):
        raise TypeError(where)


async def test_a_view_remembers_what_was_written_through_it(store: Store) -> None:
    await store.set("before", [1])
    writes = Writes()
    view: Store = store.view(writes, refusing)
    await view.set("a.b", 1)
    await view.get("before")
    await view.get("a.b")
    await view.increment("n", 2)
    await view.append("list", 1)
    await view.add("set", 1)
    assert writes.assigned == {"a"}
    assert writes.fetched == {"before"}
    assert (writes.increments, writes.appended, writes.added) == (
        {"n": 2},
        {"list": [1]},
        {"set": [1]},
    )
    assert await store.get("a.b") == 1


async def test_a_view_remembers_edits_key_by_key(store: Store) -> None:
    await store.set("a", 1)
    await store.set("b", 1)
    await store.set("c", 1)
    writes = Writes()
    async with store.view(writes, refusing).edit_state() as state:
        state.a = 2
        del state.to_dict()["b"]
    assert writes.assigned == {"a", "b"}


async def test_a_refused_value_changes_nothing(store: Store) -> None:
    view: Store = store.view(Writes(), refusing)
    await store.set("old", 1)

    async def edit() -> None:
        async with view.edit_state() as state:
            del state.to_dict()["old"]
            state.a = 1
            state.b = asyncio.Lock()

    with pytest.raises(TypeError, match=r"state key 'a\.b'"):
        await view.set("a.b", asyncio.Lock())
    with pytest.raises(TypeError, match="state key 'b'"):
        await edit()
    assert await store.get_state() == having(old=1)


async def test_a_field_that_is_never_stored_may_hold_anything() -> None:
    store: Store = InMemoryStateStore(CountedMore())
    view: Store = store.view(Writes(), refusing)
    lock = asyncio.Lock()
    await view.set("hidden", lock)
    async with view.edit_state() as state:
        state.n = 3
    assert await store.get("hidden") is lock


# --- what is stored ---


class Extras(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = 0


class Cached(BaseModel):
    n: int = 2

    @cached_property
    def double(self) -> int:
        return 2 * self.n


async def test_the_stored_values_are_the_fields_and_what_else_the_model_takes() -> None:
    extras: Store = InMemoryStateStore(Extras())
    await extras.set("more", 5)
    assert extras.cell.values() == {"n": 0, "more": 5}
    mixed: Store = InMemoryStateStore(Mixed())
    await mixed.set("more", 5)
    assert mixed.cell.values() == {"n": 0, "more": 5}


def test_excluded_fields_and_cached_properties_are_not_stored() -> None:
    assert InMemoryStateStore(CountedMore()).cell.values().keys() == {"n", "tags", "more"}
    cached = Cached()
    assert cached.double == 4
    assert InMemoryStateStore(cached).cell.values() == {"n": 2}


# --- the class of the state ---


def test_the_most_derived_class_that_steps_name_is_the_state() -> None:
    assert most_derived([]) is DictState
    assert most_derived([None, Counted, None]) is Counted
    assert most_derived([Counted, CountedMore, Counted]) is CountedMore
    assert most_derived([CountedMore, Counted]) is CountedMore


def test_a_class_that_joins_two_siblings_is_the_state() -> None:
    class Left(Counted):
        pass

    class Both(CountedMore, Left):
        pass

    assert most_derived([Left, CountedMore, Both]) is Both


def test_unrelated_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="compatible inheritance hierarchy"):
        most_derived([Counted, Strict])
