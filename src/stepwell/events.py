"""Events: the Pydantic objects that steps take and return.

An event takes any keyword. Declared fields are validated as in every Pydantic model; the rest is
kept in a dictionary and read as attributes or items: `Progress(done=3).done`.

To a type checker, the constructor of a model takes its declared fields alone, unless its class
names one: `__init__ = Event.__init__` takes any keyword there too.
"""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from datetime import datetime
from enum import Enum
from functools import cache
from inspect import unwrap
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from typing_extensions import override

from stepwell._empty import empty
from stepwell._exceptions import describe_exception, rebuild_exception
from stepwell._names import dotted_name, loaded_class
from stepwell.errors import UnreconstructedException

__all__ = [
    "CollectionReleaseEvent",
    "DictLikeModel",
    "Event",
    "EventType",
    "HumanResponseEvent",
    "IdleReleasedEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "SerializableEvent",
    "SerializableEventType",
    "SerializableException",
    "SerializableOptionalEvent",
    "SerializableOptionalException",
    "StartEvent",
    "StepFailedEvent",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "UnhandledEvent",
    "UnreconstructedException",
    "WorkflowCancelledEvent",
    "WorkflowFailedEvent",
    "WorkflowIdleEvent",
    "WorkflowTimedOutEvent",
]


class DictLikeModel(BaseModel):
    """A model that also takes, and hands out, values it did not declare.

    Args:
        **params: values of declared fields, of declared private attributes, and of anything else.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    _data: dict[str, Any] = PrivateAttr(default_factory=dict)

    @override
    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        ours = DictLikeModel.model_post_init
        if unwrap(cls.model_post_init) is unwrap(ours):  # else a class has a hook of its own
            cls.model_post_init = ours  # Pydantic wraps it for each class: all make `_data` again

    def __init__(self, **params: Any) -> None:
        declared = _declared_names(type(self))
        if declared.issuperset(params):
            super().__init__(**params)
            return
        private = {
            name: params.pop(name) for name in type(self).__private_attributes__.keys() & params
        }
        is_open = type(self).model_config.get("extra") != "forbid"  # else Pydantic refuses them
        undeclared = params.keys() - declared if is_open else ()
        dynamic = {name: params.pop(name) for name in list(params) if name in undeclared}
        super().__init__(**params)
        if not isinstance(private.get("_data", {}), dict):
            raise TypeError(
                f"{type(self).__name__}(_data={private['_data']!r:.80}): this name is taken, for "
                "the dict of the undeclared values. Give the value another name."
            )
        for name, value in private.items():
            super().__setattr__(name, value)
        self._data.update(dynamic)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in type(self).__private_attributes__:
            return super().__getattr__(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue]  Pydantic hides it from type checkers
        try:
            return self._data[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}") from None

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        if (
            name in cls.__private_attributes__
            or name in cls.__pydantic_fields__
            or hasattr(cls, name)
        ):
            super().__setattr__(name, value)
        else:
            self._data[name] = value

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return True

    @override
    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  dict-like by contract
        return iter(self._data)

    def get(self, key: str, default: Any = None) -> Any:
        """Return an undeclared value, or `default`."""
        return self._data.get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the names of the undeclared values."""
        return self._data.keys()

    def values(self) -> ValuesView[Any]:
        """Return the undeclared values."""
        return self._data.values()

    def items(self) -> ItemsView[str, Any]:
        """Return the undeclared names and values."""
        return self._data.items()

    def to_dict(self) -> dict[str, Any]:
        """Return the undeclared values as the dictionary that holds them."""
        return self._data

    @model_serializer(mode="wrap")
    def _with_data(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if self._data:
            dumped["_data"] = self._data
        return dumped


@cache
def _declared_names(cls: type[BaseModel]) -> frozenset[str]:
    """The keywords that Pydantic itself understands for `cls`: field names and their aliases."""
    names = set(cls.__pydantic_fields__)
    for field in cls.__pydantic_fields__.values():
        aliases = field.validation_alias
        choices = aliases.choices if isinstance(aliases, AliasChoices) else [aliases, field.alias]
        names.update(choice for choice in choices if isinstance(choice, str))
    return frozenset(names)


class Event(DictLikeModel):
    """What travels between steps. Subclass it; its type decides which steps receive it."""

    __init__ = DictLikeModel.__init__


EventType: TypeAlias = type[Event]
"""A class of events."""


def _dump_event(event: Event) -> dict[str, Any]:
    return {
        "__is_pydantic": True,
        "value": event.model_dump(mode="json"),
        "qualified_name": dotted_name(type(event)),
    }


def _to_event(value: Any) -> Event:
    match value:
        case Event():
            return value
        case {"value": fields, "qualified_name": name}:
            return _to_event_class(name).model_validate(fields)
        case _:
            raise ValueError(f"{value!r:.80} is neither an event nor the dump of one")


def _to_event_class(value: object) -> EventType:
    cls = loaded_class(value) if isinstance(value, str) else value
    if isinstance(cls, type) and issubclass(cls, Event):
        return cls
    raise ValueError(f"{value!r:.80} names no event class that is loaded: import its module first")


def _to_exception(value: object) -> Exception:
    match value:
        case Exception():
            return value
        case {"exception_type": str(name), "exception_message": str(message)}:
            return rebuild_exception(name, message)
        case _:
            raise ValueError(f"{value!r:.80} is neither an exception nor the dump of one")


SerializableEvent: TypeAlias = Annotated[
    Event, PlainValidator(_to_event), PlainSerializer(_dump_event)
]
"""A field that holds an event of any class; its dump names the class."""

SerializableOptionalEvent: TypeAlias = SerializableEvent | None
"""The same, or None."""

SerializableEventType: TypeAlias = Annotated[
    EventType, PlainValidator(_to_event_class), PlainSerializer(dotted_name)
]
"""A field that holds an event class; its dump is the name."""

SerializableException: TypeAlias = Annotated[
    Exception, PlainValidator(_to_exception), PlainSerializer(describe_exception)
]
"""A field that holds an exception; its dump is the name of the class and the message.

What is loaded from a dump is an exception of that class if it is known here, and can be made of a
message alone; otherwise an `UnreconstructedException`. Loading imports nothing.
"""

SerializableOptionalException: TypeAlias = SerializableException | None
"""The same, or None."""


class StartEvent(Event):
    """The input of a run: made from the keywords of `workflow.run(**keywords)`."""

    __init__ = Event.__init__


class StopEvent(Event):
    """Ends a run.

    Args:
        result: what `await handler` returns. A subclass is returned whole instead.
    """

    _result: Any = PrivateAttr(default=None)

    @classmethod
    @override
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if "result" in cls.__pydantic_fields__:
            raise TypeError(
                f"{cls.__qualname__}: a StopEvent has a result already, so that no field can have "
                "that name. Give the field another name, or return StopEvent(result=...)."
            )

    def __init__(self, result: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if result is not None:
            self._result = result

    @property
    def result(self) -> Any:
        """The result of the run."""
        return self._get_result()

    def _get_result(self) -> Any:
        return self._result

    @model_serializer(mode="wrap")
    def _with_result(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if self._data:
            dumped["_data"] = self._data
        if self._result is not None:
            dumped["result"] = self._result
        return dumped

    @override
    def __repr__(self) -> str:
        shown = {
            **{name: getattr(self, name) for name in type(self).__pydantic_fields__},
            **self._data,
        }
        if self._result is not None:
            shown["result"] = self._result
        inner = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({inner})"

    @override
    def __str__(self) -> str:
        return str(self.result)


class WorkflowTimedOutEvent(StopEvent):
    """The last event of a run that took longer than its timeout (seconds)."""

    timeout: float
    active_steps: list[str]


class WorkflowCancelledEvent(StopEvent):
    """The last event of a run that was cancelled."""


class WorkflowFailedEvent(StopEvent):
    """The last event of a run that failed: the step, its exception, how often it was tried."""

    step_name: str
    exception: SerializableException
    attempts: int | None = None
    elapsed_seconds: float | None = None


class IdleReleasedEvent(StopEvent):
    """The last event of a run that left its process because it waits for something outside."""


class StepFailedEvent(Event):
    """What a `catch_error` step takes: a step failed for good.

    Args:
        step_name: the step.
        input_event: the event that it was given.
        exception: what it raised the last time.
        attempts: how often it was tried.
        elapsed_seconds: since its first attempt began.
        failed_at: when it gave up, in UTC.
    """

    step_name: str
    input_event: SerializableEvent
    exception: SerializableException
    attempts: int
    elapsed_seconds: float
    failed_at: datetime


class CollectionReleaseEvent(Event):
    """The events that a collecting step has been waiting for, in one piece.

    Args:
        events: what was collected.
        stream_id: the list that the events belong to.
        binding_id: the parameter of the step that takes them.
    """

    events: list[SerializableEvent] = Field(default_factory=empty(list[Event]))
    stream_id: str = ""
    binding_id: str = ""


class InputRequiredEvent(Event):
    """Published to whoever reads the stream of a run: a human is asked for something."""

    __init__ = Event.__init__


class HumanResponseEvent(Event):
    """Comes from outside a run, as the answer to an `InputRequiredEvent`."""

    __init__ = Event.__init__


class InternalDispatchEvent(Event):
    """What the engine tells of itself; in the stream of a run only with `expose_internal=True`."""


class WorkflowIdleEvent(InternalDispatchEvent):
    """Nothing runs and nothing is queued: the run waits for an event or for time to pass."""


class UnhandledEvent(InternalDispatchEvent):
    """An event that no step takes.

    Args:
        event_type: name of its class.
        qualified_name: name of its class with the module.
        step_name: the step it was sent to, if it was sent to one.
        idle: whether the run has nothing else to do.
    """

    event_type: str
    qualified_name: str
    step_name: str | None = None
    idle: bool


class StepState(Enum):
    """What a step does with an event."""

    PREPARING = "preparing"
    RUNNING = "running"
    NOT_RUNNING = "not_running"


class StepStateChanged(InternalDispatchEvent):
    """A step took an event from its queue, is done with it, or has to let it wait.

    Args:
        name: of the step.
        step_state: what it does now.
        worker_id: which of its workers; `"<enqueued>"` while the event waits for one.
        input_event_name: class of the event that it takes.
        output_event_name: class of the event that it returned.
    """

    name: str
    step_state: StepState
    worker_id: str
    input_event_name: str
    output_event_name: str | None = None
