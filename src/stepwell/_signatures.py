"""What the signature of a step says: which events it takes and returns, and what it asks for."""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeIs

from stepwell._annotations import (
    lexical_names,
    resolved_parameters,
    resolved_return,
    split,
    title,
    union_members,
)
from stepwell.collect import All, Collect, Take
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event
from stepwell.resource import ResourceDefinition, resource_definitions

__all__ = ["EventParameter", "Returns", "StepSignature", "inspect_step"]

_ASYNC_ITERATORS = (AsyncGenerator, AsyncIterable, AsyncIterator)


@dataclass(frozen=True, slots=True)
class EventParameter:
    """The parameter that takes the event of a step, or its list of events."""

    name: str
    events: tuple[type[Event], ...]
    collect: Collect | None = None


@dataclass(frozen=True, slots=True)
class Returns:
    """What a step may return: event classes, and `None` only if there is nothing else."""

    types: tuple[Any, ...]
    bare: tuple[type[Event], ...]
    in_lists: tuple[type[Event], ...]
    is_fan_out: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class StepSignature:
    """The signature of a step, understood."""

    event: EventParameter
    returns: Returns
    context_parameter: str | None
    context_state_type: type[BaseModel] | None
    resources: tuple[ResourceDefinition, ...]


def inspect_step(func: Callable[..., Any]) -> StepSignature:
    """Read the signature of a step.

    Raises:
        WorkflowValidationError: it is not the signature of a step; the message names the step,
            the parameter and the remedy.
    """
    step, names = title(func), lexical_names(func)
    parameters = [
        parameter
        for parameter in resolved_parameters(func, names)
        if parameter.name not in {"self", "cls"}
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    context = _context_parameter(step, parameters)
    signature = StepSignature(
        event=_event_parameter(step, parameters),
        returns=_returns(step, func, resolved_return(func, names)),
        context_parameter=context.name if context else None,
        context_state_type=_state_type(context.annotation) if context else None,
        resources=tuple(resource_definitions(parameters)),
    )
    _check_passable(step, parameters, signature)
    return signature


def _is_event(annotation: Any) -> TypeIs[type[Event]]:
    return isinstance(annotation, type) and issubclass(annotation, Event)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


# --- parameters ---


def _event_parameter(step: str, parameters: Sequence[inspect.Parameter]) -> EventParameter:
    found = [
        event
        for parameter in parameters
        if (event := _as_event_parameter(step, parameter)) is not None
    ]
    if not found:
        raise WorkflowValidationError(_no_event_message(step, parameters))
    if len(found) > 1:
        raise WorkflowValidationError(_several_events_message(step, found))
    return found[0]


def _as_event_parameter(step: str, parameter: inspect.Parameter) -> EventParameter | None:
    annotation, markers = split(parameter.annotation)
    if elements := _list_elements(annotation):
        return EventParameter(parameter.name, elements, _collect(step, parameter.name, markers))
    if any(isinstance(marker, Collect | All | Take) for marker in markers):
        raise WorkflowValidationError(
            f"{step}: parameter {parameter.name!r} is marked with Collect, but it is no "
            "list of events. Annotate it as `Annotated[list[MyEvent], Collect(...)]`, or take the "
            "mark away."
        )
    events = _all_events(annotation)
    return EventParameter(parameter.name, events) if events else None


def _all_events(annotation: Any) -> tuple[type[Event], ...]:
    """The event classes of an annotation that is made of nothing else but them and `None`."""
    members = [member for member in union_members(annotation) if member is not NoneType]
    events = tuple(member for member in members if _is_event(member))
    return events if len(events) == len(members) else ()


def _list_elements(annotation: Any) -> tuple[type[Event], ...]:
    """The event classes of `list[E]`, `list[A | B]` and of unions of these."""
    members = [member for member in union_members(annotation) if member is not NoneType]
    if not all(_is_list(member) for member in members):
        return ()
    elements = [_all_events(get_args(member)[0]) for member in members]
    unique = dict.fromkeys(event for events in elements for event in events)
    return tuple(unique) if all(elements) else ()


def _collect(step: str, name: str, markers: Sequence[Any]) -> Collect:
    match [marker for marker in markers if isinstance(marker, Collect | All | Take)]:
        case []:
            return Collect()
        case [Collect(All() | Take()) as policy]:
            return policy
        case wrong:
            raise WorkflowValidationError(
                f"{step}: parameter {name!r} is marked with {', '.join(map(repr, wrong))}. "
                "Mark it with one of Collect(All()) and Collect(Take(n))."
            )


def _no_event_message(step: str, parameters: Sequence[inspect.Parameter]) -> str:
    has = ", ".join(str(parameter) for parameter in parameters) or "none"
    return (
        f"{step}: no parameter is annotated with an Event class (its parameters: {has}). Annotate "
        "one with a class derived from Event, a union of such classes only, or a list of them."
    )


def _several_events_message(step: str, found: Sequence[EventParameter]) -> str:
    names = ", ".join(repr(event.name) for event in found)
    return (
        f"{step}: the parameters {names} all take events; a step has one event parameter. To "
        "accept any of several events annotate it with a union; to wait for several use one "
        "`list[A | B]` parameter, or ctx.collect_events()."
    )


def _context_parameter(
    step: str, parameters: Sequence[inspect.Parameter]
) -> inspect.Parameter | None:
    found = [parameter for parameter in parameters if _is_context(parameter.annotation)]
    if len(found) > 1:
        names = ", ".join(repr(parameter.name) for parameter in found)
        raise WorkflowValidationError(
            f"{step}: the parameters {names} are all annotated with Context. Keep one of them."
        )
    return found[0] if found else None


def _is_context(annotation: Any) -> bool:
    """By the name of the class, so that this module need not know the class."""
    annotation, _ = split(annotation)
    return getattr(get_origin(annotation) or annotation, "__name__", None) == "Context"


def _state_type(annotation: Any) -> type[BaseModel] | None:
    for argument in get_args(split(annotation)[0]):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
    return None


def _check_passable(
    step: str, parameters: Sequence[inspect.Parameter], signature: StepSignature
) -> None:
    """A step is called with keywords."""
    passed = {signature.event.name, signature.context_parameter}
    passed.update(resource.name for resource in signature.resources)
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in passed:
            raise WorkflowValidationError(
                f"{step}: parameter {parameter.name!r} is positional-only, but steps are called "
                "with keywords. Take the `/` out of the signature."
            )


# --- the return value ---


def _returns(step: str, func: Callable[..., Any], annotation: Any) -> Returns:
    if annotation is inspect.Parameter.empty:
        raise WorkflowValidationError(
            f"{step}: its return value is not annotated. Annotate it with the events that the "
            "step returns, such as `-> MyEvent | None`; a step that returns nothing is `-> None`."
        )
    members = union_members(annotation)
    if _is_iterator(func, members):
        raise WorkflowValidationError(
            f"{step}: its return value is an iterator, but a step does not yield events. Return "
            "a `list[MyEvent]`, or send each event with ctx.send_event()."
        )
    return Returns(
        types=_without_none(inner for member in members for inner in _elements(member)),
        bare=_events_of(member for member in members if not _is_list(member)),
        in_lists=_events_of(
            inner for member in members if _is_list(member) for inner in _elements(member)
        ),
        is_fan_out=any(_is_list(member) for member in members),
        optional=NoneType in members,
    )


def _is_iterator(func: Callable[..., Any], members: Sequence[Any]) -> bool:
    return (
        inspect.isgeneratorfunction(func)
        or inspect.isasyncgenfunction(func)
        or any((get_origin(member) or member) in _ASYNC_ITERATORS for member in members)
    )


def _elements(member: Any) -> tuple[Any, ...]:
    return union_members(get_args(member)[0]) if _is_list(member) else (member,)


def _without_none(types: Iterable[Any]) -> tuple[Any, ...]:
    """`None` counts only where there is nothing else."""
    found = dict.fromkeys(types)
    return tuple(kind for kind in found if kind is not NoneType) or tuple(found)


def _events_of(types: Iterable[Any]) -> tuple[type[Event], ...]:
    return tuple(kind for kind in dict.fromkeys(types) if _is_event(kind))
