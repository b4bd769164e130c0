"""Section 4: events. Most tables run on LlamaIndex Workflows too, where it is installed."""

import copy
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, PrivateAttr, TypeAdapter, ValidationError

from stepwell import events
from stepwell.errors import WorkflowTimeoutError
from stepwell.events import (
    CollectionReleaseEvent,
    Event,
    EventType,
    SerializableEvent,
    SerializableEventType,
    SerializableException,
    SerializableOptionalEvent,
    SerializableOptionalException,
    StartEvent,
    StepFailedEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    UnreconstructedException,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

Action = Callable[[Any], Any]


class Ask(Event):
    """A user's event."""

    question: str


ASKED = Ask.model_validate({"question": "q", "page": 3})


class LostError(Exception):
    """A user's exception that is made of a message."""


class CodeError(Exception):
    """A user's exception that says more than it was given."""

    def __init__(self, code: str) -> None:
        super().__init__(f"code {code}")


class PairError(Exception):
    """A user's exception that wants more than a message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class StrictError(Exception):
    """A user's exception that does not take just any message."""

    def __init__(self, code: str) -> None:
        super().__init__(f"no {int(code)}")


class MuteError(Exception):
    """A user's exception that can't even be printed."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Outer:
    """Holds an exception class."""

    class InnerError(Exception):
        """A class in a class."""


# --- what both engines do ---


@pytest.fixture(params=["stepwell", "workflows"])
def kit(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The event classes of one engine, and two made from them."""
    module = pytest.importorskip(f"{request.param}.events")
    return SimpleNamespace(**vars(module), **user_classes(module))


def user_classes(module: ModuleType) -> dict[str, type]:
    event_class: Any = module.Event
    stop_class: Any = module.StopEvent

    class Page(event_class):
        number: int
        title: str = "none"
        _secret: int = PrivateAttr(default=1)

    class Verdict(stop_class):
        score: int = 0

    class Computed(stop_class):
        score: int = 0

        def _get_result(self) -> int:
            return self.score

    return {"Page": Page, "Verdict": Verdict, "Computed": Computed}


def after(event: Any, *changes: Callable[[Any], Any]) -> Any:
    for change in changes:
        change(event)
    return event


ALIKE: list[tuple[str, Action, Any]] = [
    ("a declared field is validated", lambda k: k.Page(number="5").number, 5),
    ("a wrong one is refused", lambda k: k.Page(number="x"), ValidationError),
    ("a missing one is refused", lambda k: k.Page(), ValidationError),
    ("others are attributes", lambda k: k.Event(a=1).a, 1),
    ("others are items", lambda k: k.Event(a=1)["a"], 1),
    ("others are got", lambda k: k.Event(a=1).get("a"), 1),
    ("the default of get", lambda k: k.Event(a=1).get("b", 7), 7),
    ("get has a default", lambda k: k.Event().get("b"), None),
    ("any text is a name", lambda k: k.Event(**{"a b": 1})["a b"], 1),
    ("methods are names of items", lambda k: k.Event(get=1)["get"], 1),
    ("params is a name", lambda k: k.Event(params=1).params, 1),
    ("a missing attribute", lambda k: k.Event().nothing, AttributeError),
    ("a missing private attribute", lambda k: k.Event()._nothing, AttributeError),
    ("hasattr", lambda k: hasattr(k.Event(a=1), "b"), False),
    ("a missing item", lambda k: k.Event()["nothing"], KeyError),
    ("fields are no items", lambda k: k.Page(number=1)["number"], KeyError),
    ("fields are not got", lambda k: k.Page(number=1).get("number"), None),
    ("in", lambda k: ("a" in k.Event(a=1), "b" in k.Event(a=1)), (True, False)),
    ("fields are not in", lambda k: "number" in k.Page(number=1), False),
    ("len", lambda k: len(k.Page(number=1, a=1, b=2)), 2),
    ("iteration", lambda k: list(k.Page(number=1, b=1, a=2)), ["b", "a"]),
    ("keys", lambda k: list(k.Page(number=1, b=1, a=2).keys()), ["b", "a"]),
    ("values", lambda k: list(k.Page(number=1, b=1, a=2).values()), [1, 2]),
    ("items", lambda k: list(k.Page(number=1, b=1, a=2).items()), [("b", 1), ("a", 2)]),
    ("to_dict", lambda k: k.Page(number=1, b=1, a=2).to_dict(), {"b": 1, "a": 2}),
    ("dict()", lambda k: dict(k.Event(a=1)), {"a": 1}),
    ("**", lambda k: k.Event(**k.Event(a=1)).to_dict(), {"a": 1}),
    ("always true", lambda k: (bool(k.Event()), len(k.Event())), (True, 0)),
    ("setting a new attribute", lambda k: after(k.Event(), lambda e: setattr(e, "a", 1))["a"], 1),
    ("setting a new private one", lambda k: after(k.Event(), lambda e: setattr(e, "_a", 1))._a, 1),
    (
        "setting a field",
        lambda k: after(k.Page(number=1), lambda e: setattr(e, "number", 2)).model_dump(),
        {"number": 2, "title": "none"},
    ),
    ("setting an item", lambda k: after(k.Event(), lambda e: e.__setitem__("a", 1)).a, 1),
    (
        "an item of the name of a field",
        lambda k: after(k.Page(number=1), lambda e: e.__setitem__("number", 2)).model_dump(),
        {"number": 1, "title": "none", "_data": {"number": 2}},
    ),
    ("deleting an attribute", lambda k: delattr(k.Event(a=1), "a"), AttributeError),
    ("equal", lambda k: k.Page(number=1, a=1) == k.Page(number=1, a=1), True),
    ("equal fields, other data", lambda k: k.Page(number=1, a=1) == k.Page(number=1, a=2), False),
    ("equal but for a secret", lambda k: k.Page(number=1, _secret=2) == k.Page(number=1), False),
    ("of another class", lambda k: k.Event() == k.StartEvent(), False),
    ("no hash", lambda k: hash(k.Event()), TypeError),
    ("a private attribute", lambda k: k.Page(number=1, _secret=5)._secret, 5),
    ("is no data", lambda k: k.Page(number=1, _secret=5).to_dict(), {}),
    ("_data", lambda k: k.Event(_data={"a": 1}).a, 1),
    ("_data and more", lambda k: k.Event(_data={"a": 1, "b": 1}, b=2).to_dict(), {"a": 1, "b": 2}),
    ("dump", lambda k: k.Page(number=1).model_dump(), {"number": 1, "title": "none"}),
    ("dump of data", lambda k: k.Event(a=1).model_dump(), {"_data": {"a": 1}}),
    ("dump as text", lambda k: k.Event(a=timedelta(1)).model_dump_json(), '{"_data":{"a":"P1D"}}'),
    ("dump of what is no JSON", lambda k: k.Event(a=object()).model_dump_json(), ValueError),
    (
        "dump of an event in an event",
        lambda k: k.Event(a=k.Event(b=1)).model_dump(),
        {"_data": {"a": {"_data": {"b": 1}}}},
    ),
    ("some of a dump", lambda k: k.Page(number=1).model_dump(include={"number"}), {"number": 1}),
    (
        "from a dump",
        lambda k: k.Page.model_validate(k.Page(number=1, a=1).model_dump()).to_dict(),
        {"a": 1},
    ),
    ("from JSON", lambda k: k.Event.model_validate_json('{"a":1}').to_dict(), {"a": 1}),
    ("repr", lambda k: repr(k.Page(number=1, a=1)), "Page(number=1, title='none')"),
    ("str", lambda k: str(k.Event(a=1)), ""),
    ("a copy", lambda k: k.Page(number=1, a=1).model_copy().to_dict(), {"a": 1}),
    ("a shallow copy", lambda k: copy.copy(k.Event(a=1)).to_dict(), {"a": 1}),
    ("a deep copy", lambda k: copy.deepcopy(k.Event(a=[1])).to_dict(), {"a": [1]}),
    ("pickled", lambda k: pickle.loads(pickle.dumps(k.Event(a=1))).to_dict(), {"a": 1}),  # noqa: S301  our own bytes
    ("a result", lambda k: k.StopEvent(result=1).result, 1),
    ("a result by position", lambda k: k.StopEvent(1).result, 1),
    ("no result", lambda k: k.StopEvent().result, None),
    ("a result and data", lambda k: k.StopEvent(1, a=2).a, 2),
    ("is no item", lambda k: k.StopEvent(1).get("result"), None),
    ("a false result", lambda k: k.StopEvent(0).model_dump(), {"result": 0}),
    ("dump without a result", lambda k: k.StopEvent().model_dump(), {}),
    ("dump of a result", lambda k: k.StopEvent(timedelta(1)).model_dump_json(), '{"result":"P1D"}'),
    ("results from a dump", lambda k: k.StopEvent.model_validate({"result": 4}).result, 4),
    ("equal results", lambda k: k.StopEvent(1) == k.StopEvent(1), True),
    ("other results", lambda k: k.StopEvent(1) == k.StopEvent(2), False),
    ("str of a stop", lambda k: str(k.StopEvent("x")), "x"),
    ("str of a stop without result", lambda k: str(k.StopEvent()), "None"),
    ("repr of a stop", lambda k: repr(k.StopEvent("x")), "StopEvent(result='x')"),
    ("repr of an empty stop", lambda k: repr(k.StopEvent()), "StopEvent()"),
    ("repr of data", lambda k: repr(k.StopEvent(1, a=2)), "StopEvent(a=2, result=1)"),
    ("a stop of one's own", lambda k: repr(k.Verdict(5, score=1)), "Verdict(score=1, result=5)"),
    ("its result is declared", lambda k: k.Computed(score=3).result, 3),
    ("and not dumped", lambda k: k.Computed(score=3).model_dump(), {"score": 3}),
    ("nor shown", lambda k: repr(k.Computed(score=3)), "Computed(score=3)"),
    (
        "timed out",
        lambda k: k.WorkflowTimedOutEvent(timeout=1, active_steps=["a"]).model_dump(),
        {"timeout": 1.0, "active_steps": ["a"]},
    ),
    ("cancelled", lambda k: k.WorkflowCancelledEvent().model_dump(), {}),
    ("released", lambda k: k.IdleReleasedEvent().model_dump(), {}),
    (
        "failed",
        lambda k: k.WorkflowFailedEvent(step_name="s", exception=KeyError("k")).model_dump(),
        {
            "step_name": "s",
            "exception": {"exception_type": "builtins.KeyError", "exception_message": "'k'"},
            "attempts": None,
            "elapsed_seconds": None,
        },
    ),
    ("collected nothing", lambda k: k.CollectionReleaseEvent().events, []),
    (
        "collected",
        lambda k: k.CollectionReleaseEvent(events=[k.Page(number=1)], stream_id="s").model_dump(
            include={"stream_id", "binding_id"}
        ),
        {"stream_id": "s", "binding_id": ""},
    ),
    (
        "an event is dumped with its class",
        lambda k: TypeAdapter(k.SerializableEvent).dump_python(ASKED),
        {
            "__is_pydantic": True,
            "value": {"question": "q", "_data": {"page": 3}},
            "qualified_name": f"{__name__}.Ask",
        },
    ),
    ("nobody takes it", lambda k: k.UnhandledEvent(event_type="A"), ValidationError),
    (
        "unhandled",
        lambda k: k.UnhandledEvent(event_type="A", qualified_name="m.A", idle=True).step_name,
        None,
    ),
    (
        "the state of a step",
        lambda k: k.StepStateChanged(
            name="n", step_state="running", worker_id="0", input_event_name="A"
        ).model_dump_json(),
        '{"name":"n","step_state":"running","worker_id":"0","input_event_name":"A",'
        '"output_event_name":null}',
    ),
    (
        "the states of a step",
        lambda k: {state.name: state.value for state in k.StepState},
        {"PREPARING": "preparing", "RUNNING": "running", "NOT_RUNNING": "not_running"},
    ),
    ("a stand-in", lambda k: str(k.UnreconstructedException("m", original_type="a.B")), "m"),
    (
        "what it stands for",
        lambda k: k.UnreconstructedException("m", original_type="a.B").original_type,
        "a.B",
    ),
    ("unknown", lambda k: k.UnreconstructedException("m").original_type, None),
]


@pytest.mark.parametrize(
    ("action", "expected"), [pytest.param(*case, id=name) for name, *case in ALIKE]
)
def test_both_engines_do_the_same(kit: SimpleNamespace, action: Action, expected: Any) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            action(kit)
    else:
        assert action(kit) == expected


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("StartEvent", ["Event"]),
        ("StopEvent", ["Event"]),
        ("InputRequiredEvent", ["Event"]),
        ("HumanResponseEvent", ["Event"]),
        ("StepFailedEvent", ["Event"]),
        ("CollectionReleaseEvent", ["Event"]),
        ("WorkflowTimedOutEvent", ["StopEvent", "Event"]),
        ("WorkflowCancelledEvent", ["StopEvent", "Event"]),
        ("WorkflowFailedEvent", ["StopEvent", "Event"]),
        ("IdleReleasedEvent", ["StopEvent", "Event"]),
        ("InternalDispatchEvent", ["Event"]),
        ("WorkflowIdleEvent", ["InternalDispatchEvent", "Event"]),
        ("UnhandledEvent", ["InternalDispatchEvent", "Event"]),
        ("StepStateChanged", ["InternalDispatchEvent", "Event"]),
    ],
)
def test_the_classes_descend_as_they_should(
    kit: SimpleNamespace, name: str, bases: list[str]
) -> None:
    cls = getattr(kit, name)
    assert [base.__name__ for base in cls.__mro__[1:-3]] == bases
    assert cls.__mro__[-3:] == (kit.DictLikeModel, BaseModel, object)


