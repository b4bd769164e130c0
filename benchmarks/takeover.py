"""How soon a run goes on elsewhere when its process was killed, and how soon an event gets there.

    python benchmarks/takeover.py [--url redis://...]

A step notes the instant at which it begins, by the monotonic clock that all processes of a machine
share. So a takeover is from the instant before `kill -9` until the step begins elsewhere; the lease
is as long as it is by default, and plays no part. A reaction is from the instant before
`run.send_event(...)` until the step goes on in the other process.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import redis.asyncio

from machine import describe
from stepwell import Context, Workflow, step
from stepwell.client import Client
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.worker import Worker

TAKEOVERS = 50
ORPHANS = 1_000
EVENTS = 200

NOTES = "benchmark:notes"
"""Where steps say which process they run in, and since when."""


class Ping(Event):
    """Something to react to."""


class Again(Event):
    """Wait for the next one."""

    left: int


class Noting(Workflow):
    """Its steps tell where and when they begin."""

    def __init__(self, client: Any = None) -> None:
        super().__init__(timeout=None)
        self._client = client

    async def note(self, now: float) -> None:
        """Tell it."""
        await self._client.rpush(NOTES, f"{os.getpid()} {now}")


class Dying(Noting):
    """Its step goes on for ever, unless it has been begun before."""

    @step
    async def hold(self, ev: StartEvent, ctx: Context) -> StopEvent:
        """Wait to be killed, at the first time."""
        now = time.monotonic()
        times = await self._client.incr(f"benchmark:times:{ctx.run_id}")
        await self.note(now)
        if times == 1:
            await asyncio.Event().wait()
        return StopEvent()


class Reacting(Noting):
    """Waits for events, and tells when it has one."""

    @step
    async def begin(self, ev: StartEvent) -> Again:
        """Wait for the first."""
        return Again(left=EVENTS)

    @step
    async def react(self, ev: Again, ctx: Context) -> Again | StopEvent:
        """Wait for one."""
        await ctx.wait_for_event(Ping, timeout=None)
        await self.note(time.monotonic())
        return Again(left=ev.left - 1) if ev.left > 1 else StopEvent()


async def work(url: str) -> None:
    """Be a worker."""
    client: Any = redis.asyncio.Redis.from_url(url)
    worker = Worker(url, workflows=[Dying(client), Reacting(client)], concurrency=ORPHANS)
    print("ready", flush=True)
    await worker.run()


@asynccontextmanager
async def workers(url: str, number: int) -> AsyncGenerator[dict[int, asyncio.subprocess.Process]]:
    """Worker processes by their id; those that are left are killed."""
    running: dict[int, asyncio.subprocess.Process] = {}
    try:
        for _ in range(number):
            await add_worker(url, running)
        yield running
    finally:
        for process in running.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


async def add_worker(url: str, running: dict[int, asyncio.subprocess.Process]) -> None:
    """Start one more, and wait until it is there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--worker",
        "--url",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    running[process.pid] = process
    if process.stdout is None or not await process.stdout.readline():
        raise RuntimeError("a worker did not start")


async def noted(client: Any) -> tuple[int, float]:
    """The next note: which process, and when."""
    _, note = await client.blpop(NOTES, timeout=60)
    pid, instant = note.split()
    return int(pid), float(instant)


async def takeovers(url: str, client: Any) -> list[float]:
    """Kill the owner of one run, again and again: seconds until its step begins elsewhere."""
    took: list[float] = []
    async with Client(url) as stepwell, workers(url, 2) as running:
        for _ in range(TAKEOVERS):
            await stepwell.start(Dying)
            pid, _ = await noted(client)
            took.append(-time.monotonic())
            os.kill(pid, signal.SIGKILL)
            _, began = await noted(client)
            took[-1] += began
            await running.pop(pid).wait()
            await add_worker(url, running)
    return took


async def orphans(url: str, client: Any) -> list[float]:
    """Kill the owner of many runs: seconds until the step of each begins elsewhere."""
    async with Client(url) as stepwell, workers(url, 1) as running:
        await asyncio.gather(*[stepwell.start(Dying) for _ in range(ORPHANS)])
        owners = {(await noted(client))[0] for _ in range(ORPHANS)}
        for _ in range(2):
            await add_worker(url, running)
        began = time.monotonic()
        os.kill(owners.pop(), signal.SIGKILL)
        return [(await noted(client))[1] - began for _ in range(ORPHANS)]


async def reactions(url: str, client: Any) -> list[float]:
    """Send events, one after the other: seconds until a step of another process goes on."""
    took: list[float] = []
    async with Client(url) as stepwell, workers(url, 1):
        run = await stepwell.start(Reacting)
        for _ in range(EVENTS):
            began = time.monotonic()
            await run.send_event(Ping())
            took.append((await noted(client))[1] - began)
        await run.result()
    return took


async def measure(url: str) -> None:
    """Run everything, and print the table."""
    client: Any = redis.asyncio.Redis.from_url(url, decode_responses=True, socket_timeout=None)
    server = await client.info("server")
    name = "Valkey " + server["valkey_version"] if "valkey_version" in server else "Redis"
    print(describe("stepwell", "redis", "hiredis"), f"{name} ({server['redis_version']})", sep=", ")
    print(f"load average {os.getloadavg()[0]:.1f} before")
    print("\n| ms | number | median | p99 | worst |\n| --- | ---: | ---: | ---: | ---: |")
    print_row("`kill -9` to the step elsewhere", await takeovers(url, client))
    print_row(f"the same, {ORPHANS:,} runs at once", await orphans(url, client))
    print_row("`send_event` to the reaction elsewhere", await reactions(url, client))
    await client.aclose()


def print_row(what: str, seconds: list[float]) -> None:
    """Print one of them."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    cells = [f"{len(seconds):,}", *(f"{1e3 * one:,.1f}" for one in (median(seconds), p99))]
    print(f"| {what} | {' | '.join(cells)} | {1e3 * max(seconds):,.1f} |", flush=True)


def main() -> None:
    """Measure on a server of our own, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server to measure on; by default a private one")
    parser.add_argument("--worker", action="store_true", help="be one of the workers")
    given = parser.parse_args()
    if given.worker:
        asyncio.run(work(given.url))
        return
    with tempfile.TemporaryDirectory(prefix="sw") as directory:
        asyncio.run(measure(given.url or asyncio.run(private_server(Path(directory)))))


async def private_server(directory: Path) -> str:
    """The URL of a private server with AOF, in a directory that goes away."""
    from stepwell.redis.embedded import ensure_server  # noqa: PLC0415  only where it is wanted

    return await ensure_server(directory)


if __name__ == "__main__":
    main()
