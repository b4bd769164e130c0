"""The flat map of a run with its values written by a serializer that the user chose.

The map stays one field a fact, and each field stays JSON. In place of the codec's form of a value
stands `{"$type": "serialized", "value": "<text>"}`: an object that the codec never makes of a
user's own dictionary, so that no stored data can pass for text of the serializer.
"""

import json
from collections.abc import Iterable
from typing import Any, cast

from typing_extensions import override

from stepwell._serialization import NOTHING_CAPTURED, Captured, Codec
from stepwell._serialization.forms import TAG, VALUE, Json
from stepwell.context.serializers import BaseSerializer, JsonSerializer
from stepwell.context.utils import get_qualified_name
from stepwell.errors import DecodingError, EncodingError

__all__ = ["SerializedCodec", "codec_with"]

_SERIALIZED = "serialized"


def codec_with(serializer: BaseSerializer | None, codec: Codec) -> Codec:
    """Return the codec for a serializer: the given one where no other is asked for.

    A plain `JsonSerializer` asks for nothing that the codec does not do: it keeps more types.
    """
    if serializer is None or type(serializer) is JsonSerializer:
        return codec
    return SerializedCodec(serializer, codec)


class SerializedCodec(Codec):
    """Writes each value by a serializer; reads that, and what the plain codec wrote.

    Args:
        serializer: turns values into text and back.
        codec: the plain codec.
    """

    def __init__(self, serializer: BaseSerializer, codec: Codec) -> None:
        super().__init__(codec.types)
        self._serializer = serializer

    @override
    def must_capture(self, value: object) -> bool:
        return False

    @override
    async def capture(self, values: Iterable[Any]) -> Captured:
        return NOTHING_CAPTURED

    @override
    def encode(self, value: Any, where: str) -> str:
        try:
            text = self._serializer.serialize(value)
        except Exception as error:  # any serializer may refuse in its own way
            raise EncodingError(
                f"{where}: {self._name} can't write it: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may return anything
            raise EncodingError(
                f"{where}: {self._name}.serialize returned {type(text).__name__}, not str"
            )
        return json.dumps({TAG: _SERIALIZED, VALUE: text})

    @override
    def decode_parsed(self, tree: Json, where: str) -> Any:
        if not isinstance(tree, dict) or cast("dict[str, Json]", tree).get(TAG) != _SERIALIZED:
            return super().decode_parsed(tree, where)
        try:
            return self._serializer.deserialize(cast("dict[str, Json]", tree)[VALUE])
        except Exception as error:  # any serializer may refuse in its own way
            raise DecodingError(
                f"{where}: {self._name} can't read it back: {type(error).__name__}: {error}"
            ) from error

    @override
    def check(self, value: Any, where: str) -> None:
        """Only the serializer knows, and only when it writes the value."""

    @property
    def _name(self) -> str:
        return get_qualified_name(self._serializer)
