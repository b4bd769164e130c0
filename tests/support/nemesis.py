"""What breaks things while runs go on, at instants that a seed tells."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
from random import Random
from typing import Any

from support.fleet import Fleet
from support.servers import RedisServer

__all__ = ["disconnect", "freeze", "kill", "restart", "stall"]


async def kill(fleet: Fleet, rng: Random, times: int) -> None:
    """Kill a worker about every second, and start another one in its place."""
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.3, 0.8))
        index = rng.randrange(len(fleet.workers))
        await fleet.kill(index)
        await fleet.start(index)


async def freeze(fleet: Fleet, rng: Random, times: int) -> None:
    """Freeze a worker for longer than its lease, and let it go on."""
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        async with fleet.frozen(rng.randrange(len(fleet.workers))):
            await asyncio.sleep(fleet.lease * rng.uniform(1.3, 1.6))


async def restart(fleet: Fleet, server: RedisServer, rng: Random, times: int) -> None:
    """Kill the server, and start it again with what is in its append-only file."""
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.5, 1.0))
        async with fleet.hit("restart"):
            server.kill()
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            server.start()


async def stall(fleet: Fleet, server: RedisServer, rng: Random, times: int) -> None:
    """Let the server stand still for longer than a lease; what was sent to it is done later."""
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        async with fleet.hit("stall"):
            server.freeze()
            await asyncio.sleep(fleet.lease * rng.uniform(1.1, 1.5))
            server.thaw()


async def disconnect(redis: Any, rng: Random, times: int) -> int:
    """Cut all subscribers off, again and again; returns how many that were."""
    cut = 0
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        cut += int(redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))
    return cut
