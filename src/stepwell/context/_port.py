"""What a context can do depends on where it is used; a port is one such place.

A fresh `Context(workflow)` has the port below, which refuses everything that needs a run. The
runtime gives a running context a port for the side of the handler, and each step one of its own.
"""

from asyncio import Queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar, cast
from weakref import ReferenceType

from stepwell._names import kind_of
from stepwell.errors import ContextStateError, WorkflowRuntimeError
from stepwell.events import Event
from stepwell.retry_policy import RetryInfo

# ruff: noqa: ARG002  the port of no run refuses, whatever it is given

T = TypeVar("T")

__all__ = ["Port", "check_event", "check_expected", "current_port"]


class Port:
    """The place of a context that no run has."""

    where = "before the run has started"

    @property
    def is_live(self) -> bool:
        """Whether a run is going on behind it."""
        return False

    @property
    def context(self) -> Any:
        """The context that has this port; None where there is no step."""
        return None

    def at_once(self, action: Callable[[], T]) -> T:
        """Do something that nothing else may happen beside: a sync step has a thread of its own."""
        return action()

    def send_event(self, event: Event, step: str | None) -> None:
        """Give an event to the run."""
        self._refuse("send_event")

    async def deliver(self, event: Event, step: str | None) -> None:
        """Give an event to the run, and wait until it is durable."""
        self._refuse("send_event")

    def publish(self, event: Event | None) -> None:
        """Put an event into the stream of the run; None is none."""
        self._refuse("write_event_to_stream")

    def collect_events(
        self, event: Event, expected: Sequence[type[Event]], buffer: str
    ) -> list[Event] | None:
        """Keep events until all that are expected are there."""
        self._refuse("collect_events")

    async def wait_for_event(
        self,
        event_type: type[Event],
        question: Event | None,
        name: str | None,
        requirements: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  the interface
    ) -> Event:
        """Stand still until an event comes that fits."""
        self._refuse("wait_for_event")

    async def sleep(self, seconds: float, name: str | None) -> None:
        """Stand still for a time."""
        self._refuse("sleep")

    def retry_info(self) -> RetryInfo:
        """The failed attempts before this one."""
        self._refuse("retry_info")

    async def checkpoint(self) -> None:
        """Make durable what was done so far."""
        self._refuse("checkpoint")

    def each(
        self, items: Iterable[Any], key: Callable[[Any], Any] | None, every: int, name: str | None
    ) -> AsyncIterator[Any]:
        """Loop over items, durably."""
        self._refuse("each")

    async def once(
        self,
        key: str,
        function: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
        verify: Callable[..., Awaitable[Any]] | None,
    ) -> Any:
        """Do something once, and remember its result."""
        self._refuse("once")

    async def map(
        self,
        function: Callable[[Any], Awaitable[Any]],
        items: Iterable[Any],
        concurrency: int,
        name: str | None,
    ) -> list[Any]:
        """Do something for each item, several at a time, and remember the results."""
        self._refuse("map")

    def stream_events(self) -> AsyncIterator[Event]:
        """Read the stream of the run."""
        self._refuse("stream_events")

    def streaming_queue(self) -> Queue[Event]:
        """The stream of the run as a queue."""
        self._refuse("streaming_queue")

    def result(self) -> Any:
        """The result of the run."""
        self._refuse("get_result")

    def running_steps(self) -> list[str]:
        """The names of the steps that are running."""
        self._refuse("running_steps")

    @property
    def run_id(self) -> str:
        """The name of the run."""
        self._refuse("run_id")

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for every attempt of this piece of work."""
        self._refuse("idempotency_key")

    def serves(self, checkpointer: object) -> bool:
        """Whether the run commits to this checkpointer."""
        return False

    def _refuse(self, what: str) -> NoReturn:
        raise ContextStateError(f"{what} is not available {self.where}: {self._remedy(what)}")

    def _remedy(self, what: str) -> str:
        if what in _STEP_ONLY:
            return "call it inside a step, on the context that the step was given"
        return "call it on handler.ctx, while the run is going on"


def check_event(event: object, what: str) -> None:
    """Refuse anything else where an event is asked for.

    Raises:
        WorkflowRuntimeError: naming what was given.
    """
    if not isinstance(event, Event):
        raise WorkflowRuntimeError(
            f"{what}({event!r:.80}) was given {kind_of(event)}: give it an Event, as in "
            f"{what}(MyEvent())"
        )


def check_expected(expected: object) -> None:
    """Refuse what `collect_events` can't wait for.

    Raises:
        WorkflowRuntimeError: naming what was given.
    """
    if not _are_event_classes(expected):
        raise WorkflowRuntimeError(
            f"collect_events() expects {expected!r:.80}: give it a list of Event classes, with "
            f"each as often as it is to come"
        )


def _are_event_classes(expected: object) -> bool:
    """Looks at each class once: a collection of many events asks for each of them."""
    if not isinstance(expected, list | tuple):
        return False
    try:
        classes = set(cast("list[Any]", expected))
    except TypeError:  # an event has no hash
        return False
    return all(isinstance(one, type) and issubclass(one, Event) for one in classes)


_STEP_ONLY = frozenset(
    {
        "collect_events",
        "each",
        "idempotency_key",
        "map",
        "once",
        "retry_info",
        "sleep",
        "wait_for_event",
        "write_event_to_stream",
    }
)

current_port: ContextVar["ReferenceType[Port] | None"] = ContextVar("stepwell_step", default=None)
"""The running step. A weak reference: a callback that outlives the step keeps no workflow alive."""
