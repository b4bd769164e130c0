"""The step graph: what is asked of it, and each check with examples that fail and that pass."""

from collections.abc import Sequence
from types import NoneType
from typing import Any

import pytest

from stepwell._engine.graph import (
    GRAPH_CHECKS,
    elements,
    event_classes,
    handlers_of,
    is_human_in_the_loop,
    start_event_class,
    stop_event_class,
    validate_graph,
    validate_handlers,
)
from stepwell.decorators import StepConfig
from stepwell.errors import WorkflowConfigurationError, WorkflowValidationError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)


class A(Event):
    pass


class ASub(A):
    pass


class B(Event):
    pass


class C(Event):
    pass


class MyStart(StartEvent):
    pass


class MyStop(StopEvent):
    pass


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


Steps = dict[str, StepConfig]


def takes(
    accepted: type[Event] | Sequence[type[Event]],
    *returned: type[Event],
    fans_out: Sequence[type[Event]] = (),
    **options: Any,
) -> StepConfig:
    """A step that takes single events."""
    events = [accepted] if isinstance(accepted, type) else list(accepted)
    return StepConfig(
        accepted_events=events,
        event_name="ev",
        return_types=[*returned, *fans_out] or [NoneType],
        bare_return_types=returned,
        list_return_types=tuple(fans_out),
        is_fan_out=bool(fans_out),
        **options,
    )


def gathers(accepted: type[Event], *returned: type[Event], **options: Any) -> StepConfig:
    """A step that takes a list."""
    return takes(accepted, *returned, collection_param=("evs", (accepted,)), **options)


def joins(*parameters: tuple[str, type[Event]], returns: type[Event], **options: Any) -> StepConfig:
    """A step that waits for one event in each of several parameters."""
    accepted = [cls for _, cls in parameters]
    return takes(accepted, returns, collect_params=list(parameters), **options)


def handles(*returned: type[Event], steps: list[str] | None = None) -> StepConfig:
    """A handler of the failures of these steps, or of the rest."""
    return takes(StepFailedEvent, *returned, role="catch_error", catch_error_for_steps=steps)


BEGIN = {"begin": takes(StartEvent, A, StopEvent)}


# --- questions ---


def test_start_and_stop_event_are_the_classes_that_the_steps_name() -> None:
    steps = {"begin": takes(MyStart, A), "end": takes(A, MyStop)}
    assert start_event_class("W", steps) is MyStart
    assert stop_event_class("W", steps) is MyStop


def test_a_stop_event_may_be_returned_in_a_list() -> None:
    assert stop_event_class("W", {"f": takes(StartEvent, fans_out=[StopEvent])}) is StopEvent


@pytest.mark.parametrize(
    ("steps", "parts"),
    [
        ({}, ["StartEvent", "Annotate"]),
        ({"f": takes(A, StopEvent)}, ["StartEvent", "Annotate"]),
        (
            {"f": takes(StartEvent, StopEvent), "g": takes(MyStart, StopEvent)},
            ["StartEvent, MyStart", "Keep one"],
        ),
        ({"f": takes(StartEvent, A)}, ["StopEvent", "Annotate"]),
        ({"f": takes(StartEvent, StopEvent, MyStop)}, ["StopEvent, MyStop", "Keep one"]),
    ],
)
def test_a_workflow_has_exactly_one_start_and_one_stop_event(
    steps: Steps, parts: list[str]
) -> None:
    with pytest.raises(WorkflowConfigurationError) as refusal:
        validate_graph("W", steps)
    assert all(part in str(refusal.value) for part in ["'W'", *parts])


def test_event_classes_are_listed_once_in_order_of_appearance() -> None:
    steps = {"begin": takes(StartEvent, B, fans_out=[A]), "end": takes([A, B], StopEvent)}
    assert event_classes(steps) == [StartEvent, B, A, StopEvent]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({"f": takes(StartEvent, StopEvent)}, False),
        ({"f": takes(StartEvent, Ask, StopEvent)}, True),
        ({"f": takes([StartEvent, Answer], StopEvent)}, True),
    ],
)
def test_a_human_is_in_the_loop_where_one_is_asked_or_answers(
    steps: Steps, *, expected: bool
) -> None:
    assert is_human_in_the_loop(steps) is expected


def test_a_list_may_hold_whatever_its_step_may_return() -> None:
    assert elements(takes(A, C, fans_out=[B])) == (C, B)
    assert elements(takes(A, C)) == ()


