"""The plan of a workflow: which step takes which event. Made once, read at every event."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from stepwell._engine.graph import accepts, is_human_in_the_loop
from stepwell._serialization import Codec
from stepwell.collect import Take
from stepwell.decorators import StepConfig
from stepwell.events import Event, StopEvent

__all__ = ["Plan", "StepPlan", "make_plan"]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What the engine knows of one step.

    Attributes:
        accepts: event classes that the step takes, one event an invocation.
        gathers: event classes that the step takes as a list, one list a stream.
        take: how many events complete the list early; None waits for the whole stream.
        joins: names of the steps that gather what this step's list returns lead to.
        ends_run: its annotation says that it always ends the run, with a plain StopEvent.
    """

    name: str
    num_workers: int
    accepts: tuple[type[Event], ...]
    gathers: tuple[type[Event], ...]
    take: int | None
    subclasses: bool
    joins: tuple[str, ...]
    ends_run: bool

    def takes(self, cls: type[Event]) -> bool:
        """Whether the step takes an event of exactly this class (or subclass, if it said so)."""
        wanted = self.accepts or self.gathers
        return issubclass(cls, wanted) if self.subclasses else cls in wanted


@dataclass(frozen=True, slots=True)
class Receivers:
    """The steps that one class of events goes to."""

    singles: tuple[StepPlan, ...]
    gatherers: tuple[StepPlan, ...]


@dataclass(slots=True)
class Plan:
    """A workflow as the engine sees it: no user code, only names, types and numbers.

    Attributes:
        codec: reads and writes the values of its runs.
        state_type: the class of the state that its steps share.
        waits_for_human: a run may stand still until an event comes from outside.
    """

    workflow: str
    steps: dict[str, StepPlan]
    codec: Codec
    state_type: type[BaseModel]
    waits_for_human: bool = False
    _receivers: dict[type[Event], Receivers] = field(default_factory=dict[type[Event], Receivers])

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
            gatherers=tuple(step for step in taking if step.gathers),
        )


def make_plan(
    workflow: str, steps: Mapping[str, StepConfig], codec: Codec, state_type: type[BaseModel]
) -> Plan:
    """Return the plan of a workflow whose graph is valid."""
    return Plan(
        workflow=workflow,
        steps={name: _plan_step(name, steps) for name in steps},
        codec=codec,
        state_type=state_type,
        waits_for_human=is_human_in_the_loop(steps),
    )


def _plan_step(name: str, steps: Mapping[str, StepConfig]) -> StepPlan:
    config = steps[name]
    gathers = config.collection_param[1] if config.collection_param else ()
    policy = config.collection_policy.cardinality if config.collection_policy else None
    return StepPlan(
        name=name,
        num_workers=config.num_workers,
        accepts=() if gathers else tuple(config.accepted_events),
        gathers=gathers,
        take=policy.n if isinstance(policy, Take) else None,
        subclasses=config.accept_event_subclasses,
        joins=tuple(_find_joins(config.list_return_types, steps)),
        ends_run=_ends_run(config),
    )


def _ends_run(config: StepConfig) -> bool:
    return (
        config.bare_return_types == (StopEvent,)
        and not config.is_fan_out
        and not config.may_return_none
    )


def _find_joins(elements: Iterable[type[Event]], steps: Mapping[str, StepConfig]) -> list[str]:
    """The steps that gather what a stream of these elements leads to, at the stream's own level.

    A walk over (event class, depth): a list return goes one level down, a gathering step one
    level up; one that is met at depth 0 gathers this stream.
    """
    joins: list[str] = []
    seen: set[tuple[type[Event], int]] = set()
    ahead = [(cls, 0) for cls in elements]
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
                joins.append(name)
                continue
            ahead += [(made, level) for made in config.bare_return_types]
            ahead += [(made, level + 1) for made in config.list_return_types]
    return list(dict.fromkeys(joins))
