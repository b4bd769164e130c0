"""A program: the steps of one workflow instance, ready to be called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any

from stepwell._engine import graph
from stepwell._engine.plan import Plan
from stepwell.decorators import StepConfig, StepFunction, config_of
from stepwell.events import StartEvent
from stepwell.resource import ResourceDefinition

__all__ = ["BoundStep", "Program", "bind_steps"]


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A step of an instance.

    Attributes:
        function: takes keywords only; a coroutine function if `is_async`.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    event_parameter: str
    context_parameter: str | None
    resources: tuple[ResourceDefinition, ...]
    config: StepConfig


@dataclass(frozen=True)
class Program:
    """What a runner needs of a workflow instance.

    Attributes:
        names: those in its class when it was made.
    """

    plan: Plan
    steps: Mapping[str, BoundStep]
    names: Sequence[tuple[str, ...]]

    @cached_property
    def start_event_class(self) -> type[StartEvent]:
        """The class of the event that a run begins with; raises as that of `graph`."""
        configs = {name: step.config for name, step in self.steps.items()}
        return graph.start_event_class(self.plan.workflow, configs)

    @cached_property
    def has_resources(self) -> bool:
        """Whether any step asks for one."""
        return any(step.resources for step in self.steps.values())


def bind_steps(
    functions: Mapping[str, StepFunction], bind: Callable[[str, StepFunction], Callable[..., Any]]
) -> dict[str, BoundStep]:
    """Make the steps of a class callable; `bind` gives a function its instance."""
    return {name: _bound(name, function, bind) for name, function in functions.items()}


def _bound(
    name: str, function: StepFunction, bind: Callable[[str, StepFunction], Callable[..., Any]]
) -> BoundStep:
    config = config_of(function)
    return BoundStep(
        name=name,
        function=bind(name, function),
        is_async=iscoroutinefunction(function),
        event_parameter=config.event_name,
        context_parameter=config.context_parameter,
        resources=tuple(config.resources),
        config=config,
    )
