"""`ctx.once` and `ctx.map`: what was done is remembered by whoever runs the step again."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import EncodingError
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from support.processes import Child
from support.servers import RedisServer


class Shop(Workflow):
    """Pays once, and squares each number once, however often it fails on the way."""

    def __init__(self, checkpointer: RedisCheckpointer | None, fail_at: object = None) -> None:
        super().__init__(checkpointer=checkpointer)
        self.fail_at = fail_at
        self.done: Counter[object] = Counter()

    async def do(self, what: object) -> object:
        if what == self.fail_at:
            raise RuntimeError(f"failed at {what}")
        self.done[what] += 1
        return (what, what)

    @step
    async def buy(self, ev: StartEvent, ctx: Context) -> StopEvent:
        paid = await ctx.once("pay", self.do, "paid")
        squares = await ctx.map(self.do, range(5), concurrency=1)
        await self.do("end")
        return StopEvent(result=[paid, squares])


RESULT = [("paid", "paid"), [(number, number) for number in range(5)]]


async def test_without_a_checkpointer_they_just_do_it() -> None:
    shop = Shop(None)
    assert await shop.run() == RESULT
    assert set(shop.done.values()) == {1}


@pytest.mark.parametrize("fail_at", ["end", 3])
async def test_a_step_that_failed_does_not_do_it_again(
    redis_server: RedisServer, namespace: str, fail_at: object
) -> None:
    checkpointer = RedisCheckpointer(redis_server.url, namespace=namespace)
    failing, mended = Shop(checkpointer, fail_at), Shop(checkpointer)
    with pytest.raises((RuntimeError, ExceptionGroup), match=r"failed at|unhandled errors"):
        await failing.run(run_id="run")
    assert await mended.run(run_id="run") == RESULT
    assert set((failing.done + mended.done).values()) == {1}


async def test_a_result_without_durable_form_fails_the_step_and_names_the_key(
    redis_server: RedisServer, namespace: str
) -> None:
    class Locked(Workflow):
        @step
        async def lock(self, ev: StartEvent, ctx: Context) -> StopEvent:
            return StopEvent(result=await ctx.once("take a lock", self.take))

        async def take(self) -> Any:
            return asyncio.Lock()

    checkpointer = RedisCheckpointer(redis_server.url, namespace=namespace)
    with pytest.raises(EncodingError, match=r"ctx\.once\('take a lock'\).*Lock"):
        await Locked(checkpointer=checkpointer).run()


PROGRAM = """
import asyncio, os
from pathlib import Path
from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer

RECEIPT = Path(os.environ["RECEIPT"])

async def pay(amount):
    RECEIPT.write_text(str(amount))
    if os.environ["DIE"] == "after":
        os.kill(os.getpid(), 9)
    return "paid now"

async def find_receipt(amount):
    return "paid before" if RECEIPT.exists() else None

class Pay(Workflow):
    @step
    async def pay(self, ev: StartEvent, ctx: Context) -> StopEvent:
        if os.environ["DIE"] == "first":
            await ctx.once("rehearse", asyncio.sleep, 0)
            os.kill(os.getpid(), 9)
        return StopEvent(result=await ctx.once("pay", pay, 5, verify=find_receipt))

checkpointer = RedisCheckpointer(os.environ["URL"], namespace=os.environ["NAMESPACE"])
async def main():
    print(await Pay(checkpointer=checkpointer).run(run_id="run"))

asyncio.run(main())
"""


@pytest.mark.parametrize(("die", "said"), [("after", "paid before"), ("first", "paid now")])
async def test_after_a_kill_in_between_verify_tells_whether_it_happened(
    redis_server: RedisServer, namespace: str, tmp_path: Path, die: str, said: str
) -> None:
    env = {
        **os.environ,
        "URL": redis_server.url,
        "NAMESPACE": namespace,
        "RECEIPT": str(tmp_path / "receipt"),
    }
    async with Child(PROGRAM, env={**env, "DIE": die}) as child:
        assert await child.exit() < 0
    async with Child(PROGRAM, env={**env, "DIE": "never"}) as child:
        assert await child.line() == said
