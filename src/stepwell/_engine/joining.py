"""Joins: a step with several event parameters runs when there is an event for each of them.

An event that comes for such a step is a *part*: a piece of work that waits for the others, within
its stream. The parts that complete the join become one piece of work, which has all their events. A
part keeps no stream open: what has not found the others when its stream ends never will.
"""

from collections.abc import Sequence
from itertools import islice

from stepwell._engine import scheduling
from stepwell._engine.commands import Command, Warn
from stepwell._engine.plan import Plan, StepPlan
from stepwell._engine.state import Lineage, Parts, RunState, Scope, Work
from stepwell.events import Event

__all__ = ["arrange", "arrive", "drop_leftovers"]


def arrive(state: RunState, step: StepPlan, event: Event, lineage: Lineage) -> list[Command]:
    """Keep an event until the join is complete, and then give the step all of them."""
    key = (step.name, lineage.scope)
    parts = state.parts.setdefault(key, Parts())
    parts.add(scheduling.make(state, step, event, lineage))
    chosen = _choose(step, parts)
    if chosen is None:
        return []
    taken = sorted(_take(parts, chosen), key=lambda part: part.id)
    if not any(parts.by_class.values()):
        del state.parts[key]
    for part in taken:
        state.note(f"work:{part.id}", None)
    events = [part.payload for part in taken if isinstance(part.payload, Event)]
    common = lineage.joined(part.lineage.recoveries for part in taken)
    return scheduling.enqueue(state, step, events, common)


def drop_leftovers(plan: Plan, state: RunState, scope: Scope) -> list[Command]:
    """A stream has ended: the parts in it that never found the others are of no use."""
    commands: list[Command] = []
    for name in plan.joining:
        parts = state.parts.pop((name, scope), None)
        for part in parts.works() if parts else ():
            state.note(f"work:{part.id}", None)
            commands.append(Warn(_left_over(name, part)))
    return commands


def arrange(step: StepPlan, events: Sequence[Event]) -> list[Event]:
    """The events of a join in the order of the step's parameters."""
    parts = Parts()
    for number, event in enumerate(events):
        parts.add(Work(number, step.name, event))
    chosen = _choose(step, parts) or []
    places: dict[type[Event], int] = {}
    arranged: list[Event] = []
    for cls in chosen:
        place = places[cls] = places.get(cls, -1) + 1
        part = parts.by_class[cls][place].payload
        arranged += [part] if isinstance(part, Event) else []
    return arranged


def _take(parts: Parts, chosen: Sequence[type[Event]]) -> list[Work]:
    return [parts.by_class[cls].popleft() for cls in chosen]


def _choose(step: StepPlan, parts: Parts) -> list[type[Event]] | None:
    """For each parameter the class of the event that it gets; None while one has to wait.

    A search over classes, not events: those of one class are taken in the order of their arrival.
    It goes back where an event would also do for a later parameter that nothing else fits.
    """
    chosen: list[type[Event]] = []

    def extend() -> bool:
        if len(chosen) == len(step.joins_on):
            return True
        for cls in _candidates(step, parts, chosen):
            chosen.append(cls)
            if extend():
                return True
            chosen.pop()
        return False

    return chosen if extend() else None


def _candidates(step: StepPlan, parts: Parts, chosen: Sequence[type[Event]]) -> list[type[Event]]:
    """The classes that the next parameter can have an event of, whose first came first."""
    wanted = step.joins_on[len(chosen)]
    fitting = [
        cls
        for cls, waiting in parts.by_class.items()
        if (cls is wanted or (step.subclasses and issubclass(cls, wanted)))
        and len(waiting) > chosen.count(cls)
    ]
    return sorted(fitting, key=lambda cls: _next_of(parts, cls, chosen).id)


def _next_of(parts: Parts, cls: type[Event], chosen: Sequence[type[Event]]) -> Work:
    place = chosen.count(cls)
    return next(islice(parts.by_class[cls], place, None))


def _left_over(step: str, part: Work) -> str:
    return (
        f"{type(part.payload).__name__} was left over: step {step!r} takes it together with "
        f"others, and its stream ended without them"
    )
