"""How what agents keep is stored, and comes back; run by `test_llama_index_codecs.py`."""

import base64
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripted import function_agent, react_agent

# `scripted` decides what `workflows` means to those below
# isort: split

from llama_index.core.agent.react.types import ActionReasoningStep, ObservationReasoningStep
from llama_index.core.agent.workflow.workflow_events import (
    AgentOutput,
    AgentStream,
    AgentWorkflowStartEvent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms.mock import MockLLM
from llama_index.core.memory import (
    ChatMemoryBuffer as _ChatMemoryBuffer,
)
from llama_index.core.memory import (
    FactExtractionMemoryBlock,
    InsertMethod,
    StaticMemoryBlock,
)
from llama_index.core.memory import (
    Memory as _Memory,
)
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.tools import ToolOutput, ToolSelection
from llama_index.core.workflow import StopEvent
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import create_async_engine

from stepwell import Context, Workflow, register_codec, step
from stepwell._engine.ledger import Ledger
from stepwell._engine.writes import Writes
from stepwell._serialization import DEFAULT_TYPES, captured
from stepwell.errors import EncodingError
from stepwell.events import StartEvent
from stepwell.integrations.llama_index import memories

ChatMemoryBuffer: Any = _ChatMemoryBuffer  # the types of their methods are not whole
Memory: Any = _Memory

AGENT: Any = function_agent(lambda messages: "")
CODEC = AGENT.__stepwell_plan__().codec


def again(value: Any) -> Any:
    """The value as another process reads it."""
    return CODEC.decode(CODEC.encode(value, "it"), "it")


async def read_again(value: Any) -> Any:
    """The same for one that only an await can read."""
    with captured(await CODEC.capture([value])):
        return again(value)


def refusal(value: Any) -> str:
    try:
        CODEC.encode(value, "it")
    except EncodingError as error:
        return str(error)
    raise AssertionError("it was not refused")


async def refusal_of(memory: Any) -> str:
    with captured(await CODEC.capture([memory])):
        return refusal(memory)


class Warnings(logging.Handler):
    """What Stepwell logs, inside a `with`."""

    def __enter__(self) -> list[str]:
        self.seen: list[str] = []
        logging.getLogger("stepwell").addHandler(self)
        return self.seen

    def __exit__(self, *_: object) -> None:
        logging.getLogger("stepwell").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


# --- messages ---


def check_a_message_comes_back_with_blocks_of_every_kind() -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    message = ChatMessage(
        role="assistant",
        blocks=[
            TextBlock(text="text"),
            ImageBlock(image=picture, detail="low"),
            ImageBlock(url="https://example.org/a.png"),
            AudioBlock(audio=picture, format="wav"),
            VideoBlock(path=Path(__file__)),
            DocumentBlock(data=b"%PDF-1.4 text", title="paper"),
            CachePoint.model_validate({"cache_control": {"type": "ephemeral", "ttl": "5m"}}),
            CitableBlock.model_validate({"title": "t", "source": "s", "content": "cited"}),
            CitationBlock.model_validate(
                {
                    "cited_content": "cited",
                    "source": "s",
                    "title": "t",
                    "additional_location_info": {"page": 1},
                }
            ),
            ThinkingBlock(content="hm", additional_information={"signature": "abc"}),
            ToolCallBlock(tool_call_id="1", tool_name="t", tool_kwargs={"a": [1]}),
        ],
    )
    restored = again(message)
    for block, stored in zip(message.blocks, restored.blocks, strict=True):
        assert stored == block, block
    assert restored == message


def check_a_file_in_a_block_is_stored_with_its_content() -> None:
    raw = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    restored = again(ChatMessage(role="user", blocks=[ImageBlock(image=BytesIO(raw))]))
    assert restored.blocks[0].resolve_image().read() == raw


def check_a_message_whose_file_is_gone_can_still_be_read() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.png")
        file.write_bytes(b"picture")
        text = CODEC.encode(ChatMessage(role="user", blocks=[ImageBlock(path=file)]), "it")
    assert CODEC.decode(text, "it").blocks[0].path == file


class SdkCall(BaseModel):
    """As the client of a model makes it."""

    name: str
    at: datetime


def check_keywords_of_a_message_become_data_and_none() -> None:
    at = datetime(2030, 1, 2, tzinfo=UTC)
    calls = [SdkCall(name="t", at=at)]
    message = ChatMessage(
        role="tool", content="1", additional_kwargs={"tool_calls": calls, "odd": object(), "id": 7}
    )
    with Warnings() as seen:
        restored = again(message)
    assert restored.additional_kwargs == {
        "tool_calls": [{"name": "t", "at": at}],
        "odd": None,
        "id": 7,
    }
    assert "additional_kwargs of a message is not stored" in seen[0]


# --- tools ---


@dataclass
class Unknown:
    """A class that nobody registered."""

    n: int


def check_an_output_of_a_tool_keeps_its_raw_output_with_its_type() -> None:
    raw = {"at": datetime(2030, 1, 2, tzinfo=UTC), "numbers": (1, 2)}
    output = ToolOutput("t", "text", raw_input={"a": 1}, raw_output=raw)
    restored = again(output)
    assert restored == output
    assert type(restored.raw_output["numbers"]) is tuple


def check_a_raw_output_without_stored_form_is_none_and_reported_once() -> None:
    with Warnings() as seen:
        outputs = [
            again(ToolOutput("t", "text", raw_input={}, raw_output=Unknown(n))) for n in range(2)
        ]
    assert [output.raw_output for output in outputs] == [None, None]
    assert [output.content for output in outputs] == ["text", "text"]
    (report,) = seen
    assert "the raw output of tool 't' is not stored" in report
    assert "stepwell.register(Unknown)" in report


def check_an_output_keeps_the_exception_of_its_tool() -> None:
    failed = ToolOutput("t", "no", raw_input={}, is_error=True, exception=LookupError("no"))
    restored = again(failed).exception
    assert (type(restored), str(restored)) == (LookupError, "no")


async def find_unknown() -> Unknown:
    """Find something of a class that this module has."""
    return Unknown(1)


def check_the_classes_beside_a_tool_are_known() -> None:
    agent: Any = react_agent(lambda messages: "", find_unknown)
    codec = agent.__stepwell_plan__().codec
    output = ToolOutput("find_unknown", "text", raw_input={}, raw_output=Unknown(1))
    assert codec.decode(codec.encode(output, "it"), "it").raw_output == Unknown(1)


# --- events ---


def check_the_output_of_an_agent_keeps_all_but_the_raw_response() -> None:
    result = ToolCallResult(
        tool_name="t",
        tool_kwargs={"a": 1},
        tool_id="1",
        tool_output=ToolOutput("t", "one", raw_input={}),
        return_direct=False,
    )
    selection = ToolSelection(tool_id="2", tool_name="t", tool_kwargs={})
    output = AgentOutput(
        response=ChatMessage("hello"),
        structured_response={"a": 1},
        current_agent_name="agent",
        raw=object(),
    )
    output.tool_calls.extend([selection, result])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  agents do so
    restored = again(StopEvent(result=output)).result
    assert restored.raw is None
    assert [type(one) for one in restored.tool_calls] == [ToolSelection, ToolCallResult]
    assert restored.tool_calls[1].tool_output.content == "one"
    assert restored.model_dump() == output.model_dump()


def check_a_streamed_event_is_stored_without_the_raw_response() -> None:
    event = AgentStream(delta="a", response="a", current_agent_name="agent", raw=object())
    assert again(event).raw is None


def check_steps_of_reasoning_come_back() -> None:
    steps = [
        ActionReasoningStep(thought="t", action="a", action_input={"x": 1}),
        ObservationReasoningStep(observation="o"),
    ]
    assert again(steps) == steps


def check_a_start_event_comes_back() -> None:
    event: Any = AgentWorkflowStartEvent(
        user_msg=ChatMessage("hello"), chat_history=[ChatMessage("before")], max_iterations=3
    )
    restored = again(event)
    assert type(restored) is AgentWorkflowStartEvent
    assert dict(restored.items()) == dict(event.items())


def check_a_start_event_names_the_session_of_its_memory_alone() -> None:
    def stored(session: str) -> str:
        memory = Memory.from_defaults(session_id=session)
        return CODEC.encode(AgentWorkflowStartEvent(user_msg="a", memory=memory), "it")  # pyright: ignore[reportCallIssue]  it takes any field

    assert stored("me") == stored("me") != stored("you")
    assert CODEC.decode(stored("me"), "it").get("memory") is None


# --- memories ---


def check_a_buffer_comes_back() -> None:
    buffer = ChatMemoryBuffer.from_defaults(token_limit=77, chat_store_key="mine")
    buffer.put(ChatMessage("one"))
    buffer.put(ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="t")]))
    restored = again(buffer)
    assert restored.get_all() == buffer.get_all()
    assert (restored.token_limit, restored.chat_store_key) == (77, "mine")
    restored.put(ChatMessage("three"))
    assert len(restored.get()) == 3


