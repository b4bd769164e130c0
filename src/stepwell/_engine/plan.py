"""The plan of a workflow: which step takes which event. Made once, read at every event."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from stepwell._empty import empty
from stepwell._engine.graph import accepts, elements, handlers_of, is_human_in_the_loop
from stepwell._serialization import Codec
from stepwell.collect import Take
from stepwell.decorators import StepConfig
from stepwell.events import Event, InputRequiredEvent, StopEvent
from stepwell.retry_policy import RetryPolicy

__all__ = ["Plan", "Receivers", "StepPlan", "make_plan"]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What the engine knows of one step.

    Attributes:
        accepts: event classes that the step takes, one event an invocation.
        joins_on: event classes that it takes one event of each of, all in one invocation.
        gathers: event classes that the step takes as a list, one list a stream.
        take: how many events complete the list early; None waits for the whole stream.
        subclasses: it also takes events of classes derived from those.
        gathered_by: names of the steps that gather what this step's list returns lead to.
        ends_run: its annotation says that it always ends the run, with a plain StopEvent.
        retry_policy: what decides whether it is tried again after a failure.
        max_recoveries: of an error handler: how often it may be called on one line of events.
    """

    name: str
    num_workers: int
    accepts: tuple[type[Event], ...]
    joins_on: tuple[type[Event], ...]
    gathers: tuple[type[Event], ...]
    take: int | None
    subclasses: bool
    gathered_by: tuple[str, ...]
    ends_run: bool
    retry_policy: RetryPolicy | None
    max_recoveries: int

    def takes(self, cls: type[Event]) -> bool:
        """Whether the step takes an event of exactly this class (or subclass, if it said so)."""
        wanted = self.accepts or self.joins_on or self.gathers
        return issubclass(cls, wanted) if self.subclasses else cls in wanted


@dataclass(frozen=True, slots=True)
class Receivers:
    """The steps that one class of events goes to.

    Attributes:
        asks: events of the class ask a human: they are published.
        anyone: whether there is any.
    """

    singles: tuple[StepPlan, ...]
    joiners: tuple[StepPlan, ...]
    gatherers: tuple[StepPlan, ...]
    asks: bool
    anyone: bool


@dataclass(slots=True)
class Plan:
    """A workflow as the engine sees it: no user code, only names, types and numbers.

    Attributes:
        codec: reads and writes the values of its runs.
        handlers: the error handler of each step that has one.
        state_type: the class of the state that its steps share.
        joining: the steps with several event parameters.
        waits_for_human: a run may stand still until an event comes from outside.
        version: what the user calls this state of the code; stands in the runs that it creates.
    """

    workflow: str
    steps: dict[str, StepPlan]
    codec: Codec
    state_type: type[BaseModel]
    version: str | None = None
    handlers: Mapping[str, str] = field(default_factory=empty(dict[str, str]))
    waits_for_human: bool = False
    joining: tuple[str, ...] = ()
    _receivers: dict[type[Event], Receivers] = field(
        default_factory=empty(dict[type[Event], Receivers])
    )

    def receivers(self, cls: type[Event]) -> Receivers:
        """The steps that take events of this class; found once a class."""
        found = self._receivers.get(cls)
        if found is None:
            found = self._receivers[cls] = self._find_receivers(cls)
        return found

    def _find_receivers(self, cls: type[Event]) -> Receivers:
        taking = [step for step in self.steps.values() if step.takes(cls)]
        return Receivers(
            singles=tuple(step for step in taking if step.accepts),
            joiners=tuple(step for step in taking if step.joins_on),
            gatherers=tuple(step for step in taking if step.gathers),
            asks=issubclass(cls, InputRequiredEvent),
            anyone=bool(taking),
        )


def make_plan(
    workflow: str,
    steps: Mapping[str, StepConfig],
    codec: Codec,
    state_type: type[BaseModel],
    version: str | None = None,
) -> Plan:
    """Return the plan of a workflow whose graph is valid."""
    return Plan(
        workflow=workflow,
        steps={name: _plan_step(name, steps) for name in steps},
        codec=codec,
        state_type=state_type,
        version=version,
        handlers=handlers_of(steps),
        joining=tuple(name for name, config in steps.items() if config.collect_params),
        waits_for_human=is_human_in_the_loop(steps),
    )


def _plan_step(name: str, steps: Mapping[str, StepConfig]) -> StepPlan:
    config = steps[name]
    gathers = config.collection_param[1] if config.collection_param else ()
    joins_on = tuple(cls for _, cls in config.collect_params)
    policy = config.collection_policy.cardinality if config.collection_policy else None
    return StepPlan(
        name=name,
        num_workers=config.num_workers,
        accepts=() if gathers or joins_on else tuple(config.accepted_events),
        joins_on=joins_on,
        gathers=gathers,
        take=policy.n if isinstance(policy, Take) else None,
        subclasses=config.accept_event_subclasses,
        gathered_by=tuple(_find_gatherers(elements(config), steps)),
        ends_run=_ends_run(config),
        retry_policy=config.retry_policy,
        max_recoveries=config.catch_error_max_recoveries,
    )


def _ends_run(config: StepConfig) -> bool:
    return (
        config.bare_return_types == (StopEvent,)
        and not config.is_fan_out
        and not config.may_return_none
    )


def _find_gatherers(classes: Iterable[type[Event]], steps: Mapping[str, StepConfig]) -> list[str]:
    """The steps that gather what a stream of these events leads to, at the stream's own level.

    A walk over (event class, depth): a list return goes one level down, a gathering step one
    level up; one that is met at depth 0 gathers this stream. What error handlers return makes
    no step a gatherer: one handler of all failures would bind steps to streams of other steps.
    """
    gatherers: list[str] = []
    seen: set[tuple[type[Event], int]] = set()
    ahead = [(cls, 0) for cls in classes]
    while ahead:
        cls, depth = ahead.pop()
        if (cls, depth) in seen or depth > len(steps):
            continue
        seen.add((cls, depth))
        for name, config in steps.items():
            if not accepts(config, cls):
                continue
            level = depth - 1 if config.collection_param else depth
            if level < 0:
                gatherers.append(name)
                continue
            ahead += [(made, level) for made in config.bare_return_types]
            ahead += [(made, level + 1) for made in elements(config)]
    return list(dict.fromkeys(gatherers))