@pytest.mark.parametrize(
    ("handlers", "expected"),
    [
        ({}, {}),
        ({"h": handles()}, {"f": "h", "g": "h"}),
        ({"h": handles(steps=["g"])}, {"g": "h"}),
        ({"h": handles(steps=[])}, {}),
        ({"h": handles(), "i": handles(steps=["g"])}, {"f": "h", "g": "i"}),
        ({"i": handles(steps=["g"]), "h": handles()}, {"f": "h", "g": "i"}),
    ],
)
def test_the_handler_that_names_a_step_comes_before_the_one_for_the_rest(
    handlers: Steps, expected: dict[str, str]
) -> None:
    assert handlers_of({"f": takes(StartEvent, A), "g": takes(A), **handlers}) == expected


# --- checks ---

VALID: dict[str, Steps] = {
    "one step": {"f": takes(StartEvent, StopEvent)},
    "a branch that ends in nothing": {**BEGIN, "g": takes(A)},
    "a circle with a way out": {**BEGIN, "g": takes(A, B), "h": takes(B, A, StopEvent)},
    "start event sent again": {"f": takes(StartEvent, StartEvent, StopEvent)},
    "subclass wanted": {
        "f": takes(StartEvent, ASub, StopEvent),
        "g": takes(A, accept_event_subclasses=True),
    },
    "every event": {
        "f": takes(StartEvent, ASub, StopEvent),
        "g": takes(Event, accept_event_subclasses=True),
    },
    "human in the loop": {"f": takes(StartEvent, Ask), "g": takes(Answer, StopEvent)},
    "question that ends a branch": {**BEGIN, "g": takes(A, Ask)},
    "join of the elements": {"f": takes(StartEvent, fans_out=[A]), "g": gathers(A, StopEvent)},
    "join of what comes of the elements": {
        "f": takes(StartEvent, fans_out=[A]),
        "m": takes(A, B),
        "g": gathers(B, StopEvent),
    },
    "join of what comes of a nested join": {
        "f": takes(StartEvent, fans_out=[A]),
        "m": takes(A, fans_out=[B]),
        "inner": gathers(B, C),
        "outer": gathers(C, StopEvent),
    },
    "join of a stream that a join opened": {
        "f": takes(StartEvent, fans_out=[A]),
        "again": gathers(A, fans_out=[B]),
        "g": gathers(B, StopEvent),
    },
    "join of what the list may hold": {
        "f": takes(StartEvent, C, fans_out=[B]),
        "b": takes(B),
        "g": gathers(C, StopEvent),
    },
    "two events at the top": {
        "f": takes(StartEvent, A, B),
        "j": joins(("a", A), ("b", B), returns=StopEvent),
    },
    "two events in a stream, which goes on": {
        "f": takes(StartEvent, fans_out=[A, B]),
        "j": joins(("a", A), ("b", B), returns=C),
        "g": gathers(C, StopEvent),
    },
    "two events of one class": {
        "f": takes(StartEvent, A),
        "j": joins(("one", A), ("two", A), returns=StopEvent),
    },
    "two events, one a subclass": {
        "f": takes(StartEvent, ASub, B),
        "j": joins(("a", A), ("b", B), returns=StopEvent, accept_event_subclasses=True),
    },
    "two events, one from a gathered stream": {
        "f": takes(StartEvent, B),
        "m": takes(StartEvent, fans_out=[A]),
        "g": gathers(A, C),
        "j": joins(("c", C), ("b", B), returns=StopEvent),
    },
    "two events from a stream in a stream, gathered": {
        "f": takes(StartEvent, fans_out=[A]),
        "m": takes(A, fans_out=[B]),
        "g": gathers(B, C),
        "j": joins(("a", A), ("c", C), returns=C),
        "end": gathers(C, StopEvent),
    },
    "failure handled": {**BEGIN, "g": takes(A), "h": handles(StopEvent)},
    "failure handled at its level": {
        "f": takes(StartEvent, fans_out=[A]),
        "m": takes(A, B),
        "h": handles(C, steps=["m"]),
        "j": joins(("b", B), ("c", C), returns=B),
        "g": gathers(B, StopEvent),
    },
    "failure of a gathering step handled outside of the stream": {
        "f": takes(StartEvent, B, fans_out=[A]),
        "g": gathers(A, StopEvent),
        "h": handles(C, steps=["g"]),
        "j": joins(("b", B), ("c", C), returns=StopEvent),
    },
    "join of subclasses": {
        "f": takes(StartEvent, fans_out=[ASub]),
        "g": gathers(A, StopEvent, accept_event_subclasses=True),
    },
}


