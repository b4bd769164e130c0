"""Workflows: classes of steps."""

import logging
import secrets
import string
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import isclass
from typing import Any, ClassVar

from pydantic import ValidationError

from stepwell._engine import graph
from stepwell._engine.plan import Plan, make_plan
from stepwell._engine.state import RunState, StepQueue
from stepwell._engine.ticks import RunResumed, RunStarted
from stepwell._runtime.commits import Durability
from stepwell._runtime.planning import Program, bind_steps
from stepwell._runtime.port import RunPort
from stepwell._runtime.runner import Runner
from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry, type_name
from stepwell.context.context import Context
from stepwell.context.state_store import infer_state_type
from stepwell.decorators import (
    StepConfig,
    StepFunction,
    WorkflowGraphCheck,
    config_of,
    steps_of,
)
from stepwell.durable import loader
from stepwell.durable.checkpointer import Checkpointer, find_checkpointer
from stepwell.durable.execution import Beginning, Durable, DurableExecution
from stepwell.durable.recovery import Request, input_digest
from stepwell.errors import (
    ContextStateError,
    RunBlocked,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from stepwell.resource import ResourceManager

__all__ = ["Workflow", "WorkflowMeta"]

_ALPHABET = string.ascii_letters + string.digits

log = logging.getLogger("stepwell")


class WorkflowMeta(type):
    """Gives each class a place for the steps that are added from outside of it."""

    _step_functions: dict[str, StepFunction]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        cls._step_functions = {}


@dataclass(frozen=True, slots=True)
class _CodecOfSteps:
    """What reads and writes the runs of a class, as long as it has these steps."""

    steps: list[str]
    codec: Codec


class Workflow(metaclass=WorkflowMeta):
    """The base of all workflows: a class whose `@step` methods take and return events.

    Args:
        timeout: how long a run may work, in seconds; None for ever. Waiting for an event from
            outside does not count.
        disable_validation: start runs without looking at the graph of the steps.
        resource_manager: where the resources of the steps live; one of its own by default.
        workflow_name: what stored runs know it by; by default its module and class.
        skip_graph_checks: names of graph checks to leave out.
        checkpointer: where runs are made durable: a checkpointer, or the URL of a store.
        durability: when a step boundary becomes durable, if not as the checkpointer says: "sync",
            "async" or "exit".

    Raises:
        WorkflowConfigurationError: there is no single start event, or no single stop event.
        WorkflowValidationError: an argument or a step is wrong.
    """

    # Class attributes, so that a class which forgets `super().__init__()` works with the defaults.
    _timeout: float | None = None
    _disable_validation: bool = False
    _resources: ResourceManager | None = None
    _workflow_name: str | None = None
    _skip_graph_checks: frozenset[str] = frozenset()
    _checkpointer: Checkpointer | None = None
    _durability: Durability | None = None
    _program: Program | None = None
    _validated: Program | None = None
    _codec: ClassVar["_CodecOfSteps | None"] = None

    def __init__(
        self,
        timeout: float | None = None,
        disable_validation: bool = False,
        resource_manager: ResourceManager | None = None,
        workflow_name: str | None = None,
        skip_graph_checks: Collection[WorkflowGraphCheck] | None = None,
        checkpointer: Checkpointer | str | None = None,
        durability: str | None = None,
    ) -> None:
        self._timeout = timeout
        self._disable_validation = disable_validation
        self._resources = resource_manager
        self._workflow_name = workflow_name
        self._skip_graph_checks = _checked_names(skip_graph_checks or ())
        if checkpointer is not None:
            find_checkpointer(checkpointer).attach(self, durability=durability)
        elif durability is not None:
            raise WorkflowValidationError(
                f"durability={durability!r} means nothing without checkpointer=..."
            )
        configs = self._configs()
        graph.start_event_class(self.workflow_name, configs)
        graph.stop_event_class(self.workflow_name, configs)

    @classmethod
    def add_step(cls, func: StepFunction) -> None:
        """Make a decorated function a step of this class and of those derived from it.

        Raises:
            WorkflowValidationError: it is not decorated, or the name is taken.
        """
        name = func.__name__
        if not isinstance(getattr(func, "_step_config", None), StepConfig):
            raise WorkflowValidationError(f"{name} is no step: decorate it with @step first")
        if name in steps_of(cls):
            raise WorkflowValidationError(
                f"{cls.__name__} has a step {name!r} already: give the function another name"
            )
        cls._step_functions[name] = func  # pyright: ignore[reportPrivateUsage]  the metaclass made it

    @property
    def workflow_name(self) -> str:
        """What stored runs know the workflow by."""
        return self._workflow_name or type_name(type(self)).replace(":", ".")

    @property
    def start_event_class(self) -> type[StartEvent]:
        """The class of the event that a run begins with."""
        return graph.start_event_class(self.workflow_name, self._configs())

    @property
    def stop_event_class(self) -> type[StopEvent]:
        """The class of the event that a run ends with."""
        return graph.stop_event_class(self.workflow_name, self._configs())

    @property
    def events(self) -> list[type[Event]]:
        """All event classes that the steps name."""
        return graph.event_classes(self._configs())

    def validate(self) -> bool:
        """Check the graph of the steps.

        Returns:
            Whether a run may wait for a human: a step asks for input, or takes an answer.

        Raises:
            WorkflowConfigurationError: there is no single start event, or no single stop event.
            WorkflowValidationError: the graph has mistakes; the message has all that were found.
        """
        configs = self._configs()
        graph.validate_graph(self.workflow_name, configs, skip=self._skip_graph_checks)
        return graph.is_human_in_the_loop(configs)

    def run(
        self, ctx: Context[Any] | None = None, start_event: StartEvent | None = None, **kwargs: Any
    ) -> WorkflowHandler[Any]:
        """Start a run, or go on with one that was interrupted.

        Args:
            ctx: a context to go on with. One that was rebuilt from a running snapshot goes on
                where it stood, and takes no input; any other lends its state to a new run.
            start_event: the first event. By default it is made of the keywords.
            **kwargs: the fields of the start event, and `run_id`: a name for the run. With a
                checkpointer, a name that is known goes on with that run, or gives its result.

        Returns:
            A handler: await it for the result.

        Raises:
            WorkflowValidationError: the graph of the steps has mistakes.
            WorkflowRuntimeError: the keywords do not make a start event.
            ContextStateError: a run is going on with this context.
            ValueError: `start_event` is no StartEvent.
        """
        run_id: str | None = kwargs.pop("run_id", None)
        program = self._ready_program()
        given, ctx = ctx, ctx or Context(self)
        _check_free(ctx)
        event = None if ctx.is_running else self._start_event(start_event, kwargs)
        _adopt(ctx, program.plan)
        make_runner = partial(
            Runner,
            program,
            ctx.internals,
            resources=self._resource_manager().open_run(),
            timeout=self._timeout,
        )
        durability = self._durable_as(program)
        if durability is None:
            runner = make_runner(run_id=run_id or _random_id())
            ctx.internals.port = RunPort(runner)
            runner.go(runner.begin(RunStarted(event) if event else RunResumed()))
            return WorkflowHandler(self.workflow_name, ctx, runner)
        digest = input_digest(program.plan, event, ctx)
        request = Request(
            workflow=self.workflow_name,
            run_id=run_id,
            digest=digest,
            reuse=given is None,
            check=partial(loader.check, program.plan),
        )
        beginning = Beginning(event, new_id=f"{digest}~{secrets.token_hex(5)}")
        execution = DurableExecution(ctx.internals, make_runner, durability, request, beginning)
        return WorkflowHandler(self.workflow_name, ctx, execution)

    def __stepwell_plan__(self) -> Plan:
        """Which step takes which event."""
        return self._bound_program().plan

    def _ready_program(self) -> Program:
        """The steps, once their graph was found to be valid."""
        program = self._bound_program()
        if not (self._disable_validation or self._validated is program):
            self.validate()
            self._validated = program
        return program

    @classmethod
    def _codec_of_class(cls) -> Codec:
        """What reads and writes the values of the runs.

        Its types are those that the signatures of the steps name, and those in the namespaces of
        the modules that the class and its steps come from: what the code has before it loads a run.
        """
        functions = steps_of(cls)
        known: _CodecOfSteps | None = vars(cls).get("_codec")
        if known is None or known.steps != list(functions):
            types = TypeRegistry(DEFAULT_TYPES)
            for name in {owner.__module__ for owner in cls.__mro__} - {"builtins"}:
                if name in sys.modules:
                    types.register_namespace(vars(sys.modules[name]))
            for function in functions.values():
                types.register_namespace(function.__globals__)
                _register_signature(types, config_of(function))
            known = cls._codec = _CodecOfSteps(list(functions), Codec(types))
        return known.codec

    def _bound_program(self) -> Program:
        """The steps of this instance; bound anew when one was added to its class."""
        functions = steps_of(type(self))
        if self._program is None or list(self._program.steps) != list(functions):
            configs = {name: config_of(function) for name, function in functions.items()}
            state_type = infer_state_type(one.context_state_type for one in configs.values())
            plan = make_plan(self.workflow_name, configs, self._codec_of_class(), state_type)
            self._program = Program(plan, bind_steps(functions, self._bind))
        return self._program

    def _bind(self, name: str, function: StepFunction) -> Callable[..., Any]:
        for owner in type(self).__mro__:
            if vars(owner).get("_step_functions", {}).get(name) is function:
                return function
        return partial(function, self)

    def _durable_as(self, program: Program) -> Durable | None:
        """Where and when the runs become durable; None if they don't."""
        set_ = self._checkpointer or Checkpointer.current()
        if set_ is not None:
            return Durable(set_, self._durability or set_.durability)
        for step in program.steps.values():
            for wanted in step.resources:
                if isclass(wanted.type_annotation) and issubclass(
                    wanted.type_annotation, Checkpointer
                ):
                    return Durable(wanted, Durability.EXIT)
        return None

    def _configs(self) -> Mapping[str, StepConfig]:
        return {name: config_of(function) for name, function in steps_of(type(self)).items()}

    def _resource_manager(self) -> ResourceManager:
        if self._resources is None:
            self._resources = ResourceManager()
        return self._resources

    def _start_event(self, event: StartEvent | None, fields: dict[str, Any]) -> StartEvent:
        if event is not None:
            if not isinstance(event, StartEvent):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
                kind = type(event).__name__
                raise ValueError(f"start_event must be a StartEvent, not {kind}")
            if fields:
                log.warning("run(start_event=...) ignores the keywords %s", ", ".join(fields))
            return event
        cls = self.start_event_class
        try:
            return cls(**fields)
        except ValidationError as error:
            raise WorkflowRuntimeError(
                f"{self.workflow_name}: run() can't make its {cls.__name__} of the keywords "
                f"{sorted(fields)}: {error}"
            ) from error


def _register_signature(types: TypeRegistry, config: StepConfig) -> None:
    for annotation in (
        *config.accepted_events,
        *config.bare_return_types,
        *config.list_return_types,
        config.context_state_type,
    ):
        types.register_annotation(annotation)


def _check_free(ctx: Context[Any]) -> None:
    """Refuse a context that a run is going on with.

    Raises:
        ContextStateError: naming the workflow of that run.
    """
    if ctx.internals.port.is_live:
        raise ContextStateError(
            f"a run of {ctx.internals.plan.workflow!r} is going on with this context: await its "
            f"handler first, or start the other run with a context of its own"
        )


def _adopt(ctx: Context[Any], plan: Plan) -> None:
    """Make a context ready for a run of this plan: where it stood if it was running, else anew.

    Raises:
        RunBlocked: it holds work for a step that this workflow does not have.
    """
    internals = ctx.internals
    if ctx.is_running:
        unknown = {work.step for work in internals.run.works()} - plan.steps.keys()
        if unknown:
            raise RunBlocked(
                f"the context holds work for {', '.join(sorted(unknown))}, which workflow "
                f"{plan.workflow!r} has no step of that name for: start it with "
                f"{internals.plan.workflow!r}, which it comes from"
            )
        for name in plan.steps:
            internals.run.queues.setdefault(name, StepQueue())
    else:
        internals.run = RunState.of_steps(list(plan.steps))
    internals.plan = plan
    internals.run.changed = None
    internals.store.track(None)


def _random_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


def _checked_names(names: Collection[str]) -> frozenset[str]:
    unknown = sorted(set(names) - set(graph.GRAPH_CHECKS))
    if unknown:
        raise WorkflowValidationError(
            f"skip_graph_checks has {', '.join(unknown)}; there are {', '.join(graph.GRAPH_CHECKS)}"
        )
    return frozenset(names)
