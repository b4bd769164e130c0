"""The graph that the signatures of the steps draw, and what can be wrong with it.

Steps are joined by events: an edge leads from a step to every step that takes what it returns. A
workflow begins at the steps that take its start event, or an answer from a human, and has to be
able to end: at its stop event, or at a question to a human.

A step that returns a list opens a *stream*. What descends from the elements belongs to the
stream, and a step that takes a `list[E]` gathers it again. So every event has a *level*: it is in
a stream, by the step that opened the innermost one, or at the top, in none. Events meet in a step
with several event parameters only at one level.

A step that handles failures hangs on no edge: it runs where the step failed, at its level.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import NoneType
from typing import TypeAlias, TypeVar, get_args

from stepwell.decorators import CatchErrorHandler, StepConfig, WorkflowGraphCheck
from stepwell.errors import WorkflowConfigurationError, WorkflowValidationError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)

__all__ = [
    "GRAPH_CHECKS",
    "accepts",
    "elements",
    "event_classes",
    "handlers_of",
    "is_human_in_the_loop",
    "start_event_class",
    "stop_event_class",
    "validate_graph",
    "validate_handlers",
]

GRAPH_CHECKS: tuple[WorkflowGraphCheck, ...] = get_args(WorkflowGraphCheck)

Steps: TypeAlias = Mapping[str, StepConfig]
EventClass: TypeAlias = type[Event]
Levels: TypeAlias = Mapping[str | None, frozenset[EventClass]]
"""The event classes in the streams of each step that opens some; those at the top under None."""

_EventT = TypeVar("_EventT", bound=Event)


def validate_graph(name: str, steps: Steps, *, skip: Collection[str] = ()) -> None:
    """Check the steps of a workflow against each other.

    Args:
        name: the workflow, for the messages.
        steps: its steps by name.
        skip: which of `GRAPH_CHECKS` to leave out.

    Raises:
        WorkflowConfigurationError: there is no single start event or no single stop event.
        WorkflowValidationError: anything else; the message names the steps and the events.
    """
    start = start_event_class(name, steps)
    stop_event_class(name, steps)
    _check_gathered(name, steps, _levels(steps, start, {}))
    _check_joined(name, steps, _levels(steps, start, handlers_of(steps)))
    _check_stop_not_accepted(name, steps)
    _check_produced(name, steps, start)
    _check_returns_events(name, steps)
    _check_consumed(name, steps)
    validate_handlers(name, steps)
    _check_flow(name, steps, start, frozenset(skip))


def start_event_class(name: str, steps: Steps) -> type[StartEvent]:
    """Return the one start event that the steps take.

    Raises:
        WorkflowConfigurationError: there is none, or more than one.
    """
    accepted = (event for step in steps.values() for event in step.accepted_events)
    return _only(name, steps, StartEvent, accepted, ("takes", "parameter"))


def stop_event_class(name: str, steps: Steps) -> type[StopEvent]:
    """Return the one stop event that the steps return.

    Raises:
        WorkflowConfigurationError: there is none, or more than one.
    """
    returned = (event for step in steps.values() for event in _produces(step))
    return _only(name, steps, StopEvent, returned, ("returns", "return value"))


def is_human_in_the_loop(steps: Steps) -> bool:
    """Tell whether a step asks a human, or takes the answer of one."""
    return any(
        any(issubclass(event, InputRequiredEvent) for event in _produces(step))
        or any(issubclass(event, HumanResponseEvent) for event in step.accepted_events)
        for step in steps.values()
    )


def event_classes(steps: Steps) -> list[EventClass]:
    """Return each event class in the signatures once, in the order of appearance."""
    return list(
        dict.fromkeys(
            event for step in steps.values() for event in (*step.accepted_events, *_produces(step))
        )
    )


def accepts(step: StepConfig, event: EventClass) -> bool:
    """Tell whether events of exactly this class are delivered to the step.

    A step that takes subclasses takes no stop event: that one ends the run.
    """
    return _fits(step, event, step.accepted_events)


def elements(step: StepConfig) -> tuple[EventClass, ...]:
    """Return what a list that the step returns may hold: all events that it may return."""
    return _produces(step) if step.is_fan_out else ()


def handlers_of(steps: Steps) -> dict[str, str]:
    """Return for each step whose failures are handled the name of its handler.

    A handler that names the step comes before the one that names none. No handler covers a
    handler.
    """
    handlers = _handlers(steps)
    named = {step: one.step_name for one in handlers for step in one.for_steps or ()}
    rest = next((one.step_name for one in handlers if one.for_steps is None), None)
    covered = {name: named.get(name, rest) for name, step in steps.items() if step.role == "step"}
    return {name: handler for name, handler in covered.items() if handler}


def _handlers(steps: Steps) -> list[CatchErrorHandler]:
    return [
        CatchErrorHandler(name, step.catch_error_for_steps, step.catch_error_max_recoveries)
        for name, step in steps.items()
        if step.role == "catch_error"
    ]


def _fits(step: StepConfig, event: EventClass, wanted: Collection[EventClass]) -> bool:
    if event in wanted:
        return True
    return (
        step.accept_event_subclasses
        and issubclass(event, tuple(wanted))
        and not issubclass(event, StopEvent)
    )


def _produces(step: StepConfig) -> tuple[EventClass, ...]:
    return tuple(dict.fromkeys((*step.bare_return_types, *step.list_return_types)))


def _only(
    name: str,
    steps: Steps,
    base: type[_EventT],
    events: Iterable[EventClass],
    wording: tuple[str, str],
) -> type[_EventT]:
    verb, place = wording
    found = list(dict.fromkeys(event for event in events if issubclass(event, base)))
    if not found:
        raise WorkflowConfigurationError(
            f"Workflow {name!r}: no step {verb} a {base.__name__} ({_steps(steps)}). Annotate the "
            f"{place} of one of its steps with {base.__name__} or a class derived from it."
        )
    if len(found) > 1:
        raise WorkflowConfigurationError(
            f"Workflow {name!r}: its steps name several classes of {base.__name__}: "
            f"{_names(found)}. Keep one of them."
        )
    return found[0]


def _steps(steps: Steps) -> str:
    names = ", ".join(steps)
    return f"its steps: {names}" if names else "it has no steps: decorate its methods with @step"


def _names(classes: Iterable[type]) -> str:
    return ", ".join(cls.__name__ for cls in classes)


# --- one check each ---


def _check_gathered(name: str, steps: Steps, levels: Levels) -> None:
    in_streams = {event for opener, events in levels.items() if opener for event in events}
    for step_name, step in steps.items():
        if step.collection_param is None or _can_run(step, in_streams):
            continue
        parameter, classes = step.collection_param
        raise WorkflowValidationError(
            f"Workflow {name!r}: step {step_name!r} collects {_names(classes)} in its parameter "
            f"{parameter!r}, but no step that returns a list leads to such an event. Let the "
            "step that starts the branches return a list, or gather single events with "
            "ctx.collect_events()."
        )


def _check_joined(name: str, steps: Steps, levels: Levels) -> None:
    for step_name, step in steps.items():
        places = {slot: _places(step, slot[1], levels) for slot in step.collect_params}
        if not _never_meet(step, places.values(), levels):
            continue
        where = "; ".join(
            f"{parameter!r} ({cls.__name__}) {' and '.join(found)}"
            for (parameter, cls), found in places.items()
        )
        raise WorkflowValidationError(
            f"Workflow {name!r}: step {step_name!r} waits for one event in each of its "
            f"parameters, but they never arrive at the same level: {where}. Events meet within "
            "one stream, or outside of all. Return them in one list, or gather a stream first in "
            "a step with a `list[MyEvent]` parameter."
        )


def _places(step: StepConfig, wanted: EventClass, levels: Levels) -> list[str]:
    return [
        f"in the streams of step {opener!r}" if opener else "at the top"
        for opener, events in levels.items()
        if any(_fits(step, event, [wanted]) for event in events)
    ]


def _never_meet(step: StepConfig, places: Collection[list[str]], levels: Levels) -> bool:
    """An event that is at no level at all is left to the checks that tell why."""
    everywhere = bool(places) and all(places)
    return everywhere and not any(_can_run(step, events) for events in levels.values())


def _check_stop_not_accepted(name: str, steps: Steps) -> None:
    for step_name, step in steps.items():
        if stops := [event for event in step.accepted_events if issubclass(event, StopEvent)]:
            parameters = {cls: parameter for parameter, cls in step.collect_params}
            raise WorkflowValidationError(
                f"Workflow {name!r}: step {step_name!r} takes {_names(stops)} in its parameter "
                f"{parameters.get(stops[0], step.event_name)!r}, but a StopEvent ends the run "
                "and reaches no step. Use another event class."
            )


def _check_produced(name: str, steps: Steps, start: EventClass) -> None:
    from_outside = (InputRequiredEvent, HumanResponseEvent, StopEvent, StepFailedEvent)
    produced = {start, *(event for step in steps.values() for event in _produces(step))}
    missing = [
        f"{event.__name__} (by step {step_name!r})"
        for step_name, step in steps.items()
        for event in dict.fromkeys(step.accepted_events)
        if not issubclass(event, from_outside) and not _feeds(produced, step, event)
    ]
    if missing:
        raise WorkflowValidationError(
            f"Workflow {name!r}: events are consumed but never produced: {', '.join(missing)}. "
            "Add each to the return annotation of a step, also if it is sent with "
            "ctx.send_event(); to take the subclasses of an event use "
            "@step(accept_event_subclasses=True)."
        )


def _feeds(produced: Iterable[EventClass], step: StepConfig, accepted: EventClass) -> bool:
    return any(
        event is accepted or (issubclass(event, accepted) and accepts(step, event))
        for event in produced
    )


def _check_returns_events(name: str, steps: Steps) -> None:
    wrong = [
        f"{getattr(kind, '__name__', kind)} (by step {step_name!r})"
        for step_name, step in steps.items()
        for kind in step.return_types
        if kind not in {NoneType, *_produces(step)}
    ]
    if wrong:
        raise WorkflowValidationError(
            f"Workflow {name!r}: steps return what is no event: {', '.join(wrong)}. Annotate "
            "their return values with classes derived from Event, lists of these, and None."
        )


def _check_consumed(name: str, steps: Steps) -> None:
    to_outside = (InputRequiredEvent, HumanResponseEvent, StopEvent)
    unused = [
        f"{event.__name__} (by step {step_name!r})"
        for step_name, step in steps.items()
        for event in _produces(step)
        if not issubclass(event, to_outside) and not _takers(steps, event)
    ]
    if unused:
        raise WorkflowValidationError(
            f"Workflow {name!r}: events are produced but never consumed: {', '.join(unused)}. "
            "Add a step that takes the event, or take it out of the return annotation."
        )


def validate_handlers(name: str, steps: Steps) -> None:
    """Check that each step has at most one handler of its failures.

    Args:
        name: the workflow, for the messages.
        steps: its steps by name.

    Raises:
        WorkflowValidationError: several handlers name no steps, or a handler names a step that
            does not exist, that is a handler itself, or that was named before.
    """
    handlers = _handlers(steps)
    _check_one_unnamed(name, handlers)
    claimed: dict[str, str] = {}
    for handler in handlers:
        for step_name in handler.for_steps or ():
            _check_claim(name, steps, handler.step_name, step_name)
            if step_name in claimed:
                raise WorkflowValidationError(
                    f"Workflow {name!r}: step {step_name!r} is in for_steps of the handlers "
                    f"{claimed[step_name]!r} and {handler.step_name!r}. Name it once."
                )
            claimed[step_name] = handler.step_name


def _check_one_unnamed(name: str, handlers: Iterable[CatchErrorHandler]) -> None:
    unnamed = [handler.step_name for handler in handlers if handler.for_steps is None]
    if len(unnamed) > 1:
        raise WorkflowValidationError(
            f"Workflow {name!r}: the handlers {', '.join(map(repr, unnamed))} all handle the "
            "failures of every step. Keep one, and give the others for_steps=[...]."
        )


def _check_claim(name: str, steps: Steps, handler: str, step_name: str) -> None:
    if step_name not in steps:
        raise WorkflowValidationError(
            f"Workflow {name!r}: handler {handler!r} has {step_name!r} in for_steps, but there "
            f"is no such step. There are {', '.join(map(repr, steps))}."
        )
    if steps[step_name].role == "catch_error":
        raise WorkflowValidationError(
            f"Workflow {name!r}: handler {handler!r} has {step_name!r} in for_steps, which is a "
            "handler itself: an error in a handler fails the run. Take it out of for_steps."
        )


def _check_flow(name: str, steps: Steps, start: EventClass, skip: frozenset[str]) -> None:
    findings = {
        "reachability": (
            _unreachable(steps, start),
            "no start event, human answer or handled failure leads to these steps",
        ),
        "terminal_event": (
            _terminal(steps),
            "these events are taken by no step; only a StopEvent or an InputRequiredEvent "
            "leaves the workflow",
        ),
        "dead_end": (
            _dead_ends(steps),
            "no StopEvent and no InputRequiredEvent can be reached from these steps",
        ),
    }
    wrong = [
        f"\n  [{check}] {why}: {', '.join(found)}"
        for check, (found, why) in findings.items()
        if found and check not in skip
    ]
    if wrong:
        raise WorkflowValidationError(
            f"Graph validation failed for workflow {name!r}:{''.join(wrong)}\nCorrect the "
            "annotations of these steps, or name the check in skip_graph_checks."
        )


# --- questions to the graph ---


def _takers(steps: Steps, event: EventClass) -> list[str]:
    return [name for name, step in steps.items() if accepts(step, event)]


def _successors(steps: Steps, name: str) -> Iterator[str]:
    for event in _produces(steps[name]):
        yield from _takers(steps, event)


def _unreachable(steps: Steps, start: EventClass) -> list[str]:
    reached = _reached(steps, start)
    return [
        name for name in steps if name not in reached and not _skips(steps[name], "reachability")
    ]


def _reached(steps: Steps, start: EventClass) -> set[str]:
    reached: set[str] = set()
    ahead = [name for name, step in steps.items() if _is_root(step, start)]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(_successors(steps, name))
    return reached


def _is_root(step: StepConfig, start: EventClass) -> bool:
    return (
        step.role == "catch_error"
        or accepts(step, start)
        or any(issubclass(event, HumanResponseEvent) for event in step.accepted_events)
    )


def _terminal(steps: Steps) -> list[str]:
    produced = dict.fromkeys(event for step in steps.values() for event in _produces(step))
    return [
        event.__name__
        for event in produced
        if not issubclass(event, StopEvent | InputRequiredEvent) and not _takers(steps, event)
    ]


def _dead_ends(steps: Steps) -> list[str]:
    """The steps that return events of which none can lead to an end."""
    ending = {name for name, step in steps.items() if _ends(step)}
    grows = True
    while grows:
        leading = {name for name in steps if ending.intersection(_successors(steps, name))}
        grows = not leading <= ending
        ending |= leading
    return [
        name
        for name, step in steps.items()
        if _produces(step) and name not in ending and not _skips(step, "dead_end")
    ]


def _ends(step: StepConfig) -> bool:
    return any(issubclass(event, StopEvent | InputRequiredEvent) for event in _produces(step))


def _skips(step: StepConfig, check: WorkflowGraphCheck) -> bool:
    return check in step.skip_graph_checks


# --- levels ---


def _levels(steps: Steps, start: EventClass, handlers: Mapping[str, str]) -> Levels:
    """Find which event classes there are at each level: a least fixed point.

    At a level are the events it begins with and what its members return: the steps that can run
    on its events, the `handlers` of members, and those that gather a stream opened by a member,
    because gathering goes on where the stream was opened. What gathers is sure of a list for each
    stream, so it does not hang on what a handler returns.
    """
    levels: Levels = {
        None: frozenset(_from_outside(steps, start)),
        **{name: frozenset(elements(step)) for name, step in steps.items() if step.is_fan_out},
    }
    while True:
        grown = {
            level: events.union(
                *(
                    steps[name].bare_return_types
                    for name in _members(steps, levels, level, handlers)
                )
            )
            for level, events in levels.items()
        }
        if grown == levels:
            return levels
        levels = grown


def _from_outside(steps: Steps, start: EventClass) -> Iterator[EventClass]:
    """The start event, human answers, and what steps take that nothing leads to."""
    yield start
    reached = _reached(steps, start)
    for name, step in steps.items():
        for event in step.accepted_events:
            if name not in reached or issubclass(event, HumanResponseEvent):
                yield event


def _members(
    steps: Steps, levels: Levels, level: str | None, handlers: Mapping[str, str]
) -> set[str]:
    """The steps that run at a level, as far as `levels` are known."""
    gathering = {name for name, step in steps.items() if step.collection_param}
    members: set[str] = set()
    ahead = {name for name in steps.keys() - gathering if _can_run(steps[name], levels[level])}
    while ahead:
        members |= ahead
        opened = {event for name in ahead for event in levels.get(name, ())}
        ahead = {name for name in gathering if _can_run(steps[name], opened)}
        ahead |= {handlers[name] for name in members & handlers.keys()}
        ahead -= members
    return members


def _can_run(step: StepConfig, events: Iterable[EventClass]) -> bool:
    """Tell whether these events are enough for the step: one that fits each parameter."""
    parameters = [[cls] for _, cls in step.collect_params] or [step.accepted_events]
    return all(any(_fits(step, event, classes) for event in events) for classes in parameters)
