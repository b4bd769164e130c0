"""The ends of a run. A completed run is over; any other keeps its work, to be continued."""

from stepwell._engine import collecting, scheduling
from stepwell._engine.commands import Command, Finish, Halt, Publish
from stepwell._engine.state import RunState, Status
from stepwell._engine.ticks import StepFailed, TimedOut
from stepwell.errors import WorkflowCancelledByUser, WorkflowTimeoutError
from stepwell.events import (
    StopEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)

__all__ = ["cancel", "complete", "fail", "time_out"]


def complete(state: RunState, event: StopEvent) -> list[Command]:
    """The first StopEvent ends the run, whatever else is going on."""
    state.status = Status.COMPLETED
    state.result = event
    for queue in state.queues.values():
        queue.waiting.clear()
        queue.running.clear()
    state.streams.clear()
    state.buffers.clear()
    return [Halt(), Publish(event), Finish()]


def fail(state: RunState, tick: StepFailed) -> list[Command]:
    """A step's exception ends the run; the step's work stays, for whoever continues it."""
    work = tick.work
    state.failed_step = work.step
    error = tick.error if isinstance(tick.error, Exception) else RuntimeError(repr(tick.error))
    event = WorkflowFailedEvent(step_name=work.step, exception=error, attempts=work.attempt)
    return _interrupt(state, Status.FAILED, tick.error, event)


def time_out(state: RunState, tick: TimedOut) -> list[Command]:
    """The time of the run is used up."""
    active = state.active_steps()
    shown = f"Currently active steps: {', '.join(active)}" if active else "No steps active"
    error = WorkflowTimeoutError(f"Operation timed out after {tick.timeout} seconds. {shown}")
    event = WorkflowTimedOutEvent(timeout=tick.timeout, active_steps=active)
    return _interrupt(state, Status.TIMED_OUT, error, event)


def cancel(state: RunState) -> list[Command]:
    """Somebody asked the run to end."""
    error = WorkflowCancelledByUser()
    return _interrupt(state, Status.CANCELLED, error, WorkflowCancelledEvent())


def _interrupt(
    state: RunState, status: Status, error: BaseException, event: StopEvent
) -> list[Command]:
    state.status = status
    state.error = error
    state.result = event
    for queue in state.queues.values():
        collecting.put_back(state, list(queue.running.values()))
        scheduling.stop(queue)
    return [Halt(), Publish(event), Finish()]
