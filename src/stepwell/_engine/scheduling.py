"""When work runs: at once, or when one of the step's workers is free."""

from stepwell._engine.commands import Command, Invoke, Queued, Wake
from stepwell._engine.plan import StepPlan
from stepwell._engine.state import Gathered, Lineage, Payload, RunState, StepQueue, Work

__all__ = ["enqueue", "fill", "make", "put_first", "put_woken", "stop", "wake"]


Gathering = tuple[int, dict[int, Gathered]] | tuple[None, None]
"""A stream, and what it gathered for a step."""


def make(
    state: RunState,
    step: StepPlan,
    payload: Payload,
    lineage: Lineage,
    gathering: Gathering = (None, None),
) -> Work:
    """Make a piece of work for a step."""
    stream, batch = gathering
    work = Work(state.new_id(), step.name, payload, lineage, stream, batch=batch)
    if state.changed is not None:
        state.changed[f"work:{work.id}"] = work
    return work


def enqueue(
    state: RunState,
    step: StepPlan,
    payload: Payload,
    lineage: Lineage,
    gathering: Gathering = (None, None),
) -> list[Command]:
    """Give work to a step, now if a worker is free. Its stream is open until it is done."""
    queue = state.queues[step.name]
    work = make(state, step, payload, lineage, gathering)
    if lineage.scope:
        state.streams[lineage.scope[-1]].open += 1
    queue.waiting.append(work)
    return fill(step, queue) or [Queued(work)]


def put_first(step: StepPlan, queue: StepQueue, work: Work) -> list[Command]:
    """Give work back to its step, before all that waits for a worker."""
    queue.waiting.appendleft(work)
    return fill(step, queue)


def put_woken(step: StepPlan, queue: StepQueue, work: Work) -> list[Command]:
    """Let a step go on after a wait, as soon as there is a worker for it."""
    if not work.is_held:
        return put_first(step, queue, work)
    queue.woken.append(work)
    return fill(step, queue)


def fill(step: StepPlan, queue: StepQueue) -> list[Command]:
    """Give waiting work the free workers of its step."""
    commands: list[Command] = []
    while (queue.woken or queue.waiting) and len(queue.running) < step.num_workers:
        work = queue.woken.pop(0) if queue.woken else queue.waiting.popleft()
        queue.running[work.id] = work
        commands.append(wake(work) if work.is_held else _invoke(work))
        work.is_held = False
    return commands


def wake(work: Work) -> Wake:
    """Let a step go on in the waits that have ended."""
    over, work.progress.over = work.progress.over, []
    return Wake(work, tuple(over))


def _invoke(work: Work) -> Invoke:
    if work.begun is not None:
        work.begun.position = work.begun.offers = 0
    return Invoke(work)


def stop(queue: StepQueue) -> None:
    """Put begun work back to the head of its queue: its step was stopped in the middle."""
    begun = [*queue.running.values(), *queue.woken, *queue.suspended.values()]
    for work in sorted(begun, key=lambda work: work.id, reverse=True):
        work.is_held = False
        queue.waiting.appendleft(work)
    queue.woken.clear()
    queue.running.clear()
    queue.suspended.clear()
