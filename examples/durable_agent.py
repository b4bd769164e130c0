"""An agent of LlamaIndex that asks before it deletes, and outlives its process.

    pip install stepwell llama-index-core
    python durable_agent.py            # looks for a file, and asks; press Ctrl-C or kill it
    python durable_agent.py            # another process: asks again, nothing is looked for twice
    python durable_agent.py yes        # another process, with the answer

The model is a script, so that the example runs without a key: put a real one in its place. The
server is a private one in `.stepwell/`: put `redis://...` in its place.
"""

import asyncio
import sys
from collections.abc import Sequence

import stepwell

stepwell.install_as_workflows()

from llama_index.core.agent.workflow import FunctionAgent  # noqa: E402  after the line above
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock  # noqa: E402
from llama_index.core.llms.mock import MockFunctionCallingLLM  # noqa: E402
from llama_index.core.memory import Memory  # noqa: E402
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent  # noqa: E402

from stepwell.redis import RedisCheckpointer  # noqa: E402


class Question(InputRequiredEvent):
    """What the agent wants to know."""

    text: str


class Reply(HumanResponseEvent):
    """What somebody said to it."""

    text: str


async def find_largest() -> str:
    """Find the largest file."""
    print("looking for the largest file ...", flush=True)
    return "/tmp/core.4711"  # noqa: S108  made up


async def delete(ctx: Context, path: str) -> str:
    """Delete a file, if somebody agrees."""
    question = Question(text=f"Delete {path}?")
    reply = await ctx.wait_for_event(Reply, waiter_event=question, waiter_id=path, timeout=None)
    return f"{path} was {'deleted' if reply.text == 'yes' else 'kept'}."


def scripted_model(messages: Sequence[ChatMessage], **_options: object) -> ChatMessage:
    """Stands in for a model that calls tools."""
    done = [message.content for message in messages if message.role == "tool"]
    match done:
        case []:
            call = ToolCallBlock(tool_call_id="1", tool_name="find_largest")
        case [path]:
            arguments = {"path": path}
            call = ToolCallBlock(tool_call_id="2", tool_name="delete", tool_kwargs=arguments)
        case _:
            return ChatMessage(role="assistant", content=done[-1])
    return ChatMessage(role="assistant", blocks=[call])


async def main(reply: str | None) -> None:
    """Start the agent, or go on with it."""
    agent = FunctionAgent(
        tools=[find_largest, delete],
        llm=MockFunctionCallingLLM(response_generator=scripted_model),
    )
    RedisCheckpointer("embedded:").attach(agent)
    memory = Memory.from_defaults(session_id="me")
    handler = agent.run(user_msg="Make room on the disk.", memory=memory)
    async for event in handler.stream_events():
        if isinstance(event, Question):
            print(event.text)
            if reply is not None:
                handler.ctx.send_event(Reply(text=reply))
    print(await handler)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
