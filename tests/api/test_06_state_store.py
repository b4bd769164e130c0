"""Section 6: the state store, as programs for LlamaIndex Workflows use it."""

import asyncio
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, runtime_checkable

import pytest
from pydantic import BaseModel, ConfigDict, Field

from stepwell import Context, Workflow, step
from stepwell.context.serializers import BaseSerializer, JsonSerializer, PickleSerializer
from stepwell.context.state_store import (
    KNOWN_UNSERIALIZABLE_KEYS,
    MAX_DEPTH,
    MODEL_T,
    DictState,
    InMemorySerializedState,
    InMemoryStateStore,
    StateCheckpoint,
    StateRecord,
    StateStorage,
    StateStore,
    StateStoreFacade,
    UnserializableKeyWarning,
    apply_state_patch,
    copy_state_for_edit,
    create_cleared_state,
    decode_state,
    deserialize_state_from_dict,
    encode_state,
    get_by_path,
    infer_state_type,
    merge_state,
    parse_in_memory_state,
    set_by_path,
)
from stepwell.events import Event, StartEvent, StopEvent

JSON = JsonSerializer()
MODULE = "stepwell.context.state_store"


class Counted(BaseModel):
    n: int = 0
    tags: list[str] = Field(default_factory=list[str])


class CountedMore(Counted):
    more: str = "x"


class Sibling(Counted):
    other: int = 1


class Needy(BaseModel):
    n: int


class Mixed(DictState):
    n: int = 0


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    items: list[Any] = Field(default_factory=list[Any])
    client: Any = Field(default=None, exclude=True)


Store = InMemoryStateStore[Any]
Write = Callable[[Store], Awaitable[Any]]


def having(**values: Any) -> DictState:
    return DictState(**values)


def store_of(**values: Any) -> Store:
    return InMemoryStateStore(having(**values))


def mixed(**values: Any) -> Mixed:
    return Mixed(**values)


async def enter_edit(store: Store) -> None:
    async with store.edit_state():
        pass


# --- the protocol, and what is built outside of workflows ---


@runtime_checkable
class HasStore(Protocol):
    @property
    def store(self) -> StateStore[Any]: ...


class AgentContext:
    def __init__(self) -> None:
        self.store = InMemoryStateStore(DictState())


async def test_a_store_is_built_and_used_outside_of_a_workflow() -> None:
    ctx = AgentContext()
    await ctx.store.set("memory", [1])
    assert await ctx.store.get("memory") == [1]
    assert isinstance(ctx, HasStore)
    assert isinstance(ctx.store, StateStore)


def test_what_lacks_a_method_is_no_store() -> None:
    assert not isinstance(object(), StateStore)


def test_the_type_variable_stands_for_models_and_for_dict_state_where_none_is_named() -> None:
    assert MODEL_T.__bound__ is BaseModel
    assert getattr(MODEL_T, "__default__", None) is DictState


# --- paths ---

TREE: dict[str, Any] = {"a": {"b": [10, {"c": 30}]}, "5": "five", "items": 1, "model_dump": 2}

FOUND = [
    ("a.b.0", 10),
    ("a.b.1.c", 30),
    ("a.b.-1.c", 30),
    ("5", "five"),
    ("items", 1),
    ("model_dump", 2),
]


@pytest.mark.parametrize(("path", "value"), FOUND)
async def test_a_path_leads_to_a_value(path: str, value: Any) -> None:
    assert await store_of(**TREE).get(path) == value
    assert get_by_path(having(**TREE), path) == value
    assert get_by_path(TREE, path) == value


@pytest.mark.parametrize("path", ["b", "a.x", "a.b.9", "a.b.x", "a.", ".a", "a..b", "items.x"])
async def test_a_path_that_leads_nowhere_gives_the_default_or_an_error(path: str) -> None:
    store = store_of(**TREE)
    assert await store.get(path, None) is get_by_path(TREE, path, None) is None
    assert await store.get(path, 7) == get_by_path(TREE, path, 7) == 7
    with pytest.raises(ValueError, match=r"Path '.*' not found in state"):
        await store.get(path)
    with pytest.raises(ValueError, match=r"Path '.*' not found in state"):
        get_by_path(TREE, path)