async def check_a_memory_comes_back_with_what_it_has_archived() -> None:
    memory = Memory.from_defaults(
        session_id="mine",
        token_limit=20,
        token_flush_size=5,
        insert_method=InsertMethod.USER,
        memory_blocks=[StaticMemoryBlock(name="fixed", static_content=[TextBlock(text="fact")])],
    )
    for n in range(12):
        await memory.aput(ChatMessage(role="user" if n % 2 == 0 else "assistant", content=f"m{n}"))
    restored = await read_again(memory)
    for status in (*MessageStatus, None):
        was = await memory.aget_all(status=status)
        assert await restored.aget_all(status=status) == was
        assert was, status
    assert await restored.aget() == await memory.aget()
    for name in ("session_id", "token_limit", "token_flush_size", "insert_method", "memory_blocks"):
        assert getattr(restored, name) == getattr(memory, name)


async def check_what_is_said_to_a_restored_memory_comes_last() -> None:
    memory = Memory.from_defaults()
    await memory.aput_messages([ChatMessage("one"), ChatMessage("two")])
    restored = await read_again(await read_again(memory))
    await restored.aput(ChatMessage("three"))
    assert [message.content for message in await restored.aget()] == ["one", "two", "three"]


async def check_of_a_memory_in_a_file_the_address_is_stored() -> None:
    with TemporaryDirectory() as folder:
        address = f"sqlite+aiosqlite:///{folder}/chat.db"
        memory = Memory.from_defaults(session_id="me", async_database_uri=address)
        await memory.aput(ChatMessage("not in the run"))
        with captured(await CODEC.capture([memory])):
            text = CODEC.encode(memory, "it")
        assert "not in the run" not in text
        assert (await CODEC.decode(text, "it").aget())[0].content == "not in the run"


