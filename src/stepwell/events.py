"""Events: the Pydantic objects that steps take and return.

An event takes any keyword. Declared fields are validated as in every Pydantic model; the rest is
kept in a dictionary and read as attributes or items: `Progress(done=3).done`.
"""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from functools import cache
from typing import Any, ClassVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)
from typing_extensions import override

__all__ = [
    "DictLikeModel",
    "Event",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "StartEvent",
    "StopEvent",
    "WorkflowCancelledEvent",
    "WorkflowFailedEvent",
    "WorkflowTimedOutEvent",
]


class DictLikeModel(BaseModel):
    """A model that also takes, and hands out, values it did not declare.

    Args:
        **params: values of declared fields, of declared private attributes, and of anything else.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    _data: dict[str, Any] = PrivateAttr(default_factory=dict[str, Any])

    def __init__(self, **params: Any) -> None:
        declared = _declared_names(type(self))
        if declared.issuperset(params):
            super().__init__(**params)
            return
        private = {
            name: params.pop(name) for name in type(self).__private_attributes__.keys() & params
        }
        dynamic = {name: params.pop(name) for name in params.keys() - declared}
        super().__init__(**params)
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


class StartEvent(Event):
    """The input of a run: made from the keywords of `workflow.run(**keywords)`."""


class StopEvent(Event):
    """Ends a run.

    Args:
        result: what `await handler` returns. A subclass is returned whole instead.
    """

    _result: Any = PrivateAttr(default=None)

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
        if self.result is not None:
            dumped["result"] = self.result
        return dumped

    @override
    def __repr__(self) -> str:
        shown = {
            **{name: getattr(self, name) for name in type(self).__pydantic_fields__},
            **self._data,
        }
        if self.result is not None:
            shown["result"] = self.result
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
    exception: Exception
    attempts: int | None = None
    elapsed_seconds: float | None = None

    @field_serializer("exception")
    def _exception_as_text(self, error: Exception) -> dict[str, str]:
        cls = type(error)
        return {
            "exception_type": f"{cls.__module__}.{cls.__qualname__}",
            "exception_message": str(error),
        }


class InputRequiredEvent(Event):
    """Published to whoever reads the stream of a run: a human is asked for something."""


class HumanResponseEvent(Event):
    """Comes from outside a run, as the answer to an `InputRequiredEvent`."""