def fields_of(cls: type[BaseModel]) -> dict[str, tuple[bool, Any]]:
    fields = cls.model_fields.items()
    return {
        name: (field.is_required(), field.get_default(call_default_factory=True))
        for name, field in fields
    }


@pytest.mark.parametrize(
    "name",
    [
        "StepFailedEvent",
        "CollectionReleaseEvent",
        "WorkflowTimedOutEvent",
        "WorkflowFailedEvent",
        "UnhandledEvent",
        "StepStateChanged",
    ],
)
def test_the_fields_and_their_defaults_are_those_of_the_original(name: str) -> None:
    original = pytest.importorskip("workflows.events")
    assert fields_of(getattr(events, name)) == fields_of(getattr(original, name))


# --- where Stepwell does more ---


def test_undeclared_values_keep_their_order() -> None:
    names = [f"name_{number}" for number in range(20)]
    assert list(Event(**dict.fromkeys(names))) == names


def test_an_item_is_deleted() -> None:
    event = Event(a=1, b=2)
    del event["a"]
    assert event.to_dict() == {"b": 2}


def test_a_stop_event_with_a_result_keeps_its_data_in_the_dump() -> None:
    dump = StopEvent(1, a=2).model_dump()
    assert dump == {"_data": {"a": 2}, "result": 1}
    assert StopEvent.model_validate(dump) == StopEvent(1, a=2)