def test_a_path_may_have_a_thousand_segments_and_no_more() -> None:
    longest = ".".join(["a"] * MAX_DEPTH)
    state: dict[str, Any] = {}
    set_by_path(state, longest, 1)
    assert get_by_path(state, longest) == 1
    with pytest.raises(ValueError, match="1000"):
        get_by_path(state, f"{longest}.a", "default")
    with pytest.raises(ValueError, match="1000"):
        set_by_path(state, f"{longest}.a", 1)


def test_setting_by_path_changes_the_object_in_place() -> None:
    inner: dict[str, Any] = {"x": 1}
    state = having(a=inner, items=[1, 2])
    set_by_path(state, "a.y.z", 2)
    set_by_path(state, "items.0", 5)
    assert inner == {"x": 1, "y": {"z": 2}}
    assert state["items"] == [5, 2]


REFUSED = [
    ("", ValueError),
    ("items.2", AttributeError),
    ("items.x", ValueError | AttributeError),
    ("items.2.deep", AttributeError),
    ("text.x", AttributeError),
    ("pair.0", AttributeError),
]


@pytest.mark.parametrize(("path", "error"), REFUSED)
async def test_a_path_that_can_t_be_set_is_refused(path: str, error: Any) -> None:
    values: dict[str, Any] = {"items": [1, 2], "text": "abc", "pair": (1,)}
    store = store_of(**values)
    expected = (ValueError, AttributeError) if error == ValueError | AttributeError else error
    with pytest.raises(expected):
        await store.set(path, "V")
    with pytest.raises(expected):
        set_by_path(values, path, "V")
    assert (await store.get_state()).to_dict() == values


@pytest.mark.parametrize("path", ["unknown", "unknown.deep", "model_dump"])
async def test_a_typed_state_has_no_fields_but_its_own(path: str) -> None:
    with pytest.raises(ValueError, match="no field"):
        await InMemoryStateStore(Counted()).set(path, 1)


async def test_a_typed_state_does_not_validate_what_is_set() -> None:
    store = InMemoryStateStore(Counted())
    await store.set("n", "notint")
    assert await store.get("n") == "notint"


async def test_the_object_that_get_returns_is_live() -> None:
    store = store_of(docs=[1])
    (await store.get("docs")).append(2)
    assert await store.get("docs") == [1, 2]


WRITES: list[Write] = [
    lambda store: store.set("docs", "changed"),
    lambda store: store.set("deep.a", "changed"),
    lambda store: store.clear(),
    lambda store: store.set_state(having(docs="changed")),
    lambda store: store.increment("n"),
]


@pytest.mark.parametrize("write", WRITES)
async def test_who_holds_an_older_state_does_not_see_a_write(write: Write) -> None:
    initial = having(docs=[1], deep={"b": 1}, n=1)
    before = dict(initial.to_dict())
    store: Store = InMemoryStateStore(initial)
    await write(store)
    assert initial.to_dict() == before
    held = await store.get("")
    seen = dict(held.to_dict())
    await store.set("docs", "again")
    assert held.to_dict() == seen


async def test_a_state_that_was_given_stays_the_giver_s() -> None:
    store = InMemoryStateStore(Counted())
    mine = Counted(n=1)
    await store.set_state(mine)
    await store.set("n", 2)
    assert (mine.n, await store.get("n")) == (1, 2)


async def test_neighbours_of_what_is_set_are_shared_not_copied() -> None:
    neighbour = [1]
    store = store_of(a={"b": neighbour})
    await store.set("a.c", 2)
    assert await store.get("a.b") is neighbour


async def test_get_state_is_a_shallow_copy() -> None:
    store = store_of(docs=[1])
    state = await store.get_state()
    state["docs"].append(2)
    state["new"] = 3
    assert await store.get("docs") == [1, 2]
    assert await store.get("new", None) is None


# --- the whole state ---


async def test_a_state_of_the_same_class_or_a_subclass_replaces() -> None:
    store: Store = InMemoryStateStore(Counted(n=1))
    await store.set_state(CountedMore(n=2, more="y"))
    assert await store.get_state() == CountedMore(n=2, more="y")


