"""The runner: one run, from its first tick to its end.

Whatever happens comes in as a tick; the engine applies it and answers with commands; the runner
carries them out. There is no loop that waits for work: the task of a step that ends feeds its own
tick and starts what follows. With a checkpointer there is one detour: commands wait in `Commits`
until what led to them is durable.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import assert_never

from stepwell._engine import resting, routing, waiting
from stepwell._engine.commands import (
    Command,
    Finish,
    Forget,
    Halt,
    Invoke,
    Publish,
    Queued,
    Remind,
    Wake,
    Warn,
)
from stepwell._engine.reduce import reduce
from stepwell._engine.state import Work
from stepwell._engine.ticks import (
    CancelAsked,
    EventArrived,
    EventSent,
    RunResumed,
    RunStarted,
    StepFailed,
    StepReturned,
    StepSuspended,
    Tick,
    TimedOut,
    WaitBegun,
    WaitDropped,
)
from stepwell._engine.writes import Writes
from stepwell._runtime.call import StepCall
from stepwell._runtime.commits import BEGUN, RESUMED, Boundary, Commits
from stepwell._runtime.early import Early
from stepwell._runtime.invoke import invoke
from stepwell._runtime.narrator import Narrator
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.planning import Program
from stepwell._runtime.reminders import Reminders
from stepwell._runtime.staging import Staging
from stepwell._runtime.stream import EventStream
from stepwell._runtime.time_limit import TimeLimit
from stepwell._runtime.timers import clock_of_loop
from stepwell._serialization import Captured
from stepwell.context.context import Internals
from stepwell.errors import StepwellError, WorkflowRuntimeError
from stepwell.events import Event, InputRequiredEvent
from stepwell.resource import RunResources

__all__ = ["Message", "Runner"]

Message = tuple[int, EventArrived | CancelAsked | None]
"""What came through the inbox of a run, as the n-th that was sent to it.

