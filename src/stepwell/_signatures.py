"""What the signature of a step says: which events it takes and returns, and what it asks for."""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeIs, TypeVar

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

_ITERATORS = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator)
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


@dataclass(frozen=True, slots=True)
class EventParameter:
    """A parameter that takes an event, of one of these classes, or a list of such events."""

    name: str
    classes: tuple[type[Event], ...]
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
    """The signature of a step, understood.

    Attributes:
        events: the parameters that take events: one, or several of one class each.
    """

    events: tuple[EventParameter, ...]
    returns: Returns
    context_parameter: str | None
    context_state_type: type[BaseModel] | None
    resources: tuple[ResourceDefinition, ...]


def inspect_step(
    func: Callable[..., Any], localns: Mapping[str, Any] = MappingProxyType({})
) -> StepSignature:
    """Read the signature of a step.

    Args:
        func: the function.
        localns: names that its string annotations may use; they win over those around it.

    Raises:
        WorkflowValidationError: it is not the signature of a step; the message names the step,
            the parameter and the remedy.
    """
    step, names = title(func), {**lexical_names(func), **localns}
    declared = [
        parameter
        for parameter in resolved_parameters(func, names)
        if parameter.name not in {"self", "cls"}
    ]
    parameters = [parameter for parameter in declared if parameter.kind not in _VARIADIC]
    context = _context_parameter(step, parameters)
    resources = {one.name: one for one in resource_definitions(declared, of=step)}
    signature = StepSignature(
        events=_event_parameters(
            step, [one for one in parameters if one.name not in resources], declared
        ),
        returns=_returns(step, func, resolved_return(func, names)),
        context_parameter=context.name if context else None,
        context_state_type=_state_type(step, context) if context else None,
        resources=tuple(resources.values()),
    )
    _check_passable(step, parameters, signature)
    return signature


def _is_event(annotation: Any) -> TypeIs[type[Event]]:
    return isinstance(annotation, type) and issubclass(annotation, Event)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list and bool(get_args(annotation))


# --- parameters ---


def _event_parameters(
    step: str, parameters: Sequence[inspect.Parameter], declared: Sequence[inspect.Parameter]
) -> tuple[EventParameter, ...]:
    found = tuple(
        event
        for parameter in parameters
        if (event := _as_event_parameter(step, parameter)) is not None
    )
    if not found:
        raise WorkflowValidationError(_no_event_message(step, declared))
    if len(found) > 1:
        _check_several(step, found)
    return found


def _check_several(step: str, found: Sequence[EventParameter]) -> None:
    """A step either takes one list, or waits for one event of one class in each parameter."""
    lists = [event for event in found if event.collect]
    if len(lists) > 1:
        raise WorkflowValidationError(
            f"{step}: the parameters {_names(lists)} all take lists of events; a step collects "
            "one list. Annotate a single parameter as `list[A | B]`."
        )
    if lists:
        others = [event for event in found if not event.collect]
        raise WorkflowValidationError(
            f"{step}: parameter {_names(lists)} takes a list of events, and next to it "
            f"{_names(others)} take single ones. Keep the list alone, as `list[A | B]`, or write "
            "a step of its own for the others."
        )
    if unions := [event for event in found if len(event.classes) > 1]:
        raise WorkflowValidationError(
            f"{step}: a step with several event parameters waits for one event of one class in "
            f"each of them, but {_names(unions)} take a union. Annotate each with a single class, "
            "or keep one parameter to take whichever event comes."
        )


def _as_event_parameter(step: str, parameter: inspect.Parameter) -> EventParameter | None:
    annotation, markers = split(parameter.annotation)
    if elements := _list_elements(annotation):
        return EventParameter(parameter.name, elements, _collect(step, parameter.name, markers))
    if any(map(_is_collect, markers)):
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
    match [marker for marker in markers if _is_collect(marker)]:
        case []:
            return Collect()
        case [Collect(All() | Take()) as policy]:
            return policy
        case wrong:
            raise WorkflowValidationError(
                f"{step}: parameter {name!r} is marked with {', '.join(map(repr, wrong))}. "
                "Mark it with one of Collect(All()) and Collect(Take(n))."
            )


def _is_collect(marker: Any) -> bool:
    """Whether it says when a list is full, or was meant to: a class such as `Collect` itself."""
    return isinstance(marker, Collect | All | Take) or marker in {Collect, All, Take}


def _no_event_message(step: str, parameters: Sequence[inspect.Parameter]) -> str:
    has = ", ".join(str(parameter) for parameter in parameters) or "none"
    return (
        f"{step}: no parameter is annotated with an Event class (its parameters: {has}). Annotate "
        "one with a class derived from Event, a union of such classes only, or a list of them."
    )


def _names(events: Iterable[EventParameter]) -> str:
    return ", ".join(repr(event.name) for event in events)


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


def _state_type(step: str, context: inspect.Parameter) -> type[BaseModel] | None:
    """The `State` of `Context[State]`; none where any will do."""
    for argument in get_args(split(context.annotation)[0]):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
        free = argument is Any or (get_origin(argument) or argument) is dict
        if not (free or isinstance(argument, TypeVar)):
            raise WorkflowValidationError(
                f"{step}: parameter {context.name!r} is annotated with Context[...] of "
                f"{_shown(argument)}, which is no state. Give it a class derived from pydantic's "
                "BaseModel, or leave the brackets out."
            )
    return None


def _check_passable(
    step: str, parameters: Sequence[inspect.Parameter], signature: StepSignature
) -> None:
    """A step is called with keywords."""
    passed = {signature.context_parameter, *(event.name for event in signature.events)}
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
    _check_classes(step, members)
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
        or any((get_origin(member) or member) in _ITERATORS for member in members)
    )


def _check_classes(step: str, members: Sequence[Any]) -> None:
    """Whether they are event classes is a question to the graph; an event is no annotation."""
    for kind in (kind for member in members for kind in _elements(member)):
        if not isinstance(kind, Hashable):
            raise WorkflowValidationError(
                f"{step}: its return value is annotated with {kind!r}, which is no class. "
                "Annotate it with the class itself."
            )


def _shown(annotation: Any) -> str:
    """An annotation in messages."""
    return annotation.__name__ if type(annotation) is type else str(annotation)


def _elements(member: Any) -> tuple[Any, ...]:
    return union_members(get_args(member)[0]) if _is_list(member) else (member,)


def _without_none(types: Iterable[Any]) -> tuple[Any, ...]:
    """`None` counts only where there is nothing else."""
    found = dict.fromkeys(types)
    return tuple(kind for kind in found if kind is not NoneType) or tuple(found)


def _events_of(types: Iterable[Any]) -> tuple[type[Event], ...]:
    return tuple(kind for kind in dict.fromkeys(types) if _is_event(kind))
