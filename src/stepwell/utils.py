"""What the signature of a step says, and which steps a workflow has, for tools that ask.

`@step` itself has no need of this module: what it learned stands in `_step_config`.
"""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from stepwell._annotations import lexical_names, resolved_return, union_members
from stepwell._signatures import inspect_step
from stepwell.decorators import StepFunction, steps_of
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event

__all__ = [
    "BUSY_WAIT_DELAY",
    "StepSignatureSpec",
    "get_steps_from_class",
    "get_steps_from_instance",
    "inspect_signature",
    "is_free_function",
    "validate_step_signature",
]

BUSY_WAIT_DELAY = 0.01
"""Seconds. Nothing here waits by polling: it is there for programs that import it."""


class StepSignatureSpec(BaseModel):
    """The signature of a step.

    Attributes:
        accepted_events: the event classes of each parameter that takes events.
        return_types: what it may return, members of lists unwrapped; `NoneType` only if alone.
        context_parameter: the parameter that takes the Context.
        context_state_type: the `State` of `Context[State]`.
        resources: the parameters that are filled with resources.
        collection_param: name and event classes of the parameter that takes a list.
        collection_policy: when that list is full.
        is_fan_out: it may return a list.
        bare_return_types: the event classes that it may return not in a list.
    """

    accepted_events: dict[str, list[type[Event]]]
    return_types: list[Any]
    context_parameter: str | None
    context_state_type: Any | None
    resources: list[Any]
    collection_param: tuple[str, tuple[Any, ...]] | None = None
    collection_policy: Any | None = None
    is_fan_out: bool = False
    bare_return_types: list[Any] = []


def inspect_signature(
    fn: Callable[..., Any], localns: Mapping[str, Any] | None = None
) -> StepSignatureSpec:
    """Read the signature of a step.

    Args:
        fn: the function.
        localns: names that its string annotations may use.

    Raises:
        TypeError: it can't be called.
        WorkflowValidationError: it is not the signature of a step; the message names the step,
            the parameter and the remedy.
    """
    if not callable(fn):
        raise TypeError(f"inspect_signature({fn!r}): this can't be called. Give a function.")
    signature = inspect_step(fn, localns or {})
    collecting = next((event for event in signature.events if event.collect), None)
    return StepSignatureSpec(
        accepted_events={event.name: list(event.classes) for event in signature.events},
        return_types=list(signature.returns.types),
        context_parameter=signature.context_parameter,
        context_state_type=signature.context_state_type,
        resources=list(signature.resources),
        collection_param=(collecting.name, collecting.classes) if collecting else None,
        collection_policy=collecting.collect if collecting else None,
        is_fan_out=signature.returns.is_fan_out,
        bare_return_types=list(signature.returns.bare),
    )


def validate_step_signature(spec: StepSignatureSpec) -> None:
    """Check the description of a signature, as when it was written by hand.

    Raises:
        WorkflowValidationError: no step can have this signature.
    """
    if not spec.accepted_events:
        raise WorkflowValidationError(
            "A step takes an event. Annotate a parameter with a class derived from Event."
        )
    if not spec.return_types:
        raise WorkflowValidationError(
            "The return value of a step is annotated. Name the events that it returns, or None."
        )
    if len(spec.accepted_events) > 1:
        _validate_several(spec)


def _validate_several(spec: StepSignatureSpec) -> None:
    if spec.collection_param is not None:
        raise WorkflowValidationError(
            f"Parameter {spec.collection_param[0]!r} takes a list of events, and others take "
            "single ones. Keep the list alone, as `list[A | B]`."
        )
    for name, classes in spec.accepted_events.items():
        if len(classes) > 1:
            raise WorkflowValidationError(
                f"Parameter {name!r} takes {len(classes)} event classes, next to other event "
                "parameters. Annotate each with a single class."
            )


def get_steps_from_class(_class: object) -> dict[str, StepFunction]:
    """Return the steps that are methods of a class, as functions; of no class, none."""
    if not isinstance(_class, type):
        return {}
    steps = steps_of(_class)
    return {name: func for name, func in steps.items() if getattr(_class, name, None) is func}


def get_steps_from_instance(workflow: object) -> dict[str, StepFunction]:
    """Return the steps that are methods of an object, bound to it."""
    return {name: getattr(workflow, name) for name in get_steps_from_class(type(workflow))}


def is_free_function(qualname: str) -> bool:
    """Whether a `__qualname__` is that of a function which stands in no class.

    Raises:
        ValueError: the name is empty.
    """
    if not qualname:
        raise ValueError("The qualified name is empty. Give the __qualname__ of a function.")
    scope, _, _ = qualname.rpartition(".")
    return not scope or scope.endswith("<locals>")


def _get_param_types(  # pyright: ignore[reportUnusedFunction]  llama-index-core imports it
    param: inspect.Parameter, type_hints: Mapping[str, Any]
) -> list[Any]:
    """The types of a parameter, those of a union one by one, and Any if there is none."""
    hint = type_hints.get(param.name, param.annotation)
    if hint is param.empty:
        return [Any]
    return [member for member in union_members(hint) if member is not NoneType]


def _get_return_types(  # pyright: ignore[reportUnusedFunction]  llama-index-core imports it
    func: Callable[..., Any], localns: Mapping[str, Any] | None = None
) -> list[Any]:
    """The types that a function may return, members of lists unwrapped; none, if it doesn't say.

    Raises:
        WorkflowValidationError: the annotation can't be resolved.
    """
    hint = resolved_return(func, {**lexical_names(func), **(localns or {})})
    if hint is inspect.Signature.empty:
        return []
    members = [inner for member in union_members(hint) for inner in _elements(member)]
    return [one for one in dict.fromkeys(members) if one is not NoneType] or [NoneType]


def _elements(member: Any) -> tuple[Any, ...]:
    return union_members(get_args(member)[0]) if get_origin(member) is list else (member,)
