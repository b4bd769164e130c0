"""`load` reads a stored run: what it knows, and how it stands.

It gives the context of the run as of its last commit, whether it is over, has failed, or goes on in
another process. Look at its state, or lend the state to a new run by `run(ctx=...)`. The stored run
stays as it is.
"""

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import RunNotFound
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


class Chat(Workflow):
    @step
    async def answer(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.append("messages", ev.message)
        if "?" in ev.message:
            raise LookupError("no idea")
        return StopEvent(result=await ctx.store.get("messages"))


async def test_a_stored_run_can_be_looked_at(redis_url: str, namespace: str) -> None:
    checkpointer = RedisCheckpointer(redis_url, namespace=namespace)
    chat = Chat(checkpointer=checkpointer)
    with pytest.raises(LookupError):
        await chat.run(run_id="monday", message="How are you?")

    ctx = await checkpointer.load(chat, "monday")
    assert await ctx.store.get("messages") == ["How are you?"]
    assert ctx.to_dict()["status"] == "failed"


async def test_a_new_run_goes_on_with_the_state_of_a_stored_one(
    redis_url: str, namespace: str
) -> None:
    checkpointer = RedisCheckpointer(redis_url, namespace=namespace)
    chat = Chat(checkpointer=checkpointer)
    await chat.run(run_id="monday", message="Hello!")

    ctx = await checkpointer.load(chat, "monday")
    messages = await chat.run(ctx=ctx, run_id="tuesday", message="Me again!")
    assert messages == ["Hello!", "Me again!"]

    unchanged = await checkpointer.load(chat, "monday")
    assert await unchanged.store.get("messages") == ["Hello!"]


async def test_a_run_that_nobody_stored_is_not_found(redis_url: str, namespace: str) -> None:
    checkpointer = RedisCheckpointer(redis_url, namespace=namespace)
    with pytest.raises(RunNotFound, match="sunday"):
        await checkpointer.load(Chat(), "sunday")