async def test_a_state_of_a_parent_class_is_merged_and_validated() -> None:
    store: Store = InMemoryStateStore(CountedMore(n=1, more="kept"))
    await store.set_state(Counted(n=2))
    assert await store.get_state() == CountedMore(n=2, more="kept")
    with pytest.raises(ValueError, match="validation"):
        await store.set_state(Counted.model_construct(n="notint"))


@pytest.mark.parametrize("state", [Needy(n=1), having(n=1), 5])
async def test_a_state_of_an_unrelated_class_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match="must be of type"):
        await InMemoryStateStore[Any](Counted()).set_state(state)
    with pytest.raises(ValueError, match="must be of type"):
        merge_state(Counted(), state)


def test_merging_gives_a_new_state_or_the_incoming_one() -> None:
    present, incoming = CountedMore(n=1, more="kept"), CountedMore(n=2)
    assert merge_state(present, incoming) is incoming
    assert merge_state(present, Counted(n=3)) == CountedMore(n=3, more="kept")
    assert present == CountedMore(n=1, more="kept")


async def test_clear_begins_anew_with_the_present_class() -> None:
    store: Store = InMemoryStateStore(Counted())
    await store.set_state(CountedMore(n=2, more="y"))
    await store.clear()
    assert await store.get_state() == CountedMore()
    assert create_cleared_state(Counted) == Counted()


async def test_clear_refuses_a_class_that_needs_values() -> None:
    with pytest.raises(ValueError, match="Needy"):
        await InMemoryStateStore(Needy(n=1)).clear()
    with pytest.raises(ValueError, match="Needy"):
        create_cleared_state(Needy)


# --- edit_state ---


async def test_an_edit_is_committed_at_the_end_and_readers_wait_for_nobody() -> None:
    store = store_of(docs=[1])
    async with store.edit_state() as state:
        state["docs"].append(2)
        assert await store.get("docs") == [1]
        assert (await store.get_state())["docs"] == [1]
    assert await store.get("docs") == [1, 2]


