"""The engine alone, with its laws: a plan from step functions, and a drive that feeds it ticks."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from stepwell._engine import collecting, invariants
from stepwell._engine.commands import Command, Invoke
from stepwell._engine.loading import load
from stepwell._engine.plan import Plan, make_plan
from stepwell._engine.reduce import reduce
from stepwell._engine.snapshot import encode_fact, encode_run, facts
from stepwell._engine.state import RunState, Status, Waiter, Work
from stepwell._engine.ticks import (
    EventArrived,
    EventSent,
    RetryDue,
    RunResumed,
    RunStarted,
    StepFailed,
    StepReturned,
    StepSuspended,
    Tick,
    WaitBegun,
    WaitDropped,
    WaitExpired,
)
from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry
from stepwell.decorators import StepFunction, config_of, steps_of
from stepwell.events import Event, StartEvent

__all__ = ["Drive", "Steps", "snapshot_of"]

_CommandT = TypeVar("_CommandT", bound=Command)


class Steps:
    """Stands in for a workflow class: `@step(workflow=Steps())` adds to it."""

    def __init__(self) -> None:
        self._functions: dict[str, StepFunction] = {}

    def add_step(self, func: StepFunction, /) -> None:
        self._functions[func.__name__] = func

    def add_class(self, cls: type) -> None:
        """Error handlers can only be methods."""
        for function in steps_of(cls).values():
            self.add_step(function)

    def plan(self) -> Plan:
        configs = {name: config_of(function) for name, function in self._functions.items()}
        types = TypeRegistry(DEFAULT_TYPES)
        for config in configs.values():
            types.register(*config.accepted_events, *config.bare_return_types)
            types.register(*config.list_return_types)
        for function in self._functions.values():
            types.register_namespace(function.__globals__)
        return make_plan("w", configs, Codec(types), BaseModel)


class Drive:
    """One run of the engine. After each tick its laws are checked, and that of durability: the
    facts that were noted, applied one by one to a map, are the facts of the state.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = RunState.of_steps(list(plan.steps))
        self.state.changed = {}
        self.map: dict[str, str] = {}

    def tick(self, tick: Tick) -> list[Command]:
        before = self._overbooked()
        commands = reduce(self.plan, self.state, tick)
        if not isinstance(tick, WaitDropped):
            assert self._overbooked() <= before, "more of a step runs than it has workers"
        self._write_notes()
        assert invariants.broken(self.plan, self.state) == []
        if self.state.status is not Status.COMPLETED:
            assert self.map == _facts(self.plan, self.state)
            assert snapshot_of(self.plan, self.reload()) == snapshot_of(self.plan, self.state)
        return commands

    def _overbooked(self) -> int:
        """How many steps run without a worker: only what stops waiting by itself may do so."""
        queues = self.state.queues
        return sum(
            max(0, len(queues[name].running) - step.num_workers)
            for name, step in self.plan.steps.items()
        )

    def _write_notes(self) -> None:
        changed, self.state.changed = self.state.changed or {}, {}
        for name, fact in changed.items():
            if fact is None:
                self.map.pop(name, None)
            else:
                self.map[name] = encode_fact(fact, self.plan.codec.encode)

    def reload(self) -> RunState:
        """The state as somebody else would load it now."""
        return load(self.plan, snapshot_of(self.plan, self.state))

    def crash(self, now: float = 0.0, interrupted: bool | None = None) -> list[Command]:
        """Lose the process, and go on with what the map says."""
        self.state = load(self.plan, encode_run(self.state, self.plan.codec.encode) | self.map)
        self.state.changed = {}
        assert invariants.broken(self.plan, self.state, at_rest=True) == []
        return self.tick(RunResumed(now, interrupted))

    def start(self, event: StartEvent | None = None) -> list[Command]:
        return self.tick(RunStarted(event or StartEvent()))

    def returns(self, work: Work, *events: Event, fanned_out: bool = False) -> list[Command]:
        return self.tick(StepReturned(work, list(events), fanned_out))

    def fans_out(self, work: Work, *events: Event) -> list[Command]:
        return self.returns(work, *events, fanned_out=True)

    def fails(
        self, work: Work, error: Exception | None = None, now: float = 0.0, took: float = 0.0
    ) -> list[Command]:
        return self.tick(StepFailed(work, error or ValueError("no"), now, took))

    def retries(self, work: Work) -> list[Command]:
        return self.tick(RetryDue(work))

    def waits(
        self,
        work: Work,
        event_type: type[Event],
        name: str = "w",
        *,
        question: Event | None = None,
        deadline: float | None = None,
        **requirements: Any,
    ) -> list[Command]:
        """A wait begins, at time 0."""
        waiter = Waiter(event_type, requirements, question, deadline)
        return self.tick(WaitBegun(work, name, waiter, deadline))

    def sleeps(self, work: Work, until: float, name: str = "s", now: float = 0.0) -> list[Command]:
        waiter = Waiter(None, None, None, until)
        return self.tick(WaitBegun(work, name, waiter, until - now))

    def expires(self, work: Work, name: str = "w") -> list[Command]:
        return self.tick(WaitExpired(work, name, work.progress.waiters[name]))

    def drops(self, work: Work, name: str = "w") -> list[Command]:
        return self.tick(WaitDropped(work, name))

    def suspends(self, work: Work) -> list[Command]:
        return self.tick(StepSuspended(work))

    def sends(self, work: Work, event: Event, digest: str | None = None) -> list[Command]:
        return self.tick(EventSent(work, event, None, digest))

    def receives(self, event: Event, step: str | None = None) -> list[Command]:
        return self.tick(EventArrived(event, step))

    def collects(
        self, work: Work, expected: Sequence[type[Event]], buffer: str = "default"
    ) -> list[Event] | None:
        event = work.payload
        assert isinstance(event, Event)
        return collecting.collect(self.state, work, event, expected, buffer)

    def running(self, step: str) -> list[Work]:
        return list(self.state.queues[step].running.values())

    def suspended(self, step: str) -> list[Work]:
        return list(self.state.queues[step].suspended.values())

    def delayed(self, step: str) -> list[Work]:
        return list(self.state.queues[step].delayed.values())

    def waiting(self, step: str) -> list[Work]:
        return list(self.state.queues[step].waiting)

    def only(self, step: str) -> Work:
        """The one piece of work that a step is running."""
        (work,) = self.running(step)
        return work


def snapshot_of(plan: Plan, state: RunState) -> dict[str, str]:
    """A whole run, without its error: that one is not loaded again."""
    fields = encode_run(state, plan.codec.encode) | _facts(plan, state)
    fields.pop("error", None)
    return fields


def _facts(plan: Plan, state: RunState) -> dict[str, str]:
    return {name: encode_fact(fact, plan.codec.encode) for name, fact in facts(state)}


def of_kind(commands: Sequence[Command], kind: type[_CommandT]) -> list[_CommandT]:
    return [command for command in commands if isinstance(command, kind)]


def invoked(commands: Sequence[Command]) -> Iterator[tuple[str, Any]]:
    """The steps that are to run, and with what."""
    return ((one.work.step, one.work.payload) for one in of_kind(commands, Invoke))