def test_the_text_of_a_stop_event_is_its_result_where_a_subclass_computes_it() -> None:
    class Computed(StopEvent):
        score: int

        def _get_result(self) -> Any:
            return self.score

    assert str(Computed(score=3)) == "3"


def test_the_type_of_event_types() -> None:
    assert EventType == type[Event]


# --- events and exceptions in dumps ---


def a_failure(error: Exception) -> StepFailedEvent:
    return StepFailedEvent(
        step_name="s",
        input_event=ASKED,
        exception=error,
        attempts=2,
        elapsed_seconds=1.5,
        failed_at=NOON,
    )


def test_a_failed_step_has_the_live_event_and_exception() -> None:
    error = LostError("gone")
    event = a_failure(error)
    assert event.exception is error
    assert event.input_event == ASKED


def test_a_failed_step_is_dumped_as_data() -> None:
    dump = a_failure(LostError("gone")).model_dump()
    assert dump == {
        "step_name": "s",
        "input_event": {
            "__is_pydantic": True,
            "value": {"question": "q", "_data": {"page": 3}},
            "qualified_name": f"{__name__}.Ask",
        },
        "exception": {"exception_type": f"{__name__}.LostError", "exception_message": "gone"},
        "attempts": 2,
        "elapsed_seconds": 1.5,
        "failed_at": NOON,
    }


