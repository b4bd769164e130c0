"""Two turns with an agent, in two processes: the second has the first one's context.

Arguments: the turn, the way (load: from the checkpointer; map: from a file), and the memory.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripted import Answer, call, checkpointer, function_agent, heard, memory_of, say, tools_done

# `scripted` decides what `workflows` means to those below
# isort: split

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.workflow import Context

TURN, WAY, MEMORY = sys.argv[1:]
MAP = Path("ctx.json")


async def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word} means water"


def script(messages: Sequence[ChatMessage]) -> Answer:
    done = tools_done(messages)
    if not done:
        return [call("look_up", f"l-{len(messages)}", word="aqua")]
    users = [str(message.content) for message in messages if message.role == MessageRole.USER]
    return f"{done[0]}; you asked {' and '.join(users)}"


def save(fields: dict[str, str]) -> None:
    MAP.write_text(json.dumps(fields))


def saved() -> dict[str, str]:
    return json.loads(MAP.read_text())


async def first_turn(agent: Any) -> None:
    handler = agent.run(user_msg="one", run_id="first", **memory_of(MEMORY, session=None))
    say(json.dumps([str(await handler)]))
    if WAY == "map":
        save(await handler.ctx.to_dict_async())


async def second_turn(agent: Any) -> None:
    if WAY == "load":
        ctx = await checkpointer().load(agent, "first")
    else:
        ctx = Context[Any].from_dict(agent, saved())
    result = await agent.run(user_msg="two", ctx=ctx, run_id="second")
    memory = await ctx.store.get("memory")
    say(json.dumps([str(result), heard(await memory.aget()), type(memory).__name__]))


async def main() -> None:
    agent = function_agent(script, look_up)
    if WAY == "load":
        checkpointer().attach(agent)
    await (first_turn if TURN == "first" else second_turn)(agent)


asyncio.run(main())
