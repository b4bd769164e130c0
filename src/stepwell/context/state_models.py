"""The classes of states, and what can be done with a state as a value."""

from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol, cast

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVar

from stepwell._engine.plan import Plan
from stepwell._names import kind_of
from stepwell.context._copies import Copies
from stepwell.events import DictLikeModel

__all__ = [
    "MODEL_T",
    "DictState",
    "copy_state_for_edit",
    "infer_state_type",
    "merge_state",
    "most_derived",
    "new_state",
    "only_as_a_whole",
    "state_of",
    "stored_values",
    "top_level",
    "unstored_fields",
]


class DictState(DictLikeModel):
    """The state of a workflow that declares no state of its own: any key, any value."""

    __module__ = "stepwell.context.state_store"  # where users import it; stored states name it


MODEL_T = TypeVar("MODEL_T", bound=BaseModel, default=DictState)


class _Planned(Protocol):
    """A workflow, as far as its state is concerned."""

    def __stepwell_plan__(self) -> Plan:
        """Which step takes which event, and the state that they share."""
        ...


def infer_state_type(workflow: _Planned) -> type[BaseModel]:
    """Return the class of the state that the steps of a workflow share.

    Raises:
        ValueError: the steps name two that are unrelated.
    """
    return workflow.__stepwell_plan__().state_type


def most_derived(declared: Iterable[type[BaseModel] | None]) -> type[BaseModel]:
    """Return the most derived of the state classes that the steps name.

    Args:
        declared: the `T` of each step's `Context[T]`, None where there is none.

    Raises:
        ValueError: two of them are unrelated.
    """
    named = [cls for cls in dict.fromkeys(declared) if cls is not None and cls is not DictState]
    for cls in named:
        if all(issubclass(cls, other) for other in named):
            return cls
    if named:
        raise ValueError(
            f"The steps' state classes {', '.join(cls.__name__ for cls in named)} are not in a "
            f"compatible inheritance hierarchy: let one of them extend the others"
        )
    return DictState


def new_state(state_type: type[MODEL_T]) -> MODEL_T:
    """Return a state of the class's defaults.

    Raises:
        ValueError: a field has no default (pydantic's ValidationError is one).
    """
    try:
        return state_type()
    except ValidationError as error:
        error.add_note(
            f"A run begins with a state made of its defaults: give each field of "
            f"{state_type.__name__} a default."
        )
        raise


def state_of(state_type: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    """Return a state of its values by field name, whatever the aliases; they are validated.

    Raises:
        ValidationError: a value does not fit, or is missing.
    """
    state = state_type.__new__(state_type)
    state_type.__pydantic_validator__.validate_python(
        values, self_instance=state, by_alias=False, by_name=True
    )
    if isinstance(state, DictLikeModel):
        dynamic = values.keys() - state_type.model_fields.keys()
        state.to_dict().update({key: values[key] for key in values if key in dynamic})
    return state


def merge_state(current_state: MODEL_T, incoming: BaseModel) -> MODEL_T:
    """Return the state that `set_state` makes of the present one and a given one.

    Args:
        current_state: the present state.
        incoming: one of the same class or a subclass replaces it; the fields of one of a parent
            class are merged over it, and the outcome is validated.

    Raises:
        ValueError: the class of `incoming` is unrelated, or the outcome is not valid.
    """
    if isinstance(incoming, type(current_state)):
        return incoming
    if not isinstance(current_state, type(incoming)):
        raise ValueError(  # noqa: TRY004  the interface says so
            f"The state must be of type {type(current_state).__name__} or a parent of it, "
            f"not {kind_of(incoming)}: give set_state() an instance of it"
        )
    merged = {**top_level(current_state), **top_level(incoming)}
    return cast("MODEL_T", state_of(type(current_state), merged))


def copy_state_for_edit(state: MODEL_T) -> MODEL_T:
    """Return a deep copy; what can't be copied, and excluded fields, it shares with the state."""
    return Copies().of(state)


def top_level(state: BaseModel) -> dict[str, Any]:
    """The values of a state by field, or by key where it takes any."""
    if type(state) is DictState:
        return state.to_dict()
    values, fields = vars(state), type(state).model_fields
    declared = {name: values[name] for name in fields if name in values}
    dynamic = state.to_dict() if isinstance(state, DictLikeModel) else state.model_extra
    return {**declared, **(dynamic or {})}


def stored_values(state: BaseModel) -> dict[str, Any]:
    """The values that `top_level` gives, without the fields that are never written."""
    values, unstored = top_level(state), unstored_fields(type(state))
    if not unstored:
        return values
    return {key: value for key, value in values.items() if key not in unstored}


@cache
def unstored_fields(cls: type[BaseModel]) -> frozenset[str]:
    """The fields that the class never wants written."""
    return frozenset(name for name, field in cls.model_fields.items() if field.exclude)


@cache
def only_as_a_whole(cls: type[BaseModel]) -> bool:
    """Whether a model decides itself how it is written or read, so that its fields mean nothing."""
    decorators = cls.__pydantic_decorators__
    own = decorators.model_serializers.keys() - DictState.__pydantic_decorators__.model_serializers
    reads = [one for one in decorators.model_validators.values() if one.info.mode != "after"]
    return bool(own or decorators.field_serializers or reads)
