"""What a client knows of a workflow: its code, or its name at most."""

from dataclasses import dataclass
from inspect import signature
from typing import Any, Self

from stepwell._engine.plan import Plan
from stepwell._engine.routing import check_target
from stepwell._engine.state import RunState
from stepwell._names import kind_of
from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry
from stepwell.context.state_models import DictState
from stepwell.decorators import config_of, steps_of
from stepwell.errors import WorkflowConfigurationError
from stepwell.events import Event, StartEvent
from stepwell.workflow import Workflow

__all__ = ["Known"]


@dataclass(frozen=True, slots=True)
class Known:
    """A workflow, as far as a client knows it.

    Attributes:
        plan: without steps if the code is not at hand.
        start_event: what a run begins with; None if the code is not at hand.
        waiting_steps: those that may wait for an event that their signature does not name.
    """

    plan: Plan
    start_event: type[StartEvent] | None = None
    waiting_steps: frozenset[str] = frozenset()

    @classmethod
    def of(cls, workflow: object) -> Self:
        """What there is to know of it.

        Raises:
            TypeError: it is neither a workflow nor a name.
            ValueError: it is written as the target of a worker, and not as a name.
            WorkflowConfigurationError: it is a class that wants arguments.
        """
        if isinstance(workflow, str) and workflow:
            return cls.by_name(_checked_name(workflow))
        if isinstance(workflow, type):
            workflow = _made(workflow)
        if not isinstance(workflow, Workflow):
            raise TypeError(
                f"the workflow is {kind_of(workflow)}: give an instance or a class of a workflow, "
                "or its name"
            )
        return cls(
            workflow.__stepwell_plan__(), workflow.start_event_class, _waiting_steps(workflow)
        )

    @classmethod
    def by_name(cls, name: str = "") -> Self:
        """A workflow whose code is not at hand."""
        return cls(Plan(name, {}, Codec(), DictState))

    @property
    def name(self) -> str:
        """What stored runs know it by; empty if that is not known."""
        return self.plan.workflow

    @property
    def has_code(self) -> bool:
        """Whether its steps are known."""
        return self.start_event is not None

    def codec_for(self, event: Event) -> Codec:
        """What reads and writes this event: its class need not be known otherwise."""
        if self.has_code:
            return self.plan.codec
        types = TypeRegistry(DEFAULT_TYPES)
        types.register(type(event))
        types.register_annotation(type(event))
        return Codec(types)

    def takes(self, event: Event, step: str) -> bool:
        """Whether a step is known to take such events whenever they come."""
        known = self.plan.steps.get(step)
        return known is not None and known.takes(type(event))

    def subclasses_go_to(self, step: str) -> bool:
        """Whether a step is known to take events of derived classes."""
        known = self.plan.steps.get(step)
        return known is not None and known.subclasses

    def check_step(self, event: Event, step: str) -> None:
        """Refuse a step that there is not, or that can have no use for such an event, ever.

        Raises:
            WorkflowRuntimeError: naming the step, the event and what there is instead.
        """
        if self.has_code and step not in self.waiting_steps:
            check_target(self.plan, RunState.of_steps(list(self.plan.steps)), event, step)


def _checked_name(name: str) -> str:
    if ":" in name:
        raise ValueError(
            f"{name!r} is no name of a workflow: write {name.replace(':', '.')!r}; "
            "`stepwell worker` prints the names that it serves"
        )
    return name


def _made(cls: type[Any]) -> object:
    """An instance of a workflow class; any other class as it is."""
    if not issubclass(cls, Workflow):
        return cls
    try:
        signature(cls).bind()
    except TypeError as error:
        raise WorkflowConfigurationError(
            f"{cls.__name__} can't be made without arguments ({error}): give an instance of it, "
            "or the name that its runs have"
        ) from error
    return cls()


def _waiting_steps(workflow: Workflow) -> frozenset[str]:
    """Those that take a context can wait by it."""
    steps = steps_of(type(workflow))
    return frozenset(name for name, step in steps.items() if config_of(step).context_parameter)
