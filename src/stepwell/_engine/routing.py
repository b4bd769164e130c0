"""Who receives an event: every step that takes its class, and the streams that gather it."""

from collections.abc import Container

from stepwell._engine import collecting, finishing, joining, scheduling, waiting
from stepwell._engine.commands import Command, Publish, Warn
from stepwell._engine.plan import Plan, Receivers
from stepwell._engine.state import ROOT, Lineage, RunState, Sent, Work
from stepwell._engine.ticks import EventSent
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StopEvent, UnhandledEvent

__all__ = ["check_target", "deliver", "forget_sends", "has_room", "is_taken", "receive", "send"]


def deliver(plan: Plan, state: RunState, event: Event, lineage: Lineage) -> list[Command]:
    """Give an event to all steps that wait for it or take it."""
    if isinstance(event, StopEvent):
        return finishing.complete(state, event)
    receivers = plan.receivers(type(event))
    woken, commands = waiting.answer(plan, state, event)
    commands += _hand_out(plan, state, receivers, event, lineage, woken)
    if receivers.asks:
        waiting.ask(state, event)
        commands.append(Publish(event))
    elif not (woken or receivers.anyone):
        commands += _keep(state, event)
    return commands


def has_room(plan: Plan, state: RunState, event: Event, step: str | None = None) -> bool:
    """Whether there is any use for an event now, or a place to keep it."""
    if not waiting.is_full(state):
        return True
    if step is None:
        return is_taken(plan, state, event)
    target = plan.steps.get(step)
    takes = target is None or target.takes(type(event))  # one for no step is not kept, but refused
    return takes or waiting.fits_a_wait(plan, state, event, step)


def is_taken(plan: Plan, state: RunState, event: Event) -> bool:
    """Whether there is any use for an event now; what has none is kept."""
    receivers = plan.receivers(type(event))
    known = receivers.anyone or receivers.asks or isinstance(event, StopEvent)
    return known or waiting.fits_a_wait(plan, state, event)


def _hand_out(
    plan: Plan,
    state: RunState,
    receivers: Receivers,
    event: Event,
    lineage: Lineage,
    woken: Container[str],
) -> list[Command]:
    """Give an event to all steps that take it, but for those that had waited for it."""
    commands: list[Command] = []
    for step in receivers.singles:
        if step.name not in woken:
            commands += scheduling.enqueue(state, step, event, lineage)
    for step in receivers.joiners:
        if step.name not in woken:
            commands += joining.arrive(state, step, event, lineage)
    for step in receivers.gatherers:
        commands += collecting.gather(plan, state, step, event, lineage)
    return commands


def _keep(state: RunState, event: Event) -> list[Command]:
    cls = type(event)
    unhandled = UnhandledEvent(
        event_type=cls.__name__, qualified_name=f"{cls.__module__}.{cls.__name__}", idle=state.idle
    )
    return [*waiting.keep(state, event), Publish(unhandled)]


def receive(plan: Plan, state: RunState, event: Event, step: str | None) -> list[Command]:
    """Route an event that belongs to no stream, to all that take it or to one step by name."""
    if step is None:
        return deliver(plan, state, event, ROOT)
    return _deliver_to(plan, state, event, step)


def _deliver_to(plan: Plan, state: RunState, event: Event, step: str) -> list[Command]:
    woken, commands = waiting.answer(plan, state, event, only=step)
    target = plan.steps[step]
    if woken:
        return commands
    if not target.takes(type(event)):
        return commands + waiting.keep(state, event)
    if target.joins_on:
        return joining.arrive(state, target, event, ROOT)
    return scheduling.enqueue(state, target, event, ROOT)


def send(plan: Plan, state: RunState, tick: EventSent) -> list[Command]:
    """Route an event that a running step sent, unless it sent the same one in an earlier life."""
    work = tick.work
    left_behind = not state.queues[work.step].holds(work)
    if tick.digest is None or left_behind:
        return _route_sent(plan, state, tick)
    progress = work.progress
    position, sent = progress.position, progress.sent
    progress.position += 1
    if position < len(sent) and sent[position].digest == tick.digest:
        return []
    diverged = position < len(sent)
    sent[position : position + 1] = [Sent(tick.digest)]
    state.note(f"sent:{work.id}:{position}", sent[position])
    commands = _route_sent(plan, state, tick)
    if diverged:
        commands.append(Warn(_diverged(work.step, position, tick.event)))
    return commands


def _route_sent(plan: Plan, state: RunState, tick: EventSent) -> list[Command]:
    """What is sent belongs to no stream, but to the line of events that its sender is in."""
    if tick.step is not None:
        return _deliver_to(plan, state, tick.event, tick.step)
    return deliver(plan, state, tick.event, Lineage((), tick.work.lineage.recoveries))


def forget_sends(state: RunState, work: Work) -> None:
    """A step checkpointed: what it sent before is behind it, positions start anew."""
    progress = work.progress
    for position in range(len(progress.sent)):
        state.note(f"sent:{work.id}:{position}", None)
    progress.sent, progress.position = [], 0


def check_target(plan: Plan, state: RunState, event: Event, step: str) -> None:
    """Refuse a step that does not exist, or neither takes such events nor waits for this one.

    Raises:
        WorkflowRuntimeError: naming the step, the event and what there is instead.
    """
    target, cls = plan.steps.get(step), type(event)
    waits = bool(state.waits) and waiting.fits_a_wait(plan, state, event, step)
    if target is None:
        known = ", ".join(plan.steps)
        raise WorkflowRuntimeError(
            f"Workflow {plan.workflow!r} has no step {step!r} to send {cls.__name__} to. "
            f"Its steps are: {known}."
        )
    if waits:
        return
    if target.gathers:
        raise WorkflowRuntimeError(
            f"Step {step!r} takes lists of events that its stream gathers: "
            f"{cls.__name__} can't be sent to it. Return it from a step of the stream instead."
        )
    if not target.takes(cls):
        raise WorkflowRuntimeError(
            f"Step {step!r} does not take {cls.__name__}: it takes "
            f"{', '.join(taken.__name__ for taken in target.accepts or target.joins_on)}."
        )


def _diverged(step: str, position: int, event: Event) -> str:
    return (
        f"SendDiverged: step {step!r} was interrupted and, run again, sent another event at "
        f"position {position} ({type(event).__name__}) than before. Both were delivered."
    )
