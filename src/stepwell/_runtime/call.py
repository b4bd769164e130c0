"""What a running step can do: the port of the context that it is given."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from stepwell._engine import collecting, joining, routing
from stepwell._engine.state import Effect, Work
from stepwell._engine.ticks import (
    StepFailed,
    StepReturned,
    StepSuspended,
    WaitBegun,
    WaitDropped,
)
from stepwell._engine.writes import Writes
from stepwell._runtime.effects import map_items, once
from stepwell._runtime.loops import Loop
from stepwell._runtime.places import name_of_user
from stepwell._runtime.planning import BoundStep
from stepwell._runtime.progress import StepProgress
from stepwell._runtime.stream import EventStream
from stepwell._runtime.timers import running_loop
from stepwell._runtime.waits import Waits
from stepwell._serialization import NOTHING_CAPTURED, Captured, check_name
from stepwell.context._port import Port, check_event, check_expected
from stepwell.context.context import Context, Internals
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event
from stepwell.resource import RunResources
from stepwell.retry_policy import RetryInfo

__all__ = ["Host", "StepCall"]

_T = TypeVar("_T")

LOOK_AGAIN = 1.0
"""How often, in seconds, a thread that waits for the event loop looks whether it still runs."""


class Host(Protocol):
    """The runner, as a call knows it."""

    internals: Internals
    resources: RunResources
    run_id: str
    stream: EventStream
    clock: Callable[[], float]

    @property
    def is_durable(self) -> bool:
        """Whether the run commits at all."""
        ...

    def began(self, call: "StepCall") -> None:
        """The step's task runs."""
        ...

    def settle(self, call: "StepCall", tick: StepReturned | StepFailed) -> None:
        """The step is done."""
        ...

    def leave(self, call: "StepCall") -> None:
        """The step left in a wait."""
        ...

    def abandon(self, error: BaseException) -> None:
        """The run stops here."""
        ...

    def interrupt(self, call: "StepCall") -> None:
        """The step's task was cancelled from outside the run."""
        ...

    def publish(self, event: Event) -> None:
        """The step wrote to the stream."""
        ...

    def wait_from(self, call: "StepCall", tick: WaitBegun | WaitDropped | StepSuspended) -> None:
        """The step waits, or does so no more."""
        ...

    def send_from(self, call: "StepCall", event: Event, step: str | None) -> None:
        """The step sent an event."""
        ...

    def has_written(self, writes: Writes) -> bool:
        """Whether there are any, or any of others than the steps."""
        ...

    async def capture(self, writes: Writes) -> Captured:
        """Read what only an await can read of the state that was written."""
        ...

    async def checkpoint(self, call: "StepCall") -> None:
        """The step wants durable what it has done so far."""
        ...

    async def record(self, call: "StepCall") -> None:
        """The step noted a fact about itself that must be durable now."""
        ...

    def serves(self, checkpointer: object) -> bool:
        """Whether the run commits to this checkpointer."""
        ...