None is a wish to end it that has ended it before: it is only consumed.
"""

HALT_GRACE = 5.0
"""How long, in seconds, the end of a run waits for cancelled steps to clean up."""

DROP_GRACE = 0.05
"""How long, in seconds, after a cancelled wait the end of the process may still cancel the run."""

NOTHING = Writes()

log = logging.getLogger("stepwell")


class Runner:
    """Runs one run.

    Args:
        program: the workflow.
        internals: the context of the run; what is in it is what the runner works on.
        run_id: the name of the run.
        resources: what fills the resource parameters of the steps.
        timeout: how long the run may work, in seconds; None for ever.
        verbose: tell people what the steps do.
        stream: where the run publishes, which is closed by whoever owns it; by default one of its
            own.
        clock: tells the time by which the run's waits, sleeps and retries are due, in seconds of
            Unix time; by default that of this machine.

    Attributes:
        stream: what is published.
        clock: as above; may be set until the run begins.
        checkpointer: what the run commits to.
        ended: done when the run is over, or can't go on here; never an exception.
        failure: why it can't go on here, if so.
    """

    def __init__(
        self,
        program: Program,
        internals: Internals,
        run_id: str,
        resources: RunResources,
        timeout: float | None = None,
        verbose: bool = False,
        stream: EventStream | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = clock or clock_of_loop(self._loop)
        self._program = program
        self._base = contextvars.copy_context()
        self._calls: dict[int, StepCall] = {}
        self._halted: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None
        self._commits: Commits | None = None
        self._early: Early | None = Early()
        self._finished = False
        self._outcome: Outcome | None = None
        self._timeout = timeout
        self._limit: TimeLimit | None = None
        self._first = RESUMED
        self._rest_watch: _RestWatch | None = None
        self._drained: asyncio.Task[None] | None = None
        self._staging = Staging(internals)
        self.internals = internals
        self.run_id = run_id
        self.resources = resources
        self.checkpointer: object = None
        self.stream = stream or EventStream()
        self._owns_stream = stream is None
        self._narrator = Narrator(self.stream, verbose)
        self._waits_its_turn = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.failure: BaseException | None = None

    # --- beginning ---

    def begin(self, tick: RunStarted | RunResumed) -> list[Command]:
        """Apply the first tick; nothing happens before `go`."""
        self._first = BEGUN if isinstance(tick, RunStarted) else RESUMED
        return reduce(self._program.plan, self.internals.run, tick)

    def wait_turn(self) -> None:
        """Others go first: `go` is called later, or not at all if the run is cancelled before."""
        self._waits_its_turn = True

    def go(
        self,
        commands: list[Command],
        commits: Commits | None = None,
        messages: Sequence[Message] = (),
    ) -> list[Message]:
        """Carry out the first commands, and take ticks from now on.

        Args:
            commands: what `begin` answered.
            commits: where the run becomes durable.
            messages: what came through its inbox meanwhile. It goes into the first commit, and no
                step starts before it: none at all, if it ends the run.

        Returns:
            The messages for which there is no room: they must stay in the inbox for now.
        """
        self._commits = commits
        self._waits_its_turn = False
        early, self._early = self._early, None
        if self._timeout is not None:
            self._limit = self._limited(self._timeout)
        self._begin_to_commit(commands, commits)
        refused = self._receive_all(messages)
        if early is not None:
            early.hand_over(self.run_id, self._feed_early)
        self._watch()
        return refused

    def _limited(self, seconds: float) -> TimeLimit:
        """Let the time of the run count."""
        expire = TimedOut(seconds)
        return TimeLimit(
            seconds,
            self.internals.run.time_left,
            self.clock,
            lambda: self._stands_still,
            lambda: self.feed(expire),
        )

    def _begin_to_commit(self, commands: list[Command], commits: Commits | None) -> None:
        """Carry out the first commands, when what led to them is durable."""
        if commits is not None:
            commits.on_settled = self._look_at_rest
        if commits is not None and (commits.has_unlogged or self.internals.run.changed):
            self._note_time()
            commits.add(commands, self._first)
        else:
            for command in commands:
                self.perform(command)

    def _receive_all(self, messages: Sequence[Message]) -> list[Message]:
        """Take messages; return those that can't be, and the events behind them, in their order.

        A wish to end the run is never behind anything: what was sent before it is of no use then.
        """
        refused = list[Message]()
        for number, tick in messages:
            is_behind = bool(refused) and not isinstance(tick, CancelAsked)
            if is_behind or not self.receive(number, tick):
                refused.append((number, tick))
        return refused

    def _feed_early(self, tick: Tick) -> None:
        """Take what came before the run was found: only now is known which step waits for it."""
        if isinstance(tick, EventArrived) and tick.step is not None and not self.is_over:
            plan, run = self._program.plan, self.internals.run
            routing.check_target(plan, run, tick.event, tick.step)
        self.feed(tick)

    def drop_early(self, why: BaseException) -> bool:
        """Refuse what was asked of the run before it was found; whether it was asked to end."""
        early = self._early
        if early is None:
            return False
        self._early = Early()  # what comes until the handler has the outcome is refused, too
        return early.refuse(why)

    @property
    def is_early(self) -> bool:
        """Whether it is still looked for in the store, so that nothing is known of it."""
        return self._early is not None and not self._waits_its_turn

    async def delivered(self, tick: Tick | None = None) -> None:
        """Wait until what was fed, and what was written from outside of the steps, is durable.

        Args:
            tick: what was fed; None if nothing was.

        Raises:
            WorkflowRuntimeError: the run was found to be over, or elsewhere, or refuses the tick.
            StoreError: the store can't be reached, or refuses.
        """
        if self._early is not None and self.is_early and not self.is_over:
            await self._early.found(tick)
        await self.flush()

    # --- ticks ---

    def feed(self, tick: Tick) -> None:
        """Take what happened outside of the steps.

        Raises:
            EncodingError: an event has no durable form.
        """
        if self.is_over:
            return
        if self._early is not None:
            self._early.keep(tick)
            return
        if self._commits is not None:
            self._staging.stage_outside(self._commits)
            self._commits.stage(NOTHING, [tick.event] if isinstance(tick, EventArrived) else [])
        self._apply(tick, Boundary("", 0, 0.0, type(tick).__name__))

    def receive(self, number: int, tick: EventArrived | CancelAsked | None) -> bool:
        """Take what came through the inbox; the commit with its effect consumes it.

        Returns:
            Whether it was taken. If not it must stay in the inbox: as long as the run keeps as
            many events as it may that no step has taken, before it goes, and from when it is given
            back or over.
        """
        commits = self._commits
        if commits is None or self._drained is not None or self.is_over or not self._has_room(tick):
            return False
        self._staging.stage_outside(commits)
        commands = self._message(commits, tick) if tick is not None else []
        what = type(tick).__name__ if tick is not None else "PassedOver"
        self._note_time()
        commits.add(commands, Boundary("", 0, 0.0, what), taken=number)
        self._watch()
        return True

    def _has_room(self, tick: EventArrived | CancelAsked | None) -> bool:
        if not isinstance(tick, EventArrived):
            return True
        return routing.has_room(self.internals.plan, self.internals.run, tick.event, tick.step)

    def _message(self, commits: Commits, tick: EventArrived | CancelAsked) -> list[Command]:
        """What follows from a message. Its sender is gone: what is wrong with it is only logged.

        One for a step that may still come to wait for it is kept.
        """
        plan, run = self.internals.plan, self.internals.run
        try:
            if isinstance(tick, EventArrived):
                target = plan.steps.get(tick.step or "")
                if tick.step is not None and (target is None or target.gathers):
                    routing.check_target(plan, run, tick.event, tick.step)
                commits.stage(NOTHING, [tick.event])
        except StepwellError as error:
            log.warning("run %s: an event that was sent to it is lost: %s", self.run_id, error)
            return []
        return reduce(plan, run, tick)

    def began(self, call: StepCall) -> None:
        """The task of a step runs."""
        if self._narrator.is_heard:
            self._narrator.started(call)

    def settle(self, call: StepCall, tick: StepReturned | StepFailed) -> None:
        """A step is done. Nobody awaits its task, so whatever goes wrong here ends the run."""
        is_current = self._drop(call) and not self.is_over
        if is_current and self._narrator.is_heard:
            self._narrator.stopped(call, tick)
        try:
            if is_current and self._commits is not None:
                tick = self._staging.stage_step(self._commits, call, tick)
            self._forget_writes(call)
            if is_current:
                self._apply(tick, self._boundary(call, type(tick).__name__))
        except Exception as error:  # noqa: BLE001  the handler raises it
            self.abandon(error)

    def _drop(self, call: StepCall) -> bool:
        """Nothing of a step goes on here; whether it was the one that does its work."""
        call.close()
        if self._calls.get(call.work.id) is not call:
            return False
        del self._calls[call.work.id]
        return True

    def _forget_writes(self, call: StepCall) -> None:
        """What a task that the step left behind still writes comes from outside of the steps."""
        self.internals.store.cell.views.pop(id(call.writes), None)
        if self._commits is not None and not self.is_over:
            call.write_into(self.outside)

    def send_from(self, call: StepCall, event: Event, step: str | None) -> None:
        """A running step sent an event: a commit of its own, with none of the step's state."""
        if self.is_over:
            return
        digest = None
        if self._commits is not None:
            self._commits.stage(NOTHING, [event])
            text = self._commits.text_of(event)
            digest = sha256(text.encode()).hexdigest()[:16]
        self._apply(EventSent(call.work, event, step, digest), self._boundary(call, "EventSent"))

    def publish(self, event: Event) -> None:
        """A running step wrote to the stream; what it asks a human is remembered.

        Raises:
            EncodingError: a question has no durable form.
        """
        if self.is_over:
            return
        if isinstance(event, InputRequiredEvent):
            if self._commits is not None:
                self.internals.plan.codec.encode(event, type(event).__name__)
            waiting.ask(self.internals.run, event)
        self.stream.publish(event)

    def wait_from(self, call: StepCall, tick: WaitBegun | WaitDropped | StepSuspended) -> None:
        """A running step waits, or does so no more: a commit of its own.

        Raises:
            EncodingError: the class of the event, or the one that asks, has no durable form.
        """
        if self.is_over:
            return
        if self._commits is not None and isinstance(tick, WaitBegun):
            awaited = tick.waiter.event_type
            if awaited is not None:
                self.internals.plan.codec.encode(awaited, f"the wait for {awaited.__name__}")
        if self._narrator.is_heard and not isinstance(tick, StepSuspended):
            self._narrator.waited(call, tick)
        boundary = self._boundary(call, type(tick).__name__)
        if self._commits is not None and isinstance(tick, WaitDropped):
            self._drop_wait(self._commits, tick, boundary)
            return
        asked = tick.waiter.question if isinstance(tick, WaitBegun) else None
        if self._commits is not None:
            self._commits.stage(NOTHING, [asked] if asked else [])
        self._apply(tick, boundary)

    def _drop_wait(self, commits: Commits, tick: WaitDropped, boundary: Boundary) -> None:
        """Give up a wait, and commit that a moment later.

        At the end of a process all tasks are cancelled, one by one: then the run is interrupted by
        that time, and its waits stay for whoever goes on.
        """

        def commit() -> None:
            if not self.is_over:
                commits.add([], boundary)

        reduce(self._program.plan, self.internals.run, tick)
        self._loop.call_later(DROP_GRACE, commit)
        self._watch()

    def leave(self, call: StepCall) -> None:
        """A step left in a wait; what it did since its last commit is undone, and done again."""
        is_current = self._drop(call) and not self.is_over
        try:
            if is_current and self._commits is not None:
                self._commits.take_back(call.writes)
                self._commits.roll_back(call.work)
        except Exception as error:  # noqa: BLE001  the handler raises it, as in `settle`
            self.abandon(error)
        self._forget_writes(call)
        self._look_at_rest()

    async def checkpoint(self, call: StepCall) -> None:
        """Commit what a step has done so far."""
        if self._commits is None:
            return
        await call.capture()
        self._commits.stage(call.writes, captures=call.captures)
        call.writes.commit()
        call.note_progress()
        routing.forget_sends(self.internals.run, call.work)
        self._note_time()
        await self._commits.flush(self._boundary(call, "Checkpoint"))

    async def record(self, call: StepCall) -> None:
        """Commit the facts that a step noted about itself, without the rest of its work."""
        if self._commits is not None:
            await self._commits.flush(self._boundary(call, "Recorded"))

    async def flush(self) -> None:
        """Commit what was written from outside of the steps; the end of a run is a commit too."""
        if self._commits is None:
            return
        if self.is_over:
            await self._committed_end()
            return
        self._staging.stage_outside(self._commits, await self.capture(NOTHING))
        await self._commits.flush(Boundary("", 0, 0.0, "Checkpoint"))

    async def _committed_end(self) -> None:
        await asyncio.shield(self.ended)
        if self.failure is not None:
            raise self.failure

    def _apply(self, tick: Tick, boundary: Boundary) -> None:
        commands = reduce(self._program.plan, self.internals.run, tick)
        if self._commits is not None:
            self._note_time()
            self._commits.add(commands, boundary, waits=isinstance(tick, WaitBegun))
        else:
            for command in commands:
                self.perform(command)
        self._watch()

    def has_written(self, writes: Writes) -> bool:
        """Whether a step wrote anything, or others did."""
        return self._staging.has(writes)

    async def capture(self, writes: Writes) -> Captured:
        """Read what only an await can read of what a step wrote, and of what others did."""
        return await self._staging.capture(writes)

    def _note_time(self) -> None:
        """Let the time that the run may still work go into the commit that comes now."""
        if self._limit is not None and not self.internals.run.status.ended:
            self._limit.note(self.internals.run)

    def _boundary(self, call: StepCall, outcome: str) -> Boundary:
        took = (self._loop.time() - call.started) * 1000
        return Boundary(call.work.step, call.work.attempt, took, outcome)

    # --- commands ---

    def perform(self, command: Command) -> None:  # noqa: C901  one line a command
        """Carry out what the engine decided."""
        match command:
            case Invoke():
                self._invoke(command.work)
            case Wake():
                self._wake(command)
            case Remind():
                self._reminders.set(command)
            case Forget():
                self._reminders.forget(command.waiter)
            case Publish():
                self.stream.publish(command.event)
            case Halt():
                self._halt()
            case Finish():
                self._finish()
            case Queued():
                if self._narrator.is_heard:  # after the steps of this turn were told of
                    self._loop.call_soon(self._tell_queued, command.work)
            case Warn():
                log.warning("run %s: %s", self.run_id, command.message)
            case _:
                assert_never(command)

    def _invoke(self, work: Work) -> None:
        if self.failure or work.id not in self.internals.run.queues[work.step].running:
            return
        if self._drained is not None:
            return
        step = self._program.steps[work.step]
        call = self._calls[work.id] = StepCall(self, work, step, self._loop.time())
        name = f"{self._program.plan.workflow}.{step.name} of run {self.run_id}"
        call.task = self._loop.create_task(invoke(call), name=name, context=self._base.copy())

    def _tell_queued(self, work: Work) -> None:
        if not self.is_over:
            self._narrator.enqueued(work)

    def _wake(self, command: Wake) -> None:
        call = self._calls.get(command.work.id)
        if call is not None and self._drained is None:
            self.began(call)
            call.waits.wake(command.waits)

    @cached_property
    def _reminders(self) -> Reminders:
        """Most runs need none."""
        return Reminders(self._loop, self.clock, self.feed)

    def _halt(self) -> None:
        self._reminders.clear()
        for call in self._calls.values():
            call.halt()
            if call.task is not None:
                self._halted.append(call.task)
        self._calls.clear()
        self.internals.store.cell.views.clear()

    def _finish(self) -> None:
        self._finished = True
        if self._limit is not None:
            self._limit.pause()
        self._look_at_rest()
        if self._halted or self._program.has_resources:
            self._ending = self._loop.create_task(self._end())
        else:
            self._close()

    async def _end(self) -> None:
        running = [task for task in self._halted if not task.done()]
        if running:
            await asyncio.wait(running, timeout=HALT_GRACE)
        try:
            await self.resources.aclose()
        except Exception as error:  # noqa: BLE001  a factory may raise anything: the handler does
            self.failure = self.failure or error
        self._close()

    def _close(self) -> None:
        run = self.internals.run  # of which the context may begin another one
        self._outcome = Outcome(run.result, self.failure or run.error)
        if self._owns_stream:
            self.stream.close()
        if not self.ended.done():
            self.ended.set_result(None)

    # --- the way out ---

    def interrupt(self, call: StepCall) -> None:
        """The task of a step was cancelled, and not by the run."""
        self._calls.pop(call.work.id, None)
        self.abandon(
            WorkflowRuntimeError(
                f"run {self.run_id!r} was interrupted: the task of its step {call.step.name!r} was "
                f"cancelled from outside of the run. Start the run again to go on."
            )
        )

    def abandon(self, error: BaseException) -> None:
        """Stop here, without an end, or with one that could not be made durable.

        What is durable stays, for whoever goes on.
        """
        if self._finished:
            return
        self.failure = error
        self._halt()
        self._finish()

    @property
    def is_over(self) -> bool:
        """Whether nothing that happens now can be part of the run any more."""
        return self._finished or self.failure is not None or self.internals.run.status.ended

    def _watch(self) -> None:
        """Let the time of the run count, unless it stands still until an answer comes."""
        if self._narrator.is_heard and not self.is_over and self.internals.run.idle:
            self._narrator.idle()
        if self._limit is not None:
            self._limit.watch()
        self._look_at_rest()

    @property
    def _stands_still(self) -> bool:
        """Whether the run waits for an answer, and for nothing else, or is over."""
        run = self.internals.run
        if self.is_over:
            return True
        return run.idle and (run.expects_answer or self.internals.plan.waits_for_human)

    # --- rest, and the way to it ---

    @property
    def rests(self) -> bool:
        """Whether only time or the outside can move the run, and all that led here is durable."""
        return (
            (self._commits is None or self._commits.are_settled)
            and self._early is None
            and not self.is_over
            and self.internals.run.rests
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no step is in the middle of something: those that are here stand in waits."""
        return all(call.stands for call in self._calls.values())

    def watch_rest(
        self, on_rest: Callable[[], None], on_stir: Callable[[], None] | None = None
    ) -> None:
        """Have it told each time that the run comes to rest, and each time that it stirs again.

        At once if it rests now.
        """
        self._rest_watch = _RestWatch(on_rest, on_stir)
        self._look_at_rest()

    def _look_at_rest(self) -> None:
        if self._drained is not None:
            self._stirred.set()
        if self._rest_watch is not None:
            self._rest_watch.look(self.rests)

    def next_due(self) -> float | None:
        """Return when time moves the run next, in seconds of Unix time; None if it never does."""
        due = resting.next_due(self.internals.run), self._limit and self._limit.due
        return min((at for at in due if at is not None), default=None)

    def drain(self) -> asyncio.Future[None]:
        """Start no more steps; what is to be done stays for whoever executes the run next.

        Returns:
            Done when no step runs any more outside of its waits, and all is durable, or when the
            run is over; raises what a commit raises. Then the run can be abandoned, and is as it
            is: nothing of it is lost.
        """
        if self._drained is None:
            self._drained = self._loop.create_task(self._drain())
        return self._drained

    @cached_property
    def _stirred(self) -> asyncio.Event:
        """Set whenever a run that drains may have got further; most never do."""
        return asyncio.Event()

    async def _drain(self) -> None:
        while not self.is_over and not self.is_quiet:
            self._stirred.clear()
            await self._stirred.wait()
        if self.is_over:
            await asyncio.shield(self.ended)
        elif self._commits is not None:
            self._staging.stage_outside(self._commits, await self.capture(NOTHING))
            await self._commits.settle()

    # --- what handlers ask ---

    def serves(self, checkpointer: object) -> bool:
        """Whether the run commits to this checkpointer."""
        return self.checkpointer is not None and self.checkpointer == checkpointer

    @property
    def is_durable(self) -> bool:
        """Whether the run commits at all."""
        return self._commits is not None

    @property
    def outside(self) -> Writes:
        """What was written to the state by others than the steps."""
        return self._staging.outside

    def cancel(self) -> None:
        """End the run."""
        if self._waits_its_turn:
            self._early = None
        self.feed(CancelAsked())

    def outcome(self) -> Outcome:
        """How the run ended.

        Raises:
            WorkflowRuntimeError: it has not.
        """
        if self._outcome is None:
            raise WorkflowRuntimeError(f"run {self.run_id!r} is not complete: await its handler")
        return self._outcome


@dataclass(slots=True)
class _RestWatch:
    """Who is told when a run comes to rest, and when it stirs again."""

    on_rest: Callable[[], None]
    on_stir: Callable[[], None] | None
    rested: bool = False

    def look(self, rests: bool) -> None:
        """Tell it, if that changed."""
        if rests == self.rested:
            return
        self.rested = rests
        tell = self.on_rest if rests else self.on_stir
        if tell is not None:
            tell()
