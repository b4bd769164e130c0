"""Values come back as what they were, or the error says where and why they can't."""

import asyncio
import contextlib
import json
import math
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretStr,
    field_serializer,
    model_validator,
)
from typing_extensions import TypedDict, override

from stepwell import _serialization as serialization
from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry, check_name, type_name
from stepwell.errors import DecodingError, EncodingError, RunNotFound, UnreconstructedException
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent, WorkflowFailedEvent

T = TypeVar("T")
EventT = TypeVar("EventT", bound=Event)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = None


@dataclass
class Part:
    name: str
    content: Any = None
    seen: list[Any] = field(default_factory=list[Any], init=False)


@dataclass(frozen=True, slots=True)
class Frozen:
    content: Any


class Author(BaseModel):
    name: str
    url: AnyUrl | None = None
    meta: Any = None


class Box(BaseModel, Generic[T]):
    content: T


class Asked(Event):
    question: str
    author: Author


class Plain(Event):
    number: int
    text: str


class ShoutError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class PrefixError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}")
        self.name = name


class Text(str):
    __slots__ = ()


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


@pytest.fixture
def types() -> TypeRegistry:
    registry = TypeRegistry(DEFAULT_TYPES)
    registry.register(Color, Level, Word, Access, Point, Part, Frozen, Author, Box[int], Asked)
    registry.register(Plain, ShoutError, PrefixError)
    return registry


@pytest.fixture
def codec(types: TypeRegistry) -> Codec:
    return Codec(types)


def known_types() -> TypeRegistry:
    registry = TypeRegistry(DEFAULT_TYPES)
    registry.register(Color, Level, Word, Access, Point, Part, Frozen, Author, Plain)
    return registry


def event(cls: type[EventT], **values: Any) -> EventT:
    """An event with values that its class does not declare, which a type checker would refuse."""
    return cls(**values)


def there_and_back(codec: Codec, value: Any) -> Any:
    return codec.decode(codec.encode(value, "value"), "value")