async def test_an_edit_that_raises_is_discarded() -> None:
    store = store_of(docs=[1])
    with pytest.raises(ZeroDivisionError):
        async with store.edit_state() as state:
            state["docs"].append(1 // 0)
    assert await store.get("docs") == [1]


INSIDE: list[Write] = [
    lambda store: store.set("", 1),
    lambda store: store.set("a", 1),
    lambda store: store.set_state(5),
    lambda store: store.clear(),
    enter_edit,
]


@pytest.mark.parametrize("write", INSIDE)
async def test_a_writer_inside_its_own_edit_is_refused_before_its_arguments(write: Write) -> None:
    store = store_of(a=0)
    async with store.edit_state() as state:
        state["a"] = 1
        with pytest.raises(RuntimeError):
            await write(store)
    assert await store.get("a") == 1


async def test_another_task_writes_after_the_edit() -> None:
    store = store_of(n=1)
    async with store.edit_state() as state:
        other = asyncio.create_task(store.set("n", 10))
        await asyncio.sleep(0)
        state["n"] = 2
        assert not other.done()
    await other
    assert await store.get("n") == 10


def test_what_can_t_be_copied_is_shared_and_the_rest_isolated() -> None:
    lock = threading.Lock()
    state = having(
        lock=lock,
        deep={"lock": lock, "items": [1]},
        pair=([1], lock),
        note=Event(lock=lock, items=[1]),
        holder=Holder(items=[1, lock], client=[1]),
    )
    copy = copy_state_for_edit(state)
    assert copy["lock"] is copy["deep"]["lock"] is copy["pair"][1] is lock
    assert copy["deep"]["items"] is not state["deep"]["items"]
    assert copy["pair"][0] is not state["pair"][0]
    assert copy["note"].items is not state["note"].items
    assert copy["note"].lock is lock
    assert copy["holder"].items[1] is lock
    assert copy["holder"].items is not state["holder"].items
    assert copy["holder"].client is state["holder"].client


def test_what_two_values_share_their_copies_share() -> None:
    shared: list[Any] = [1]
    shared.append(shared)
    copy = copy_state_for_edit(having(a=shared, b={"a": shared}))
    assert copy["a"] is copy["b"]["a"] is copy["a"][1]
    assert copy["a"] is not shared


def test_what_is_nested_too_deeply_is_shared_below_some_depth() -> None:
    nested: list[Any] = []
    for _ in range(5_000):
        nested = [nested]
    copy = copy_state_for_edit(having(nested=nested, items=[1]))
    assert copy["nested"] is not nested
    assert copy["nested"][0] is not nested[0]
    assert copy["items"] == [1]


def test_an_object_that_holds_a_lock_is_shared_as_a_whole() -> None:
    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    client = Client()
    assert copy_state_for_edit(having(client=client))["client"] is client


async def test_a_value_with_a_lock_in_it_can_be_edited_and_undone() -> None:
    store = store_of(job={"lock": threading.Lock(), "done": [1]})
    with pytest.raises(ZeroDivisionError):
        async with store.edit_state() as state:
            state["job"]["done"][0] = state["job"]["done"].pop() // 0
    assert (await store.get("job"))["done"] == [1]


# --- the class of the state ---


class Middle(Event):
    pass


class FirstNamesTheParent(Workflow):
    @step
    async def first(self, ctx: Context[Counted], ev: StartEvent) -> Middle:
        await ctx.store.set("n", 5)
        return Middle()

    @step
    async def second(self, ctx: Context[CountedMore], ev: Middle) -> StopEvent:
        return StopEvent(result=await ctx.store.get_state())


class OneNamesIt(Workflow):
    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Middle:
        return Middle()

    @step
    async def second(self, ctx: Context[Counted], ev: Middle) -> StopEvent:
        return StopEvent(result=await ctx.store.get_state())


class DictAndTyped(Workflow):
    @step
    async def first(self, ctx: Context[DictState], ev: StartEvent) -> Middle:
        return Middle()

    @step
    async def second(self, ctx: Context[Counted], ev: Middle) -> StopEvent:
        return StopEvent()


class Siblings(Workflow):
    @step
    async def first(self, ctx: Context[CountedMore], ev: StartEvent) -> Middle:
        return Middle()

    @step
    async def second(self, ctx: Context[Sibling], ev: Middle) -> StopEvent:
        return StopEvent()


class Unnamed(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent()


NAMED = [
    (FirstNamesTheParent, CountedMore),
    (OneNamesIt, Counted),
    (DictAndTyped, Counted),
    (Unnamed, DictState),
]


@pytest.mark.parametrize(("workflow", "state_type"), NAMED)
def test_the_most_derived_class_that_the_steps_name_is_the_state(
    workflow: type[Workflow], state_type: type[BaseModel]
) -> None:
    assert infer_state_type(workflow()) is state_type
    assert Context(workflow()).store.state_type is state_type


async def test_all_steps_share_a_state_of_that_class() -> None:
    assert await FirstNamesTheParent().run() == CountedMore(n=5)


async def test_sibling_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="not in a compatible inheritance hierarchy"):
        await Siblings().run()


# --- as data ---


def test_a_dict_state_is_a_text_a_key() -> None:
    assert store_of(a=1, items=["x"], model=Counted(n=2)).to_dict(JSON) == {
        "store_type": "in_memory",
        "state_type": "DictState",
        "state_module": MODULE,
        "state_data": {
            "_data": {
                "a": "1",
                "items": '["x"]',
                "model": JSON.serialize(Counted(n=2)),
            }
        },
    }


def test_a_typed_state_is_one_text() -> None:
    assert InMemoryStateStore(Counted(n=2)).to_dict(JSON) == {
        "store_type": "in_memory",
        "state_type": "Counted",
        "state_module": __name__,
        "state_data": JSON.serialize(Counted(n=2)),
    }


STATES = [
    DictState(),
    having(a=1, items=[Counted(n=1)], memory="text"),
    Counted(n=3, tags=["x"]),
    mixed(n=4, dynamic=5),
    Holder(items=[1]),
]


@pytest.mark.parametrize("state", STATES, ids=repr)
@pytest.mark.parametrize("serializer", [JSON, PickleSerializer()], ids=["json", "pickle"])
async def test_a_state_comes_back_from_its_data(
    state: BaseModel, serializer: BaseSerializer
) -> None:
    data = InMemoryStateStore(state).to_dict(serializer)
    store: Store = InMemoryStateStore.from_dict(data, serializer)
    back = await store.get_state()
    assert type(back) is type(state)
    assert back == state


def test_a_mixed_state_whose_class_is_not_found_keeps_its_keys() -> None:
    data: dict[str, Any] = {"state_type": "Gone", "state_module": "nowhere"}
    data["state_data"] = {"_data": {"n": "1"}}
    state = deserialize_state_from_dict(data, JSON)
    assert type(state) is DictState
    assert state.to_dict() == {"n": 1}
    assert deserialize_state_from_dict(data, JSON, state_type=Mixed) == Mixed(n=1)


@pytest.mark.parametrize("data", [{}, {"state_data": None}, {"store_type": "in_memory"}])
async def test_without_data_the_state_is_an_empty_dict_state(data: dict[str, Any]) -> None:
    store: Store = InMemoryStateStore.from_dict(data, JSON)
    assert await store.get_state() == DictState()


UNREADABLE: list[tuple[Any, str]] = [
    ({"store_type": "redis"}, "Cannot parse store_type"),
    ({"store_type": None}, "Cannot parse store_type"),
    ({"state_type": 5}, "state_type"),
    ({"state_data": {"_data": {"a": "nojson"}}}, "'a'"),
    ({"state_data": {"_data": {"a": 1}}}, "'a'"),
    ({"state_data": {"_data": 5}}, "dict"),
    ({"state_data": {}}, "_data"),
    ({"state_data": '{"a": 1}'}, "_data"),
    ({"state_data": 5}, "int"),
    (None, "NoneType"),
    ("text", "str"),
]


@pytest.mark.parametrize(("data", "match"), UNREADABLE)
def test_data_that_can_t_be_read_are_refused(data: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        InMemoryStateStore.from_dict(data, JSON)


def test_a_value_that_can_t_be_serialized_is_named() -> None:
    with pytest.raises(ValueError, match="'client'"):
        store_of(client=object(), a=1).to_dict(JSON)


def test_memory_is_left_out_with_a_warning_if_it_can_t_be_serialized() -> None:
    assert KNOWN_UNSERIALIZABLE_KEYS == ("memory",)
    with pytest.warns(UnserializableKeyWarning, match="'memory'"):
        data = store_of(memory=object(), a=1).to_dict(JSON)
    assert data["state_data"] == {"_data": {"a": "1"}}


def test_memory_that_can_be_serialized_stays() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = store_of(memory=[1]).to_dict(JSON)
    assert data["state_data"] == {"_data": {"memory": "[1]"}}


class TakesData(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("a", 1)
        return StopEvent(result=ctx.store.to_dict(JSON))


async def test_a_step_can_take_the_data() -> None:
    assert (await TakesData().run())["state_data"] == {"_data": {"a": "1"}}


# --- for authors of runtimes ---


def test_encoding_names_the_class_and_chooses_the_keys_to_leave_out() -> None:
    assert encode_state(Counted(), JSON) == (JSON.serialize(Counted()), "Counted", __name__)
    assert encode_state(having(a=1), JSON) == ({"_data": {"a": "1"}}, "DictState", MODULE)
    with pytest.warns(UnserializableKeyWarning, match="'a'"):
        assert encode_state(having(a=object()), JSON, ("a",))[0] == {"_data": {}}
    with pytest.raises(ValueError, match="'memory'"):
        encode_state(having(memory=object()), JSON, ())


@pytest.mark.parametrize("data", [{"_data": {"a": "1"}}, '{"_data": {"a": "1"}}'])
def test_decoding_takes_data_or_their_text(data: Any) -> None:
    assert decode_state(data, JSON) == having(a=1)
    assert decode_state(None, JSON) == DictState()


def test_parsing_fills_in_what_is_missing() -> None:
    expected = InMemorySerializedState(state_data=1)
    assert parse_in_memory_state({"state_data": 1, "junk": 2}) == expected
    assert (expected.store_type, expected.state_type) == ("in_memory", "DictState")
    assert expected.state_module == MODULE


CHANGES = [
    (having(a=1, b=[1]), having(a=1, b=[1])),
    (having(a=1, b=[1]), having(a=2, b=[1, 2, 3])),
    (having(b=[1, 2, 3]), having(b=[9])),
    (having(a={"x": 1, "y": {"z": 1}}), having(a={"x": 1, "y": {"z": 2, "w": 3}})),
    (having(a=1), DictState()),
    (having(**{"a/b": 1, "~c": 1}), having(**{"a/b": 2, "~c": 2})),
    (having(a=True), having(a=1)),
    (having(a=[1]), having(a={"0": 1})),
    (having(a=Counted()), having(a=Counted(n=3))),
    (Counted(n=1), Counted(n=2)),
    (Counted(n=1), CountedMore(n=1)),
    (having(a=1), Counted(n=1)),
]


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=repr)
async def test_a_patch_leads_from_one_checkpoint_to_the_next(
    before: BaseModel, after: BaseModel
) -> None:
    old, new = StateCheckpoint(before, JSON), StateCheckpoint(after, JSON)
    data = old.to_dict()
    patched = apply_state_patch(data, new.diff(old))
    assert patched == new.to_dict()
    assert data == old.to_dict()
    store: Store = InMemoryStateStore.from_dict(patched, JSON)
    assert await store.get_state() == after


def test_a_patch_says_what_changed_and_no_more() -> None:
    before = StateCheckpoint(having(a=1, b=[1], gone=0), JSON)
    after = StateCheckpoint(having(a=2, b=[1, 2]), JSON)
    assert after.diff(after) == []
    assert after.diff(before) == [
        {"op": "remove", "path": "/state_data/_data/gone"},
        {"op": "replace", "path": "/state_data/_data/a", "value": 2},
        {"op": "add", "path": "/state_data/_data/b/1", "value": 2},
    ]


def test_a_checkpoint_is_the_data_of_its_moment() -> None:
    state = having(items=[1])
    checkpoint = StateCheckpoint(state, JSON)
    data = checkpoint.to_dict()
    state["items"].append(2)
    assert checkpoint.state is state
    assert data["state_data"] == {"_tree": "dict", "_data": {"items": [1]}}


def test_an_element_can_be_put_into_the_middle_of_a_list() -> None:
    patch = [{"op": "add", "path": "/a/0", "value": 2}]
    assert apply_state_patch({"a": [1]}, patch) == {"a": [2, 1]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "move", "from": "/a", "path": "/b"},
        {"op": "remove", "path": "/nothing"},
        {"op": "add", "path": "/nothing/here", "value": 1},
        {"op": "add", "path": "/a/x", "value": 1},
        {"op": "replace", "path": "/a"},
        {},
    ],
)
def test_an_operation_that_can_t_be_done_is_refused(operation: dict[str, Any]) -> None:
    state = {"a": [1]}
    with pytest.raises(ValueError, match="state patch"):
        apply_state_patch(state, [operation])
    assert state == {"a": [1]}


