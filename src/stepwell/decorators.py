"""`@step`: makes a method, or a free function, a step of a workflow."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast, get_args, overload

from pydantic import BaseModel
from typing_extensions import TypeIs

from stepwell._annotations import title
from stepwell._signatures import StepSignature, inspect_step
from stepwell.collect import Collect
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event
from stepwell.resource import ResourceDefinition

__all__ = [
    "StepConfig",
    "StepFunction",
    "StepGraphCheck",
    "WorkflowGraphCheck",
    "config_of",
    "step",
    "steps_of",
]

StepGraphCheck: TypeAlias = Literal["reachability", "dead_end"]
WorkflowGraphCheck: TypeAlias = Literal["reachability", "terminal_event", "dead_end"]

_DecoratedT = TypeVar("_DecoratedT", bound=Callable[..., Any])


@dataclass(slots=True)
class StepConfig:
    """What `@step` learned about a step.

    Attributes:
        accepted_events: the event classes that it takes, one by one or in a list.
        event_name: the parameter that takes them.
        return_types: what it may return, members of lists unwrapped; `NoneType` only if alone.
        context_parameter: the parameter that takes the Context.
        num_workers: how many invocations of it run at once, at most.
        resources: the parameters that are filled with resources.
        context_state_type: the `State` of `Context[State]`.
        skip_graph_checks: the checks of the step graph that leave this step out.
        is_fan_out: it may return a list.
        may_return_none: its annotation says that it may return None.
        bare_return_types: the event classes that it may return not in a list.
        list_return_types: the event classes that it may return in a list.
        collection_param: name and event classes of the parameter that takes a list.
        collection_policy: when that list is full.
        accept_event_subclasses: it also takes events of classes derived from those it names.
    """

    accepted_events: list[type[Event]]
    event_name: str
    return_types: list[Any]
    context_parameter: str | None = None
    num_workers: int = 4
    resources: list[ResourceDefinition] = field(default_factory=list[ResourceDefinition])
    context_state_type: type[BaseModel] | None = None
    skip_graph_checks: list[str] = field(default_factory=list[str])
    is_fan_out: bool = False
    may_return_none: bool = False
    bare_return_types: tuple[type[Event], ...] = ()
    list_return_types: tuple[type[Event], ...] = ()
    collection_param: tuple[str, tuple[type[Event], ...]] | None = None
    collection_policy: Collect | None = None
    accept_event_subclasses: bool = False


class StepFunction(Protocol):
    """A function that went through `@step`."""

    __name__: str
    __qualname__: str
    __globals__: dict[str, Any]
    _step_config: StepConfig

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body of the step, as the function it is."""
        ...


class _Workflow(Protocol):
    """A workflow class, as far as a decorator knows it."""

    def add_step(self, func: StepFunction, /) -> None: ...


@overload
def step(func: _DecoratedT, /) -> _DecoratedT: ...
@overload
def step(
    func: None = None,
    /,
    *,
    workflow: _Workflow | None = None,
    num_workers: int = 4,
    skip_graph_checks: Collection[StepGraphCheck] | None = None,
    accept_event_subclasses: bool = False,
) -> Callable[[_DecoratedT], _DecoratedT]: ...
def step(
    func: _DecoratedT | None = None,
    /,
    *,
    workflow: _Workflow | None = None,
    num_workers: int = 4,
    skip_graph_checks: Collection[StepGraphCheck] | None = None,
    accept_event_subclasses: bool = False,
) -> _DecoratedT | Callable[[_DecoratedT], _DecoratedT]:
    """Make a function a step; its signature says which events it takes and returns.

    Args:
        func: the function, where the decorator is used without parentheses.
        workflow: the workflow class that a free function belongs to.
        num_workers: how many invocations of the step run at once, at most.
        skip_graph_checks: checks of the step graph that leave this step out: "reachability",
            "dead_end".
        accept_event_subclasses: also take events of classes derived from those named.

    Raises:
        WorkflowValidationError: an option or the signature is wrong.
    """

    def decorate(func: _DecoratedT) -> _DecoratedT:
        _check_function(func, workflow)
        config = _configured(inspect_step(func))
        config.num_workers = _checked_workers(func, num_workers)
        config.skip_graph_checks = _checked_names(func, skip_graph_checks or ())
        config.accept_event_subclasses = accept_event_subclasses
        decorated = cast("StepFunction", func)
        decorated._step_config = config  # pyright: ignore[reportPrivateUsage]  the name that tools read
        if workflow is not None:
            workflow.add_step(decorated)
        return func

    return decorate if func is None else decorate(func)


