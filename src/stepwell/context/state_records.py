"""A state as data: the layout that `ctx.store.to_dict(serializer)` returns.

    {"store_type": "in_memory", "state_type": "DictState", "state_module": "...", "state_data": ...}

The data of a `DictState` is `{"_data": {key: text}}`, that of any other model one text. The data of
a `StateCheckpoint` (`state_patches.py`) is a tree, not text, and has a key `_tree`.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel

from stepwell.context.serializers import BaseSerializer, JsonSerializer
from stepwell.context.state_models import DictState, state_of, stored_values

__all__ = [
    "DATA",
    "KNOWN_UNSERIALIZABLE_KEYS",
    "TREE",
    "InMemorySerializedState",
    "StateRecord",
    "UnserializableKeyWarning",
    "decode_state",
    "deserialize_state_from_dict",
    "encode_state",
    "encoded_values",
    "parse_in_memory_state",
    "serialized_state",
]

KNOWN_UNSERIALIZABLE_KEYS = ("memory",)
"""Keys under which programs keep live objects: left out of data, with a warning."""

DATA = "_data"
TREE = "_tree"


class UnserializableKeyWarning(Warning):
    """A key of the state was left out: its value can't be serialized."""


class InMemorySerializedState(BaseModel):
    """The data of a state that lives in a process.

    Attributes:
        store_type: tells it from the handles of other stores.
        state_type: the name of the state's class.
        state_module: where the class is.
        state_data: the state itself.
    """

    store_type: Literal["in_memory"] = "in_memory"
    state_type: str = DictState.__name__
    state_module: str = DictState.__module__
    state_data: Any = None


class StateRecord(BaseModel):
    """What a `StateStorage` keeps of a state.

    Attributes:
        data: the state, as `encode_state` wrote it, or that as JSON text.
        state_type: the name of the state's class.
        state_module: where the class is.
    """

    data: Any
    state_type: str | None = None
    state_module: str | None = None


def serialized_state(state: BaseModel, serializer: BaseSerializer) -> dict[str, Any]:
    """Return a state in the layout of `InMemorySerializedState`.

    Raises:
        ValueError: a value can't be serialized; names its key.
    """
    data, name, module = encode_state(state, serializer)
    whole = InMemorySerializedState(state_type=name, state_module=module, state_data=data)
    return whole.model_dump()


def encode_state(
    state: BaseModel,
    serializer: BaseSerializer,
    known_unserializable_keys: tuple[str, ...] = KNOWN_UNSERIALIZABLE_KEYS,
) -> tuple[Any, str, str]:
    """Return the data of a state, and the name and the module of its class.

    Args:
        state: the state.
        serializer: turns each value into text.
        known_unserializable_keys: are left out, with a warning, where that fails.

    Raises:
        ValueError: another value can't be serialized; names its key.
    """
    cls = type(state)
    if not isinstance(state, DictState):
        return serializer.serialize(state), cls.__name__, cls.__module__
    values = encoded_values(state, serializer.serialize, known_unserializable_keys)
    return {DATA: dict(values)}, cls.__name__, cls.__module__


