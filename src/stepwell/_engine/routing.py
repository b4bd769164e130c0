"""Who receives an event: every step that takes its class, and the streams that gather it."""

from stepwell._engine import collecting, finishing, scheduling
from stepwell._engine.commands import Command, Publish, Warn
from stepwell._engine.plan import Plan
from stepwell._engine.state import RunState, Scope, Sent, Work
from stepwell._engine.ticks import EventSent
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, InputRequiredEvent, StopEvent

__all__ = ["check_target", "deliver", "forget_sends", "receive", "send"]


def deliver(plan: Plan, state: RunState, event: Event, scope: Scope) -> list[Command]:
    """Route an event that belongs to the streams of `scope`."""
    if isinstance(event, StopEvent):
        return finishing.complete(state, event)
    receivers = plan.receivers(type(event))
    commands: list[Command] = []
    for step in receivers.singles:
        commands += scheduling.enqueue(state, step, event, scope)
    for step in receivers.gatherers:
        commands += collecting.gather(state, step, event, scope)
    if isinstance(event, InputRequiredEvent):
        commands.append(Publish(event))
    return commands


def receive(plan: Plan, state: RunState, event: Event, step: str | None) -> list[Command]:
    """Route an event that belongs to no stream, to all that take it or to one step by name."""
    if step is None:
        return deliver(plan, state, event, ())
    return scheduling.enqueue(state, plan.steps[step], event, ())


def send(plan: Plan, state: RunState, tick: EventSent) -> list[Command]:
    """Route an event that a running step sent, unless it sent the same one in an earlier life."""
    work, position = tick.work, tick.work.position
    is_done = work.id not in state.queues[work.step].running  # a task that it left behind sends
    if tick.digest is None or is_done:
        return receive(plan, state, tick.event, tick.step)
    work.position += 1
    if position < len(work.sent) and work.sent[position].digest == tick.digest:
        return []
    diverged = position < len(work.sent)
    work.sent[position : position + 1] = [Sent(tick.digest)]
    state.note(f"sent:{work.id}:{position}", work.sent[position])
    commands = receive(plan, state, tick.event, tick.step)
    if diverged:
        commands.append(Warn(_diverged(work.step, position, tick.event)))
    return commands


def forget_sends(state: RunState, work: Work) -> None:
    """A step checkpointed: what it sent before is behind it, positions start anew."""
    for position in range(len(work.sent)):
        state.note(f"sent:{work.id}:{position}", None)
    work.sent, work.position = [], 0


def check_target(plan: Plan, cls: type[Event], step: str) -> None:
    """Refuse a step that does not exist or does not take such events.

    Raises:
        WorkflowRuntimeError: naming the step, the event and what there is instead.
    """
    target = plan.steps.get(step)
    if target is None:
        known = ", ".join(plan.steps)
        raise WorkflowRuntimeError(
            f"Workflow {plan.workflow!r} has no step {step!r} to send {cls.__name__} to. "
            f"Its steps are: {known}."
        )
    if target.gathers:
        raise WorkflowRuntimeError(
            f"Step {step!r} takes lists of events that its stream gathers: "
            f"{cls.__name__} can't be sent to it. Return it from a step of the stream instead."
        )
    if not target.takes(cls):
        raise WorkflowRuntimeError(
            f"Step {step!r} does not take {cls.__name__}: it takes "
            f"{', '.join(accepted.__name__ for accepted in target.accepts)}."
        )


def _diverged(step: str, position: int, event: Event) -> str:
    return (
        f"SendDiverged: step {step!r} was interrupted and, run again, sent another event at "
        f"position {position} ({type(event).__name__}) than before. Both were delivered."
    )
