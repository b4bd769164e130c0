"""Workflows: classes of steps."""

import asyncio
import logging
import secrets
import string
import sys
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import isclass
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ValidationError

from stepwell._engine import graph
from stepwell._engine.plan import Plan, make_plan
from stepwell._engine.state import RunState, Status, StepQueue
from stepwell._engine.ticks import RunResumed, RunStarted
from stepwell._names import kind_of
from stepwell._runtime.admission import Admission
from stepwell._runtime.commits import Durability
from stepwell._runtime.names import check_name_is_free, take_name
from stepwell._runtime.planning import Program, bind_steps
from stepwell._runtime.port import RunPort
from stepwell._runtime.runner import Runner
from stepwell._runtime.stream import UNHEARD
from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry, namespaces_of, type_name
from stepwell.context.context import Context, Internals
from stepwell.context.serializers import BaseSerializer, check_serializer
from stepwell.context.state_models import DictState, most_derived
from stepwell.decorators import (
    StepConfig,
    StepFunction,
    WorkflowGraphCheck,
    check_own_steps,
    check_step,
    check_step_name,
    config_of,
    names_in,
    steps_of,
)
from stepwell.durable import loader
from stepwell.durable.checkpointer import Checkpointer, find_checkpointer
from stepwell.durable.execution import Beginning, Durable, DurableExecution
from stepwell.durable.identity import new_run_id
from stepwell.durable.recovery import Request, input_digest
from stepwell.errors import (
    ContextStateError,
    RunBlocked,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from stepwell.plugins import BasicRuntime, get_current_runtime
from stepwell.resource import ResourceManager, validate_configs
from stepwell.resource import validate_resources as make_resources

__all__ = ["Workflow", "WorkflowMeta"]

_ALPHABET = string.ascii_letters + string.digits

log = logging.getLogger("stepwell")


class WorkflowMeta(type):
    """Gives each class a place for the steps that are added from outside of it."""

    _step_functions: dict[str, StepFunction]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        cls._step_functions = {}
        root = next(base for base in reversed(cls.__mro__) if isinstance(base, WorkflowMeta))
        check_own_steps(cls, root)


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
        verbose: say on the terminal, or in the log `stepwell.verbose`, what the steps do.
        resource_manager: where the resources of the steps live; one of its own by default.
        num_concurrent_runs: how many runs of this instance go on at once; the others wait for
            their turn. None for all.
        runtime: kept for programs that name one; see `stepwell.plugins`.
        workflow_name: what stored runs know it by; by default its module and class.
        skip_graph_checks: names of graph checks to leave out.
        serializer: kept for programs that name one; `ctx.to_dict(serializer=...)` uses one.
        checkpointer: where runs are made durable: a checkpointer, or the URL of a store.
        durability: when a step boundary becomes durable, if not as the checkpointer says: "sync",
            "async" or "exit".
        version: what you call this state of the code; it stands in the runs that it creates.

    Raises:
        WorkflowConfigurationError: there is no single start event, or no single stop event.
        WorkflowValidationError: an argument or a step is wrong.
    """

    # Class attributes, so that a class which forgets `super().__init__()` works with the defaults.
    _timeout: float | None = None
    _disable_validation: bool = False
    _verbose: bool = False
    _admission: Admission | None = None
    _runtime: BasicRuntime | None = None
    _serializer: BaseSerializer | None = None
    _resources: ResourceManager | None = None
    _workflow_name: str | None = None
    _skip_graph_checks: frozenset[str] = frozenset()
    _checkpointer: Checkpointer | None = None
    _durability: Durability | None = None
    _code_version: str | None = None
    _program: Program | None = None
    _validated: Program | None = None
    _codec: ClassVar["_CodecOfSteps | None"] = None

    def __init__(  # noqa: PLR0917  the interface
        self,
        timeout: float | None = None,
        disable_validation: bool = False,
        verbose: bool = False,
        resource_manager: ResourceManager | None = None,
        num_concurrent_runs: int | None = None,
        runtime: BasicRuntime | None = None,
        workflow_name: str | None = None,
        skip_graph_checks: Collection[WorkflowGraphCheck] | None = None,
        serializer: BaseSerializer | None = None,
        *,
        checkpointer: Checkpointer | str | None = None,
        durability: str | None = None,
        version: str | None = None,
    ) -> None:
        self._timeout = _checked_timeout(timeout)
        self._disable_validation = _checked_flag("disable_validation", disable_validation)
        self._verbose = _checked_flag("verbose", verbose)
        self._runtime = _checked_runtime(get_current_runtime() if runtime is None else runtime)
        if serializer is not None:
            self._serializer = check_serializer(serializer, "serializer")
        self._admission = Admission(_checked_limit(num_concurrent_runs))
        self._resources = _checked_manager(resource_manager)
        self._workflow_name = _checked_text("workflow_name", workflow_name)
        self._code_version = _checked_text("version", version)
        self._skip_graph_checks = _checked_names(
            () if skip_graph_checks is None else skip_graph_checks
        )
        if checkpointer is not None:
            find_checkpointer(checkpointer).attach(self, durability=durability)
        elif durability is not None:
            raise WorkflowValidationError(
                f"durability={durability!r} means nothing without a checkpointer. Give one with "
                f"checkpointer=..., or leave it out."
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
        name = getattr(func, "__name__", repr(func))
        if not isinstance(getattr(func, "_step_config", None), StepConfig):
            raise WorkflowValidationError(
                f"{cls.__name__}.add_step(): {name} is no step: decorate it with @step first"
            )
        check_step_name(cls, name, Workflow)
        check_step(func, is_method=False)
        if name in steps_of(cls):
            raise WorkflowValidationError(
                f"{cls.__name__} has a step {name!r} already: give the function another name"
            )
        cls._step_functions[name] = func  # pyright: ignore[reportPrivateUsage]  the metaclass made it

    @property
    def runtime(self) -> BasicRuntime:
        """What runs the workflow, for programs that ask."""
        return self._runtime or get_current_runtime()

    @property
    def serializer(self) -> BaseSerializer | None:
        """The serializer that was given, if one was."""
        return self._serializer

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

    def validate(
        self, *, validate_resource_configs: bool = True, validate_resources: bool = False
    ) -> bool:
        """Check the graph of the steps.

        Args:
            validate_resource_configs: read the files that `ResourceConfig` parameters name, too.
            validate_resources: make all resources, too; not from inside an event loop.

        Returns:
            Whether a run may wait for a human: a step asks for input, or takes an answer.

        Raises:
            WorkflowConfigurationError: there is no single start event, or no single stop event.
            WorkflowValidationError: the graph has mistakes; the message has all that were found.
        """
        configs = self._configs()
        graph.validate_graph(self.workflow_name, configs, skip=self._skip_graph_checks)
        for step, config in configs.items():
            if validate_resource_configs:
                self._check_resources(step, partial(validate_configs, config.resources))
            if validate_resources and config.resources:
                self._check_outside_loop()
                making = partial(make_resources, config.resources, self._resource_manager())
                self._check_resources(step, lambda making=making: asyncio.run(making()))
        return graph.is_human_in_the_loop(configs)

    def _check_outside_loop(self) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise WorkflowValidationError(
                f"{self.workflow_name}: validate(validate_resources=True) makes the resources in "
                f"an event loop of its own, and one is running here. Call it before asyncio.run()."
            )

    def _check_resources(self, step: str, check: Callable[[], None]) -> None:
        try:
            check()
        except Exception as error:
            raise WorkflowValidationError(
                f"{self.workflow_name}: step {step!r}: {error}"
            ) from error

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
            RuntimeError: there is no running event loop; or, without a checkpointer, a run of this
                name is going on in this process.
        """
        run_id = _checked_run_id(kwargs.pop("run_id", None))
        _check_context(ctx)
        program = self._ready_program()
        given, ctx = ctx, Context(self) if ctx is None else ctx
        _check_free(ctx)
        event = None if ctx.is_running else self._start_event(start_event, kwargs)
        self._check_in_loop()
        durability = self._durable_as(program)
        if run_id is not None and durability is None:
            check_name_is_free(run_id)
        _adopt(ctx, program.plan)
        make_runner = self._runners(program, ctx)
        if durability is None:
            runner = make_runner(run_id=run_id or _random_id())
            tick = RunStarted(event) if event else RunResumed(runner.clock())
            self._begin_here(ctx, runner, tick)
            return WorkflowHandler(self.workflow_name, ctx, runner)
        digest = input_digest(program.plan, event, ctx)
        request = Request(
            workflow=self.workflow_name,
            run_id=run_id,
            digest=digest,
            reuse=given is None,
            check=partial(loader.check, program.plan),
        )
        tick = RunStarted(event) if event else RunResumed(time.time())
        beginning = Beginning(tick, new_id=new_run_id(digest))
        execution = DurableExecution(ctx.internals, make_runner, durability, request, beginning)
        self._admit(execution.begin, execution.ended)
        return WorkflowHandler(self.workflow_name, ctx, execution)

    def _check_in_loop(self) -> None:
        """Raise before anything has begun."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{self.workflow_name}: run() found no running event loop. Call it in an async "
                f"function, and that with asyncio.run(...)."
            ) from None

    def _begin_here(self, ctx: Context[Any], runner: Runner, tick: RunStarted | RunResumed) -> None:
        """Begin a run that no checkpointer knows of."""
        take_name(runner.run_id, runner.ended)
        ctx.internals.port = RunPort(runner)
        commands = runner.begin(tick)

        def begin() -> None:
            runner.go(commands)

        if not self._admit(begin, runner.ended):
            runner.wait_turn()

    def _admit(self, begin: Callable[[], None], ended: asyncio.Future[None]) -> bool:
        """Begin a run, or let it wait for its turn; return whether it began."""
        if self._admission is None:
            begin()
            return True
        return self._admission.enter(begin, ended)

    def _runners(self, program: Program, ctx: Context[Any]) -> Callable[..., Runner]:
        """What makes a runner for this context, given the name of the run."""
        return partial(
            Runner,
            program,
            ctx.internals,
            resources=self._resource_manager().open_run(),
            timeout=self._timeout,
            verbose=self._verbose,
        )

    # --- for workers, which execute runs that others asked for ---

    def __stepwell_host__(self, run_id: str) -> tuple[Internals, Runner]:
        """A context for a stored run, and what executes it."""
        program, ctx = self._ready_program(), Context(self)
        _adopt(ctx, program.plan)
        runner = self._runners(program, ctx)(run_id=run_id, stream=UNHEARD)
        ctx.internals.port = RunPort(runner)
        return ctx.internals, runner

    def __stepwell_begin__(self, fields: dict[str, Any]) -> StartEvent:
        """The start event with these fields; raises WorkflowRuntimeError if they don't make one."""
        return self._start_event(None, fields)

    @asynccontextmanager
    async def __stepwell_turn__(self) -> AsyncGenerator[None]:
        """Wait until one more run may go on; it is over at the end of the block."""
        if self._admission is None or self._admission.is_unlimited:
            yield
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def begin() -> None:
            turn.set_result(None)

        try:
            self._admit(begin, ended)
            await turn
            yield
        finally:
            ended.set_result(None)

    @property
    def __stepwell_durability__(self) -> Durability | None:
        """When a step boundary becomes durable, if not as the checkpointer says."""
        return self._durability

    def __stepwell_plan__(self) -> Plan:
        """Which step takes which event."""
        return self._bound_program().plan

    def _ready_program(self) -> Program:
        """The steps, once their graph was found to be valid."""
        program = self._bound_program()
        if self._validated is not program:
            if self._disable_validation:
                graph.validate_handlers(self.workflow_name, self._configs())
            else:
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
        names = names_in(type(self))
        if self._program is None or self._program.names != names:
            functions = steps_of(type(self))
            configs = {name: config_of(function) for name, function in functions.items()}
            state_type = most_derived(one.context_state_type for one in configs.values())
            codec = self._codec_of_class()
            for namespace in namespaces_of(self):
                codec.types.register_namespace(namespace)
            plan = make_plan(self.workflow_name, configs, codec, state_type, self._code_version)
            self._program = Program(plan, bind_steps(functions, self._bind), names)
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
                raise ValueError(
                    f"start_event must be a StartEvent, not {kind_of(event)}: give an instance of "
                    f"{self.start_event_class.__name__}"
                )
            if not any(graph.accepts(config, type(event)) for config in self._configs().values()):
                raise ValueError(
                    f"{self.workflow_name}: no step takes {type(event).__name__}, so that the run "
                    f"would never begin: give start_event an {self.start_event_class.__name__}"
                )
            if fields:
                log.warning("run(start_event=...) ignores the keywords %s", ", ".join(fields))
            return event
        cls = self._bound_program().start_event_class
        try:
            return cls(**fields)
        except ValidationError as error:
            raise WorkflowRuntimeError(
                f"{self.workflow_name}: run() can't make its {cls.__name__} of the keywords "
                f"{sorted(fields)}: {_fields_of(error)}. Correct these keywords of run()."
            ) from error


def _register_signature(types: TypeRegistry, config: StepConfig) -> None:
    for annotation in (
        *config.accepted_events,
        *config.bare_return_types,
        *config.list_return_types,
        config.context_state_type,
    ):
        types.register_annotation(annotation)


def _fields_of(error: ValidationError) -> str:
    """What is wrong with which field, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'all of them'}: {one['msg']}"
        for one in error.errors(include_url=False)
    )


def _check_context(ctx: object) -> None:
    """Refuse anything else, above all a start event that stands first.

    Raises:
        WorkflowRuntimeError: naming what was given.
    """
    if not isinstance(ctx, Context | None):
        raise WorkflowRuntimeError(
            f"run() was given {kind_of(ctx)} as its ctx, which must be a Context. The first event "
            f"goes in with start_event=..., its fields with their names; a map of to_dict() is "
            f"read with Context.from_dict(workflow, map)."
        )


def _checked_run_id(run_id: Any) -> str | None:
    """Each store says for itself which characters it takes.

    Raises:
        ValueError: it is no text, or an empty one.
    """
    if run_id is None or (isinstance(run_id, str) and run_id):
        return run_id
    raise ValueError(
        f"run id {run_id!r} can't be used: take 1 to 200 of A-Z a-z 0-9 _ . : ~ @ / -, or leave it "
        f"out"
    )


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
        _check_state(ctx.store.state_type, plan)
        if internals.run.status is not Status.NEW or internals.plan is not plan:
            internals.run = RunState.of_steps(list(plan.steps))
    internals.plan = plan
    internals.run.changed = None
    internals.store.track(None)


def _check_state(state_type: type[BaseModel], plan: Plan) -> None:
    """A state without declared fields is for every step; any other is for those that know it."""
    if plan.state_type is not DictState and not issubclass(state_type, plan.state_type):
        raise ContextStateError(
            f"the context holds a {state_type.__name__}, but the steps of {plan.workflow!r} share "
            f"a {plan.state_type.__name__}: make the context for this workflow, and set what it "
            f"takes over with ctx.store.set()"
        )


def _random_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if is_number and cast("float", timeout) >= 0:
        return cast("float", timeout)
    raise WorkflowValidationError(f"timeout is {timeout!r}: give seconds, or None for no limit")


def _checked_flag(option: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise WorkflowValidationError(f"{option} is {value!r}: give True or False")


def _checked_manager(manager: object) -> ResourceManager | None:
    if isinstance(manager, ResourceManager | None):
        return manager
    raise WorkflowValidationError(
        f"resource_manager is {kind_of(manager)}: give a ResourceManager(), or leave it out"
    )


def _checked_text(option: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise WorkflowValidationError(f"{option} is {value!r}: give a text, or leave it out")


def _checked_runtime(runtime: object) -> BasicRuntime:
    if isinstance(runtime, BasicRuntime):
        return runtime
    raise WorkflowValidationError(
        f"runtime is {runtime!r:.80}: give a BasicRuntime of stepwell.plugins, or leave it out. "
        f"To make runs durable give checkpointer=..."
    )


def _checked_limit(limit: object) -> int | None:
    if limit is None or (type(limit) is int and limit > 0):
        return limit
    raise WorkflowValidationError(
        f"num_concurrent_runs is {limit!r}: give a whole number of at least 1, or None for no limit"
    )


def _checked_names(names: Any) -> frozenset[str]:
    known = ", ".join(graph.GRAPH_CHECKS)
    if isinstance(names, str) or not isinstance(names, Collection):
        raise WorkflowValidationError(
            f"skip_graph_checks is {names!r}: give a set of these names: {known}"
        )
    checks = cast("Collection[Any]", names)
    if unknown := [repr(name) for name in checks if name not in graph.GRAPH_CHECKS]:
        raise WorkflowValidationError(
            f"skip_graph_checks has {', '.join(unknown)}: choose from {known}"
        )
    return frozenset(checks)