@pytest.mark.parametrize("steps", VALID.values(), ids=VALID)
def test_a_sound_graph_is_accepted(steps: Steps) -> None:
    validate_graph("W", steps)


JOIN = "but no step that returns a list leads to such an event"
INVALID: dict[str, tuple[Steps, list[str]]] = {
    "join without a list": (
        {"f": takes(StartEvent, A), "g": gathers(A, StopEvent)},
        ["'g'", "'evs'", "A", JOIN, "ctx.collect_events()"],
    ),
    "join of an event outside the stream": (
        {
            "f": takes(StartEvent, A, C),
            "m": takes(A, fans_out=[B]),
            "b": takes(B),
            "g": gathers(C, StopEvent),
        },
        ["'g'", "C", JOIN],
    ),
    "join of what a join of the only stream returns": (
        {
            "f": takes(StartEvent, fans_out=[A]),
            "m": gathers(A, C),
            "g": gathers(C, StopEvent),
        },
        ["'g'", "C", JOIN],
    ),
    "join of subclasses not wanted": (
        {"f": takes(StartEvent, fans_out=[ASub]), "g": gathers(A, StopEvent)},
        ["'g'", JOIN],
    ),
    "events of two levels": (
        {
            "f": takes(StartEvent, fans_out=[A]),
            "m": takes(A, fans_out=[B]),
            "j": joins(("one", A), ("two", B), returns=StopEvent),
        },
        [
            "'j'",
            "'one' (A) in the streams of step 'f'",
            "'two' (B) in the streams of step 'm'",
            "`list[MyEvent]`",
        ],
    ),
    "events of a stream and of the top": (
        {
            "f": takes(StartEvent, B),
            "m": takes(StartEvent, fans_out=[A]),
            "j": joins(("a", A), ("b", B), returns=StopEvent),
        },
        ["'a' (A) in the streams of step 'm'", "'b' (B) at the top"],
    ),
    "events of two levels, each twice": (
        {
            "f": takes(StartEvent, B),
            "m": takes(StartEvent, fans_out=[A]),
            "n": takes(StartEvent, fans_out=[A]),
            "j": joins(("a", A), ("b", B), returns=StopEvent),
        },
        ["in the streams of step 'm' and in the streams of step 'n'"],
    ),
    "join of a subclass not wanted": (
        {
            "f": takes(StartEvent, ASub, B),
            "j": joins(("a", A), ("b", B), returns=StopEvent),
        },
        ["consumed but never produced", "A (by step 'j')"],
    ),
    "handler in a stream, and the top": (
        {
            "f": takes(StartEvent, B, fans_out=[A]),
            "s": takes(StartEvent, C),
            "m": takes([A, B]),
            "h": handles(ASub, steps=["m"]),
            "b": takes(StartEvent, fans_out=[B]),
            "j": joins(("c", C), ("b", ASub), returns=StopEvent),
            "k": joins(("c", C), ("b", A), returns=StopEvent),
        },
        ["'k'", "'c' (C) at the top", "'b' (A) in the streams of step 'f'"],
    ),
    "stop event joined": (
        {"f": takes(StartEvent, StopEvent, A), "g": joins(("a", A), ("s", StopEvent), returns=A)},
        ["'g'", "'s'", "StopEvent", "Use another event class"],
    ),
    "no event returned": (
        {"f": takes(StartEvent, StopEvent), "g": StepConfig([StartEvent], "ev", [int, NoneType])},
        ["no event", "int (by step 'g')", "derived from Event"],
    ),
    "two handlers of the rest": (
        {**BEGIN, "g": takes(A), "h": handles(), "i": handles()},
        ["'h', 'i'", "for_steps=[...]"],
    ),
    "handler of no step": (
        {**BEGIN, "g": takes(A), "h": handles(steps=["nope"])},
        ["'h'", "'nope'", "no such step", "'begin', 'g', 'h'"],
    ),
    "handler of a handler": (
        {**BEGIN, "g": takes(A), "h": handles(steps=["i"]), "i": handles()},
        ["'h'", "'i'", "a handler itself"],
    ),
    "step handled twice": (
        {**BEGIN, "g": takes(A), "h": handles(steps=["g"]), "i": handles(steps=["g"])},
        ["'g'", "'h' and 'i'", "Name it once"],
    ),
    "failure taken by a plain step": (
        {**BEGIN, "g": takes(A), "h": takes(StepFailedEvent)},
        ["[reachability]", ": h\n"],
    ),
    "stop event taken": (
        {"f": takes(StartEvent, StopEvent), "g": takes(StopEvent)},
        ["'g'", "'ev'", "StopEvent", "Use another event class"],
    ),
    "derived stop event taken": (
        {"f": takes(StartEvent, StopEvent), "g": takes(MyStop)},
        ["'g'", "MyStop"],
    ),
    "never produced": (
        {"f": takes(StartEvent, StopEvent), "g": takes(A)},
        ["consumed but never produced", "A (by step 'g')", "Add each"],
    ),
    "only a subclass produced": (
        {"f": takes(StartEvent, ASub, StopEvent), "g": takes(A)},
        ["consumed but never produced", "A (by step 'g')", "accept_event_subclasses"],
    ),
    "never consumed": (
        {"f": takes(StartEvent, A, StopEvent)},
        ["produced but never consumed", "A (by step 'f')", "Add a step"],
    ),
    "unreachable circle": (
        {"f": takes(StartEvent, StopEvent), "g": takes(A, B), "h": takes(B, A, StopEvent)},
        ["Graph validation failed", "[reachability]", "g, h", "skip_graph_checks"],
    ),
    "answer produced, never taken": (
        {"f": takes(StartEvent, Answer, StopEvent)},
        ["Graph validation failed", "[terminal_event]", "Answer"],
    ),
    "circle without a way out": (
        {**BEGIN, "g": takes(A, B), "h": takes(B, A)},
        ["Graph validation failed", "[dead_end]", "g, h"],
    ),
    "way to nothing": (
        {**BEGIN, "g": takes(A, B), "h": takes(B)},
        ["Graph validation failed", "[dead_end]", ": g\n"],
    ),
}


