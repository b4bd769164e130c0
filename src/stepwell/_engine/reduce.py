"""The state machine of a run. All of its transitions are reached from here, and only from here.

Theory of operation. A run is a `RunState`: for each step a queue of work, what is running and what
stands still, the streams that list returns opened, joins that are not complete, the buffers of
`collect_events`, waits. Whatever happens is a tick;
`reduce` applies it to the state and answers with commands, which the runner carries out. The engine
never waits, never asks for the time, and knows no storage: with a checkpointer the runner carries
out the commands of a tick when its changes are durable, which is all that durability asks of it.

    StepReturned ──► retire the work ──► deliver its events ──► close its streams ──► start what can
    StepFailed ────► try again, later ──► or hand over to the error handler ──► or end the run
    WaitBegun ─────► free the worker ──► (EventArrived, WaitExpired) ──► let the step go on
"""

from typing import assert_never

from stepwell._engine import failing, finishing, routing, running, waiting
from stepwell._engine.commands import Command
from stepwell._engine.plan import Plan
from stepwell._engine.state import RunState
from stepwell._engine.ticks import (
    CancelAsked,
    EventArrived,
    EventSent,
    RetryDue,
    RunResumed,
    RunStarted,
    StepFailed,
    StepReturned,
    StepSuspended,
    Tick,
    TimedOut,
    WaitBegun,
    WaitDropped,
    WaitExpired,
)

__all__ = ["reduce"]


def reduce(plan: Plan, state: RunState, tick: Tick) -> list[Command]:  # noqa: C901, PLR0911, PLR0912  one line a tick
    """Apply what happened; answer what to do next. Pure: all it knows is in its arguments."""
    if state.status.ended and not isinstance(tick, RunStarted | RunResumed):
        return []
    match tick:
        case StepReturned():
            return running.settle(plan, state, tick)
        case EventSent():
            return routing.send(plan, state, tick)
        case EventArrived():
            return routing.receive(plan, state, tick.event, tick.step)
        case WaitBegun():
            return waiting.begin(plan, state, tick)
        case WaitExpired():
            return waiting.expire(plan, state, tick)
        case WaitDropped():
            return waiting.drop(plan, state, tick)
        case StepSuspended():
            return waiting.suspend(plan, state, tick)
        case StepFailed():
            return failing.fail(plan, state, tick)
        case RetryDue():
            return failing.retry(plan, state, tick)
        case TimedOut():
            return finishing.time_out(state, tick)
        case CancelAsked():
            return finishing.cancel(state)
        case RunStarted():
            return running.start(plan, state, tick.event)
        case RunResumed():
            return running.resume(plan, state, tick)
        case _:
            assert_never(tick)
