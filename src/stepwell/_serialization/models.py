"""The form of Pydantic models: field by field, so that what is inside keeps its type."""

from typing import Any, TypeVar, cast

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from stepwell import events
from stepwell._serialization.forms import (
    PLAIN,
    TAG,
    VALUE,
    Json,
    Refusal,
    Walker,
    attribute_step,
    decode_map,
    encode_map,
)
from stepwell._serialization.process_bound import is_process_bound
from stepwell._serialization.text import dumps, loads

_PRIVATE, _UNSET, _DUMP = "private", "unset", "dump"
_EVENT_CONTENT = frozenset(events.StopEvent.__private_attributes__)
_ABSENT: Any = object()
ModelT = TypeVar("ModelT", bound=BaseModel)


class ModelForm:
    """A model is stored by the names of its fields and made again by validation.

    A model that brings a serializer or a before- or wrap-validator of its own is stored as what
    `model_dump` makes of it: only the two together know what the stored data means.
    """

    def __init__(self, name: str, cls: type[BaseModel]) -> None:
        fields = cls.__pydantic_fields__
        self._name = name
        self._cls = cls
        self._is_dumped = _has_own_shape(cls)
        self._fields = tuple(name for name, field in fields.items() if not field.exclude)
        self._all_fields = frozenset(self._fields)
        self._lost = [n for n, field in fields.items() if field.exclude and field.is_required()]
        self._private = {
            name: _ABSENT if attribute.default_factory else attribute.default
            for name, attribute in cls.__private_attributes__.items()
        }
        self._accepted = {name: _accepted_name(name, field) for name, field in fields.items()}

    def encode(self, walker: Walker, model: BaseModel, depth: int) -> dict[str, Json]:
        if self._lost:
            raise Refusal(
                f"{self._cls.__qualname__} can't be made again: its field {self._lost[0]!r} is"
                f" required, but excluded from what is stored; give it a default"
            )
        tagged: dict[str, Json] = {TAG: self._name}
        if self._is_dumped:
            dump = model.model_dump(mode="json", by_alias=False, round_trip=True)
            tagged[_DUMP] = walker.encode_value(dump, depth)
        else:
            tagged[VALUE] = self._encode_fields(walker, model, depth)
        if model.__pydantic_private__:
            self._add_private(tagged, walker, model.__pydantic_private__, depth)
        if not self._all_fields <= model.__pydantic_fields_set__:
            tagged[_UNSET] = [n for n in self._fields if n not in model.__pydantic_fields_set__]
        return tagged

    def _encode_fields(self, walker: Walker, model: BaseModel, depth: int) -> dict[str, Json]:
        stored: dict[str, Json] = {}
        refused: dict[str, Refusal] = {}
        values = model.__dict__
        for name in self._fields:
            value = values.get(name, _ABSENT)
            if type(value) in PLAIN:
                stored[name] = value
            elif value is not _ABSENT:
                try:
                    stored[name] = walker.encode_value(value, depth)
                except Refusal as refusal:
                    refused[name] = refusal.under(attribute_step(name))
        if model.__pydantic_extra__:
            stored |= encode_map(walker, model.__pydantic_extra__, depth, attribute_step)
        if refused:
            self._dump_refused(stored, refused, walker, model, depth)
        return stored

    def _dump_refused(
        self,
        stored: dict[str, Json],
        refused: dict[str, Refusal],
        walker: Walker,
        model: BaseModel,
        depth: int,
    ) -> None:
        """Store what only Pydantic knows (a URL, an address) as its JSON, if it comes back equal.

        It does not if the field is declared as Any, or a secret, or holds a subclass.
        """
        for name, refusal in refused.items():
            try:
                stored[name] = walker.encode_value(_dump_of_field(model, name), depth)
            except (ValueError, TypeError, Refusal):
                raise refusal from None
        restored = self._try_again(stored, next(iter(refused.values())), walker, depth)
        for name, refusal in refused.items():
            again, value = getattr(restored, name), getattr(model, name)
            if type(again) is not type(value) or again != value:
                raise refusal

    def _try_again(
        self, stored: dict[str, Json], refusal: Refusal, walker: Walker, depth: int
    ) -> BaseModel:
        try:
            return self._from_fields(decode_map(walker, loads(dumps(stored)), depth))
        except (ValueError, TypeError, Refusal):
            raise refusal from None

    def _add_private(
        self, tagged: dict[str, Json], walker: Walker, values: dict[str, Any], depth: int
    ) -> None:
        """Store private attributes that were set; locks and the like are made anew by the model."""
        kept = {
            name: value
            for name, value in values.items()
            if value is not self._private.get(name, _ABSENT)
            and (name != "_data" or value)
            and (name in _EVENT_CONTENT or not is_process_bound(value))
        }
        if kept:
            tagged[_PRIVATE] = encode_map(walker, kept, depth, attribute_step)

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int) -> BaseModel:
        if _DUMP in tagged:
            model = self._from_dump(walker.decode_value(tagged[_DUMP], depth))
        else:
            model = self._from_fields(decode_map(walker, tagged[VALUE], depth))
        if _PRIVATE in tagged:
            private = decode_map(walker, tagged[_PRIVATE], depth)
            known = {name: private[name] for name in self._private if name in private}
            cast("dict[str, Any]", model.__pydantic_private__).update(known)
        model.__pydantic_fields_set__.difference_update(tagged.get(_UNSET, ()))
        return model

    def _from_dump(self, dump: Any) -> BaseModel:
        if isinstance(dump, dict):
            items = cast("dict[str, Any]", dump).items()
            dump = {self._accepted.get(name, name): value for name, value in items}
        return self._cls.model_validate(dump, by_alias=True, by_name=True)

    def _from_fields(self, values: dict[str, Any]) -> BaseModel:
        """Validate by field name, whatever the aliases; a constructor of its own is not called."""
        return model_of(self._cls, values["root"] if self._cls.__pydantic_root_model__ else values)


