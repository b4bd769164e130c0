"""The memories of agents: what was said so far.

A `Memory` keeps its messages in a database, which only an await can read. One in this process (the
default) is stored with the run; one elsewhere outlives the process by itself, and only its address
is stored.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, InsertMethod, Memory, StaticMemoryBlock
from llama_index.core.prompts import RichPromptTemplate
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from pydantic import PrivateAttr
from sqlalchemy.engine import URL, make_url
from typing_extensions import override

from stepwell._serialization.forms import Refusal
from stepwell.integrations.llama_index._registering import use_codec
from stepwell.integrations.llama_index.messages import encode_blocks

__all__ = ["register_codecs"]

Fields = dict[str, Any]

_PLAIN = (
    "session_id",
    "token_limit",
    "token_flush_size",
    "chat_history_token_ratio",
    "image_token_size_estimate",
    "audio_token_size_estimate",
    "video_token_size_estimate",
    "document_token_size_estimate",
)
"""The fields of a `Memory` that are stored as they are."""

_REMEDY = (
    "say how to open it again: stepwell.register_codec(Memory, encode=lambda memory: "
    "memory.session_id, decode=lambda session_id: Memory.from_defaults(session_id, ...))"
)


def register_codecs() -> None:
    """Let Stepwell store memories, and the blocks that hold fixed text."""
    use_codec(SimpleChatStore, _encode_store, _decode_store)
    use_codec(ChatMemoryBuffer, _encode_buffer, _decode_buffer)
    use_codec(StaticMemoryBlock, _encode_static, _decode_static)
    use_codec(Memory, _encode_memory, _decode_memory, capture=_capture_memory)


def _encode_store(store: SimpleChatStore) -> dict[str, list[ChatMessage]]:
    return store.store


def _decode_store(messages: dict[str, list[ChatMessage]]) -> SimpleChatStore:
    store = SimpleChatStore()
    store.store = messages
    return store


def _encode_buffer(buffer: ChatMemoryBuffer) -> Fields:
    return {
        "token_limit": buffer.token_limit,
        "chat_store": buffer.chat_store,
        "chat_store_key": buffer.chat_store_key,
    }


def _decode_buffer(fields: Fields) -> ChatMemoryBuffer:
    return ChatMemoryBuffer(**fields)


def _encode_static(block: StaticMemoryBlock) -> Fields:
    fields = {name: getattr(block, name) for name in StaticMemoryBlock.model_fields}
    return {**fields, "static_content": encode_blocks(block.static_content)}


def _decode_static(fields: Fields) -> StaticMemoryBlock:
    return StaticMemoryBlock(**fields)


class _Reopened(SQLAlchemyChatStore):
    """A store that opens its database once, also when several steps use it first.

    Its base gives the second one a database without tables, as long as the first one waits.
    """

    _opening: asyncio.Lock = PrivateAttr(default_factory=asyncio.Lock)

    @override
    async def _initialize(self) -> Any:
        async with self._opening:
            return await super()._initialize()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  a generic


@dataclass(frozen=True, slots=True)
class _Captured:
    """A memory, and its messages by status where they would end with the process."""

    memory: Memory
    messages: dict[str, list[ChatMessage]] | None


async def _capture_memory(memory: Memory) -> _Captured:
    store = memory.sql_store
    if not isinstance(store, SQLAlchemyChatStore) or not _is_in_process(_url_of(store)):
        return _Captured(memory, None)
    return _Captured(
        memory,
        {
            status.value: await store.get_messages(memory.session_id, status=status)
            for status in (MessageStatus.ARCHIVED, MessageStatus.ACTIVE)
        },
    )


def _encode_memory(captured: _Captured) -> Fields:
    memory = captured.memory
    return {
        **{name: getattr(memory, name) for name in _PLAIN},
        "insert_method": memory.insert_method.value,
        "memory_blocks": cast("list[Any]", memory.memory_blocks),  # pyright: ignore[reportUnknownMemberType]  of no declared content
        "template": memory.memory_blocks_template.template_str,
        "store": _encode_sql_store(memory.sql_store),
        "messages": captured.messages,
    }


def _decode_memory(fields: Fields) -> Memory:
    store, messages = fields["store"], fields["messages"]
    if messages is not None:
        store["db_data"] = _rows(fields["session_id"], messages)
    return Memory(
        **{name: fields[name] for name in _PLAIN},
        insert_method=InsertMethod(fields["insert_method"]),
        memory_blocks=fields["memory_blocks"],
        memory_blocks_template=RichPromptTemplate(fields["template"]),
        sql_store=_Reopened(**store),
    )


def _encode_sql_store(store: object) -> Fields:
    """Where a store keeps its messages; a password does not belong into a run."""
    if not isinstance(store, SQLAlchemyChatStore):
        raise Refusal(f"its messages are in a {type(store).__name__}: {_REMEDY}")
    url = _url_of(store)
    if url.password is not None:
        raise Refusal(f"the address of its database has a password, which is not stored: {_REMEDY}")
    return {
        "table_name": store.table_name,
        "async_database_uri": None if _is_in_process(url) else url.render_as_string(),
        "db_schema": store.db_schema,
    }


def _url_of(store: SQLAlchemyChatStore) -> URL:
    """An engine that the user gave counts, whatever the address says."""
    engine = store._async_engine  # pyright: ignore[reportPrivateUsage]  it has no other name
    return make_url(store.async_database_uri) if engine is None else engine.url


def _is_in_process(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _rows(session_id: str, messages: dict[str, list[ChatMessage]]) -> list[Fields]:
    """Rows of the table of messages. All are older than what is said from now on."""
    listed = [(status, message) for status in messages for message in messages[status]]
    return [
        {
            "key": session_id,
            "timestamp": number,
            "role": message.role.value,
            "status": status,
            "data": message.model_dump(mode="json"),
        }
        for number, (status, message) in enumerate(listed)
    ]
