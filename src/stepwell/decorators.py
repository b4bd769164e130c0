"""`@step` and `@catch_error`: make a method, or a free function, a step of a workflow."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, isfunction, signature
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, overload

from pydantic import BaseModel
from typing_extensions import ParamSpec, TypeIs, TypeVar

from stepwell._annotations import title
from stepwell._empty import empty
from stepwell._signatures import StepSignature, inspect_step
from stepwell.collect import Collect
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StepFailedEvent
from stepwell.resource import ResourceDefinition
from stepwell.retry_policy import RetryPolicy, can_decide

__all__ = [
    "CatchErrorHandler",
    "StepConfig",
    "StepFunction",
    "StepGraphCheck",
    "WorkflowGraphCheck",
    "catch_error",
    "check_own_steps",
    "check_step",
    "check_step_name",
    "config_of",
    "make_step_function",
    "names_in",
    "step",
    "steps_of",
]

StepGraphCheck: TypeAlias = Literal["reachability", "dead_end"]
WorkflowGraphCheck: TypeAlias = Literal["reachability", "terminal_event", "dead_end"]
StepRole: TypeAlias = Literal["step", "catch_error"]

_VARIADIC = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
_WRAPPERS = (staticmethod, classmethod, property)

_P = ParamSpec("_P", default=...)
_ReturnT_co = TypeVar("_ReturnT_co", covariant=True, default=Any)
_DecoratedT = TypeVar("_DecoratedT", bound=Callable[..., Any])


@dataclass(slots=True)
class StepConfig:
    """What `@step` or `@catch_error` learned about a step.

    Attributes:
        accepted_events: the event classes that it takes, one by one or in a list; one for each
            parameter if there are several.
        event_name: the parameter that takes them, the first if there are several.
        return_types: what it may return, members of lists unwrapped; `NoneType` only if alone.
        context_parameter: the parameter that takes the Context.
        num_workers: how many invocations of it run at once, at most.
        retry_policy: whether and when it is tried again after a failure; None never.
        resources: the parameters that are filled with resources.
        context_state_type: the `State` of `Context[State]`.
        skip_graph_checks: the checks of the step graph that leave this step out.
        collect_params: name and event class of each parameter of a step that waits for several
            events, in order; empty for a step with a single event parameter.
        is_fan_out: it may return a list.
        bare_return_types: the event classes that it may return not in a list.
        list_return_types: the event classes that it may return in a list.
        collection_param: name and event classes of the parameter that takes a list.
        collection_policy: when that list is full.
        role: what decorated it.
        catch_error_for_steps: the steps whose failures it handles; None handles those that no
            other handler names.
        catch_error_max_recoveries: how many failures in one line of events it handles.
        accept_event_subclasses: it also takes events of classes derived from those it names.
        may_return_none: its annotation says that it may return None.
    """

    accepted_events: list[type[Event]]
    event_name: str
    return_types: list[Any]
    context_parameter: str | None = None
    num_workers: int = 4
    retry_policy: RetryPolicy | None = None
    resources: list[ResourceDefinition] = field(default_factory=empty(list[ResourceDefinition]))
    context_state_type: type[BaseModel] | None = None
    skip_graph_checks: list[str] = field(default_factory=empty(list[str]))
    collect_params: list[tuple[str, type[Event]]] = field(
        default_factory=empty(list[tuple[str, type[Event]]])
    )
    is_fan_out: bool = False
    bare_return_types: tuple[type[Event], ...] = ()
    list_return_types: tuple[type[Event], ...] = ()
    collection_param: tuple[str, tuple[type[Event], ...]] | None = None
    collection_policy: Collect | None = None
    role: StepRole = "step"
    catch_error_for_steps: list[str] | None = None
    catch_error_max_recoveries: int = 1
    accept_event_subclasses: bool = False
    may_return_none: bool = False


@dataclass(frozen=True)
class CatchErrorHandler:
    """A step that handles the failures of others.

    Args:
        step_name: the handler itself.
        for_steps: the steps that it names; None handles those that no other handler names.
        max_recoveries: how many failures in one line of events it handles.
    """

    step_name: str
    for_steps: list[str] | None
    max_recoveries: int


class StepFunction(Protocol[_P, _ReturnT_co]):
    """A function that went through `@step` or `@catch_error`."""

    __name__: str
    __qualname__: str
    __globals__: dict[str, Any]
    _step_config: StepConfig

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _ReturnT_co:
        """Run the body of the step, as the function it is."""
        ...


class _Workflow(Protocol):
    """A workflow class, as far as a decorator knows it."""

    def add_step(self, func: StepFunction, /) -> None: ...


# --- @step ---


@overload
def step(func: _DecoratedT) -> _DecoratedT: ...
@overload
def step(
    func: None = None,
    *,
    workflow: _Workflow | None = None,
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Collection[StepGraphCheck] | None = None,
    accept_event_subclasses: bool = False,
) -> Callable[[_DecoratedT], _DecoratedT]: ...
def step(
    func: _DecoratedT | None = None,
    *,
    workflow: _Workflow | None = None,
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Collection[StepGraphCheck] | None = None,
    accept_event_subclasses: bool = False,
) -> _DecoratedT | Callable[[_DecoratedT], _DecoratedT]:
    """Make a function a step; its signature says which events it takes and returns.

    Args:
        func: the function, where the decorator is used without parentheses.
        workflow: the workflow class that a free function belongs to.
        num_workers: how many invocations of the step run at once, at most.
        retry_policy: whether and when a failed invocation is tried again; None never.
        skip_graph_checks: checks of the step graph that leave this step out: "reachability",
            "dead_end".
        accept_event_subclasses: also take events of classes derived from those named.

    Raises:
        WorkflowValidationError: an option or the signature is wrong, or the workflow has another
            step of this name.
    """

    def decorate(func: _DecoratedT) -> _DecoratedT:
        _check_function(func)
        if workflow is None:
            _check_in_class(func, "Decorate it with @step(workflow=MyWorkflow), or move")
            _check_role(func, "step")
        decorated = make_step_function(
            func,
            num_workers=num_workers,
            retry_policy=retry_policy,
            skip_graph_checks=skip_graph_checks,
            accept_event_subclasses=accept_event_subclasses,
        )
        if workflow is not None:
            _checked_workflow(func, workflow).add_step(decorated)
        return func

    return decorate if func is None else decorate(func)


def make_step_function(
    func: Callable[_P, _ReturnT_co],
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    localns: Mapping[str, Any] | None = None,
    skip_graph_checks: Collection[StepGraphCheck] | None = None,
    accept_event_subclasses: bool = False,
) -> StepFunction[_P, _ReturnT_co]:
    """Make a function a step, wherever it is defined, and leave it to the caller to add it.

    Args:
        func: the function.
        num_workers: how many invocations of the step run at once, at most.
        retry_policy: whether and when a failed invocation is tried again; None never.
        localns: names that its string annotations may use, on top of those around the function.
        skip_graph_checks: checks of the step graph that leave this step out.
        accept_event_subclasses: also take events of classes derived from those named.

    Raises:
        WorkflowValidationError: an option or the signature is wrong.
    """
    _check_function(func)
    config = _configured(inspect_step(func, localns or {}))
    config.num_workers = _checked_workers(func, num_workers)
    config.retry_policy = _checked_policy(func, retry_policy)
    config.skip_graph_checks = _checked_names(
        func, () if skip_graph_checks is None else skip_graph_checks
    )
    config.accept_event_subclasses = _checked_flag(
        func, "accept_event_subclasses", accept_event_subclasses
    )
    return _mark(func, config)


# --- @catch_error ---


@overload
def catch_error(func: _DecoratedT) -> _DecoratedT: ...
@overload
def catch_error(
    func: None = None, *, for_steps: list[str] | None = None, max_recoveries: int = 1
) -> Callable[[_DecoratedT], _DecoratedT]: ...
def catch_error(
    func: _DecoratedT | None = None,
    *,
    for_steps: list[str] | None = None,
    max_recoveries: int = 1,
) -> _DecoratedT | Callable[[_DecoratedT], _DecoratedT]:
    """Make a method the step that is called when another has failed for good.

    It takes a `StepFailedEvent` and returns what the run goes on with, like every step. A step
    has failed for good when its retry policy gives up, or with its first failure if it has none.

    Args:
        func: the method, where the decorator is used without parentheses.
        for_steps: names of the steps whose failures it handles. By default it handles those of
            all steps that no other handler names; handlers themselves are never handled.
        max_recoveries: how many failures it handles in the events that come of one another;
            one more fails the run.

    Raises:
        WorkflowValidationError: an option or the signature is wrong.
    """

    def decorate(func: _DecoratedT) -> _DecoratedT:
        _check_function(func)
        _check_in_class(func, "Move")
        _check_role(func, "catch_error")
        config = _configured(inspect_step(func))
        _check_takes_failures(func, config)
        config.num_workers = 1
        config.role = "catch_error"
        config.catch_error_for_steps = _checked_steps(func, for_steps)
        config.catch_error_max_recoveries = _checked_recoveries(func, max_recoveries)
        _mark(func, config)
        return func

    return decorate if func is None else decorate(func)


# --- from a signature to a config ---


def _configured(signature: StepSignature) -> StepConfig:
    first, *others = events = signature.events
    returns = signature.returns
    return StepConfig(
        accepted_events=[cls for event in events for cls in event.classes],
        event_name=first.name,
        return_types=list(returns.types),
        context_parameter=signature.context_parameter,
        resources=list(signature.resources),
        context_state_type=signature.context_state_type,
        collect_params=[(event.name, event.classes[0]) for event in events] if others else [],
        is_fan_out=returns.is_fan_out,
        bare_return_types=returns.bare,
        list_return_types=returns.in_lists,
        collection_param=(first.name, first.classes) if first.collect else None,
        collection_policy=first.collect,
        may_return_none=returns.optional,
    )


def _mark(func: Callable[_P, _ReturnT_co], config: StepConfig) -> StepFunction[_P, _ReturnT_co]:
    decorated = cast("StepFunction[_P, _ReturnT_co]", func)
    decorated._step_config = config  # pyright: ignore[reportPrivateUsage]  the name that tools read
    return decorated


# --- checks ---


def _check_function(func: Any) -> None:
    is_wrapped = isinstance(func, _WRAPPERS)
    if is_wrapped or isinstance(func, type) or not hasattr(func, "__qualname__"):
        kind = type(cast("object", func)).__name__
        given = f"the {kind} {title(_inside(func))}" if is_wrapped else repr(cast("object", func))
        raise WorkflowValidationError(
            f"a step is made of a function or method, not of {given}. Write it as a method "
            "that takes self, or as a free function under @step(workflow=MyWorkflow)."
        )


def _check_in_class(func: Callable[..., Any], remedy: str) -> None:
    scope, _, _ = title(func).rpartition(".")
    if not scope or scope.endswith("<locals>"):
        raise WorkflowValidationError(
            f"{title(func)}: a free function must say which workflow it is a step of. {remedy} "
            "it into the class. If a decorator made it of a method, let that use functools.wraps."
        )


def _check_role(func: Callable[..., Any], role: StepRole) -> None:
    if _is_step(func) and config_of(func).role != role:
        raise WorkflowValidationError(
            f"{title(func)}: it is under both @step and @catch_error. Keep one of them: "
            "@catch_error makes it a step that handles the failures of others."
        )


def _checked_workflow(func: Callable[..., Any], workflow: Any) -> _Workflow:
    if callable(getattr(workflow, "add_step", None)):
        return workflow
    raise WorkflowValidationError(
        f"{title(func)}: workflow is {workflow!r}. Give a class derived from Workflow."
    )


def _check_takes_failures(func: Callable[..., Any], config: StepConfig) -> None:
    if config.accepted_events != [StepFailedEvent] or config.collection_param:
        takes = ", ".join(cls.__name__ for cls in config.accepted_events)
        kind = "a list of " if config.collection_param else ""
        raise WorkflowValidationError(
            f"{title(func)}: a handler takes one StepFailedEvent, but this one takes {kind}"
            f"{takes}. Annotate {config.event_name!r} with StepFailedEvent itself, and no other "
            "parameter with an event class."
        )


def _checked_workers(func: Callable[..., Any], num_workers: Any) -> int:
    if type(num_workers) is not int or num_workers < 1:
        raise WorkflowValidationError(
            f"{title(func)}: num_workers is {num_workers!r}. Give a whole number of at least 1."
        )
    return num_workers


def _checked_recoveries(func: Callable[..., Any], max_recoveries: Any) -> int:
    if type(max_recoveries) is not int or max_recoveries < 1:
        raise WorkflowValidationError(
            f"{title(func)}: max_recoveries is {max_recoveries!r}. Give a whole number of at "
            "least 1."
        )
    return max_recoveries


def _checked_policy(func: Callable[..., Any], policy: Any) -> RetryPolicy | None:
    if policy is not None and not can_decide(policy):
        raise WorkflowValidationError(
            f"{title(func)}: retry_policy is {policy!r}, which has no method `next` to call. Give "
            "an object made with retry_policy(...), or one of your own that has "
            "`next(elapsed_time, attempts, error)`."
        )
    return policy


def _checked_flag(func: Callable[..., Any], option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise WorkflowValidationError(f"{title(func)}: {option} is {value!r}. Give True or False.")
    return value


def _checked_names(func: Callable[..., Any], names: Any) -> list[str]:
    known = get_args(StepGraphCheck)
    if isinstance(names, str) or not isinstance(names, Collection):
        raise WorkflowValidationError(
            f"{title(func)}: skip_graph_checks is {names!r}. Give a list of the names {known!r}."
        )
    skipped = list(cast("Collection[Any]", names))
    if unknown := [name for name in skipped if name not in known]:
        raise WorkflowValidationError(
            f"{title(func)}: skip_graph_checks has {unknown!r}; a step can skip {known!r}."
        )
    return skipped


def _checked_steps(func: Callable[..., Any], names: Any) -> list[str] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(
        isinstance(name, str) for name in cast("list[Any]", names)
    ):
        raise WorkflowValidationError(
            f"{title(func)}: for_steps is {names!r}. Give a list of step names, or leave it out "
            "to handle the failures of all steps that no other handler names."
        )
    return list(cast("list[str]", names))


# --- steps of a class ---


def config_of(step: StepFunction) -> StepConfig:
    """Return what `@step` learned about a step."""
    return step._step_config  # pyright: ignore[reportPrivateUsage]  the name that tools read


def steps_of(cls: type) -> dict[str, StepFunction]:
    """Return the steps of a class in the order of definition, those of its bases first.

    An attribute of a derived class replaces a step of the same name, also if it is no step.
    Free functions under `@step(workflow=cls)` count, and are inherited like methods.

    Raises:
        WorkflowValidationError: a step is wrapped in `staticmethod`, `classmethod` or `property`.
    """
    attributes: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        attributes.update(vars(owner))
        attributes.update(vars(owner).get("_step_functions", {}))
    return {name: attribute for name, attribute in attributes.items() if _is_step(attribute)}


def names_in(cls: type) -> list[tuple[str, ...]]:
    """Return all names among which `steps_of` looks: while they stay, it is not asked again."""
    added = (vars(owner).get("_step_functions", {}) for owner in cls.__mro__)
    return [*map(tuple, added), *(tuple(vars(owner)) for owner in cls.__mro__)]


def _is_step(attribute: Any) -> TypeIs[StepFunction]:
    if isinstance(attribute, _WRAPPERS):
        _check_not_wrapped(_inside(attribute))
        return False
    return isinstance(getattr(attribute, "_step_config", None), StepConfig)


def check_step(func: StepFunction, *, is_method: bool) -> None:
    """Check that a step of a class can be called: with keywords, and a method with self.

    Raises:
        WorkflowValidationError: nobody fills one of its parameters.
    """
    filled = _filled(config_of(func))
    parameters = list(signature(func).parameters.values())
    if is_method and parameters[0].name in filled:
        raise WorkflowValidationError(
            f"{title(func)}: its first parameter is {parameters[0].name!r}, but a method is given "
            f"self there. Write `self, {parameters[0].name}`."
        )
    for parameter in parameters[is_method:]:
        is_needed = parameter.default is parameter.empty and parameter.kind not in _VARIADIC
        if is_needed and parameter.name not in filled:
            raise WorkflowValidationError(
                f"{title(func)}: nobody fills its parameter {parameter.name!r}. Annotate it with "
                "Context, an event class or Annotated[T, Resource(factory)], give it a default, "
                "or take it out; the input of a run is in its StartEvent."
            )


def _filled(config: StepConfig) -> set[str | None]:
    """The parameters that a call of the step fills, self aside."""
    several = (name for name, _ in config.collect_params)
    resources = (resource.name for resource in config.resources)
    return {config.event_name, config.context_parameter, *several, *resources}


def check_own_steps(cls: type, root: type) -> None:
    """Check the steps that a class defines against what it has from its bases.

    Args:
        cls: the class.
        root: the base of all workflows, whose attributes no step may replace.

    Raises:
        WorkflowValidationError: a step has the name of such an attribute or can't be called, or a
            plain method replaces a step.
    """
    inherited = {name for base in cls.__bases__ for name in steps_of(base)}
    for name, attribute in vars(cls).items():
        if _is_step(attribute):
            check_step_name(cls, name, root)
            check_step(attribute, is_method=True)
        elif name in inherited and isfunction(attribute):
            raise WorkflowValidationError(
                f"{title(attribute)} replaces a step of the same name and is no step. Decorate it "
                f"with @step, give it another name, or write {name} = None to drop the step."
            )


def check_step_name(cls: type, name: str, root: type) -> None:
    """Refuse a step that would hide what every workflow has.

    Raises:
        WorkflowValidationError: the name is taken.
    """
    if hasattr(root, name):
        raise WorkflowValidationError(
            f"{cls.__name__}: a step can't be named {name!r}, because every {root.__name__} has an "
            "attribute of that name. Give the step another name."
        )


def _inside(wrapper: Any) -> Any:
    """The function that a static method, a class method or a property is made of."""
    return wrapper.fget if isinstance(wrapper, property) else wrapper.__func__


def _check_not_wrapped(func: Callable[..., Any]) -> None:
    if _is_step(func):
        raise WorkflowValidationError(
            f"{title(func)}: a step can't be a static method, a class method or a property. "
            "Write it as a method that takes self, or as a free function under "
            "@step(workflow=MyWorkflow)."
        )
