"""Three tools at once: the process dies when two of them are done, and their results durable."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from scripted import Answer, call, checkpointer, executed, function_agent, heard, say, tools_done

# `scripted` decides what `workflows` means to those below
# isort: split

from llama_index.core.base.llms.types import ChatMessage

RUN = "the-run"


async def work(n: int) -> str:
    """Do a piece of work."""
    if executed(f"work {n}") == 1 and n == 1:
        await others_are_durable()
        say("two are done")
        await asyncio.Event().wait()
    return f"did {n}"


async def others_are_durable() -> None:
    while True:
        stored = (await CHECKPOINTER.load(AGENT, RUN)).to_dict()
        if sum(name.startswith("buffer:") for name in stored) == 2:
            return


def script(messages: Sequence[ChatMessage]) -> Answer:
    executed("model")
    done = tools_done(messages)
    return ", ".join(done) if done else [call("work", f"w-{n}", n=n) for n in range(3)]


CHECKPOINTER = checkpointer()
AGENT: Any = CHECKPOINTER.attach(function_agent(script, work))


async def main() -> None:
    handler = AGENT.run(user_msg="Do three things.", run_id=RUN)
    result = await handler
    memory = await handler.ctx.store.get("memory")
    calls = [[one.tool_id, str(one.tool_output)] for one in result.tool_calls]
    say(json.dumps([str(result), calls, heard(await memory.aget())]))


asyncio.run(main())