class Shelf:
    """A storage that keeps one record, and says what was done with it."""

    def __init__(self, run_id: str, shelves: dict[str, StateRecord] | None = None) -> None:
        self.run_id = run_id
        self.shelves = {} if shelves is None else shelves
        self.done: list[str] = []

    async def load(self) -> StateRecord | None:
        self.done.append("load")
        return self.shelves.get(self.run_id)

    async def save(self, record: StateRecord) -> None:
        self.done.append("save")
        self.shelves[self.run_id] = record

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Self]:
        self.done.append("enter")
        yield self
        self.done.append("leave")

    def to_handle(self) -> dict[str, Any]:
        return {"store_type": "shelf", "run": self.run_id}

    def parse_own_handle(self, payload: dict[str, Any]) -> Any | None:
        return payload["run"] if payload.get("store_type") == "shelf" else None

    async def copy_from_handle(self, handle: Any) -> None:
        self.done.append(f"copy {handle}")
        self.shelves[self.run_id] = self.shelves[handle]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf("r1")


def facade(shelf: Shelf, state_type: type[BaseModel] | None = None) -> StateStoreFacade[Any]:
    return StateStoreFacade(shelf, state_type)


def test_a_facade_is_a_state_store_over_a_storage(shelf: Shelf) -> None:
    assert isinstance(shelf, StateStorage)
    assert isinstance(facade(shelf), StateStore)
    assert facade(shelf).run_id == "r1"