@pytest.mark.parametrize(("steps", "parts"), INVALID.values(), ids=INVALID)
def test_an_unsound_graph_is_refused_with_workflow_step_and_remedy(
    steps: Steps, parts: list[str]
) -> None:
    with pytest.raises(WorkflowValidationError) as refusal:
        validate_graph("W", steps)
    message = str(refusal.value)
    assert all(part in message for part in ["'W'", *parts]), message


def test_handlers_are_checked_without_the_rest_of_the_graph() -> None:
    unsound = {"f": takes(A, B)}
    validate_handlers("W", {**unsound, "h": handles()})
    with pytest.raises(WorkflowValidationError, match="'h', 'i'"):
        validate_handlers("W", {**unsound, "h": handles(), "i": handles()})


def test_what_no_step_leads_to_comes_from_outside_to_the_top() -> None:
    alone: dict[str, Any] = {"skip_graph_checks": ["reachability"]}
    steps = {
        "f": takes(StartEvent, StopEvent),
        "g": takes(C, A, B, **alone),
        "j": joins(("a", A), ("b", B), returns=C, **alone),
    }
    validate_graph("W", {**steps, "end": takes(C, StopEvent, **alone)})


ALL_WRONG = {
    "f": takes(StartEvent, Answer, StopEvent),
    "g": takes(A, B),
    "h": takes(B, A),
}


def test_findings_of_the_flow_come_together() -> None:
    with pytest.raises(WorkflowValidationError) as refusal:
        validate_graph("W", ALL_WRONG)
    assert all(f"[{check}]" in str(refusal.value) for check in GRAPH_CHECKS)


@pytest.mark.parametrize("check", GRAPH_CHECKS)
def test_a_workflow_can_skip_a_check(check: str) -> None:
    with pytest.raises(WorkflowValidationError) as refusal:
        validate_graph("W", ALL_WRONG, skip={check})
    found = {name for name in GRAPH_CHECKS if f"[{name}]" in str(refusal.value)}
    assert found == set(GRAPH_CHECKS) - {check}


def test_all_checks_can_be_skipped() -> None:
    validate_graph("W", ALL_WRONG, skip=GRAPH_CHECKS)


def test_a_step_can_skip_a_check_for_itself() -> None:
    checks = ["reachability", "dead_end"]
    steps = {
        "f": takes(StartEvent, StopEvent),
        "g": takes(A, B, skip_graph_checks=checks),
        "h": takes(B, A, skip_graph_checks=["dead_end"]),
    }
    with pytest.raises(WorkflowValidationError, match=r"\[reachability\][^\n]*: h\n"):
        validate_graph("W", steps)


def test_a_step_that_takes_every_event_takes_no_stop_event() -> None:
    steps = {
        "f": takes(StartEvent, StopEvent),
        "g": takes(Event, A, accept_event_subclasses=True),
    }
    with pytest.raises(WorkflowValidationError, match=r"\[dead_end\][^\n]*: g\n"):
        validate_graph("W", steps)