def test_a_failed_step_is_loaded_from_its_dump() -> None:
    event = a_failure(LostError("gone"))
    for loaded in (
        StepFailedEvent.model_validate(event.model_dump()),
        StepFailedEvent.model_validate_json(event.model_dump_json()),
    ):
        assert type(loaded.exception) is LostError
        assert str(loaded.exception) == "gone"
        assert loaded.input_event == ASKED
        assert loaded.failed_at == NOON


def test_a_failed_run_is_loaded_from_its_dump() -> None:
    event = WorkflowFailedEvent(step_name="s", exception=LostError("gone"), attempts=3)
    loaded = WorkflowFailedEvent.model_validate_json(event.model_dump_json())
    assert type(loaded.exception) is LostError
    assert (loaded.step_name, loaded.attempts, loaded.elapsed_seconds) == ("s", 3, None)


def test_a_collection_is_loaded_from_its_dump() -> None:
    event = CollectionReleaseEvent(events=[Ask(question="q"), StopEvent(1)], stream_id="s")
    assert CollectionReleaseEvent.model_validate_json(event.model_dump_json()) == event


def test_the_other_events_are_loaded_from_their_dumps() -> None:
    for event in (
        WorkflowTimedOutEvent(timeout=1, active_steps=["a"]),
        UnhandledEvent(event_type="A", qualified_name="m.A", idle=False),
        StepStateChanged(
            name="n", step_state=StepState.RUNNING, worker_id="0", input_event_name="A"
        ),
    ):
        assert type(event).model_validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), ValueError("x")),
        (ValueError(), ValueError("")),
        (KeyError("k"), KeyError("'k'")),
        (FileNotFoundError(2, "no"), FileNotFoundError("[Errno 2] no")),
        (LostError("gone"), LostError("gone")),
        (Outer.InnerError("in"), Outer.InnerError("in")),
        (WorkflowTimeoutError("late"), WorkflowTimeoutError("late")),
        (json.JSONDecodeError("m", "d", 1), None),
        (UnicodeDecodeError("utf8", b"x", 0, 1, "r"), None),
        (ExceptionGroup("g", [ValueError("x")]), None),
        (PairError(1, "two"), None),
        (StrictError("5"), None),
        (type("FreshError", (Exception,), {})("new"), None),
    ],
    ids=repr,
)
def test_an_exception_comes_back_from_a_dump_if_it_is_made_of_its_message(
    error: Exception, expected: Exception | None
) -> None:
    adapter = TypeAdapter[Exception](SerializableException)
    again = adapter.validate_json(adapter.dump_json(error))
    assert again.args == (str(error),)
    if expected is None:
        assert isinstance(again, UnreconstructedException)
        assert again.original_type == f"{type(error).__module__}.{type(error).__qualname__}"
    else:
        assert (type(again), str(again)) == (type(expected), str(expected))


