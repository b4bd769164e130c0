"""What follows when a step raises: another attempt, the error handler, or the end of the run."""

from dataclasses import replace
from datetime import UTC, datetime

from stepwell._engine import collecting, finishing, routing, scheduling, waiting
from stepwell._engine.commands import Command, Remind
from stepwell._engine.plan import Plan
from stepwell._engine.running import retire
from stepwell._engine.state import Failure, Lineage, RunState, Work
from stepwell._engine.ticks import RetryDue, StepFailed
from stepwell.events import CollectionReleaseEvent, Event, StepFailedEvent
from stepwell.retry_policy import next_delay

__all__ = ["fail", "retry"]


def fail(plan: Plan, state: RunState, tick: StepFailed) -> list[Command]:
    """A step raised. What it wrote and sent stands; what it took from buffers is given back."""
    work = tick.work
    work.failure = failure = _count(tick)
    state.note(f"work:{work.id}", work)
    collecting.put_back(state, [work])
    try:
        delay = _delay(plan, tick, failure)
    except Exception as error:  # noqa: BLE001  a retry policy is a user's code, and may raise anything
        error.__cause__ = tick.error
        return finishing.fail(state, work.step, error, failure)
    if delay is not None:
        return _try_again(plan, state, work, delay)
    if handler := _handler_for(plan, work):
        return _hand_over(plan, state, work, handler)
    return finishing.fail(state, work.step, tick.error, failure)


def retry(plan: Plan, state: RunState, tick: RetryDue) -> list[Command]:
    """The time has come to try again, unless something else was decided meanwhile."""
    work = tick.work
    queue = state.queues[work.step]
    if queue.delayed.pop(work.id, None) is None:
        return []
    if work.failure is not None:
        work.failure = replace(work.failure, due=None)
    state.note(f"work:{work.id}", work)
    return scheduling.put_first(plan.steps[work.step], queue, work)


def _count(tick: StepFailed) -> Failure:
    """The failures of a piece of work with the latest; an attempt that was cut off is none."""
    before, began = tick.work.failure, tick.now - tick.took
    if before is None:
        return Failure(1, tick.error, began, tick.now)
    return Failure(before.count + 1, tick.error, before.began, tick.now)


def _delay(plan: Plan, tick: StepFailed, failure: Failure) -> float | None:
    policy = plan.steps[tick.work.step].retry_policy
    if policy is None:
        return None
    elapsed = max(0.0, failure.at - failure.began)
    return next_delay(policy, elapsed, failure.count, failure.error, tick.seed)


def _try_again(plan: Plan, state: RunState, work: Work, delay: float) -> list[Command]:
    step, queue = plan.steps[work.step], state.queues[work.step]
    queue.release(work)
    waiting.leave(work)
    routing.forget_sends(state, work)
    work.attempt += 1
    if not delay or work.failure is None:
        return scheduling.put_first(step, queue, work)
    work.failure = replace(work.failure, due=work.failure.at + delay)
    queue.delayed[work.id] = work
    return [Remind(delay, RetryDue(work)), *scheduling.fill(step, queue)]


def _handler_for(plan: Plan, work: Work) -> str | None:
    """The error handler of a step, if its budget for this line of events allows one more call."""
    handler = plan.handlers.get(work.step)
    if handler is None:
        return None
    called = work.lineage.recoveries.get(handler, 0)
    return handler if called < plan.steps[handler].max_recoveries else None


def _hand_over(plan: Plan, state: RunState, work: Work, handler: str) -> list[Command]:
    event = _failed_event(work)
    called = work.lineage.recoveries.get(handler, 0)
    lineage = Lineage(work.scope, {**work.lineage.recoveries, handler: called + 1})
    commands = retire(plan, state, work)
    commands += scheduling.enqueue(state, plan.steps[handler], event, lineage)
    commands += collecting.leave(plan, state, work.scope)
    return commands + scheduling.fill(plan.steps[work.step], state.queues[work.step])


def _failed_event(work: Work) -> StepFailedEvent:
    failure = work.failure
    assert failure is not None  # noqa: S101  it was just counted
    return StepFailedEvent(
        step_name=work.step,
        input_event=_input_of(work),
        exception=failure.error,
        attempts=failure.count,
        elapsed_seconds=max(0.0, failure.at - failure.began),
        failed_at=datetime.fromtimestamp(failure.at, UTC),
    )


def _input_of(work: Work) -> Event:
    """One event for what the step was given: of a join the one that completed it."""
    if not isinstance(work.payload, list):
        return work.payload
    if work.stream is None:
        return work.payload[-1]
    return CollectionReleaseEvent(events=work.payload, stream_id=str(work.stream))