async def check_an_engine_that_was_given_says_where_the_messages_are() -> None:
    with TemporaryDirectory() as folder:
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/chat.db")
        memory = Memory.from_defaults(session_id="me", async_engine=engine)
        await memory.aput(ChatMessage("there"))
        restored = await read_again(memory)
        assert (await restored.aget())[0].content == "there"
        await engine.dispose()


async def check_a_password_is_never_stored() -> None:
    memory = Memory.from_defaults(async_database_uri="sqlite+aiosqlite://me:secret@host/db")
    told = await refusal_of(memory)
    assert "has a password, which is not stored" in told
    assert "stepwell.register_codec(Memory" in told
    assert "secret" not in told


async def check_a_block_that_holds_a_model_is_refused_by_name() -> None:
    block = FactExtractionMemoryBlock(name="facts", llm=MockLLM())
    told = await refusal_of(Memory.from_defaults(memory_blocks=[block]))
    assert told.startswith("it, at ['memory_blocks'][0]")
    assert "FactExtractionMemoryBlock" in told


def check_a_memory_that_was_not_awaited_is_refused_with_the_remedy() -> None:
    assert "can only be read by an await" in refusal(Memory.from_defaults())


def check_a_codec_of_the_program_counts_instead_of_ours() -> None:
    ours: Any = DEFAULT_TYPES.codec_of(StaticMemoryBlock)
    register_codec(StaticMemoryBlock, encode=str, decode=lambda text: StaticMemoryBlock(**text))
    memories.register_codecs()
    theirs: Any = DEFAULT_TYPES.codec_of(StaticMemoryBlock)
    assert theirs.encode is str
    DEFAULT_TYPES.register_codec(StaticMemoryBlock, None, ours)


# --- what a memory costs, and the flat map ---


async def _patch(ledger: Ledger, memory: Any) -> dict[str, Any]:
    with captured(await CODEC.capture([memory])):
        return dict(ledger.draft(Writes(fetched={"memory"}), {"memory": memory}, ()).accept())


async def check_a_memory_is_written_when_it_changed_and_only_then() -> None:
    for memory in (ChatMemoryBuffer.from_defaults(), Memory.from_defaults()):
        ledger = Ledger(CODEC.encode)
        assert await _patch(ledger, memory)
        await memory.aget()
        assert await _patch(ledger, memory) == {}
        await memory.aput(ChatMessage("new"))
        assert set(await _patch(ledger, memory)) == {"state:memory"}
        assert await _patch(ledger, memory) == {}


async def check_a_restored_memory_that_nobody_changed_is_not_written_again() -> None:
    for memory in (ChatMemoryBuffer.from_defaults(), Memory.from_defaults()):
        await memory.aput(ChatMessage("old"))
        first = Ledger(CODEC.encode)
        fields = {name: str(text) for name, text in (await _patch(first, memory)).items()}
        second = Ledger(CODEC.encode)
        restored = dict(second.load(fields, CODEC.decode))["memory"]
        assert await _patch(second, restored) == {}


class Remembers(Workflow):
    """Makes maps of its context while it runs."""

    @step
    async def one(self, ev: StartEvent, ctx: Context[Any]) -> StopEvent:
        memory = Memory.from_defaults()
        await memory.aput(ChatMessage("said"))
        await ctx.store.set("memory", memory)
        try:
            refused = str(ctx.to_dict())
        except EncodingError as error:
            refused = str(error)
        return StopEvent(result=(refused, await ctx.to_dict_async()))


async def check_the_map_of_a_context_has_its_memory_if_it_is_awaited() -> None:
    refused, fields = await Remembers().run()
    assert refused.startswith("state key 'memory'")
    assert "await ctx.to_dict_async()" in refused
    ctx: Any = Context.from_dict(Remembers(), fields)
    assert (await (await ctx.store.get("memory")).aget())[0].content == "said"