def _has_own_shape(cls: type[BaseModel]) -> bool:
    """Whether the class itself decides what its dump looks like; ours don't count."""
    decorators = cls.__pydantic_decorators__
    own = [
        *decorators.field_serializers.values(),
        *decorators.model_serializers.values(),
        *(v for v in decorators.model_validators.values() if v.info.mode != "after"),
    ]
    return any(decorator.func.__module__ != events.__name__ for decorator in own)


def dumped_field(model: BaseModel, name: str) -> Any:
    """Return a field as the JSON data that validation makes an equal value of.

    Raises:
        Refusal: it can't be made again.
    """
    value, copy = getattr(model, name), model.model_copy()
    try:
        dump = _dump_of_field(model, name)
        type(model).__pydantic_validator__.validate_assignment(copy, name, dump)
    except (ValueError, TypeError) as error:
        raise Refusal(f"{type(value).__name__} has no stored form") from error
    again = getattr(copy, name)
    if type(again) is not type(value) or again != value:
        raise Refusal(f"{type(value).__name__} would come back as something else")
    return dump


def model_of(cls: type[ModelT], fields: dict[str, Any]) -> ModelT:
    """Return a model made of its fields by name, whatever their aliases.

    Raises:
        ValidationError: they do not make one.
    """
    model = cls.__new__(cls)
    return cls.__pydantic_validator__.validate_python(
        fields, self_instance=model, by_alias=False, by_name=True
    )


def _dump_of_field(model: BaseModel, name: str) -> Any:
    """Return the JSON data of one field; `fallback` serves what an event holds beside it."""
    dump = model.model_dump(
        mode="json", include={name}, by_alias=False, round_trip=True, fallback=repr, warnings=False
    )
    return dump[name]


def _accepted_name(name: str, field: FieldInfo) -> str:
    """The name by which a constructor takes the field."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return next((choice for choice in choices if isinstance(choice, str)), name)