def encoded_values(
    state: DictState, encode: Callable[[Any], Any], known_unserializable_keys: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    """The values of a state by key, each as `encode` writes it.

    Raises:
        ValueError: a value can't be encoded; names its key.
    """
    for key, value in stored_values(state).items():
        try:
            yield key, encode(value)
        except Exception as error:  # any serializer may refuse in its own way
            if key not in known_unserializable_keys:
                raise ValueError(f"state key {key!r} can't be serialized: {error}") from error
            warnings.warn(
                f"state key {key!r} is left out of the data, for it can't be serialized: set it "
                f"again after loading ({error})",
                UnserializableKeyWarning,
                stacklevel=2,
            )


def parse_in_memory_state(data: Mapping[str, Any]) -> InMemorySerializedState:
    """Return data as the parts that it has; what is missing has its default.

    Raises:
        ValueError: it is the data of another kind of store, or a part is of a wrong type.
    """
    data = _mapping(data)
    kind = data.get("store_type", "in_memory")
    if kind != "in_memory":
        raise ValueError(
            f"Cannot parse store_type {kind!r} as that of an in-memory state: give the data to the "
            f"store that wrote it"
        )
    return InMemorySerializedState.model_validate(dict(data))


def deserialize_state_from_dict(
    serialized_state: Mapping[str, Any],
    serializer: BaseSerializer,
    state_type: type[BaseModel] | None = None,
) -> BaseModel:
    """Return the state in data, whatever kind of store they are of.

    Args:
        serialized_state: the data; without a state in them it is an empty `DictState`.
        serializer: reads the values.
        state_type: the class of a state of keys; None for the one that the data name, if this
            process has it.

    Raises:
        ValueError: a value can't be read; names its key.
    """
    data = _mapping(serialized_state)
    state = decode_state(data.get("state_data"), serializer)
    wanted = state_type or _named_class(data, serializer)
    if type(state) is not DictState or wanted is None or not issubclass(wanted, DictState):
        return state
    return state_of(wanted, state.to_dict())


def _named_class(data: Mapping[str, Any], serializer: BaseSerializer) -> type[BaseModel] | None:
    """The class that a state of keys had, where the serializer may make it.

    Its keys are all that it holds: without the class they make a `DictState`.
    """
    name = data.get("state_type", DictState.__name__)
    if name == DictState.__name__ or not isinstance(serializer, JsonSerializer):
        return None
    try:
        return serializer.resolve_class(f"{data.get('state_module')}.{name}")
    except (ImportError, AttributeError, ValueError):
        return None


def decode_state(state_data: Any, serializer: BaseSerializer) -> BaseModel:
    """Return the state that data of `encode_state` stand for; None is an empty `DictState`.

    Raises:
        ValueError: the data are none of a state, or a value in them can't be read.
    """
    if state_data is None:
        return DictState()
    if isinstance(state_data, str):
        return _decode_text(state_data, serializer)
    if isinstance(state_data, dict):
        return _decode_dict(cast("dict[str, Any]", state_data), serializer)
    raise ValueError(f"the data of a state are a dict or text, not {type(state_data).__name__}")


def _decode_text(text: str, serializer: BaseSerializer) -> BaseModel:
    """A typed state, or the JSON of the data of another."""
    if text.startswith(f'{{"{DATA}"'):
        return _decode_dict(json.loads(text), serializer)
    state = serializer.deserialize(text)
    if isinstance(state, dict):
        return _decode_dict(cast("dict[str, Any]", state), serializer)
    return _checked(state)


def _decode_dict(data: dict[str, Any], serializer: BaseSerializer) -> BaseModel:
    if DATA not in data:
        return _checked(_tree_reader(serializer).deserialize_value(data))
    decode = _tree_reader(serializer).deserialize_value if TREE in data else serializer.deserialize
    state = DictState()
    for key, text in _mapping(data[DATA]).items():
        try:
            state[key] = decode(text)
        except Exception as error:  # any serializer may refuse in its own way
            raise ValueError(f"state key {key!r} can't be read back: {error}") from error
    return state


def _tree_reader(serializer: BaseSerializer) -> JsonSerializer:
    if isinstance(serializer, JsonSerializer):
        return serializer
    raise ValueError(
        f"the data are a tree, which only a JsonSerializer reads, not {type(serializer).__name__}"
    )


def _checked(state: object) -> BaseModel:
    if isinstance(state, BaseModel):
        return state
    raise ValueError(
        f"the data of a state should be a model, or have a key {DATA!r}, but are a "
        f"{type(state).__name__}"
    )


def _mapping(data: object) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return cast("Mapping[str, Any]", data)
    raise ValueError(f"the data of a state are a dict, not {type(data).__name__}")