def test_a_message_is_not_said_twice() -> None:
    adapter = TypeAdapter[Exception](SerializableException)
    again = adapter.validate_python(adapter.dump_python(CodeError("7")))
    assert type(again) is CodeError
    assert str(again) == "code 7"


def test_an_exception_that_cannot_be_printed_can_be_dumped() -> None:
    dump = TypeAdapter[Exception](SerializableException).dump_python(MuteError())
    assert dump["exception_message"] == "(it has no text: its __str__ raised ZeroDivisionError)"


def described(name: str) -> dict[str, str]:
    return {"exception_type": name, "exception_message": "m"}


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "builtins.exec",
        "builtins.print",
        "builtins.object",
        "builtins.SystemExit",
        "builtins.KeyboardInterrupt",
        "builtins.BaseException",
        "builtins.NoSuchError",
        "builtins.",
        "builtins",
        "ValueError",
        "builtins:ValueError",
        "os.system",
        "os.path.join",
        "asyncio.CancelledError",
        "builtins.ValueError.__init__",
        "builtins.ValueError.__class__",
        "no_such_module.SomeError",
        "",
        ".",
        "..ValueError",
    ],
)
def test_a_name_in_a_dump_calls_nothing_but_exceptions(name: str) -> None:
    error = TypeAdapter[Exception](SerializableException).validate_python(described(name))
    assert type(error) is UnreconstructedException
    assert (str(error), error.original_type) == ("m", name)


def test_a_name_in_a_dump_imports_nothing() -> None:
    sys.modules.pop("antigravity", None)
    error = TypeAdapter[Exception](SerializableException).validate_python(
        described("antigravity.SomeError")
    )
    assert type(error) is UnreconstructedException
    assert "antigravity" not in sys.modules