def _configured(signature: StepSignature) -> StepConfig:
    event, returns = signature.event, signature.returns
    return StepConfig(
        accepted_events=list(event.events),
        event_name=event.name,
        return_types=list(returns.types),
        context_parameter=signature.context_parameter,
        resources=list(signature.resources),
        context_state_type=signature.context_state_type,
        is_fan_out=returns.is_fan_out,
        may_return_none=returns.optional,
        bare_return_types=returns.bare,
        list_return_types=returns.in_lists,
        collection_param=(event.name, event.events) if event.collect else None,
        collection_policy=event.collect,
    )


def _check_function(func: Any, workflow: _Workflow | None) -> None:
    if isinstance(func, staticmethod | classmethod) or not hasattr(func, "__qualname__"):
        raise WorkflowValidationError(
            f"@step decorates functions and methods, not {func!r}. Write the step as a method "
            "that takes self, or as a free function under @step(workflow=MyWorkflow)."
        )
    scope, _, _ = title(func).rpartition(".")
    if workflow is None and (not scope or scope.endswith("<locals>")):
        raise WorkflowValidationError(
            f"{title(func)}: a free function must say which workflow it is a step of. Decorate "
            "it with @step(workflow=MyWorkflow), or move it into the class."
        )


def _checked_workers(func: Callable[..., Any], num_workers: Any) -> int:
    if type(num_workers) is not int or num_workers < 1:
        raise WorkflowValidationError(
            f"{title(func)}: num_workers is {num_workers!r}. Give a whole number of at least 1."
        )
    return num_workers


def _checked_names(func: Callable[..., Any], names: Collection[str]) -> list[str]:
    known = get_args(StepGraphCheck)
    if unknown := [name for name in names if name not in known]:
        raise WorkflowValidationError(
            f"{title(func)}: skip_graph_checks has {unknown!r}; a step can skip {known!r}."
        )
    return list(names)


def config_of(step: StepFunction) -> StepConfig:
    """Return what `@step` learned about a step."""
    return step._step_config  # pyright: ignore[reportPrivateUsage]  the name that tools read


def steps_of(cls: type) -> dict[str, StepFunction]:
    """Return the steps of a class in the order of definition, those of its bases first.

    An attribute of a derived class replaces a step of the same name, also if it is no step.
    Free functions under `@step(workflow=cls)` count, and are inherited like methods.

    Raises:
        WorkflowValidationError: a step is wrapped in `staticmethod` or `classmethod`.
    """
    attributes: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        attributes.update(vars(owner))
        attributes.update(vars(owner).get("_step_functions", {}))
    return {name: attribute for name, attribute in attributes.items() if _is_step(attribute)}


def _is_step(attribute: Any) -> TypeIs[StepFunction]:
    if isinstance(attribute, staticmethod | classmethod):
        _check_not_wrapped(cast("staticmethod[..., Any]", attribute).__func__)
        return False
    return isinstance(getattr(attribute, "_step_config", None), StepConfig)


def _check_not_wrapped(func: Callable[..., Any]) -> None:
    if _is_step(func):
        raise WorkflowValidationError(
            f"{title(func)}: a step can't be a static method or a class method. Write it as a "
            "method that takes self, or as a free function under @step(workflow=MyWorkflow)."
        )
