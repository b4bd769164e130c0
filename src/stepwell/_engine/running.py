"""How a run begins, goes on, and gets from one step to the next."""

from stepwell._engine import collecting, finishing, routing, scheduling
from stepwell._engine.commands import Command
from stepwell._engine.plan import Plan
from stepwell._engine.state import RunState, Status, Work
from stepwell._engine.ticks import StepReturned
from stepwell.events import StartEvent, StopEvent

__all__ = ["resume", "settle", "start"]


def start(plan: Plan, state: RunState, event: StartEvent) -> list[Command]:
    """Begin a run with its first event."""
    state.input = event
    _set_running(state)
    return routing.deliver(plan, state, event, ())


def resume(plan: Plan, state: RunState) -> list[Command]:
    """Go on with the work that was left.

    Steps of an interrupted run may have begun: each that starts now counts one more attempt. A run
    that failed, or was ended, goes on with all attempts before it.
    """
    interrupted = state.status is Status.RUNNING
    _set_running(state)
    commands: list[Command] = []
    for name, queue in state.queues.items():
        collecting.put_back(state, list(queue.running.values()))
        scheduling.stop(queue)
        invoked = scheduling.fill(plan.steps[name], queue)
        for work in queue.running.values():
            work.attempt = work.attempt + 1 if interrupted else 1
            state.note(f"work:{work.id}", work)
        commands += invoked
    return commands


def settle(plan: Plan, state: RunState, tick: StepReturned) -> list[Command]:
    """A step is done: deliver what it returned, and give its place to the next work."""
    work = tick.work
    _retire(state, work)
    scope = work.scope
    commands: list[Command] = []
    if tick.fanned_out:
        stream = collecting.open_stream(state, work.step, scope)
        scope = (*scope, stream.id)
    for event in tick.events:
        commands += routing.deliver(plan, state, event, scope)
        if state.status.ended:
            return commands
    commands += collecting.leave(plan, state, scope)
    if tick.fanned_out:
        commands += collecting.leave(plan, state, work.scope)
    commands += scheduling.fill(plan.steps[work.step], state.queues[work.step])
    if not tick.events and _ended_silently(plan, state, work.step):
        commands += finishing.complete(state, StopEvent())
    return commands


def _ended_silently(plan: Plan, state: RunState, step: str) -> bool:
    """Whether a step that is to end the run fell off its end, and nothing else can end it.

    A step annotated `-> StopEvent` that returns None may be waiting for more events to collect, or
    leave the end to others; if nothing is left that could come, the run would stand still for ever.
    """
    return (
        plan.steps[step].ends_run
        and not plan.waits_for_human
        and state.idle
        and not state.buffers
        and not state.streams
    )


def _set_running(state: RunState) -> None:
    state.status = Status.RUNNING
    state.result = state.error = state.failed_step = None


def _retire(state: RunState, work: Work) -> None:
    """Forget work that is done, with all that was noted about it."""
    del state.queues[work.step].running[work.id]
    if work.taken or work.offered:
        collecting.keep_offers(state, work)
    if state.changed is None:
        return
    state.note(f"work:{work.id}", None)
    for position in range(len(work.sent)):
        state.note(f"sent:{work.id}:{position}", None)
    for name in work.cursors:
        state.note(f"each:{work.id}:{name}", None)
    for key in work.effects:
        state.note(f"once:{work.id}:{key}", None)
