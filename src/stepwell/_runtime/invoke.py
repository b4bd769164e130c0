"""One invocation of a step: whatever the user's code does, it becomes exactly one tick."""

import asyncio
from collections.abc import Awaitable, Iterator
from functools import partial
from inspect import isawaitable
from typing import Any, cast
from weakref import ref

from anyio import to_thread

from stepwell._engine.state import Work
from stepwell._engine.ticks import StepFailed, StepReturned
from stepwell._names import kind_of
from stepwell._runtime.call import StepCall
from stepwell._runtime.planning import BoundStep
from stepwell.context._port import current_port
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event
from stepwell.runtime.types.results import WaitingForEvent

__all__ = ["invoke"]


async def invoke(call: StepCall) -> None:
    """Run a step to its end and settle it.

    A step that was halted, because its run is over, settles nothing, nor does one that left to be
    run again when an event has come. A step whose task was cancelled from outside the run, as at
    the end of `asyncio.run`, was interrupted: that is no failure, and whoever continues the run
    runs it again. What is no `Exception`, such as SystemExit, stops the run here, too.
    """
    current_port.set(ref(call))
    call.begin()
    try:
        tick = await _attempt(call)
        if call.must_capture:
            tick = await _captured(call, tick)
    except asyncio.CancelledError as error:
        if call.halted:
            return
        if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
            call.interrupt()
            raise
        cancelled = WorkflowRuntimeError(
            f"Step {call.step.name!r} raised CancelledError, and nobody had cancelled it: "
            f"something that it awaited was cancelled"
        )
        cancelled.__cause__ = error
        tick = call.failed(cancelled)
    except WaitingForEvent:
        call.leave()
        return
    except GeneratorExit:  # nobody will run this task any more
        raise
    except BaseException as error:
        call.abandon(error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return
    call.settle(tick)


async def _attempt(call: StepCall) -> StepReturned | StepFailed:
    try:
        return _returned(call, await _perform(call))
    except Exception as error:  # noqa: BLE001  a step may raise anything: it becomes the tick
        return call.failed(error)


async def _captured(call: StepCall, tick: StepReturned | StepFailed) -> StepReturned | StepFailed:
    """Read what the commit needs; nothing is awaited between this and the commit."""
    try:
        await call.capture()
    except Exception as error:  # noqa: BLE001  a user's codec may raise anything, as a step may
        return call.failed(error) if isinstance(tick, StepReturned) else tick
    return tick


async def _perform(call: StepCall) -> Any:
    step = call.step
    arguments = call.event_arguments()
    if step.context_parameter:
        arguments[step.context_parameter] = call.context
    if not step.resources:
        return await _run(step, arguments)
    async with call.resources.call(step.resources) as injected:
        return await _run(step, arguments | injected)


def _run(step: BoundStep, arguments: dict[str, Any]) -> Awaitable[Any]:
    if step.is_async:
        return step.function(**arguments)
    body = partial(step.function, **arguments)
    return to_thread.run_sync(body, abandon_on_cancel=True)


def _returned(call: StepCall, result: Any) -> StepReturned:
    """Normalise what a step returned.

    Raises:
        WorkflowRuntimeError: it is nothing that a step may return.
    """
    step, work = call.step, call.work
    if result is None:
        return StepReturned(work, [])
    if isinstance(result, list):
        return _returned_list(step, work, cast("list[Any]", result))
    if not isinstance(result, Event):
        raise WorkflowRuntimeError(
            f"Step {step.name!r} returned {kind_of(result)} ({result!r:.80}): a step returns "
            f"an event, or None. {_remedy(result)}"
        )
    if step.config.is_fan_out and not isinstance(result, step.config.bare_return_types):
        raise WorkflowRuntimeError(
            f"Step {step.name!r} returned a bare {type(result).__name__}, but its annotation has "
            f"it only in a list: return a list, or add the class to the annotation."
        )
    return StepReturned(work, [result])


def _remedy(result: object) -> str:
    if isinstance(result, type):
        return f"Return an instance: {result.__name__}(...)."
    if isawaitable(result):
        return "Await it first."
    if isinstance(result, tuple | set | frozenset | Iterator):
        return "To return several events annotate the step with list[...], and return a list."
    return "Return StopEvent(result=...) to end the run with a value."


def _returned_list(step: BoundStep, work: Work, result: list[Any]) -> StepReturned:
    if not step.config.is_fan_out:
        raise WorkflowRuntimeError(
            f"Step {step.name!r} returned list, but its annotation has no list: "
            f"annotate the return as list[...] to fan out."
        )
    for element in result:
        if not isinstance(element, Event):
            raise WorkflowRuntimeError(
                f"Step {step.name!r} returned a list with {kind_of(element)} "
                f"({element!r:.80}) in it: every element must be an event. Leave out what is none."
            )
    return StepReturned(work, result, fanned_out=True)