class StepCall(Port):
    """One invocation of a step.

    Attributes:
        writes: what the step did to the state since its last commit.
        captures: what was read of that state for the next commit, where only an await can.
        halted: the run is over: what the step still does means nothing.
        ended: the step is done; a task that it left behind may still hold its context.
        started: when it began, on the clock of the event loop, in seconds.
        worker: which of its step's workers it has, as long as somebody watches.
    """

    where = "inside a step"

    def __init__(self, host: Host, work: Work, step: BoundStep, started: float) -> None:
        self._host = host
        self.work = work
        self.step = step
        self.started = started
        self.writes = Writes()
        self.captures = NOTHING_CAPTURED
        self.halted = False
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self.worker: int | None = None
        self._context: Context[Any] | None = None
        self._progress: StepProgress | None = None
        self._waits: Waits | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def progress(self) -> StepProgress:
        """The loops and effects of the step; most steps have none."""
        if self._progress is None:
            self._progress = StepProgress(self.work)
        return self._progress

    @property
    def waits(self) -> Waits:
        """The waits of the step; most steps have none."""
        if self._waits is None:
            self._waits = Waits(self, self.progress.name_wait)
        return self._waits

    @property
    def stands(self) -> bool:
        """Whether it stands still in a wait."""
        return self._waits is not None and self._waits.stands

    def close(self) -> None:
        """The step is done, or was left: nothing of it goes on."""
        self.ended = True
        if self._waits is not None:
            self._waits.close()

    @property
    def resources(self) -> RunResources:
        """What fills the step's resource parameters."""
        return self._host.resources

    @property
    @override
    def is_live(self) -> bool:
        return True

    @property
    @override
    def context(self) -> Context[Any]:
        if self._context is None:
            internals = self._host.internals
            store = internals.store
            if self._host.is_durable:
                store = store.view(self.writes, internals.plan.codec.check)
            own = Internals(internals.plan, internals.run, store, self, internals.serializer)
            self._context = Context.with_internals(own)
        return self._context

    def write_into(self, writes: Writes) -> None:
        """Let what is written from now on through the step's context be part of these writes."""
        if self._context is not None:
            internals = self._context.internals
            internals.store.track(writes, internals.plan.codec.check)

    def event_arguments(self) -> dict[str, Any]:
        """What the event parameters of the step get: one, or one each of a join."""
        step, payload = self.step, self.work.payload
        if not step.config.collect_params or not isinstance(payload, list):
            return {step.event_parameter: payload}
        plan = self._host.internals.plan.steps[step.name]
        names = (name for name, _ in step.config.collect_params)
        return dict(zip(names, joining.arrange(plan, payload), strict=True))

    def begin(self) -> None:
        """The step's task runs."""
        self._host.began(self)

    @property
    def must_capture(self) -> bool:
        """Whether there is anything in the state that only an await might read."""
        return self._host.is_durable and self._host.has_written(self.writes)

    async def capture(self) -> None:
        """Read what only an await can read of the state that the step had to do with."""
        if self._host.is_durable:
            self.captures = await self._host.capture(self.writes)

    def settle(self, tick: StepReturned | StepFailed) -> None:
        """The step is done."""
        self._host.settle(self, tick)

    def leave(self) -> None:
        """The step left in a wait, to be run again."""
        self._host.leave(self)

    def abandon(self, error: BaseException) -> None:
        """The step raised what no run can go on after."""
        self._host.abandon(error)

    def interrupt(self) -> None:
        """The step's task was cancelled from outside the run."""
        self._host.interrupt(self)

    def halt(self) -> None:
        """The run is over: stop at once."""
        self.halted = True
        if self.task is not None:
            self.task.cancel()

    @override
    def send_event(self, event: Event, step: str | None) -> None:
        check_event(event, "send_event")
        self._on_loop(lambda: self._send(event, step))

    def _send(self, event: Event, step: str | None) -> None:
        if step is not None:
            internals = self._host.internals
            routing.check_target(internals.plan, internals.run, event, step)
        self._host.send_from(self, event, step)

    @override
    def at_once(self, action: Callable[[], _T]) -> _T:
        return self._on_loop(action)

    @override
    def publish(self, event: Event | None) -> None:
        if event is not None:
            check_event(event, "write_event_to_stream")
            self._on_loop(lambda: self._host.publish(event))

    @override
    def collect_events(
        self, event: Event, expected: Sequence[type[Event]], buffer: str
    ) -> list[Event] | None:
        check_event(event, "collect_events")
        check_expected(expected)
        check_name(buffer, "the buffer_id of collect_events")
        if self._host.is_durable:
            self.encode(event, f"the {type(event).__name__} that collect_events() is to keep")
        run = self._host.internals.run
        return self._on_loop(
            lambda: self._while_running(
                lambda: collecting.collect(run, self.work, event, expected, buffer)
            )
        )

    @override
    async def wait_for_event(
        self,
        event_type: type[Event],
        question: Event | None,
        name: str | None,
        requirements: Mapping[str, Any],
        timeout: float | None,
    ) -> Event:
        self._check_not_editing("wait_for_event")
        check_name(name, "the waiter_id of wait_for_event")
        own = name_of_user(name) if name else None
        return await self.waits.wait(event_type, question, own, requirements, timeout)

    @override
    async def sleep(self, seconds: float, name: str | None) -> None:
        self._check_not_editing("sleep")
        check_name(name, "the name of ctx.sleep")
        await self.waits.sleep(seconds, name)

    def now(self) -> float:
        """The time by the run's clock, in seconds of Unix time."""
        return self._host.clock()

    def wait(self, tick: WaitBegun | WaitDropped | StepSuspended) -> None:
        """Tell the engine that the step waits, or does so no more."""
        self._while_running(lambda: self._host.wait_from(self, tick))

    @override
    def retry_info(self) -> RetryInfo:
        failure = self.work.failure
        if failure is None:
            return RetryInfo()
        return RetryInfo(
            retry_number=failure.count,
            elapsed_seconds=max(0.0, self.now() - failure.began),
            last_exception=failure.error,
            last_failed_at=datetime.fromtimestamp(failure.at, UTC),
        )

    def failed(self, error: Exception) -> StepFailed:
        """What became of the call: the chance in a retry policy comes from what it was for."""
        work = self.work
        attempt = work.failure.count if work.failure else 0
        seed = zlib.crc32(f"{self._host.run_id}/{work.step}/{work.id}/{attempt}".encode())
        took = self._loop.time() - self.started
        return StepFailed(work, error, now=self.now(), took=took, seed=seed)

    @override
    async def checkpoint(self) -> None:
        self._check_not_editing("checkpoint")
        await self._while_running(lambda: self._host.checkpoint(self))

    @override
    def each(
        self, items: Iterable[Any], key: Callable[[Any], Any] | None, every: int, name: str | None
    ) -> AsyncIterator[Any]:
        self._check_not_editing("each")
        check_name(name, "the name of ctx.each")
        return Loop(self, items, key or (lambda item: item), every, name)

    def note_progress(self) -> None:
        """Let the positions of the loops go into the commit that the step's writes go into."""
        if self._progress is not None:
            self._progress.note(self._host.internals.run)

    @override
    async def once(
        self,
        key: str,
        function: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
        verify: Callable[..., Awaitable[Any]] | None,
    ) -> Any:
        self._check_not_editing("once")
        check_name(key, "the key of ctx.once")
        return await once(self, name_of_user(key), function, arguments, verify)

    @override
    async def map(
        self,
        function: Callable[[Any], Awaitable[Any]],
        items: Iterable[Any],
        concurrency: int,
        name: str | None,
    ) -> list[Any]:
        self._check_not_editing("map")
        check_name(name, "the name of ctx.map")
        return await map_items(self, function, items, concurrency, name)

    async def record(self, key: str, effect: Effect) -> None:
        """Make durable what the step did once, and nothing else of what it has done so far."""
        if effect.done:
            self.encode(effect.result, f"the result of ctx.once({key.removeprefix('/')!r})")
        await self._while_running(lambda: self._record(key, effect))

    async def _record(self, key: str, effect: Effect) -> None:
        self.progress.remember(self._host.internals.run, key, effect)
        await self._host.record(self)

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        return self._host.internals.plan.codec.encode(value, where)

    @property
    @override
    def run_id(self) -> str:
        return self._host.run_id

    @property
    @override
    def idempotency_key(self) -> str:
        return f"{self._host.run_id}/{self.work.id}"

    @override
    def serves(self, checkpointer: object) -> bool:
        return self._host.serves(checkpointer)

    def _on_loop(self, action: Callable[[], _T]) -> _T:
        """Do something on the event loop, wherever the step runs: a sync step has a thread."""
        if running_loop() is self._loop:
            return self._unless_halted(action)
        done: Future[_T] = Future()

        def act() -> None:
            try:
                done.set_result(self._unless_halted(action))
            except BaseException as error:  # noqa: BLE001  it is raised again, in the thread
                done.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        while not wait([done], timeout=LOOK_AGAIN).done:
            if self._loop.is_closed():
                raise WorkflowRuntimeError(
                    f"Step {self.step.name!r} goes on although its event loop is closed"
                )
        return done.result()

    def _check_not_editing(self, what: str) -> None:
        """What is edited is not in the state yet: nothing may be committed that builds on it."""
        editor = self._host.internals.store.cell.editor
        if editor is not None and editor is asyncio.current_task():
            raise RuntimeError(
                f"ctx.{what}() was called inside edit_state() of step {self.step.name!r}: end the "
                f"block first, so that what it changed is committed too"
            )

    def _while_running(self, action: Callable[[], _T]) -> _T:
        if self.ended:
            raise WorkflowRuntimeError(
                f"Step {self.step.name!r} has ended, but a task that it left behind goes on: what "
                f"that still collects or commits belongs to no step. Await it in the step."
            )
        return self._unless_halted(action)

    def _unless_halted(self, action: Callable[[], _T]) -> _T:
        if self.halted:
            raise WorkflowRuntimeError(
                f"Step {self.step.name!r} goes on although its run is over: what it still sends, "
                f"collects, commits or writes to the stream can't be part of the run any more."
            )
        return action()