async def test_a_facade_loads_and_saves_in_one_session_a_write(shelf: Shelf) -> None:
    store = facade(shelf)
    await store.set("a.b", 5)
    assert shelf.done == ["enter", "load", "save", "leave"]
    assert shelf.shelves["r1"] == StateRecord(
        data='{"_data": {"a": "{\\"b\\": 5}"}}', state_type="DictState", state_module=MODULE
    )
    assert await facade(shelf).get("a.b") == 5
    assert await facade(shelf).get("x", 7) == 7


async def test_a_facade_keeps_a_typed_state(shelf: Shelf) -> None:
    store = facade(shelf, CountedMore)
    assert await store.get_state() == CountedMore()
    await store.set("more", "kept")
    await store.set_state(Counted(n=5))
    assert await facade(shelf, CountedMore).get_state() == CountedMore(n=5, more="kept")
    await store.clear()
    assert await store.get_state() == CountedMore()


async def test_a_facade_keeps_a_mixed_state(shelf: Shelf) -> None:
    store = facade(shelf, Mixed)
    await store.set("n", 5)
    await store.set("dynamic", 6)
    assert await store.get_state() == mixed(n=5, dynamic=6)


async def test_an_edit_through_a_facade_is_saved_or_discarded(shelf: Shelf) -> None:
    store = facade(shelf)
    async with store.edit_state() as state:
        state["a"] = 1
        with pytest.raises(RuntimeError):
            await store.set("", 2)
        assert await store.get("a", None) is None
    with pytest.raises(ZeroDivisionError):
        async with store.edit_state() as state:
            state["a"] = 1 // 0
    assert await store.get("a") == 1


