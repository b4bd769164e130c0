"""What the steps of a run do, told as internal events: to readers of the stream, and as text.

Nothing is told, and nothing made, as long as nobody listens.
"""

import heapq
import logging

from stepwell._engine.state import Work
from stepwell._engine.ticks import StepFailed, StepReturned, WaitBegun, WaitDropped
from stepwell._runtime.call import StepCall
from stepwell._runtime.stream import EventStream
from stepwell.events import (
    CollectionReleaseEvent,
    Event,
    InternalDispatchEvent,
    StepState,
    StepStateChanged,
    WorkflowIdleEvent,
)

__all__ = ["Narrator"]

log = logging.getLogger("stepwell.verbose")

ENQUEUED = "<enqueued>"
"""The worker of what waits for one."""


class Narrator:
    """Tells what happens to the steps of one run.

    Args:
        stream: where readers of internal events hear of it.
        verbose: also say it to people: in the log if that has a place for it, else on the terminal.
    """

    def __init__(self, stream: EventStream, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self._workers: dict[str, _Workers] = {}

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return self._verbose or self._stream.is_watched

    def enqueued(self, work: Work) -> None:
        """Work waits for a free worker."""
        self._tell(work.step, StepState.PREPARING, ENQUEUED, _input(work).__name__)

    def started(self, call: StepCall) -> None:
        """A step begins, or goes on after a wait."""
        if call.worker is not None:  # it has several waits, and this was not the first to end
            return
        call.worker = self._workers.setdefault(call.step.name, _Workers()).take()
        given = _input(call.work).__name__
        self._say(call, f"started from {given}")
        self._tell(call.step.name, StepState.RUNNING, _worker(call), given)

    def waited(self, call: StepCall, tick: WaitBegun | WaitDropped) -> None:
        """A step begins to wait, or stopped doing so by itself."""
        if isinstance(tick, WaitDropped):
            self.started(call)
        elif call.worker is not None:
            self.stopped(call, tick)

    def stopped(self, call: StepCall, tick: StepReturned | StepFailed | WaitBegun) -> None:
        """A step ended, failed, or begins to wait."""
        self._say(call, _ending(tick))
        self._tell(
            call.step.name,
            StepState.NOT_RUNNING,
            _worker(call),
            str(_input(call.work)),
            str(_output(tick)) if isinstance(tick, StepReturned) else None,
        )
        if call.worker is not None:
            self._workers[call.step.name].give_back(call.worker)
            call.worker = None

    def idle(self) -> None:
        """Something happened, and nothing runs, nor is about to: only the outside moves the run."""
        self._publish(WorkflowIdleEvent())

    def _tell(
        self, step: str, state: StepState, worker: str, given: str, made: str | None = None
    ) -> None:
        self._publish(
            StepStateChanged(
                name=step,
                step_state=state,
                worker_id=worker,
                input_event_name=given,
                output_event_name=made,
            )
        )

    def _publish(self, event: InternalDispatchEvent) -> None:
        if self._stream.is_watched:
            self._stream.publish(event)

    def _say(self, call: StepCall, what: str) -> None:
        if not self._verbose:
            return
        line = f"[{call.step.name}:{_worker(call)}] {what}"
        if log.isEnabledFor(logging.INFO):
            log.info(line)
        else:
            print(line)  # noqa: T201  verbose=True asks for it


class _Workers:
    """The numbers of a step's workers; the lowest free one is taken."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._made = 0

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._made += 1
        return self._made - 1

    def give_back(self, worker: int) -> None:
        heapq.heappush(self._free, worker)


def _worker(call: StepCall) -> str:
    """The number of a call's worker; that of the first, if nobody watched when it began."""
    return str(call.worker or 0)


def _input(work: Work) -> type[Event]:
    """The class of what a step was given: of a join, that of the event which completed it."""
    if work.stream is not None:
        return CollectionReleaseEvent
    return type(work.payload[-1] if isinstance(work.payload, list) else work.payload)


def _output(tick: StepReturned) -> type[Event] | type[None]:
    """The class of what a step returned, of a list that of its last event."""
    return type(tick.events[-1]) if tick.events else type(None)


def _ending(tick: StepReturned | StepFailed | WaitBegun) -> str:
    match tick:
        case StepReturned():
            return f"complete with {_output(tick).__name__ if tick.events else None}"
        case StepFailed():
            return f"failed with {type(tick.error).__name__}"
        case WaitBegun():
            awaited = tick.waiter.event_type
            return f"waits for {awaited.__name__}" if awaited else "sleeps"
