"""When work runs: at once, or when one of the step's workers is free."""

from stepwell._engine.commands import Command, Invoke
from stepwell._engine.plan import StepPlan
from stepwell._engine.state import Payload, RunState, Scope, StepQueue, Work

__all__ = ["enqueue", "fill", "stop"]


def enqueue(state: RunState, step: StepPlan, payload: Payload, scope: Scope) -> list[Command]:
    """Give work to a step; it starts now if a worker is free."""
    work = Work(state.new_id(), step.name, payload, scope)
    if scope:
        state.streams[scope[-1]].open += 1
    if state.changed is not None:
        state.changed[f"work:{work.id}"] = work
    queue = state.queues[step.name]
    queue.waiting.append(work)
    return fill(step, queue)


def fill(step: StepPlan, queue: StepQueue) -> list[Command]:
    """Start waiting work as long as the step has a free worker."""
    commands: list[Command] = []
    while queue.waiting and len(queue.running) < step.num_workers:
        work = queue.waiting.popleft()
        queue.running[work.id] = work
        work.position = 0
        commands.append(Invoke(work))
    return commands


def stop(queue: StepQueue) -> None:
    """Put running work back to the head of its queue: its step was stopped in the middle."""
    for work in sorted(queue.running.values(), key=lambda work: work.id, reverse=True):
        queue.waiting.appendleft(work)
    queue.running.clear()