async def test_writers_through_a_facade_lose_nothing(shelf: Shelf) -> None:
    store = facade(shelf)

    async def count() -> None:
        async with store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1

    await asyncio.gather(*(count() for _ in range(10)))
    assert await store.get("n") == 10


async def test_a_facade_can_begin_with_another_state(shelf: Shelf) -> None:
    store = facade(shelf)
    store.add_seed(store_of(seed=1).to_dict(JSON), JSON)
    await store.set("more", 2)
    assert (await store.get_state()).to_dict() == {"seed": 1, "more": 2}
    assert shelf.done.count("save") == 2


async def test_a_facade_takes_over_the_state_behind_a_handle(shelf: Shelf) -> None:
    await facade(shelf).set("a", 1)
    handle = await facade(shelf).serialize_for_handoff(JSON)
    assert handle == facade(shelf).to_dict(JSON) == {"store_type": "shelf", "run": "r1"}
    other = facade(Shelf("r2", shelf.shelves))
    other.add_seed(handle, JSON)
    await other.ensure_seeded()
    await other.set("b", 2)
    assert (await other.get_state()).to_dict() == {"a": 1, "b": 2}
    assert (await facade(shelf).get_state()).to_dict() == {"a": 1}


async def test_a_facade_does_not_copy_its_own_state(shelf: Shelf) -> None:
    store = facade(shelf)
    await store.set("a", 1)
    store.add_seed(store.to_dict(JSON), JSON)
    assert await store.get("a") == 1
    assert "copy r1" not in shelf.done


async def begin_with(store: StateStoreFacade[Any], payload: dict[str, Any]) -> None:
    store.add_seed(payload, JSON)
    await store.ensure_seeded()


@pytest.mark.parametrize("payload", [{}, {"store_type": "other"}])
async def test_a_seed_that_nobody_understands_is_refused(
    shelf: Shelf, payload: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"store_type|empty"):
        await begin_with(facade(shelf), payload)
    assert shelf.shelves == {}


async def test_a_snapshot_of_a_facade_is_the_data_of_an_in_memory_store(shelf: Shelf) -> None:
    store = facade(shelf)
    await store.set("a", 1)
    snapshot = await store.snapshot(JSON)
    assert snapshot == store_of(a=1).to_dict(JSON)
