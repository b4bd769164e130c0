"""The graph that the signatures of the steps draw, and what can be wrong with it.

Steps are joined by events: an edge leads from a step to every step that takes what it returns. A
workflow begins at the steps that take its start event, or an answer from a human, and has to be
able to end: at its stop event, or at a question to a human.

A step that returns a list opens a *stream*. What descends from the elements belongs to the
stream, and a step that takes a `list[E]` joins it again.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar, get_args

from stepwell.decorators import StepConfig, WorkflowGraphCheck
from stepwell.errors import WorkflowConfigurationError, WorkflowValidationError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
)

__all__ = [
    "GRAPH_CHECKS",
    "accepts",
    "event_classes",
    "is_human_in_the_loop",
    "start_event_class",
    "stop_event_class",
    "validate_graph",
]

GRAPH_CHECKS: tuple[WorkflowGraphCheck, ...] = get_args(WorkflowGraphCheck)

Steps: TypeAlias = Mapping[str, StepConfig]
EventClass: TypeAlias = type[Event]

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
    _check_joins(name, steps)
    _check_stop_not_accepted(name, steps)
    _check_produced(name, steps, start)
    _check_consumed(name, steps)
    _check_flow(name, steps, start, frozenset(skip))


def start_event_class(name: str, steps: Steps) -> type[StartEvent]:
    """Return the one start event that the steps take.

    Raises:
        WorkflowConfigurationError: there is none, or more than one.
    """
    accepted = (event for step in steps.values() for event in step.accepted_events)
    return _only(name, StartEvent, accepted, "takes", "parameter")


def stop_event_class(name: str, steps: Steps) -> type[StopEvent]:
    """Return the one stop event that the steps return.

    Raises:
        WorkflowConfigurationError: there is none, or more than one.
    """
    returned = (event for step in steps.values() for event in _produces(step))
    return _only(name, StopEvent, returned, "returns", "return value")


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
    if event in step.accepted_events:
        return True
    return (
        step.accept_event_subclasses
        and issubclass(event, tuple(step.accepted_events))
        and not issubclass(event, StopEvent)
    )


def _produces(step: StepConfig) -> tuple[EventClass, ...]:
    return tuple(dict.fromkeys((*step.bare_return_types, *step.list_return_types)))


def _only(
    name: str, base: type[_EventT], events: Iterable[EventClass], verb: str, place: str
) -> type[_EventT]:
    found = list(dict.fromkeys(event for event in events if issubclass(event, base)))
    if not found:
        raise WorkflowConfigurationError(
            f"Workflow {name!r}: no step {verb} a {base.__name__}. Annotate the {place} of one "
            f"of its steps with {base.__name__} or a class derived from it."
        )
    if len(found) > 1:
        raise WorkflowConfigurationError(
            f"Workflow {name!r}: its steps name several classes of {base.__name__}: "
            f"{_names(found)}. Keep one of them."
        )
    return found[0]


def _names(classes: Iterable[type]) -> str:
    return ", ".join(cls.__name__ for cls in classes)


# --- one check each ---


def _check_joins(name: str, steps: Steps) -> None:
    streams = _stream_events(steps)
    in_streams = {event for events in streams.values() for event in events}
    for step_name, step in steps.items():
        if step.collection_param is None or any(accepts(step, event) for event in in_streams):
            continue
        parameter, elements = step.collection_param
        raise WorkflowValidationError(
            f"Workflow {name!r}: step {step_name!r} collects {_names(elements)} in its parameter "
            f"{parameter!r}, but no step that returns a list leads to such an event. Let the "
            "step that starts the branches return a list, or gather single events with "
            "ctx.collect_events()."
        )


def _check_stop_not_accepted(name: str, steps: Steps) -> None:
    for step_name, step in steps.items():
        if stops := [event for event in step.accepted_events if issubclass(event, StopEvent)]:
            raise WorkflowValidationError(
                f"Workflow {name!r}: step {step_name!r} takes {_names(stops)} in its parameter "
                f"{step.event_name!r}, but a StopEvent ends the run and reaches no step. Use "
                "another event class."
            )


def _check_produced(name: str, steps: Steps, start: EventClass) -> None:
    from_outside = (InputRequiredEvent, HumanResponseEvent, StopEvent)
    produced = {start, *(event for step in steps.values() for event in _produces(step))}
    missing = [
        f"{event.__name__} (by step {step_name!r})"
        for step_name, step in steps.items()
        for event in step.accepted_events
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


def _check_flow(name: str, steps: Steps, start: EventClass, skip: frozenset[str]) -> None:
    findings = {
        "reachability": (
            _unreachable(steps, start),
            "no start event and no human answer leads to these steps",
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
    reached: set[str] = set()
    ahead = [
        name
        for name, step in steps.items()
        if accepts(step, start)
        or any(issubclass(event, HumanResponseEvent) for event in step.accepted_events)
    ]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(_successors(steps, name))
    return [
        name for name in steps if name not in reached and not _skips(steps[name], "reachability")
    ]


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


def _stream_events(steps: Steps) -> dict[str, frozenset[EventClass]]:
    """The event classes in the streams that each step opens: a least fixed point.

    In a stream are the elements of the list and what the members of the stream return: the steps
    that take one of its events, and those that join a stream opened by a member, because a join
    goes on where the stream it closes was opened.
    """
    streams = {name: frozenset(step.list_return_types) for name, step in steps.items()}
    while True:
        grown = {
            name: events.union(
                *(steps[member].bare_return_types for member in _members(steps, streams, name))
            )
            for name, events in streams.items()
        }
        if grown == streams:
            return streams
        streams = grown


def _members(steps: Steps, streams: Mapping[str, frozenset[EventClass]], opener: str) -> set[str]:
    """The steps that run inside a stream of `opener`, as far as `streams` is known."""
    singles, joins = _split_by_joining(steps)
    members: set[str] = set()
    ahead = {name for name in singles if _takes_any(steps[name], streams[opener])}
    while ahead:
        members |= ahead
        ahead = {
            join
            for join in joins - members
            for member in ahead
            if _takes_any(steps[join], streams[member])
        }
    return members


def _split_by_joining(steps: Steps) -> tuple[set[str], set[str]]:
    joins = {name for name, step in steps.items() if step.collection_param}
    return set(steps) - joins, joins


def _takes_any(step: StepConfig, events: Iterable[EventClass]) -> bool:
    return any(accepts(step, event) for event in events)
