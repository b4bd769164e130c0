"""The ends of a run. A completed run is over; any other keeps its work, to be continued."""

from stepwell._engine.commands import Command, Finish, Halt, Publish
from stepwell._engine.state import Failure, RunState, Status
from stepwell._engine.stopping import stop_all
from stepwell._engine.ticks import TimedOut
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
    state.clear()
    return [Halt(), Publish(event), Finish()]


def fail(
    state: RunState, step: str, error: Exception, failure: Failure | None = None
) -> list[Command]:
    """An exception ends the run; the step's work stays, for whoever continues it."""
    state.failed_step = step
    event = WorkflowFailedEvent(
        step_name=step,
        exception=error,
        attempts=failure.count if failure else None,
        elapsed_seconds=max(0.0, failure.at - failure.began) if failure else None,
    )
    return _interrupt(state, Status.FAILED, error, event)


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
    stop_all(state)
    return [Halt(), Publish(event), Finish()]
