"""A process is killed just before and just after each command that it sends to Redis."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from support.processes import Child
from support.proxy import Command, Proxy
from support.servers import RedisServer

STRIPES = 4

PROGRAM = """
import asyncio, json, os
from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer

class Second(Event):
    value: int

class Third(Event):
    value: int

def executed(name):
    with open(os.environ["LOG"], "a") as log:
        log.write(name + chr(10))

class ThreeSteps(Workflow):
    @step
    async def first(self, ev: StartEvent, ctx: Context) -> Second:
        executed("first")
        await ctx.store.increment("count")
        await ctx.store.set("seen", ["first"])
        return Second(value=ev.value + 1)

    @step
    async def second(self, ev: Second, ctx: Context) -> Third:
        executed("second")
        await ctx.store.increment("count")
        (await ctx.store.get("seen")).append("second")
        return Third(value=ev.value * 2)

    @step
    async def third(self, ev: Third, ctx: Context) -> StopEvent:
        executed("third")
        count = await ctx.store.increment("count")
        (await ctx.store.get("seen")).append("third")
        return StopEvent(result=ev.value + count)

async def main():
    checkpointer = RedisCheckpointer(os.environ["URL"])
    workflow = ThreeSteps(checkpointer=checkpointer)
    result = await workflow.run(run_id="the-run", value=20)
    ctx = await checkpointer.load(workflow, "the-run")
    state = [await ctx.store.get("count"), await ctx.store.get("seen")]
    print(json.dumps([result, *state]), flush=True)

asyncio.run(main())
"""

RIGHT = [45, 3, ["first", "second", "third"]]


async def run_to_end(url: str, log: Path) -> object:
    async with Child(PROGRAM, env={"URL": url, "LOG": str(log)}) as child:
        outcome = json.loads(await child.line("["))
        assert await child.exit() == 0
    return outcome


async def run_until_killed(server: RedisServer, log: Path, index: int, position: str) -> bool:
    """Run through a proxy that kills the process at one command; whether it came to that."""
    killed: list[int] = []
    children: list[Child] = []

    def kill(command: Command, at: str) -> bool:
        if command.index != index or at != position:
            return False
        killed.append(command.index)
        children[0].kill()
        return True

    with Proxy(server.socket_path, on_command=kill) as proxy:
        async with Child(PROGRAM, env={"URL": proxy.url, "LOG": str(log)}) as child:
            children.append(child)
            code = await child.exit()
    assert code == (-signal.SIGKILL if killed else 0)
    return bool(killed)


async def count_commands(server: RedisServer, log: Path) -> int:
    with Proxy(server.socket_path) as proxy:
        assert await run_to_end(proxy.url, log) == RIGHT
        return len(proxy.commands)


def forget_everything(server: RedisServer) -> None:
    """Scripts too, so that each run sends the same commands."""
    client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
    with client:
        client.flushall()
        client.script_flush()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("stripe", range(STRIPES))
async def test_killed_at_every_command_and_restarted(
    own_server: Callable[..., RedisServer], tmp_path: Path, position: str, stripe: int
) -> None:
    server = own_server()
    commands = await count_commands(server, tmp_path / "whole")
    kills = 0
    for index in range(stripe, commands, STRIPES):
        forget_everything(server)
        log = tmp_path / f"{index}"
        kills += await run_until_killed(server, log, index, position)
        before = log.read_text().split() if log.exists() else []
        assert await run_to_end(server.unix_url, log) == RIGHT, f"killed {position} {index}"
        times = Counter(log.read_text().split())
        assert set(times) == {"first", "second", "third"}
        repeated = [name for name, count in times.items() if count > 1]
        assert repeated in ([], before[-1:]), f"killed {position} {index}: {before} then {times}"
        assert all(count <= 2 for count in times.values())
    assert kills > 0
