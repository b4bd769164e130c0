"""The context of a run: its state, its events, and all of it as one flat map."""

import json
import warnings
from asyncio import Queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVarTuple, Unpack

from stepwell._deprecations import warn_once
from stepwell._engine.ledger import WHOLE, Ledger, state_field
from stepwell._engine.loading import load
from stepwell._engine.plan import Plan
from stepwell._engine.snapshot import Encode, encode_fact, encode_run, facts
from stepwell._engine.state import RunState, Status
from stepwell._names import kind_of
from stepwell._serialization import captured
from stepwell.context._port import Port, current_port
from stepwell.context._serialized import codec_with
from stepwell.context.serializers import BaseSerializer, check_serializer
from stepwell.context.state_models import new_state, state_of
from stepwell.context.state_store import (
    KNOWN_UNSERIALIZABLE_KEYS,
    MODEL_T,
    DictState,
    InMemoryStateStore,
    UnserializableKeyWarning,
)
from stepwell.context.utils import get_qualified_name
from stepwell.errors import (
    ContextSerdeError,
    DecodingError,
    EncodingError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.events import Event
from stepwell.retry_policy import RetryInfo

__all__ = [
    "FORMAT",
    "Context",
    "HasPlan",
    "Internals",
    "describe",
    "new_ledger",
    "read_fields",
    "restore",
]

_T = TypeVar("_T")
_ItemT = TypeVar("_ItemT")
_Arguments = TypeVarTuple("_Arguments")
EventT = TypeVar("EventT", bound=Event)

FORMAT = "1"
"""The version of the layout of the flat map."""


class HasPlan(Protocol):
    """A workflow, as far as a context must know it."""

    def __stepwell_plan__(self) -> Plan:
        """Which step takes which event."""
        ...


@dataclass(slots=True)
class Internals:
    """What a context is made of; the runtime works on it, users don't.

    Attributes:
        plan: the workflow.
        run: the engine's state of the run.
        store: the view on the state that this context hands out.
        port: what this context can do where it is used.
        serializer: reads and writes the values of snapshots, instead of the format of our own.
    """

    plan: Plan
    run: RunState
    store: InMemoryStateStore[Any]
    port: Port
    serializer: BaseSerializer | None = None

    @classmethod
    def of_plan(cls, plan: Plan) -> "Internals":
        """The parts of a fresh context."""
        store: InMemoryStateStore[Any] = InMemoryStateStore(new_state(plan.state_type))
        return cls(plan, RunState.of_steps(list(plan.steps)), store, Port())


class Context(Generic[MODEL_T]):
    """What the steps of a run share, and everything that the run is.

    Args:
        workflow: the workflow that it is for.
        previous_context: the map of an earlier `to_dict()`, to go on from.
        serializer: reads the values in that map, and writes those of `to_dict()`; None for the one
            of the workflow, or the format of our own, which needs none.
    """

    def __init__(
        self,
        workflow: HasPlan,
        previous_context: Mapping[Any, str | bytes] | None = None,
        serializer: BaseSerializer | None = None,
    ) -> None:
        self.internals = Internals.of_plan(_plan_of(workflow))
        self.internals.serializer = _checked(serializer) or _serializer_of(workflow)
        fields = {} if previous_context is None else read_fields(previous_context)
        if fields:
            reading = _serialized_by(self.internals, self.internals.serializer)
            if reading is self.internals:
                _check_needs_no_serializer(fields)
            restore(reading, fields)
            self.internals.run = reading.run
            if self.internals.run.status is Status.CANCELLED:
                self.internals.run.status = Status.RUNNING

    @classmethod
    def from_dict(
        cls,
        workflow: HasPlan,
        data: Mapping[Any, str | bytes],
        serializer: BaseSerializer | None = None,
    ) -> "Context[MODEL_T]":
        """Rebuild a context from its map, as `to_dict()` made it.

        Args:
            workflow: the workflow that goes on with it.
            data: names and texts, each as str or bytes (`redis.hgetall` gives either). An empty
                map is a fresh context: the first start of a program that looks for a snapshot.
            serializer: the one that `to_dict` was given, if it was given one.

        Raises:
            ContextSerdeError: the map can't be read; names the field.
            RunBlocked: it holds work for a step that the workflow does not have.
        """
        _plan_of(workflow)
        _check_kind(data)
        return cls(workflow, data, serializer)

    def to_dict(
        self, serializer: BaseSerializer | None = None, *, include_state: bool = True
    ) -> dict[str, str]:
        """Return the whole run as one flat map, at any moment, inside a step too.

        The map goes into a Redis hash as it is: `redis.hset("ctx", mapping=ctx.to_dict())`. Work
        that is running is in it, and runs again when a run is started with the rebuilt context.

        Args:
            serializer: writes the events and the values of the state; None for the serializer of
                this context, or the format of our own, which keeps the most types.
            include_state: whether the state store is part of the map.

        Raises:
            EncodingError: a value has no durable form; names the key, the path in it and the type.
                One of `KNOWN_UNSERIALIZABLE_KEYS` is left out instead, with a warning.
        """
        return self.internals.port.at_once(lambda: self._to_dict(serializer, include_state))

    def _to_dict(self, serializer: BaseSerializer | None, include_state: bool) -> dict[str, str]:
        serializer = _checked(serializer) or self.internals.serializer
        writing = _serialized_by(self.internals, serializer)
        fields = describe(writing)
        if serializer is not None and writing is not self.internals:
            fields["serializer"] = get_qualified_name(serializer)
        if include_state:
            fields.update(_describe_state(writing))
        fields["fields"] = json.dumps(list(fields), separators=(",", ":"))
        return fields

    async def to_dict_async(
        self, serializer: BaseSerializer | None = None, *, include_state: bool = True
    ) -> dict[str, str]:
        """Return the same map, also of a state with values that only an await can read.

        Such values are those whose codec has a `capture`: a `Memory` of LlamaIndex, for one.

        Args:
            serializer: as for `to_dict`.
            include_state: whether the state store is part of the map.

        Raises:
            EncodingError: a value has no durable form; names the key, the path in it and the type.
        """
        values = self.store.cell.values().values() if include_state else ()
        with captured(await self.internals.plan.codec.capture(values)):
            return self.to_dict(serializer, include_state=include_state)

    @property
    def store(self) -> InMemoryStateStore[MODEL_T]:
        """The state that the steps share."""
        return self.internals.store

    @property
    def is_running(self) -> bool:
        """Whether the run is going on, or was when the snapshot was taken."""
        return self.internals.run.status in {Status.RUNNING, Status.BLOCKED}

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.internals.port.run_id

    @property
    def idempotency_key(self) -> str:
        """A text for outside systems: the same for every attempt of this step on this event."""
        return self.internals.port.idempotency_key

    def send_event(self, message: Event, step: str | None = None) -> None:
        """Give an event to all steps that take it, or to one step by name.

        Raises:
            WorkflowRuntimeError: the run is over; there is no such step, or it does not take such
                events.
            ContextStateError: the run has not started.
        """
        self.internals.port.send_event(message, step)

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Show an event to whoever reads `handler.stream_events()`.

        Raises:
            ContextStateError: called outside of a step.
        """
        self.internals.port.publish(ev)

    def collect_events(
        self, ev: Event, expected: Sequence[type[Event]], buffer_id: str | None = None
    ) -> list[Event] | None:
        """Keep `ev` until an event of each expected class has come.

        Args:
            ev: the event that this step was given.
            expected: event classes; one that is named n times is waited for n times.
            buffer_id: tells several collections of one step apart.

        Returns:
            The events in the order of `expected` once all are there, None before.

        Raises:
            ContextStateError: called outside of a step.
        """
        return self.internals.port.collect_events(ev, expected, buffer_id or "default")

    async def wait_for_event(
        self,
        event_type: type[EventT],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = 2000,  # noqa: ASYNC109  the interface
    ) -> EventT:
        """Wait until an event comes: an answer from outside, or what another step sends.

        The step stands still and gives its worker to others. If the process ends meanwhile, the
        step runs again from its first line once the event is there, and does not wait again.

        Args:
            event_type: the class of the event; a derived class fits if the step takes subclasses.
            waiter_event: is published when the wait begins: a question, most of the time.
            waiter_id: a name for the wait within the step. A second wait of the same name has the
                same event. Unnamed waits are told apart by what they wait for, and counted.
            requirements: attributes that the event must have.
            timeout: how long to wait, in seconds; None for ever.

        Returns:
            The first event that fits; one that nobody took before counts too.

        Raises:
            TimeoutError: it did not come in time.
            WorkflowRuntimeError: an argument is wrong.
            ContextStateError: called outside of a step.
        """
        event = await self.internals.port.wait_for_event(
            event_type, waiter_event, waiter_id, requirements or {}, timeout
        )
        return cast("EventT", event)

    async def sleep(self, seconds: float, *, name: str | None = None) -> None:
        """Stand still for a time that goes on while no process executes the run.

        The step gives its worker to others, as in a wait for an event. If the process ends
        meanwhile, the step runs again from its first line, and sleeps only for what is left. A step
        remembers all its sleeps until it ends, so let a long wait-and-look loop be a loop of steps,
        or of `ctx.each`, which forgets what is behind it.

        Args:
            seconds: how long.
            name: tells sleeps of one step apart whose order is not always the same. Those of the
                same name, and those of none, are counted.

        Raises:
            WorkflowRuntimeError: `seconds` is no number, or negative, or without end.
            ContextStateError: called outside of a step.
        """
        await self.internals.port.sleep(seconds, name)

    def retry_info(self) -> RetryInfo:
        """Return what is known of the failed attempts before this one.

        Raises:
            ContextStateError: called outside of a step.
        """
        return self.internals.port.retry_info()

    async def checkpoint(self) -> None:
        """Make durable what was done so far, without ending the step.

        After a crash the step runs again from its first line, and finds this state or a newer one.
        Without a checkpointer there is nothing to do.

        Raises:
            EncodingError: a value has no durable form.
            LeaseLost: another process owns the run now.
            StoreError: the store can't be reached, or refuses.
        """
        await self.internals.port.checkpoint()

    def each(
        self,
        items: Iterable[_T],
        *,
        key: Callable[[_T], Any] | None = None,
        every: int = 1,
        name: str | None = None,
    ) -> AsyncIterator[_T]:
        """Loop over items, durably: `async for document in ctx.each(documents)`.

        After each item the position and the state are committed together. A step that is run
        again goes on at the first item that was not finished.

        Args:
            items: what to loop over; must be the same, in the same order, when run again.
            key: gives an item's identity, where the item itself has no durable form.
            every: commit after so many items.
            name: tells loops of one step apart whose order is not always the same.

        Raises:
            WorkflowRuntimeError: the step was run again with other items.
            EncodingError: an item has no durable form, and there is no `key`.
            ContextStateError: called outside of a step.
        """
        return self.internals.port.each(items, key, every, name)

    async def once(
        self,
        key: str,
        function: Callable[[Unpack[_Arguments]], Awaitable[_T]],
        *arguments: *_Arguments,
        verify: Callable[[Unpack[_Arguments]], Awaitable[_T | None]] | None = None,
    ) -> _T:
        """Do something once in this piece of work, and remember its result over crashes.

        Only the result becomes durable, not what else the step has done so far. If the process dies
        between the effect and its record, nobody knows whether it happened: without `verify` it is
        done again. With `verify` the intention is committed first, and `verify` is asked.

        Args:
            key: names the effect within this step and its event.
            function: does it.
            *arguments: are given to `function`, and to `verify`.
            verify: finds out, after a crash, whether it happened: returns its result, or None if
                it did not happen.

        Returns:
            What `function` returned, now or the first time.

        Raises:
            EncodingError: the result has no durable form.
            ContextStateError: called outside of a step.
        """
        return await self.internals.port.once(key, function, arguments, verify)

    async def map(
        self,
        function: Callable[[_ItemT], Awaitable[_T]],
        items: Iterable[_ItemT],
        *,
        concurrency: int = 8,
        name: str | None = None,
    ) -> list[_T]:
        """Do something for each item, several at a time; finished items keep their results.

        Args:
            function: takes one item.
            items: what to do it for; must be the same, in the same order, when run again.
            concurrency: how many at a time.
            name: tells loops of one step apart whose order is not always the same.

        Returns:
            The results in the order of the items.

        Raises:
            EncodingError: a result has no durable form.
            ContextStateError: called outside of a step.
            ExceptionGroup: some items failed; the others are not done again.
        """
        return await self.internals.port.map(function, items, concurrency, name)

    def stream_events(self) -> AsyncIterator[Event]:
        """Read the events of the run from its beginning to its end.

        Raises:
            ContextStateError: the run has not started, or the call is inside a step.
        """
        return self.internals.port.stream_events()

    @property
    def streaming_queue(self) -> Queue[Event]:
        """The events of the run as a queue. Deprecated: read `stream_events()`.

        Raises:
            ContextStateError: the run has not started, or the call is inside a step.
        """
        warn_once("Context.streaming_queue", "read ctx.stream_events()")
        return self.internals.port.streaming_queue()

    def get_result(self) -> Any:
        """Return the result of the run. Deprecated: await the handler.

        Raises:
            WorkflowRuntimeError: the run is not complete.
            ContextStateError: the run has not started, or the call is inside a step.
            BaseException: the error that ended the run.
        """
        warn_once("Context.get_result()", "await the handler of the run")
        return self.internals.port.result()

    async def running_steps(self) -> list[str]:
        """Return the names of the steps that are running.

        Raises:
            ContextStateError: the run has not started, or the call is inside a step.
        """
        return self.internals.port.running_steps()

    @staticmethod
    def get_step_context() -> "Context[Any]":
        """Return the very context that the running step was given.

        Raises:
            WorkflowRuntimeError: no step is running here.
        """
        current = current_port.get()
        port = current() if current is not None else None
        ctx = port.context if port is not None else None
        if ctx is None:
            raise WorkflowRuntimeError(
                "get_step_context() was called outside of a step: there is no step to speak of"
            )
        return ctx

    def serves(self, checkpointer: object) -> bool:
        """Whether the run of this context commits to the given checkpointer."""
        return self.internals.port.serves(checkpointer)

    @classmethod
    def with_internals(cls, internals: "Internals") -> "Context[Any]":
        """Return a context of parts that are there already: a step's own view of its run."""
        ctx: Context[Any] = object.__new__(cls)
        ctx.internals = internals
        return ctx


def describe(internals: Internals) -> dict[str, str]:
    """Return the map of a context without its state.

    Raises:
        EncodingError: an event has no durable form.
    """
    plan, run = internals.plan, internals.run
    fields = {"format": FORMAT, "workflow": plan.workflow}
    if plan.version is not None:
        fields["version"] = plan.version
    encode = _once_each(plan.codec.encode)
    fields |= encode_run(run, encode)
    return fields | {name: encode_fact(fact, encode) for name, fact in facts(run)}


def _once_each(encode: Encode) -> Encode:
    """As `encode`, but what several facts hold, as an event that several steps got, once only."""
    texts: dict[int, str] = {}

    def text_of(value: Any, where: str) -> str:
        text = texts.get(id(value))
        if text is None:
            text = texts[id(value)] = encode(value, where)
        return text

    return text_of


def _describe_state(internals: Internals) -> dict[str, str]:
    encode_key = key_encoder(internals)
    fields: dict[str, str] = {}
    for key, value in internals.store.cell.values().items():
        try:
            fields[state_field(key)] = encode_key(key, value)
        except EncodingError as error:
            if key not in KNOWN_UNSERIALIZABLE_KEYS or internals.plan.codec.must_capture(value):
                raise
            warnings.warn(f"left out of the map: {error}", UnserializableKeyWarning, stacklevel=3)
    return fields


def _serialized_by(internals: Internals, serializer: BaseSerializer | None) -> Internals:
    """The same parts with values written and read by a serializer, if that is asked for."""
    codec = codec_with(serializer, internals.plan.codec)
    if codec is internals.plan.codec:
        return internals
    return replace(internals, plan=replace(internals.plan, codec=codec))


def _serializer_of(workflow: HasPlan) -> BaseSerializer | None:
    """The serializer that a workflow was given; a user's class may use the name otherwise."""
    serializer = getattr(workflow, "serializer", None)
    return serializer if isinstance(serializer, BaseSerializer) else None


def _check_needs_no_serializer(fields: Mapping[str, str]) -> None:
    if "serializer" in fields:
        raise ContextSerdeError(
            f"the values of this context were written by a {fields['serializer']}: give the same "
            f"serializer to Context.from_dict(workflow, data, serializer)"
        )


def key_encoder(internals: Internals) -> Callable[[str, Any], str]:
    """Return what turns the value of a key of the state into text.

    A field of a typed state may be of a class that only its validation makes again, as a URL is.
    """
    codec, cell = internals.plan.codec, internals.store.cell

    def encode_key(key: str, value: Any) -> str:
        if type(cell.state) is DictState or key == WHOLE:
            return codec.encode(value, f"state key {key!r}")
        return codec.encode_field(cell.state, key, f"state key {key!r}")

    return encode_key


def new_ledger(internals: Internals) -> Ledger:
    """Return a ledger for the state of a context, of which nothing is stored yet."""
    return Ledger(internals.plan.codec.encode, key_encoder(internals))


def restore(internals: Internals, fields: Mapping[str, str]) -> Ledger:
    """Make a context what a map says; return what of the state counts as written.

    The store stays the same object: whoever holds it sees the loaded state.

    Raises:
        DecodingError: a field can't be read; names it.
        RunBlocked: there is work for a step that the workflow does not have.
    """
    plan = internals.plan
    internals.run = load(plan, fields)
    ledger = new_ledger(internals)
    values = dict(ledger.load(fields, plan.codec.decode))
    internals.store.cell.state = _restored(plan.state_type, values)
    return ledger


def _restored(state_type: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    if WHOLE in values and state_type is not DictState:
        return _restored_whole(state_type, values[WHOLE])
    try:
        return state_of(state_type, values)
    except ValidationError as error:
        raise DecodingError(
            f"the stored state is no {state_type.__name__} any more: {error}. Give new fields a "
            f"default, or bring the old definition back."
        ) from error


def _restored_whole(state_type: type[BaseModel], state: object) -> BaseModel:
    if isinstance(state, state_type):
        return state
    raise DecodingError(
        f"field 'state' should hold a {state_type.__name__}, which the steps name as the state, "
        f"not {type(state).__name__}"
    )


def read_fields(data: Mapping[Any, str | bytes]) -> dict[str, str]:
    """Return a map as text, without what is left of older snapshots in the same hash.

    Raises:
        ContextSerdeError: this is no context, or one of a newer layout.
    """
    _check_kind(data)
    if not data:
        return {}
    fields = {_text(name, "a name"): _text(text, f"field {name!r}") for name, text in data.items()}
    if fields.get("format") != FORMAT:
        raise ContextSerdeError(_no_context(fields))
    if "fields" not in fields:
        return fields
    try:
        return {name: fields[name] for name in json.loads(fields["fields"])}
    except KeyError as error:
        raise ContextSerdeError(
            f"field {error} of the context is missing from the map: give the whole of to_dict()"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ContextSerdeError(f"field 'fields' is no list of names: {error}") from error


def _plan_of(workflow: HasPlan) -> Plan:
    """Return the plan of what must be an instance of a workflow class.

    Raises:
        WorkflowValidationError: it is something else.
    """
    if isinstance(workflow, type) or not hasattr(workflow, "__stepwell_plan__"):
        raise WorkflowValidationError(
            f"a Context belongs to a workflow, not to {kind_of(workflow)}: give an instance, as in "
            f"Context(MyWorkflow())"
        )
    return workflow.__stepwell_plan__()


def _checked(serializer: BaseSerializer | None) -> BaseSerializer | None:
    return None if serializer is None else check_serializer(serializer, "serializer")


def _check_kind(data: Mapping[Any, Any]) -> None:
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise ContextSerdeError(
            f"a context is rebuilt from a map of str or bytes, not from {kind_of(data)}: give what "
            f"to_dict() returned"
        )
    names = {name.decode(errors="replace") if isinstance(name, bytes) else name for name in data}
    if "format" not in names and "is_running" in names:
        raise ContextSerdeError(
            "this map is a snapshot of LlamaIndex Workflows, whose runs can't be continued here. "
            "Begin with a fresh context, and take over the state alone: "
            "InMemoryStateStore.from_dict(data['state'], JsonSerializer()), then "
            "await ctx.store.set_state(await store.get_state())"
        )


def _text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        kind = type(value).__name__
        raise ContextSerdeError(f"{what} in the map of a context is {kind}, not str or bytes")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ContextSerdeError(f"{what} in the map of a context is not UTF-8: {error}") from error


def _no_context(fields: Mapping[str, str]) -> str:
    if "format" not in fields:
        some = ", ".join(list(fields)[:5])
        return (
            f"this map is no context: it has no field 'format' (it has: {some}). Give what "
            f"to_dict() returned, or an empty map to begin anew."
        )
    return (
        f"this context has layout {fields['format']}, and this Stepwell reads {FORMAT}: "
        f"read it with the version that wrote it, or a newer one"
    )