def test_a_name_in_a_dump_asks_no_module_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy")
    asked: list[str] = []
    lazy.__getattr__ = asked.append  # type: ignore[method-assign]  as a module that imports on demand
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    error = TypeAdapter[Exception](SerializableException).validate_python(described("lazy.Error"))
    assert type(error) is UnreconstructedException
    assert asked == []


def test_an_exception_of_a_loaded_module_is_rebuilt_where_it_is_offered() -> None:
    importlib.import_module("http.client")
    error = TypeAdapter[Exception](SerializableException).validate_python(
        described("http.client.HTTPException")
    )
    assert f"{type(error).__module__}.{type(error).__name__}" == "http.client.HTTPException"


def test_a_stand_in_is_dumped_as_what_it_stands_for() -> None:
    adapter = TypeAdapter[Exception](SerializableException)
    stand_in = UnreconstructedException("gone", f"{__name__}.LostError")
    again = adapter.validate_python(adapter.dump_python(stand_in))
    assert type(again) is LostError


def test_a_stand_in_shows_itself() -> None:
    error = UnreconstructedException("gone", "a.LostError")
    assert repr(error) == "UnreconstructedException('gone', original_type='a.LostError')"
    assert pickle.loads(pickle.dumps(error)).original_type == "a.LostError"  # noqa: S301  our own bytes


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "builtins.ValueError",
        ValueError,
        KeyboardInterrupt("k"),
        {},
        {"exception_type": "builtins.ValueError"},
        {"exception_message": "m"},
        {"exception_type": 5, "exception_message": "m"},
        {"exception_type": "builtins.ValueError", "exception_message": None},
    ],
)
def test_what_is_no_exception_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="neither an exception nor the dump of one"):
        TypeAdapter[Exception](SerializableException).validate_python(value)


def dumped_event(name: object) -> dict[str, Any]:
    return {"__is_pydantic": True, "value": {"question": "q"}, "qualified_name": name}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "neither an event nor the dump of one"),
        ("Ask", "neither an event nor the dump of one"),
        ({"question": "q"}, "neither an event nor the dump of one"),
        (dumped_event("os.system"), "no event class that is loaded"),
        (dumped_event("pydantic.BaseModel"), "no event class that is loaded"),
        (dumped_event("no_such_module.Ask"), "no event class that is loaded"),
        (dumped_event(5), "no event class that is loaded"),
        (dumped_event(f"{__name__}.LostError"), "no event class that is loaded"),
        ({**dumped_event(f"{__name__}.Ask"), "value": {}}, "question"),
    ],
)
def test_what_is_no_event_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter[Event](SerializableEvent).validate_python(value)


@pytest.mark.parametrize("cls", [Event, StopEvent, Ask])
def test_an_event_class_is_dumped_by_its_name(cls: type[Event]) -> None:
    adapter = TypeAdapter[type[Event]](SerializableEventType)
    name = adapter.dump_python(cls)
    assert name == f"{cls.__module__}.{cls.__qualname__}"
    assert adapter.validate_python(name) is cls
    assert adapter.validate_python(cls) is cls


@pytest.mark.parametrize("value", ["os.system", "builtins.ValueError", "Ask", ValueError, 5, None])
def test_what_is_no_event_class_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="no event class that is loaded"):
        TypeAdapter[type[Event]](SerializableEventType).validate_python(value)


class Holder(BaseModel):
    """A user's model, not an event."""

    event: SerializableOptionalEvent = None
    error: SerializableOptionalException = None
    kind: SerializableEventType = StartEvent


def test_a_model_of_the_user_holds_them_too() -> None:
    holder = Holder(event=Ask(question="q"), error=LostError("gone"), kind=StopEvent)
    loaded = Holder.model_validate_json(holder.model_dump_json())
    assert loaded.event == Ask(question="q")
    assert (type(loaded.error), str(loaded.error)) == (LostError, "gone")
    assert loaded.kind is StopEvent


def test_a_model_of_the_user_may_hold_none() -> None:
    dump = Holder().model_dump()
    assert dump == {"event": None, "error": None, "kind": "stepwell.events.StartEvent"}
    assert Holder.model_validate(dump) == Holder()


def test_events_have_a_schema() -> None:
    schema = StepFailedEvent.model_json_schema()
    assert set(schema["properties"]) == set(StepFailedEvent.model_fields)
