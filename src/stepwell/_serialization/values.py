"""The forms of Python's own types."""

from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from math import isfinite
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic_core import TzInfo

from stepwell._serialization.best_effort import BestEffort, encoder_of_best_effort
from stepwell._serialization.exceptions import DESCRIBED, decode_described
from stepwell._serialization.forms import (
    TAG,
    VALUE,
    Decoder,
    Encoder,
    Json,
    Refusal,
    Walker,
    decode_list,
    encode_list,
    encode_map,
    is_plain,
    item_step,
    text_of,
)
from stepwell._serialization.text import dumps

FACTORIES: dict[str, type] = {
    cls.__name__: cls for cls in (bool, dict, float, int, list, set, str, tuple)
}
_FACTORY_NAMES: dict[Any, str] = {cls: name for name, cls in FACTORIES.items()}


def _encode_float(_walker: Walker, value: float, _depth: int) -> Json:
    return value if isfinite(value) else {TAG: "float", VALUE: repr(value)}


def _decode_float(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise Refusal(f"{text!r} is no such float")
    return float(text)


def _encode_complex(walker: Walker, value: complex, depth: int) -> Json:
    return {TAG: "complex", VALUE: encode_list(walker, (value.real, value.imag), depth)}


def _decode_complex(walker: Walker, tagged: dict[str, Json], depth: int) -> complex:
    real, imaginary = decode_list(walker, tagged[VALUE], depth)
    return complex(real, imaginary)


def _encode_list(walker: Walker, values: list[Any], depth: int) -> Json:
    return values if is_plain(values) else encode_list(walker, values, depth)


def _encode_tuple(walker: Walker, values: tuple[Any, ...], depth: int) -> Json:
    return {TAG: "tuple", VALUE: values if is_plain(values) else encode_list(walker, values, depth)}


def _decode_tuple(walker: Walker, tagged: dict[str, Json], depth: int) -> tuple[Any, ...]:
    return tuple(decode_list(walker, tagged[VALUE], depth))


def _encode_deque(walker: Walker, values: deque[Any], depth: int) -> Json:
    return {TAG: "deque", VALUE: encode_list(walker, values, depth), "maxlen": values.maxlen}


def _decode_deque(walker: Walker, tagged: dict[str, Json], depth: int) -> deque[Any]:
    return deque(decode_list(walker, tagged[VALUE], depth), tagged["maxlen"])


def _set_encoder(tag: str) -> Encoder:
    """Sets are written in an order of their own: equal sets have equal text in every process."""

    def encode(walker: Walker, values: Iterable[Any], depth: int) -> Json:
        if set(map(type, values)) in ({str}, {int}):
            return {TAG: tag, VALUE: sorted(values)}
        return {TAG: tag, VALUE: sorted(encode_list(walker, values, depth), key=dumps)}

    return encode


def _set_decoder(cls: type[set[Any] | frozenset[Any]]) -> Decoder:
    def decode(walker: Walker, tagged: dict[str, Json], depth: int) -> Any:
        return cls(decode_list(walker, tagged[VALUE], depth))

    return decode


def _encode_dict(walker: Walker, values: dict[Any, Any], depth: int) -> Json:
    if set(map(type, values)) <= {str} and TAG not in values:
        return values if is_plain(values.values()) else encode_map(walker, values, depth)
    return {TAG: "dict", VALUE: _encode_pairs(walker, values, depth)}


def _encode_pairs(walker: Walker, values: Mapping[Any, Any], depth: int) -> Json:
    pairs: list[Json] = []
    key: Any = None
    try:
        for key, value in values.items():
            pairs.append([walker.encode_value(key, depth), walker.encode_value(value, depth)])
    except Refusal as refusal:
        raise refusal.under(item_step(key)) from None
    return pairs


def _decode_pairs(walker: Walker, tagged: dict[str, Json], depth: int) -> dict[Any, Any]:
    if type(tagged[VALUE]) is not list:
        raise Refusal("a list of pairs is missing in its stored form")
    pairs = (decode_list(walker, pair, depth) for pair in tagged[VALUE])
    return {key: value for key, value in pairs}  # noqa: C416 - dict() takes pairs of any iterable


def _pairs_encoder(tag: str) -> Encoder:
    def encode(walker: Walker, values: Mapping[Any, Any], depth: int) -> Json:
        return {TAG: tag, VALUE: _encode_pairs(walker, values, depth)}

    return encode


def _decode_ordered(walker: Walker, tagged: dict[str, Json], depth: int) -> OrderedDict[Any, Any]:
    return OrderedDict(_decode_pairs(walker, tagged, depth))


def _decode_counter(walker: Walker, tagged: dict[str, Json], depth: int) -> Counter[Any]:
    return Counter(_decode_pairs(walker, tagged, depth))


def _encode_defaultdict(walker: Walker, values: defaultdict[Any, Any], depth: int) -> Json:
    tagged = {TAG: "defaultdict", VALUE: _encode_pairs(walker, values, depth)}
    if values.default_factory is None:
        return tagged
    factory = _FACTORY_NAMES.get(values.default_factory)
    if factory is None:
        raise Refusal(
            f"a defaultdict is stored only without a factory, or with one of {', '.join(FACTORIES)}"
        )
    return {**tagged, "factory": factory}


def _decode_defaultdict(
    walker: Walker, tagged: dict[str, Json], depth: int
) -> defaultdict[Any, Any]:
    factory = FACTORIES[tagged["factory"]] if "factory" in tagged else None
    return defaultdict(factory, _decode_pairs(walker, tagged, depth))


def _encode_datetime(_walker: Walker, value: datetime, _depth: int) -> Json:
    return {TAG: "datetime", **_clock_fields(value)}


def _encode_time(_walker: Walker, value: time, _depth: int) -> Json:
    return {TAG: "time", **_clock_fields(value)}


def _clock_fields(value: datetime | time) -> dict[str, Json]:
    """ISO text; a zone of the time zone database by its key, since its offset is not all of it."""
    fold = {"fold": 1} if value.fold else {}
    zone = _zone_key(value.tzinfo)
    if zone is None:
        return {VALUE: value.isoformat(), **fold}
    return {VALUE: value.replace(tzinfo=None).isoformat(), "zone": zone, **fold}


def _zone_key(zone: tzinfo | None) -> str | None:
    if zone is None or type(zone) in (timezone, TzInfo):
        return None
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    raise Refusal(f"a time zone of type {type(zone).__name__} has no stored form: use zoneinfo")


def _decode_datetime(_walker: Walker, tagged: dict[str, Json], _depth: int) -> datetime:
    return _with_zone(datetime.fromisoformat(text_of(tagged)), tagged)


def _decode_time(_walker: Walker, tagged: dict[str, Json], _depth: int) -> time:
    return _with_zone(time.fromisoformat(text_of(tagged)), tagged)


def _with_zone(value: Any, tagged: dict[str, Json]) -> Any:
    zone = ZoneInfo(tagged["zone"]) if "zone" in tagged else value.tzinfo
    return value.replace(tzinfo=zone, fold=tagged.get("fold", 0))


def _encode_timedelta(_walker: Walker, value: timedelta, _depth: int) -> Json:
    return {TAG: "timedelta", VALUE: [value.days, value.seconds, value.microseconds]}


def _decode_timedelta(walker: Walker, tagged: dict[str, Json], depth: int) -> timedelta:
    days, seconds, microseconds = decode_list(walker, tagged[VALUE], depth)
    return timedelta(days, seconds, microseconds)


def _encode_class(walker: Walker, cls: type, _depth: int) -> Json:
    name = walker.types.name_of(cls)
    if name is None:
        raise Refusal(
            f"the class {cls.__qualname__} itself is stored only if it is registered:"
            f" stepwell.register({cls.__qualname__})"
        )
    return {TAG: "class", VALUE: name}


def _decode_class(walker: Walker, tagged: dict[str, Json], _depth: int) -> type:
    name = text_of(tagged)
    return walker.types.resolve(name) or refuse_unknown(name)


def refuse_unknown(name: str) -> Any:
    """Raise the refusal of a stored type name that the registry does not have."""
    raise Refusal(
        f"the type {name!r} is unknown here: register it with stepwell.register(...),"
        f" or name it in a step's signature"
    )


def _encode_bytes(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _decode_bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def _text_encoder(tag: str, to_text: Callable[[Any], str]) -> Encoder:
    def encode(_walker: Walker, value: Any, _depth: int) -> Json:
        return {TAG: tag, VALUE: to_text(value)}

    return encode


def _text_decoder(from_text: Callable[[str], Any]) -> Decoder:
    def decode(_walker: Walker, tagged: dict[str, Json], _depth: int) -> Any:
        return from_text(text_of(tagged))

    return decode


_TEXTS: list[tuple[str, type, Callable[[Any], str], Callable[[str], Any]]] = [
    ("bytes", bytes, _encode_bytes, _decode_bytes),
    ("date", date, date.isoformat, date.fromisoformat),
    ("decimal", Decimal, str, Decimal),
    ("path", type(Path()), str, Path),
    ("posixpath", PurePosixPath, str, PurePosixPath),
    ("uuid", UUID, str, UUID),
    ("windowspath", PureWindowsPath, str, PureWindowsPath),
]

ENCODERS: dict[type, Encoder] = {
    complex: _encode_complex,
    datetime: _encode_datetime,
    defaultdict: _encode_defaultdict,
    deque: _encode_deque,
    dict: _encode_dict,
    float: _encode_float,
    frozenset: _set_encoder("frozenset"),
    list: _encode_list,
    set: _set_encoder("set"),
    time: _encode_time,
    timedelta: _encode_timedelta,
    tuple: _encode_tuple,
    type: _encode_class,
    BestEffort: encoder_of_best_effort(),
    Counter: _pairs_encoder("counter"),
    OrderedDict: _pairs_encoder("ordereddict"),
    **{cls: _text_encoder(tag, to_text) for tag, cls, to_text, _ in _TEXTS},
}
"""By exact type: a subclass is another type, and would come back as its base."""

DECODERS: dict[str, Decoder] = {
    "class": _decode_class,
    "complex": _decode_complex,
    "counter": _decode_counter,
    "datetime": _decode_datetime,
    "defaultdict": _decode_defaultdict,
    "deque": _decode_deque,
    "dict": _decode_pairs,
    "float": _text_decoder(_decode_float),
    "frozenset": _set_decoder(frozenset),
    "ordereddict": _decode_ordered,
    "set": _set_decoder(set),
    "time": _decode_time,
    "timedelta": _decode_timedelta,
    "tuple": _decode_tuple,
    DESCRIBED: decode_described,
    **{tag: _text_decoder(from_text) for tag, _, _, from_text in _TEXTS},
}
