"""Chat messages, and what tools return."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage, ContentBlock
from llama_index.core.tools.types import ToolOutput
from pydantic import AnyUrl, BaseModel, TypeAdapter

from stepwell._serialization import BestEffort
from stepwell.integrations.llama_index._registering import use_codec

__all__ = ["encode_blocks", "register_codecs"]

Fields = dict[str, Any]

_BLOCK: TypeAdapter[Any] = TypeAdapter(ContentBlock)


def register_codecs() -> None:
    """Let Stepwell store messages and the outputs of tools."""
    use_codec(ChatMessage, _encode_message, _decode_message)
    use_codec(ToolOutput, _encode_output, _decode_output)


def _encode_message(message: ChatMessage) -> Fields:
    return {
        "role": message.role.value,
        "blocks": encode_blocks(message.blocks),
        "additional_kwargs": _plain(message.additional_kwargs, "additional_kwargs of a message"),
    }


def _decode_message(fields: Fields) -> ChatMessage:
    """The keywords are set last: the constructor would make blocks of some of them once more."""
    message = ChatMessage(role=fields["role"], blocks=_decode_blocks(fields["blocks"]))
    message.additional_kwargs = fields["additional_kwargs"]
    return message


def _encode_output(output: ToolOutput) -> Fields:
    tool = f"tool {output.tool_name!r}"
    return {
        "tool_name": output.tool_name,
        "blocks": encode_blocks(output.blocks),
        "raw_input": _plain(output.raw_input, f"the input of {tool}"),
        "raw_output": BestEffort(output.raw_output, f"the raw output of {tool}"),
        "is_error": output.is_error,
        "exception": BestEffort(output.exception, f"the exception of {tool}"),
    }


def _decode_output(fields: Fields) -> ToolOutput:
    fields["blocks"] = _decode_blocks(fields["blocks"])
    return ToolOutput(**fields)


def _decode_blocks(stored: list[Fields]) -> list[Any]:
    return [_decode_block(fields) for fields in stored]


def _decode_block(fields: Fields) -> Any:
    """A path is set last: its file may be gone by now, and the run must be readable still."""
    unnamed = {name: fields[name] for name in fields if name != "path"}
    block: Any = _BLOCK.validate_python(unnamed)
    if "path" in fields:
        block.path = fields["path"]
    return block


def encode_blocks(blocks: Sequence[BaseModel]) -> list[Any]:
    """Return the blocks of a message as data that they can be made of again."""
    return [_plain(block.model_dump(exclude_none=True), "a message block") for block in blocks]


def _plain(value: Any, what: str) -> Any:
    """Return data that the block or message can be made of again; models become dictionaries.

    Images and the like are Base64 already, in bytes: they are kept as text.
    """
    match value:
        case BaseModel():
            return _plain(value.model_dump(), what)
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {key: _plain(item, what) for key, item in items}
        case list() | tuple():
            return [_plain(item, what) for item in cast("Sequence[Any]", value)]
        case bytes() if value.isascii():
            return value.decode("ascii")
        case AnyUrl():
            return str(value)
        case _:
            return BestEffort(value, what)
