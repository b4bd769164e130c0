"""A long step makes its progress durable, so that a kill does not send it back to its start.

There are four ways. `ctx.each` is a loop that goes on at the first item that was not finished.
`ctx.map` does the same for items that are worked on side by side, and returns their results.
`ctx.once` does one thing and remembers its result. `ctx.checkpoint()` commits the state wherever
the step says so, and the step reads there where to go on. What a kill cut off is done again: pass
`ctx.idempotency_key` on to a service that must not do it twice. This file is a program that the
document "c" kills.
"""

# ruff: noqa: S603, T201  a program that prints, and is started by its test
import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


async def convert(document: str) -> str:
    if document == "c" and "killed" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    print(document, flush=True)
    return document.upper()


class Each(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        async for document in ctx.each(ev.documents):
            await ctx.store.append("pages", await convert(document))
        return StopEvent(result=await ctx.store.get("pages"))


class Map(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(result=await ctx.map(convert, ev.documents, concurrency=1))


class Once(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        pages = [await ctx.once(document, convert, document) for document in ev.documents]
        return StopEvent(result=pages)


class Checkpoint(Workflow):
    @step
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        pages: list[Any] = await ctx.store.get("pages", default=[])
        for document in ev.documents[len(pages) :]:
            pages.append(await convert(document))
            await ctx.store.set("pages", pages)
            await ctx.checkpoint()
        return StopEvent(result=pages)


WORKFLOWS = {"each": Each, "map": Map, "once": Once, "checkpoint": Checkpoint}


async def main(name: str, url: str, namespace: str) -> None:
    workflow = WORKFLOWS[name](checkpointer=RedisCheckpointer(url, namespace=namespace))
    print("".join(await workflow.run(documents=["a", "b", "c", "d"])))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_step_goes_on_in_the_middle(name: str, redis_url: str, namespace: str) -> None:
    program = [sys.executable, __file__, name, redis_url, namespace]

    first = subprocess.run([*program, "killed"], stdout=subprocess.PIPE, text=True, check=False)
    assert first.returncode == -signal.SIGKILL
    assert first.stdout.splitlines() == ["a", "b"]

    second = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == ["c", "d", "ABCD"]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
