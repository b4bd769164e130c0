"""The context of a run: its state, its events, and all of it as one flat map."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from stepwell._engine.ledger import WHOLE, Ledger, state_field
from stepwell._engine.plan import Plan
from stepwell._engine.snapshot import encode_fact, encode_run, facts, load
from stepwell._engine.state import RunState, Status
from stepwell.context._port import Port, current_port
from stepwell.context.state_store import (
    MODEL_T,
    DictState,
    InMemoryStateStore,
    new_state,
    state_of,
)
from stepwell.errors import ContextSerdeError, DecodingError, WorkflowRuntimeError
from stepwell.events import Event

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
    """

    plan: Plan
    run: RunState
    store: InMemoryStateStore[Any]
    port: Port

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
    """

    def __init__(
        self,
        workflow: HasPlan,
        previous_context: Mapping[Any, str | bytes] | None = None,
    ) -> None:
        self.internals = Internals.of_plan(workflow.__stepwell_plan__())
        if previous_context:
            restore(self.internals, read_fields(previous_context))
            if self.internals.run.status is Status.CANCELLED:
                self.internals.run.status = Status.RUNNING

    @classmethod
    def from_dict(cls, workflow: HasPlan, data: Mapping[Any, str | bytes]) -> "Context[MODEL_T]":
        """Rebuild a context from its map, as `to_dict()` made it.

        Args:
            workflow: the workflow that goes on with it.
            data: names and texts, each as str or bytes (`redis.hgetall` gives either). An empty
                map is a fresh context: the first start of a program that looks for a snapshot.

        Raises:
            ContextSerdeError: the map can't be read; names the field.
            RunBlocked: it holds work for a step that the workflow does not have.
        """
        return cls(workflow, data)

    def to_dict(self) -> dict[str, str]:
        """Return the whole run as one flat map, at any moment, inside a step too.

        The map goes into a Redis hash as it is: `redis.hset("ctx", mapping=ctx.to_dict())`. Work
        that is running is in it, and runs again when a run is started with the rebuilt context.

        Raises:
            EncodingError: a value has no durable form; names the key, the path in it and the type.
        """
        encode_key = key_encoder(self.internals)
        fields = describe(self.internals)
        for key, value in self.internals.store.cell.values().items():
            fields[state_field(key)] = encode_key(key, value)
        fields["fields"] = json.dumps(list(fields), separators=(",", ":"))
        return fields

    @property
    def store(self) -> InMemoryStateStore[MODEL_T]:
        """The state that the steps share."""
        return self.internals.store

    @property
    def is_running(self) -> bool:
        """Whether the run is going on, or was when the snapshot was taken."""
        return self.internals.run.status is Status.RUNNING

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
        if ev is not None:
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
        items: Iterable[Any],
        *,
        key: Callable[[Any], Any] | None = None,
        every: int = 1,
        name: str | None = None,
    ) -> AsyncIterator[Any]:
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
        function: Callable[..., Awaitable[_T]],
        *arguments: Any,
        verify: Callable[..., Awaitable[_T | None]] | None = None,
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
        function: Callable[[Any], Awaitable[_T]],
        items: Iterable[Any],
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

    async def running_steps(self) -> list[str]:
        """Return the names of the steps that are running."""
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
    fields = {"format": FORMAT, "workflow": plan.workflow, **encode_run(run, plan.codec.encode)}
    return fields | {name: encode_fact(fact, plan.codec.encode) for name, fact in facts(run)}


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
    fields = {_text(name, "a name"): _text(text, f"field {name!r}") for name, text in data.items()}
    if fields.get("format") != FORMAT:
        raise ContextSerdeError(_no_context(fields))
    if "fields" not in fields:
        return fields
    try:
        return {name: fields[name] for name in json.loads(fields["fields"])}
    except KeyError as error:
        raise ContextSerdeError(f"field {error} of the context is missing from the map") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ContextSerdeError(f"field 'fields' is no list of names: {error}") from error


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
            f"this map is no context: it has no field 'format' (it has: {some}). An empty map is."
        )
    return (
        f"this context has layout {fields['format']}, and this Stepwell reads {FORMAT}: "
        f"read it with the version that wrote it, or a newer one"
    )
