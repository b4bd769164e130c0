"""Section 12: serializers, and a run as a flat map with and without one."""

import json
import pickle
import subprocess
import sys
import threading
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from stepwell import Context, Workflow, step
from stepwell.context import BaseSerializer, JsonSerializer, PickleSerializer
from stepwell.context.serializers import JsonPickleSerializer
from stepwell.context.state_store import DictState, InMemoryStateStore, UnserializableKeyWarning
from stepwell.context.utils import get_qualified_name, import_module_from_qualified_name
from stepwell.errors import ContextSerdeError, DecodingError, EncodingError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent

JSON = JsonSerializer()
PICKLE = PickleSerializer()
EACH = pytest.mark.parametrize("serializer", [JSON, PICKLE], ids=["json", "pickle"])


class Point(BaseModel):
    x: int = 0
    tags: list[str] = Field(default_factory=list[str])


class Loose(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Any = None


class Unit:
    """A component, as LlamaIndex calls it."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    @classmethod
    def class_name(cls) -> str:
        return "Unit"

    def to_dict(self) -> dict[str, Any]:
        return {"size": self.size}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Unit":
        return cls(**data)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unit) and other.size == self.size

    __hash__: ClassVar[None]  # type: ignore[assignment]  it has a value, not an identity


def start(**values: Any) -> StartEvent:
    return StartEvent(**values)


def local_class() -> type[BaseModel]:
    class Local(BaseModel):
        a: int = 1

    return Local


def tagged(tag: str, value: Any, name: str) -> str:
    return json.dumps({tag: True, "value": value, "qualified_name": name})


# --- the format ---

WRITTEN: list[tuple[Any, Any]] = [
    (None, None),
    (1.5, 1.5),
    ("text", "text"),
    ([1, {"a": [2]}], [1, {"a": [2]}]),
    (
        Point(x=3),
        {
            "__is_pydantic": True,
            "value": {"x": 3, "tags": []},
            "qualified_name": f"{__name__}.Point",
        },
    ),
    (
        Unit(2),
        {"__is_component": True, "value": {"size": 2}, "qualified_name": f"{__name__}.Unit"},
    ),
    (
        start(topic="wells"),
        {
            "__is_pydantic": True,
            "value": {"_data": {"topic": "wells"}},
            "qualified_name": "stepwell.events.StartEvent",
        },
    ),
]


@EACH
@pytest.mark.parametrize(("value", "data"), WRITTEN)
def test_a_value_is_written_in_the_known_format_and_comes_back(
    serializer: JsonSerializer, value: Any, data: Any
) -> None:
    text = serializer.serialize(value)
    assert json.loads(text) == serializer.serialize_value(value) == data
    back = serializer.deserialize(text)
    assert back == value
    assert type(back) is type(value)
    assert serializer.deserialize_value(data) == value


@EACH
def test_lists_and_dictionaries_are_written_part_by_part(serializer: JsonSerializer) -> None:
    value = {"points": [Point(x=1)], "deep": {"unit": Unit(3)}}
    assert serializer.deserialize(serializer.serialize(value)) == value


def test_json_forgets_tuples_and_the_types_of_keys() -> None:
    assert JSON.deserialize(JSON.serialize({"pair": (1, 2)})) == {"pair": [1, 2]}
    assert JSON.deserialize(JSON.serialize({1: 2})) == {"1": 2}


def test_a_result_of_a_stop_event_is_part_of_it() -> None:
    stop = JSON.deserialize(JSON.serialize(StopEvent(result=[1, "x"])))
    assert isinstance(stop, StopEvent)
    assert stop.result == [1, "x"]


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        datetime(2020, 1, 1, tzinfo=UTC),
        b"x",
        object(),
        Point,
        (Point(),),
        Loose(held=object()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="can't be serialized"):
        JSON.serialize(value)
    with pytest.raises(ValueError, match="can't be serialized"):
        JSON.serialize({"deep": [value]})


@pytest.mark.parametrize("tag", ["__is_pydantic", "__is_component"])
def test_a_dictionary_that_would_come_back_as_an_object_is_refused(tag: str) -> None:
    value = {tag: True, "qualified_name": "os.system", "value": "x"}
    with pytest.raises(ValueError, match="rename"):
        JSON.serialize({"input": [value]})
    assert PICKLE.deserialize(PICKLE.serialize(value)) == value


def test_an_attribute_of_an_event_does_not_make_it_a_component() -> None:
    event = start(class_name="x", to_dict=1)
    assert JSON.deserialize(JSON.serialize(event)) == event


@pytest.mark.parametrize(
    "value",
    [
        {"__is_pydantic": True, "value": {}},
        {"__is_pydantic": False, "value": {}, "qualified_name": "a.B"},
        {"__is_component": True, "qualified_name": 5},
    ],
)
def test_half_a_tag_is_a_dictionary(value: dict[str, Any]) -> None:
    assert JSON.deserialize(json.dumps(value)) == value


UNREADABLE = [
    ("nojson", ValueError),
    (tagged("__is_pydantic", {}, "nowhere_at_all.X"), ImportError),
    (tagged("__is_pydantic", {}, "json.Missing"), AttributeError),
    (tagged("__is_pydantic", {}, "NoDot"), ValueError),
    (tagged("__is_pydantic", {}, "os.path.join"), ValueError),
    (tagged("__is_pydantic", {}, "json.JSONDecoder"), ValueError),
    (tagged("__is_pydantic", {"x": "no number"}, f"{__name__}.Point"), ValueError),
    (tagged("__is_pydantic", None, f"{__name__}.Point"), ValueError),
    (tagged("__is_component", {}, f"{__name__}.Point"), ValueError),
]


@EACH
@pytest.mark.parametrize(("text", "error"), UNREADABLE)
def test_text_that_can_t_be_read_is_an_error(
    serializer: JsonSerializer, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        serializer.deserialize(text)


# --- text of LlamaIndex Workflows ---


def test_classes_of_the_other_package_are_found_here() -> None:
    text = tagged("__is_pydantic", {"_data": {"topic": "wells"}}, "workflows.events.StartEvent")
    back = JSON.deserialize(text)
    assert type(back) is StartEvent
    assert back == start(topic="wells")
    assert JSON.resolve_class("workflows.context.state_store.DictState") is DictState


THEIR_PROGRAM = """
import asyncio, json
from workflows import Context, Workflow, step
from workflows.context import JsonSerializer
from workflows.context.state_store import DictState, InMemoryStateStore
from workflows.events import HumanResponseEvent, StartEvent, StopEvent

class Idle(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent()

serializer = JsonSerializer()
event = HumanResponseEvent(answer="yes", parts=[1, {"a": None}])
store = InMemoryStateStore(DictState(event=event, n=1))
context = Context(Idle()).to_dict()
print(json.dumps([serializer.serialize(event), store.to_dict(serializer), context]))
"""


@pytest.fixture(scope="module")
def theirs() -> Any:
    """An event, a state and a context, as LlamaIndex Workflows itself writes them."""
    done = subprocess.run([sys.executable, "-c", THEIR_PROGRAM], capture_output=True, check=True)  # noqa: S603  our own program
    return json.loads(done.stdout)


async def test_what_the_other_package_wrote_is_read(theirs: Any) -> None:
    event, state, _ = theirs
    answer = HumanResponseEvent(answer="yes", parts=[1, {"a": None}])  # pyright: ignore[reportCallIssue]  an event takes any keyword
    assert JSON.deserialize(event) == answer
    store: InMemoryStateStore[DictState] = InMemoryStateStore.from_dict(state, JSON)
    assert (await store.get_state()).to_dict() == {"event": answer, "n": 1}


def test_a_context_that_the_other_package_wrote_is_refused_by_its_name(theirs: Any) -> None:
    with pytest.raises(ContextSerdeError, match=r"LlamaIndex Workflows"):
        Context.from_dict(Idle(), theirs[2])


def test_a_module_of_the_same_name_that_is_not_ours_is_left_alone() -> None:
    with pytest.raises(ImportError, match=r"workflows\.my_own_steps"):
        JSON.resolve_class("workflows.my_own_steps.Report")


def test_allowed_types_know_both_names() -> None:
    text = tagged("__is_pydantic", {}, "workflows.events.StartEvent")
    allowed: list[type | str] = [
        StartEvent,
        "workflows.events.StartEvent",
        "stepwell.events.StartEvent",
    ]
    for one in allowed:
        assert type(JsonSerializer(allowed_types=[one]).deserialize(text)) is StartEvent


# --- which classes may come back ---


@pytest.mark.parametrize("allowed", [Point, f"{__name__}.Point"])
def test_only_allowed_classes_come_back(allowed: type | str) -> None:
    serializer = JsonSerializer(allowed_types=[allowed])
    assert serializer.deserialize(JSON.serialize(Point(x=1))) == Point(x=1)
    assert serializer.resolve_class(f"{__name__}.Point") is Point
    with pytest.raises(ValueError, match="Unit"):
        serializer.deserialize(JSON.serialize(Unit()))


@pytest.mark.parametrize("allowed", [[], ["Point"]])
def test_a_class_that_is_not_named_in_full_is_not_allowed(allowed: list[str]) -> None:
    with pytest.raises(ValueError, match=r"allowed_types"):
        JsonSerializer(allowed_types=allowed).deserialize(JSON.serialize(Point()))


def test_a_class_that_is_not_allowed_is_not_even_imported() -> None:
    serializer = JsonSerializer(allowed_types=[Point])
    with pytest.raises(ValueError, match="nowhere_at_all"):
        serializer.deserialize(tagged("__is_pydantic", {}, "nowhere_at_all.X"))


def test_the_container_of_a_state_is_always_allowed() -> None:
    serializer = JsonSerializer(allowed_types=[])
    data = InMemoryStateStore(DictState()).to_dict(serializer)
    data["state_data"]["_data"]["a"] = "1"
    store: InMemoryStateStore[Any] = InMemoryStateStore.from_dict(data, serializer)
    assert store.cell.values() == {"a": 1}


def test_a_class_inside_a_function_comes_back_if_the_serializer_knows_it() -> None:
    local = local_class()
    text = JSON.serialize(local(a=2))
    with pytest.raises(AttributeError):
        JSON.deserialize(text)
    assert JSON.with_types(local).deserialize(text) == local(a=2)
    assert JsonSerializer(allowed_types=[local]).deserialize(text) == local(a=2)


def test_more_types_are_a_new_serializer_of_the_same_kind() -> None:
    strict = PickleSerializer(allowed_types=[Point])
    wider = strict.with_types(Unit)
    assert isinstance(wider, PickleSerializer)
    assert wider.deserialize(JSON.serialize([Point(), Unit()])) == [Point(), Unit()]
    with pytest.raises(ValueError, match="Unit"):
        strict.deserialize(JSON.serialize(Unit()))


# --- pickle ---


def test_the_old_name_of_the_pickle_serializer_still_works() -> None:
    assert JsonPickleSerializer is PickleSerializer


@pytest.mark.parametrize("value", [{1, 2}, b"x", Point, (Point(x=1),), 3j], ids=repr)
def test_what_has_no_json_is_pickled(value: Any) -> None:
    text = PICKLE.serialize(value)
    assert text == b64encode(pickle.dumps(value)).decode()
    assert PICKLE.deserialize(text) == value


def test_what_can_t_be_pickled_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"_thread\.lock"):
        PICKLE.serialize(threading.Lock())


def test_a_text_that_looks_like_a_pickle_stays_text() -> None:
    text = b64encode(pickle.dumps({1, 2})).decode()
    assert PICKLE.deserialize(PICKLE.serialize(text)) == text


@pytest.mark.parametrize("value", [None, True, 1234, 12345678, "null", "gASV", float("inf")])
def test_json_that_is_base64_as_well_is_no_pickle(value: Any) -> None:
    assert PICKLE.deserialize(json.dumps(value)) == value


# --- serializers of one's own, and names ---


def test_a_serializer_of_one_s_own_needs_both_methods() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseSerializer()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  that is the test


def test_a_qualified_name_is_module_and_class() -> None:
    assert get_qualified_name(Point()) == f"{__name__}.Point"
    assert get_qualified_name(local_class()()) == f"{__name__}.Local"
    assert import_module_from_qualified_name(f"{__name__}.Point") is Point


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", ValueError),
        ("json", ValueError),
        ("json.", ValueError),
        ("json.missing", AttributeError),
        ("nowhere_at_all.X", ImportError),
        ("json.JSONDecoder.decode", ImportError),
    ],
)
def test_a_name_of_nothing_is_an_error(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        import_module_from_qualified_name(name)


# --- ctx.to_dict(serializer) ---


class Upper(BaseSerializer):
    """A serializer of a user's own: no JSON at all."""

    @override
    def serialize(self, value: Any) -> str:
        return "UPPER" + PICKLE.serialize([value]).swapcase()

    @override
    def deserialize(self, value: str) -> Any:
        return PICKLE.deserialize(value.removeprefix("UPPER").swapcase())[0]


class Odd:
    """Has no form of our own, and no JSON."""

    def __init__(self, size: int) -> None:
        self.size = size

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.size == self.size

    __hash__: ClassVar[None]  # type: ignore[assignment]  it has a value, not an identity


class Ask(StartEvent):
    odd: Any = None


class Measured(Event):
    odd: Any = None


class Typed(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    odd: Any = None
    n: int = 0


class Measure(Workflow):
    """Takes a map in its second step; the value in its event has no form of ours."""

    def __init__(self, serializer: BaseSerializer | None) -> None:
        super().__init__()
        self.chosen = serializer
        self.maps: list[dict[str, str]] = []

    @step
    async def first(self, ctx: Context, ev: Ask) -> Measured:
        await ctx.store.set("odd", ev.odd)
        await ctx.store.set("n", 1)
        return Measured(odd=ev.odd)

    @step
    async def second(self, ctx: Context, ev: Measured) -> StopEvent:
        self.maps.append(ctx.to_dict(self.chosen))
        return StopEvent(result=(ev.odd.size, (await ctx.store.get("odd")).size))


class TypedMeasure(Workflow):
    @step
    async def only(self, ctx: Context[Typed], ev: StartEvent) -> StopEvent:
        return StopEvent()


class Idle(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent()


def state_fields(fields: dict[str, str]) -> list[str]:
    return [name for name in fields if name.startswith("state")]


OTHERS = pytest.mark.parametrize("serializer", [PICKLE, Upper()], ids=["pickle", "own"])


@OTHERS
async def test_a_run_goes_on_from_a_map_of_another_serializer(serializer: BaseSerializer) -> None:
    workflow = Measure(serializer)
    await workflow.run(odd=Odd(3))
    again = Measure(serializer)
    ctx = Context[DictState].from_dict(again, workflow.maps[0], serializer)
    assert ctx.is_running
    assert await again.run(ctx=ctx) == (3, 3)


@OTHERS
async def test_each_field_of_such_a_map_is_json(serializer: BaseSerializer) -> None:
    workflow = Measure(serializer)
    await workflow.run(odd=Odd(3))
    fields = dict(workflow.maps[0])
    assert fields.pop("serializer") == get_qualified_name(serializer)
    assert {"state:odd", "state:n", "input"} <= fields.keys()
    for name in fields.keys() - {"format", "workflow", "status", "next"}:
        json.loads(fields[name])
    text = json.loads(fields["state:odd"])
    assert text["$type"] == "serialized"
    assert serializer.deserialize(text["value"]) == Odd(3)


@OTHERS
async def test_such_a_map_can_t_be_read_without_the_serializer(serializer: BaseSerializer) -> None:
    ctx = Context(Idle())
    await ctx.store.set("odd", Odd(3))
    fields = ctx.to_dict(serializer)
    name = get_qualified_name(serializer)
    for none in (None, JSON):
        with pytest.raises(ContextSerdeError, match=f"{name}.*from_dict"):
            Context.from_dict(Idle(), fields, none)


@OTHERS
async def test_a_serializer_reads_maps_that_were_written_without_one(
    serializer: BaseSerializer,
) -> None:
    ctx = Context(Idle())
    await ctx.store.set("when", datetime(2020, 1, 1, tzinfo=UTC))
    back = Context[DictState].from_dict(Idle(), ctx.to_dict(), serializer)
    assert await back.store.get("when") == datetime(2020, 1, 1, tzinfo=UTC)


@OTHERS
async def test_a_typed_state_goes_through_a_serializer(serializer: BaseSerializer) -> None:
    ctx = Context[Typed](TypedMeasure())
    await ctx.store.set_state(Typed(odd=Odd(1), n=2))
    fields = ctx.to_dict(serializer)
    back = Context[Typed].from_dict(TypedMeasure(), fields, serializer)
    assert await back.store.get_state() == Typed(odd=Odd(1), n=2)


async def test_a_plain_json_serializer_is_the_format_of_our_own() -> None:
    ctx = Context(Idle())
    await ctx.store.set("values", {1, 2})
    assert ctx.to_dict(JSON) == ctx.to_dict()
    back = Context[DictState].from_dict(Idle(), ctx.to_dict(), JSON)
    assert await back.store.get("values") == {1, 2}


async def test_a_context_remembers_its_serializer() -> None:
    ctx = Context(Idle(), serializer=PICKLE)
    await ctx.store.set("odd", Odd(3))
    back = Context(Idle(), ctx.to_dict(), PICKLE)
    assert await back.store.get("odd") == Odd(3)
    assert back.to_dict() == ctx.to_dict(PICKLE)


async def test_a_context_has_the_serializer_of_its_workflow() -> None:
    ctx = Context(Idle(serializer=PICKLE))
    await ctx.store.set("odd", Odd(3))
    back = Context[DictState].from_dict(Idle(serializer=PICKLE), ctx.to_dict())
    assert await back.store.get("odd") == Odd(3)
    handler = Idle(serializer=PICKLE).run(ctx=back)
    await handler
    assert "serializer" in handler.ctx.to_dict()


async def test_a_user_s_value_can_t_pass_for_text_of_a_serializer() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled what a user typed in",))

    bait = b64encode(pickle.dumps(Trap())).decode()
    ctx = Context(Idle())
    await ctx.store.set("typed_in", {"$type": "serialized", "value": bait})
    back = Context[DictState].from_dict(Idle(), ctx.to_dict(), PICKLE)
    assert await back.store.get("typed_in") == {"$type": "serialized", "value": bait}


async def test_what_a_serializer_refuses_is_named() -> None:
    ctx = Context(Idle())
    await ctx.store.set("lock", threading.Lock())
    with pytest.raises(EncodingError, match=r"'lock'.*PickleSerializer"):
        ctx.to_dict(PICKLE)


async def test_text_that_a_serializer_can_t_read_is_named() -> None:
    ctx = Context(Idle())
    await ctx.store.set("odd", Odd(3))
    fields = ctx.to_dict(PICKLE)
    fields["state:odd"] = '{"$type": "serialized", "value": 5}'
    with pytest.raises(DecodingError, match=r"state:odd.*PickleSerializer"):
        Context.from_dict(Idle(), fields, PICKLE)


async def test_a_serializer_that_returns_no_text_is_told_so() -> None:
    class Bytes(PickleSerializer):
        @override
        def serialize(self, value: Any) -> Any:
            return b"bytes"

    ctx = Context(Idle())
    await ctx.store.set("a", 1)
    with pytest.raises(EncodingError, match="bytes, not str"):
        ctx.to_dict(Bytes())


@pytest.mark.parametrize("serializer", [None, PICKLE], ids=["none", "pickle"])
async def test_the_state_can_be_left_out(serializer: BaseSerializer | None) -> None:
    ctx = Context(Idle())
    await ctx.store.set("client", threading.Lock())
    fields = ctx.to_dict(serializer, include_state=False)
    assert state_fields(fields) == []
    assert await Context(Idle(), fields, serializer).store.get("client", None) is None


async def test_live_memory_is_left_out_with_a_warning() -> None:
    ctx = Context(Idle())
    await ctx.store.set("memory", threading.Lock())
    await ctx.store.set("a", 1)
    with pytest.warns(UnserializableKeyWarning, match="'memory'"):
        fields = ctx.to_dict()
    assert state_fields(fields) == ["state:a"]


# --- what from_dict refuses ---

PEER = {
    "version": 2,
    "state": {"store_type": "in_memory", "state_data": {"_data": {"a": "1"}}},
    "is_running": True,
    "workers": {},
}


@pytest.mark.parametrize(
    "data",
    [
        PEER,
        {name: json.dumps(value) for name, value in PEER.items()},
        {name.encode(): json.dumps(value).encode() for name, value in PEER.items()},
        {"is_running": False, "state": {}},
    ],
    ids=["nested", "json per field", "bytes", "older layout"],
)
def test_a_snapshot_of_the_other_package_is_refused_by_its_name(data: Any) -> None:
    with pytest.raises(ContextSerdeError, match=r"LlamaIndex Workflows.*InMemoryStateStore"):
        Context.from_dict(Idle(), data)


async def test_the_state_of_such_a_snapshot_can_be_taken_over() -> None:
    data: Any = PEER["state"]
    theirs: InMemoryStateStore[DictState] = InMemoryStateStore.from_dict(data, JSON)
    ctx = Context(Idle())
    await ctx.store.set_state(await theirs.get_state())
    assert await ctx.store.get("a") == 1


@pytest.mark.parametrize("data", [[], "", "text", 5, [("format", "1")], {"foo": 1}, {"foo": "1"}])
def test_what_is_no_map_of_a_context_is_refused(data: Any) -> None:
    with pytest.raises(ContextSerdeError):
        Context.from_dict(Idle(), data)


def test_a_map_of_another_layout_is_refused() -> None:
    fields = Context(Idle()).to_dict()
    with pytest.raises(ContextSerdeError, match="layout 99"):
        Context.from_dict(Idle(), {**fields, "format": "99"})