def shape(value: Any) -> Any:
    """A value with the types of all its parts, comparable: nan equals nan, -0.0 is not 0.0."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]  of anything
    if isinstance(value, BaseModel):
        return kind, shape(dict(value.__dict__)), shape(value.__pydantic_private__)
    if isinstance(value, (Part, Frozen)):
        return kind, [shape(getattr(value, name)) for name in kind.__dataclass_fields__]
    if isinstance(value, dict):
        return kind, [(shape(k), shape(v)) for k, v in value.items()]  # pyright: ignore[reportUnknownVariableType]  of anything
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(shape(item)) for item in value)  # pyright: ignore[reportUnknownVariableType]  of anything
    if isinstance(value, (list, tuple, deque)):
        items = [shape(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  of anything
        return kind, items, getattr(value, "maxlen", None)  # pyright: ignore[reportUnknownArgumentType]  of anything
    return kind, repr(value)


TIME_ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=7))])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(max_size=20),
    st.datetimes(timezones=TIME_ZONES),
    st.dates(),
    st.times(timezones=TIME_ZONES),
    st.timedeltas(),
    st.decimals(allow_nan=False) | st.just(Decimal("NaN")),  # a signalling one has no hash
    st.uuids(),
    st.complex_numbers(),
    st.sampled_from([*Color, *Level, *Word, *Access, Access(3), Access(0)]),
    st.sampled_from([Path("a/b"), PurePosixPath("/x"), PureWindowsPath("c:\\d")]),
)
HASHABLES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Frozen, inner),
    ),
    max_leaves=5,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.lists(st.tuples(HASHABLES, inner), max_size=3)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=3).map(lambda items: deque(items, 5)),
        st.sets(HASHABLES, max_size=3),
        st.dictionaries(st.text(max_size=5) | st.just("$type"), inner, max_size=4),
        pairs.map(dict),
        pairs.map(OrderedDict),
        pairs.map(lambda items: defaultdict[Any, Any](list, items)),
        st.builds(Point, st.integers(), inner),
        st.builds(Part, st.text(), inner),
        st.builds(Author, name=st.text(), meta=inner),
        st.builds(Plain, number=st.integers(), text=st.text(), extra=inner),
        st.builds(StopEvent, result=inner),
    )


VALUES = st.recursive(SCALARS | HASHABLES, containers, max_leaves=15)
CODEC = Codec(known_types())


@settings(deadline=None)
@given(VALUES)
def test_every_value_comes_back_with_the_exact_types_of_all_its_parts(value: Any) -> None:
    text = CODEC.encode(value, "value")

    assert text.isascii()
    assert shape(CODEC.decode(text, "value")) == shape(value)
    assert shape(CODEC.decode(text.encode(), "value")) == shape(value)


@settings(deadline=None)
@given(
    st.recursive(
        st.text() | st.integers(),
        lambda v: st.dictionaries(st.sampled_from(["$type", "value", "a"]), v, max_size=3),
    )
)
def test_user_data_is_never_taken_for_a_tag(value: Any) -> None:
    assert CODEC.decode(CODEC.encode(value, "value"), "value") == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        ("é", '"\\u00e9"'),
        ([1, "a", None, 2.5], '[1,"a",null,2.5]'),
        ({"a": {"b": [1]}}, '{"a":{"b":[1]}}'),
        ((1, 2), '{"$type":"tuple","value":[1,2]}'),
        ({3, 1, 2}, '{"$type":"set","value":[1,2,3]}'),
        ({1: "a"}, '{"$type":"dict","value":[[1,"a"]]}'),
        ({"$type": "tuple"}, '{"$type":"dict","value":[["$type","tuple"]]}'),
        (math.inf, '{"$type":"float","value":"inf"}'),
        (b"ab", '{"$type":"bytes","value":"YWI="}'),
        (date(2026, 1, 2), '{"$type":"date","value":"2026-01-02"}'),
        (ValueError("no"), '{"$type":"builtins:ValueError","value":["no"]}'),
        (RunNotFound, '{"$type":"class","value":"stepwell.errors:RunNotFound"}'),
        (
            event(StartEvent, a=1),
            '{"$type":"stepwell.events:StartEvent","value":{},"private":{"_data":{"a":1}}}',
        ),
    ],
)
def test_the_stored_form_is_stable(value: Any, text: str) -> None:
    assert Codec().encode(value, "value") == text


def test_equal_sets_have_equal_text_whatever_their_history() -> None:
    grown = {("b", i) for i in range(50)} | {"x"}
    shrunk = {("b", i) for i in reversed(range(500))} | {"x"}
    shrunk -= {("b", i) for i in range(50, 500)}

    assert CODEC.encode(grown, "value") == CODEC.encode(shrunk, "value")


@pytest.mark.parametrize(
    "value",
    [
        "a\ud800b",
        {"\udfff": 1},
        {("\ud800",): {"\ud800"}},
        event(Event, **{"\ud800": "\ud800"}),
        Plain(number=1, text="\ud800"),
        Author(name="\ud800", meta={"\ud800": ["\ud800"]}),
    ],
    ids=ascii,
)
def test_a_lone_surrogate_survives(codec: Codec, value: Any) -> None:
    assert there_and_back(codec, value) == value


@pytest.mark.parametrize("name", ["plain", "", "with space", "é", "😀", "a:b+c%"])
def test_any_text_of_whole_characters_names_a_field(name: str) -> None:
    check_name(name, "the key of ctx.once")


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"], ids=ascii)
def test_a_name_with_a_lone_surrogate_is_refused(name: str) -> None:
    with pytest.raises(EncodingError, match=r"^the key of ctx\.once, '.*\\ud.*lone surrogate"):
        check_name(name, "the key of ctx.once")


def test_a_time_zone_comes_back_by_its_key_and_keeps_the_fold(codec: Codec) -> None:
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    again = there_and_back(codec, moment)

    assert again.tzinfo is moment.tzinfo
    assert again.fold == 1
    assert again.utcoffset() == moment.utcoffset()
    assert there_and_back(codec, moment.timetz()).tzinfo is moment.tzinfo


def test_a_time_that_pydantic_parsed_comes_back(codec: Codec, types: TypeRegistry) -> None:
    class Meeting(BaseModel):
        at: datetime

    types.register(Meeting)
    meeting = Meeting.model_validate({"at": "2026-01-01T10:00:00+02:00"})

    assert there_and_back(codec, meeting) == meeting


def test_a_counter_and_a_plain_defaultdict_keep_their_type(codec: Codec) -> None:
    counts = there_and_back(codec, Counter("abca"))
    plain = there_and_back(codec, defaultdict(None, {1: 2}))

    assert type(counts) is Counter
    assert counts == Counter("abca")
    assert plain.default_factory is None


# ---- events and models


def test_an_event_that_holds_models_comes_back_equal(codec: Codec) -> None:
    author = Author(name="Ada", meta={"born": date(1815, 12, 10)})
    asked = event(Asked, question="why", author=author, other=[author], count=3)

    again = there_and_back(codec, asked)

    assert again == asked
    assert type(again.other[0]) is Author
    assert again.author.meta["born"] == date(1815, 12, 10)


def test_the_result_of_a_stop_event_keeps_its_type(codec: Codec) -> None:
    result = there_and_back(codec, StopEvent(result=(Author(name="Ada"), {1}), note="n"))

    assert result.result == (Author(name="Ada"), {1})
    assert result.note == "n"


def test_a_failed_run_keeps_the_exception_itself(codec: Codec) -> None:
    event = WorkflowFailedEvent(step_name="s", exception=ShoutError(code=3), attempts=2)

    error = there_and_back(codec, event).exception

    assert type(error) is ShoutError
    assert error.code == 3


def test_values_that_only_pydantic_knows_are_restored_by_validation(
    codec: Codec, types: TypeRegistry
) -> None:
    class Host(BaseModel):
        address: IPv4Address
        links: list[AnyUrl]

    class Visit(Event):
        hosts: dict[str, IPv4Address]

    types.register(Host, Visit)
    visit = event(Visit, hosts={"a": IPv4Address("10.0.0.1")}, by=Author(name="Ada", meta={1}))
    host = Host(address=IPv4Address("10.0.0.1"), links=[AnyUrl("http://a.example/")])

    assert there_and_back(codec, host) == host
    assert there_and_back(codec, visit) == visit


def test_a_secret_is_refused_since_its_dump_hides_it(codec: Codec, types: TypeRegistry) -> None:
    class Login(BaseModel):
        password: SecretStr

    types.register(Login)

    with pytest.raises(EncodingError, match=r"at \.password: .*SecretStr.*register_codec"):
        codec.encode(Login(password=SecretStr("x")), "login")


def test_fields_with_aliases_come_back_by_any_configuration(
    codec: Codec, types: TypeRegistry
) -> None:
    class Aliased(BaseModel):
        user_name: str = Field(alias="userName")
        age: int = Field(validation_alias=AliasChoices("years", "age_"), serialization_alias="a")

    class AliasedEvent(Event):
        user_name: str = Field(alias="userName")

    class DumpedEvent(AliasedEvent):
        @field_serializer("user_name")
        def shout(self, value: str) -> str:
            return value.upper()

    types.register(Aliased, AliasedEvent, DumpedEvent)
    aliased = Aliased.model_validate({"userName": "u", "years": 3})

    assert there_and_back(codec, aliased) == aliased
    plain = event(AliasedEvent, userName="u", x=(1,))
    assert there_and_back(codec, plain) == plain
    dumped = event(DumpedEvent, userName="u", x=(1,))
    assert there_and_back(codec, dumped) == event(DumpedEvent, userName="U", x=(1,))


def test_a_model_with_its_own_shape_is_stored_as_its_dump(
    codec: Codec, types: TypeRegistry
) -> None:
    class Wrapped(BaseModel):
        value: int

        @model_validator(mode="before")
        @classmethod
        def unwrap(cls, data: Any) -> Any:
            return data if isinstance(data, dict) else {"value": data}  # pyright: ignore[reportUnknownVariableType]  of anything

    types.register(Wrapped)

    assert json.loads(codec.encode(Wrapped(value=3), "w"))["dump"] == {"value": 3}
    assert there_and_back(codec, Wrapped(value=3)) == Wrapped(value=3)


def test_what_was_set_what_was_extra_and_what_is_private_survives(
    codec: Codec, types: TypeRegistry
) -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: int = 1
        b: int = 2
        _seen: set[int] = PrivateAttr(default_factory=set[int])
        _lock: Any = PrivateAttr(default_factory=threading.Lock)

        def see(self, number: int) -> set[int]:
            self._seen.add(number)
            return self._seen

    types.register(Loose)
    loose = Loose.model_validate({"a": 5, "more": (1,), "$type": "tuple"})
    loose.see(7)

    again = there_and_back(codec, loose)

    assert again.model_fields_set == loose.model_fields_set
    assert again.model_extra == {"more": (1,), "$type": "tuple"}
    assert again.see(8) == {7, 8}


def test_excluded_fields_come_back_as_their_default(codec: Codec, types: TypeRegistry) -> None:
    class Partial(BaseModel):
        kept: int
        handle: Any = Field(default=None, exclude=True)

    class Impossible(BaseModel):
        handle: Any = Field(exclude=True)

    types.register(Partial, Impossible)

    assert there_and_back(codec, Partial(kept=1, handle=object())) == Partial(kept=1)
    with pytest.raises(EncodingError, match="'handle' is required, but excluded"):
        codec.encode(Impossible(handle=1), "value")


def test_root_and_generic_models_come_back(codec: Codec, types: TypeRegistry) -> None:
    class Names(RootModel[list[str]]):
        pass

    types.register(Names)

    assert there_and_back(codec, Names(["a"])) == Names(["a"])
    assert type(there_and_back(codec, Box[int](content=1))) is Box[int]


def test_a_model_whose_fields_were_renamed_since_is_refused(codec: Codec) -> None:
    text = '{"$type":"%s","value":{"title":"x"}}' % type_name(Author)  # noqa: UP031 - braces

    with pytest.raises(DecodingError, match="state key 'a' can't be read back: ValidationError"):
        codec.decode(text, "state key 'a'")


# ---- other classes


def test_a_dataclass_keeps_fields_that_its_constructor_does_not_take(codec: Codec) -> None:
    part = Part("p", {1})
    part.seen.append(3)

    assert there_and_back(codec, part) == part


def test_a_dataclass_that_its_fields_do_not_suffice_for_is_refused(
    codec: Codec, types: TypeRegistry
) -> None:
    @dataclass
    class Opened:
        name: str
        mode: InitVar[str]

    types.register(Opened)

    with pytest.raises(
        EncodingError, match=r"constructor needs mode; use stepwell\.register_codec"
    ):
        codec.encode(Opened("a", "r"), "value")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        FileNotFoundError(2, "no such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ShoutError(code=7),
        PrefixError("thing"),
        ExceptionGroup("several", [ValueError(1), TypeError("t")]),
        RunNotFound("run 'x'"),
    ],
)
def test_an_exception_is_rebuilt_with_message_and_attributes(
    codec: Codec, error: Exception
) -> None:
    error.add_note("seen")

    again = there_and_back(codec, error)

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(again.args) == repr(error.args)
    assert vars(again) == vars(error)


class UnknownError(Exception):
    """Nobody registers it."""


class Failures(Event):
    error: Exception
    anything: Any


def failed_step(error: Exception) -> StepFailedEvent:
    return StepFailedEvent(
        step_name="s",
        input_event=event(Asked, question="q", author=Author(name="Ada"), more=(1, 2)),
        exception=error,
        attempts=2,
        elapsed_seconds=1.5,
        failed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("error", [ValueError("x"), ShoutError(code=7), UnknownError("u")])
def test_an_exception_is_stored_wherever_it_sits(codec: Codec, error: Exception) -> None:
    again = there_and_back(codec, {"k": [1, (error,)], "event": event(Event, error=error)})
    for one in (again["k"][1][0], again["event"].error):
        assert (type(one), str(one)) == (type(error), str(error))


@pytest.mark.parametrize("error", [ValueError("x"), ShoutError(code=7), UnknownError("u")])
def test_an_event_keeps_its_exceptions(codec: Codec, types: TypeRegistry, error: Exception) -> None:
    types.register(Failures)
    again = there_and_back(codec, Failures(error=error, anything=[error]))
    assert [type(again.error), type(again.anything[0])] == [type(error)] * 2
    assert [str(again.error), str(again.anything[0])] == [str(error)] * 2


@pytest.mark.parametrize("error", [ValueError("x"), ShoutError(code=7), UnknownError("u")])
def test_a_failed_step_keeps_its_event_and_its_exception(codec: Codec, error: Exception) -> None:
    before = failed_step(error)
    again = there_and_back(codec, before)
    assert again.input_event == before.input_event
    assert (type(again.exception), str(again.exception)) == (type(error), str(error))
    assert again.failed_at == before.failed_at


def test_a_class_that_nobody_registered_is_described() -> None:
    assert CODEC.encode(UnknownError("u"), "value") == (
        '{"$type":"exception","value":{"exception_type":"%s","exception_message":"u"}}'  # noqa: UP031 - braces
        % type_name(UnknownError).replace(":", ".")
    )


def test_an_exception_of_a_class_that_is_not_here_has_a_stand_in() -> None:
    text = CODEC.encode(type("GoneError", (Exception,), {})("far away"), "value")
    again = CODEC.decode(text, "value")
    assert type(again) is UnreconstructedException
    assert str(again) == "far away"
    assert again.original_type == f"{__name__}.GoneError"
    assert there_and_back(CODEC, again).original_type == f"{__name__}.GoneError"


def test_a_class_that_is_registered_later_is_no_longer_described() -> None:
    class LateError(Exception):
        pass

    types = TypeRegistry(DEFAULT_TYPES)
    codec = Codec(types)
    assert type(there_and_back(codec, LateError("x"))) is UnreconstructedException
    types.register(LateError)
    assert type(there_and_back(codec, LateError("x"))) is LateError


def test_an_exception_that_holds_what_cannot_be_stored_is_described(codec: Codec) -> None:
    error = ShoutError(code=7)
    error.lock = threading.Lock()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  as users do
    assert repr(there_and_back(codec, ValueError(print))) == repr(ValueError(str(print)))
    assert str(there_and_back(codec, error)) == "code 7"


def test_an_exception_that_holds_itself_is_described(codec: Codec) -> None:
    error = ValueError("x")
    error.args = (error, error)
    again = there_and_back(codec, {"error": error})["error"]
    assert type(again) is ValueError


def test_a_constructor_that_fails_on_what_was_stored_is_not_needed(
    codec: Codec, types: TypeRegistry
) -> None:
    class NumberError(Exception):
        def __init__(self, text: str) -> None:
            super().__init__(f"no {int(text)}")

    types.register(NumberError)
    again = there_and_back(codec, NumberError("5"))
    assert (type(again), str(again)) == (NumberError, "no 5")


def test_only_what_fails_is_an_exception(codec: Codec) -> None:
    with pytest.raises(EncodingError, match="CancelledError can't be stored"):
        codec.encode(asyncio.CancelledError(), "value")


def test_a_class_itself_can_be_stored(codec: Codec) -> None:
    assert there_and_back(codec, [Author, Color, ValueError]) == [Author, Color, ValueError]
    with pytest.raises(EncodingError, match=r"class Text itself .* stepwell.register\(Text\)"):
        codec.encode(Text, "value")


def test_a_foreign_class_is_stored_by_the_codec_of_the_user() -> None:
    def cents(money: Money) -> tuple[int]:
        return (money.cents,)

    def money(stored: Any) -> Money:
        return Money(*stored)

    serialization.register_codec(Money, encode=cents, decode=money, name="test:money")
    codec = Codec()

    text = codec.encode([Money(5)], "value")

    assert '"test:money"' in text
    assert codec.decode(text, "value")[0].cents == 5
    with pytest.raises(EncodingError, match="needs a colon: 'package:tuple'"):
        serialization.register_codec(Money, encode=cents, decode=money, name="tuple")


# ---- what can't be stored


def a_generator() -> Iterator[int]:
    yield 1


def a_cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    return cycle


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


class Loose(NamedTuple):
    a: int


class FixedZone(tzinfo):
    @override
    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta()


class UnknownModel(BaseModel):
    a: int = 1


PROCESS_BOUND = r"it belongs to this process: let a step take it from a Resource instead"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            [1, {"k": threading.Lock()}],
            rf"state key 's', at \[1\]\['k'\]: .*lock .*{PROCESS_BOUND}",
        ),
        ([Author(name="a", meta=len)], rf"at \[0\]\.meta: .*builtin_function.*{PROCESS_BOUND}"),
        (StopEvent(result=print), rf"at \._result: .*{PROCESS_BOUND}"),
        (event(Event, a=a_generator()), rf"at \._data\['a'\]: .*generator.*{PROCESS_BOUND}"),
        (Part("p", asyncio.sleep), rf"at \.content: .*function.*{PROCESS_BOUND}"),
        ({(1, 2): object()}, r"at \[\(1, 2\)\]: a value of type object can't be stored; say how"),
        ((Text("x"),), r"at \[0\]: a value of type \S+\.Text can't.*register_codec\(Text"),
        (UnknownModel(), r"UnknownModel can't be stored; register it with .*\(UnknownModel\)"),
        (UnknownError, r"the class UnknownError itself is stored only if it is registered"),
        (a_cycle(), r"nested deeper than 64 levels, or contains itself"),
        (nested(65), r"nested deeper than 64 levels"),
        ([0, 10**4300], r"state key 's', at \[1\]: an int of more than 4300 digits"),
        ((1, {"a": [-(10**5000)]}), r"at \[1\]\['a'\]\[0\]: an int of more than 4300 digits"),
        pytest.param(10**4300, r"'s': an int of more than 4300 digits", id="a long int"),
        (datetime(2026, 1, 1, tzinfo=FixedZone()), r"zone of type FixedZone .* use zoneinfo"),
        (defaultdict[str, Any](UnknownModel), r"only without a factory, or with one of bool, dict"),
        (Loose(1), r"Loose can't be stored; register it with"),
    ],
)
def test_an_error_names_the_place_the_type_and_the_remedy(
    codec: Codec, value: Any, message: str
) -> None:
    with pytest.raises(EncodingError, match=message):
        codec.encode(value, "state key 's'")


def test_64_levels_are_stored_and_read_back(codec: Codec) -> None:
    assert there_and_back(codec, nested(64)) == nested(64)


def test_an_int_of_4300_digits_comes_back(codec: Codec) -> None:
    assert there_and_back(codec, [1 - 10**4300]) == [1 - 10**4300]


def test_an_error_in_the_serializer_of_the_user_is_chained(
    codec: Codec, types: TypeRegistry
) -> None:
    class Bad(BaseModel):
        a: int = 1

        @field_serializer("a")
        def fail(self, value: int) -> int:
            return value // 0

    types.register(Bad)

    with pytest.raises(EncodingError, match=r"value: .*ZeroDivisionError"):
        codec.encode(Bad(), "value")


@pytest.mark.parametrize("value", [threading.Lock(), a_generator(), print, Text(), UnknownModel()])
def test_check_refuses_by_type(codec: Codec, value: Any) -> None:
    with pytest.raises(EncodingError, match="state key 'k': a value of type"):
        codec.check(value, "state key 'k'")


@pytest.mark.parametrize("value", [None, 1, "a", [print], {}, Author(name="a"), Color.RED, Author])
def test_check_accepts_by_type(codec: Codec, value: Any) -> None:
    codec.check(value, "state key 'k'")


# ---- damaged and hostile texts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSONDecodeError"),
        ("[1,", "JSONDecodeError"),
        (b'"\xff"', "UnicodeDecodeError"),
        ("NaN", "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("9" * 5000, "ValueError"),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("[" * 100_000, "nested deeper than 64 levels|JSONDecodeError"),
        ('{"$type":"app:Gone","value":{}}', r"type 'app:Gone' is unknown.*stepwell.register\("),
        ('{"$type":"class","value":"app:Gone"}', "type 'app:Gone' is unknown"),
        ('{"$type":7}', "no text but int"),
        ('{"$type":null}', "no text but NoneType"),
        ('{"$type":"tuple"}', "KeyError: 'value'"),
        ('{"$type":"tuple","value":"ab"}', "a list is missing"),
        ('{"$type":"dict","value":{"a":1}}', "a list of pairs is missing"),
        ('{"$type":"set","value":[[]]}', "TypeError"),
        ('{"$type":"bytes","value":"$"}', "Error"),
        ('{"$type":"uuid","value":7}', "a text is missing"),
        ('{"$type":"float","value":"1"}', "no such float"),
        ('{"$type":"timedelta","value":[1e300,0,0]}', "OverflowError"),
        ('{"$type":"decimal","value":"x"}', "InvalidOperation"),
        ('{"$type":"builtins:ExceptionGroup","value":[1]}', "TypeError"),
        ('{"$type":"builtins:eval","value":["1"]}', "'builtins:eval' is unknown"),
        ('{"$type":"datetime","value":"2026-01-01","zone":"No/Where"}', "ZoneInfoNotFoundError"),
        ('{"$type":"datetime","value":"2026-01-01","zone":"../../x"}', "ValueError"),
    ],
)
def test_a_damaged_text_is_refused_with_the_reason(text: str | bytes, message: str) -> None:
    with pytest.raises(DecodingError, match=rf"result can't be read back: .*({message})"):
        CODEC.decode(text, "result")


TAGS = [
    "class", "complex", "counter", "date", "datetime", "decimal", "defaultdict", "deque", "dict",
    "float", "frozenset", "ordereddict", "path", "set", "time", "timedelta", "tuple", "uuid",
    "builtins:OSError", "builtins:SystemExit", "exception", "builtins:UnicodeDecodeError",
    "stepwell.events:StopEvent", "stepwell.events:WorkflowFailedEvent",
    *(type_name(cls) for cls in (Access, Author, Color, Frozen, Part, Plain, Point)),
]  # fmt: skip
MEMBERS = ["attributes", "dump", "factory", "fold", "maxlen", "private", "unset", "zone"]
KEYS = st.sampled_from(["_data", "_result", "content", "name", "number", "text"]) | st.text()
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.fixed_dictionaries(
            {"$type": st.sampled_from(TAGS) | inner, "value": inner},
            optional=dict.fromkeys(MEMBERS, inner),
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(TREES)
def test_a_forged_text_is_read_or_refused(tree: Any) -> None:
    with contextlib.suppress(DecodingError):
        CODEC.decode(json.dumps(tree), "value")


@settings(deadline=None)
@given(VALUES, st.data())
def test_a_corrupted_text_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    text = bytearray(CODEC.encode(value, "value").encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    with contextlib.suppress(DecodingError):
        CODEC.decode(bytes(text), "value")


@pytest.mark.parametrize(
    "name", ["antigravity:fly", "this:s", "antigravity", "this.s", "os:system"]
)
@pytest.mark.parametrize("form", ['{"$type":"%s","value":[]}', '{"$type":"class","value":"%s"}'])
def test_a_name_in_stored_data_imports_nothing(name: str, form: str) -> None:
    before = set(sys.modules)

    with pytest.raises(DecodingError, match="is unknown here: register it"):
        CODEC.decode(form.replace("%s", name), "value")

    assert set(sys.modules) == before


# ---- the registry


def test_an_annotation_registers_the_classes_it_mentions_and_those_in_their_fields() -> None:
    class Inner(BaseModel):
        color: Color

    class Row(TypedDict):
        access: Access

    @dataclass
    class Outer:
        inner: "list[Inner] | None"
        lost: "NowhereToBeFound"  # pyright: ignore[reportUndefinedVariable]  on purpose  # noqa: F821

    class Tree(BaseModel):
        children: list["Tree"]
        word: Literal[Word.YES]
        row: Row
        call: Callable[[Point], Level]

    @dataclass
    class Whole:
        inner: list[Inner]

    registry = TypeRegistry()

    registry.register_annotation(Annotated[dict[str, Tree | None], Whole] | Outer | Box[Part])

    found = [Inner, Outer, Tree, Color, Word, Access, Point, Level, Box[Part], Part, Whole]
    assert [registry.resolve(type_name(cls)) for cls in found] == found


def test_a_namespace_registers_models_dataclasses_enums_and_named_tuples() -> None:
    registry = TypeRegistry()

    registry.register_namespace(globals())

    assert registry.name_of(Author)
    assert registry.name_of(Part)
    assert registry.name_of(Color)
    assert registry.name_of(Point)
    assert registry.name_of(ShoutError) is None
    assert registry.name_of(Money) is None


def test_a_class_that_was_imported_again_takes_the_place_of_the_former() -> None:
    def define() -> type[BaseModel]:
        class Again(BaseModel):
            pass

        return Again

    former, current = define(), define()
    registry = TypeRegistry()
    registry.register(former, current)

    assert registry.resolve(type_name(former)) is current
    assert registry.name_of(former) is None


def test_a_registry_asks_its_parent() -> None:
    parent = TypeRegistry()
    parent.register(Author)
    child = TypeRegistry(parent)
    child.register(Part)

    assert child.resolve(type_name(Author)) is Author
    assert child.name_of(Author) == type_name(Author)
    assert parent.name_of(Part) is None


def test_only_classes_that_can_be_taken_apart_are_registered() -> None:
    with pytest.raises(EncodingError, match=r"Money.* is no model.*stepwell.register_codec"):
        TypeRegistry().register(Money)


def test_register_adds_a_class_for_the_whole_process_with_those_in_its_fields() -> None:
    class Leaf(BaseModel):
        pass

    class Branch(BaseModel):
        leaves: list[Leaf]

    serialization.register(Branch)

    assert there_and_back(Codec(), Branch(leaves=[Leaf()])) == Branch(leaves=[Leaf()])


NAMING_SCRIPT = """
from stepwell._serialization import type_name
class Job: pass
print(type_name(Job))
"""


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["jobs.py"], "jobs:Job"),
        (["-m", "jobs"], "jobs:Job"),
        (["-c", NAMING_SCRIPT], "__main__:Job"),
    ],
)
def test_a_class_of_the_script_has_the_name_it_would_have_when_imported(
    tmp_path: Path, arguments: list[str], name: str
) -> None:
    (tmp_path / "jobs.py").write_text(NAMING_SCRIPT)

    run = subprocess.run(  # noqa: S603 - our own interpreter, our own script
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == name
