"""How a run begins, goes on, and gets from one step to the next."""

from stepwell._engine import collecting, finishing, routing, scheduling, waiting
from stepwell._engine.commands import Command, Remind
from stepwell._engine.plan import Plan
from stepwell._engine.state import ROOT, Lineage, RunState, Status, Work
from stepwell._engine.stopping import stop_all
from stepwell._engine.ticks import RetryDue, RunResumed, StepReturned
from stepwell.events import StartEvent, StopEvent

__all__ = ["resume", "retire", "settle", "start"]


def start(plan: Plan, state: RunState, event: StartEvent) -> list[Command]:
    """Begin a run with its first event."""
    state.input = event
    _set_running(state)
    return routing.deliver(plan, state, event, ROOT)


def resume(plan: Plan, state: RunState, tick: RunResumed) -> list[Command]:
    """Go on with the work that was left.

    Steps of an interrupted run may have begun: each that starts now counts one more attempt. One
    that was given back in peace goes on as it is. One that had ended goes on with all attempts, and
    all its time, before it.
    """
    ended, interrupted = state.status.ended, _was_interrupted(state, tick)
    _set_running(state)
    stop_all(state)
    if ended:
        _begin_anew(state)
    commands: list[Command] = []
    for name, queue in state.queues.items():
        commands += scheduling.fill(plan.steps[name], queue)
        if ended or interrupted:
            for work in queue.running.values():
                work.attempt = work.attempt + 1 if interrupted else 1
                state.note(f"work:{work.id}", work)
        delayed = queue.delayed.values()
        commands += [Remind(_time_to(work, tick.now), RetryDue(work)) for work in delayed]
    return commands + waiting.reopen(state, tick.now)


def _was_interrupted(state: RunState, tick: RunResumed) -> bool:
    return state.status is Status.RUNNING and tick.interrupted is not False


def _begin_anew(state: RunState) -> None:
    """Somebody starts an ended run again: what had failed gets all its attempts, at once."""
    for queue in state.queues.values():
        queue.waiting.extendleft(reversed(queue.delayed.values()))
        queue.delayed.clear()
        for work in queue.works():
            if work.failure is not None:
                work.failure = None
                state.note(f"work:{work.id}", work)
    if state.time_left is not None:
        state.time_left = None
        state.note("timer:run", None)


def _time_to(work: Work, now: float) -> float:
    due = work.failure.due if work.failure else None
    return max(0.0, due - now) if due is not None else 0.0


def settle(plan: Plan, state: RunState, tick: StepReturned) -> list[Command]:
    """A step is done: deliver what it returned, and give its place to the next work."""
    work = tick.work
    lineage, commands = work.lineage, retire(plan, state, work)
    if tick.fanned_out:
        stream = collecting.open_stream(state, work.step, lineage)
        lineage = Lineage((*lineage.scope, stream.id), lineage.recoveries)
    for event in tick.events:
        commands += routing.deliver(plan, state, event, lineage)
        if state.status.ended:
            return commands
    commands += collecting.leave(plan, state, lineage.scope)
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
        and not (state.buffers or state.streams or state.parts or state.waits)
    )


def _set_running(state: RunState) -> None:
    state.status = Status.RUNNING
    state.result = state.error = state.failed_step = None


def retire(plan: Plan, state: RunState, work: Work) -> list[Command]:
    """Forget work that is done, with all that was noted about it."""
    commands: list[Command] = []
    state.queues[work.step].release(work)
    work.is_done = True
    if work.begun is not None:
        collecting.keep_offers(state, work)
        commands += waiting.forget(plan, state, work)
    if state.changed is not None:
        state.changed.update(dict.fromkeys(name for name, _ in work.facts()))
    return commands
