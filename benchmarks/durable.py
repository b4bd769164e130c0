"""What durability costs: chains, many runs, fan-out, workers, waits; on a private server.

    python benchmarks/durable.py [--url redis://...] [--rounds 5] [--only chain,many]

A measure is that of this process, unless it says of workers: those are processes of their own.
Rows that depend on the machine are given as ratios to what the same run measured of it: a
sequential round trip of a 1 KB HSET through redis-py's asyncio client, or the same work by one
worker. The time of the CPU is that of this process alone, without the server.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio

import memory
from durable_programs import Chain, Fan, Ping, Reacting, Waiting
from machine import describe
from stepwell.client import Client, Run
from stepwell.redis import RedisCheckpointer
from stepwell.worker import Worker

CHAIN = 1_000
RUNS, STEPS = 200, 20
SHARED_RUNS = 400
FAN, BIG_FAN = 1_000, 100_000
LONG = 5_000
PARKED, IDLE = 1_000, 10_000
EVENTS = 200
SLOW_US = 10_000
"""From how many µs on the server notes that a command was slow."""


@dataclass(frozen=True)
class Server:
    """The server that is measured on."""

    url: str
    client: Any

    def checkpointer(self) -> RedisCheckpointer:
        """One under which equal inputs are runs of their own."""
        return RedisCheckpointer(self.url, reuse="never")

    async def empty(self) -> None:
        """Forget all that was measured before."""
        await self.client.flushall()

    async def round_trip(self, count: int = 1_000) -> float:
        """Seconds of a 1 KB HSET, one after the other."""
        value = b"x" * 1024
        began = time.perf_counter()
        for _ in range(count):
            await self.client.hset("benchmark:round-trip", "field", value)
        return (time.perf_counter() - began) / count


class Stopwatch:
    """Seconds since it was made, by the wall and by the CPU of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """By the wall."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """By the CPU."""
        return time.process_time() - self._cpu


# --- in this process ---


async def chain(server: Server, rounds: int) -> None:
    """One run of many steps, each durable before the next."""
    walls, cpus, ratios = list[float](), list[float](), list[float]()
    async with server.checkpointer() as checkpointer:
        workflow = Chain(checkpointer=checkpointer, timeout=None)
        await workflow.run(steps=100)
        for _ in range(rounds):
            trip = await server.round_trip()
            watch = Stopwatch()
            await workflow.run(steps=CHAIN)
            walls.append(watch.wall / CHAIN)
            cpus.append(watch.cpu / CHAIN)
            ratios.append(walls[-1] / trip)
    show(f"chain of {CHAIN:,}, µs a step", 1e6 * median(walls))
    show("the same, µs of the CPU", 1e6 * median(cpus))
    show("the same, in round trips", median(ratios), "≤ 2.5")


async def many(server: Server, rounds: int) -> None:
    """Many runs at once: as is, and with the garbage collector set as `stepwell worker` does."""
    async with server.checkpointer() as checkpointer:
        workflow = Chain(checkpointer=checkpointer, timeout=None)
        wall, cpu = await at_once(workflow, rounds)
        with collecting_seldom():
            seldom, _ = await at_once(workflow, rounds)
    show(f"{RUNS} runs of {STEPS}, steps a second", wall, "~ 10,000")
    show("the same, a second of the CPU", cpu)
    show("the same, collecting garbage as seldom as `stepwell worker`", seldom)


async def at_once(workflow: Chain, rounds: int) -> tuple[float, float]:
    """How many steps of many runs a second has, and a second of the CPU."""
    walls, cpus, total = list[float](), list[float](), RUNS * STEPS
    for _ in range(rounds + 1):
        watch = Stopwatch()
        await asyncio.gather(*[workflow.run(steps=STEPS) for _ in range(RUNS)])
        walls.append(total / watch.wall)
        cpus.append(total / watch.cpu)
    return median(walls[1:]), median(cpus[1:])


@contextmanager
def collecting_seldom() -> Generator[None]:
    """For a while."""
    from stepwell.cli.worker.command import collect_seldom  # noqa: PLC0415  it is heavy: workers are weighed

    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def peer(server: Server, rounds: int) -> None:
    """The same program on LlamaIndex Workflows, made durable with what it has, in turns.

    Its journal is appended to a list in Redis, a record at a time. Its runs do not wait for that,
    ours do.
    """
    rates, ratios = list[float](), list[float]()
    (theirs, _), (ours, _) = memory.programs("workflows"), memory.programs("stepwell")
    runtime: Any = import_module("workflows.plugins").basic_runtime

    async def journalled() -> None:
        handler = theirs.run(steps=STEPS - 2)

        async def follow() -> None:
            async for record in runtime.journal(handler.run_id):
                text = json.dumps([record.seq, record.data])
                await server.client.rpush(f"benchmark:{handler.run_id}", text)

        await asyncio.gather(handler, follow())

    async with server.checkpointer():  # which is the default of workflows in here
        for _ in range(rounds + 1):
            watch = Stopwatch()
            await asyncio.gather(*[journalled() for _ in range(RUNS)])
            rates.append(RUNS * STEPS / watch.wall)
            watch = Stopwatch()
            await asyncio.gather(*[ours.run(steps=STEPS - 2) for _ in range(RUNS)])
            ratios.append(RUNS * STEPS / watch.wall / rates[-1])
    show(f"{RUNS} runs of {STEPS} on LlamaIndex, journalled, steps a second", median(rates[1:]))
    show("the same program here, times that", median(ratios[1:]), "≥ 8")


async def fan_out(server: Server, rounds: int) -> None:
    """One run that does much side by side."""
    walls = list[float]()
    async with server.checkpointer() as checkpointer:
        workflow = Fan(checkpointer=checkpointer, timeout=None)
        for _ in range(rounds + 1):
            watch = Stopwatch()
            await workflow.run(size=FAN)
            walls.append(watch.wall)
    show(f"fan-out to {FAN:,} and join, s", median(walls[1:]), "≤ 0.1")


async def big_fan_out(server: Server, _: int) -> None:
    """One run that does very much side by side, and whether the server stood still for it."""
    await server.client.config_set("slowlog-log-slower-than", SLOW_US)
    await server.client.slowlog_reset()
    async with server.checkpointer() as checkpointer:
        watch = Stopwatch()
        await Fan(checkpointer=checkpointer, timeout=None).run(size=BIG_FAN)
        show(f"fan-out to {BIG_FAN:,} and join, s", watch.wall)
    slow = await server.client.slowlog_get(100)
    show(f"commands of more than {SLOW_US // 1000} ms meanwhile", len(slow), "0")
    for entry in slow[:5]:
        print(f"  {entry['duration']} µs: {entry['command'][:60]!r}", file=sys.stderr)


async def loading(server: Server, rounds: int) -> None:
    """Read a run that has many steps behind it."""
    walls = list[float]()
    async with server.checkpointer() as checkpointer:
        workflow = Chain(checkpointer=checkpointer, timeout=None)
        handler = workflow.run(steps=LONG, waits=True)
        async for _ in handler.stream_events():
            break
        for _ in range(20 * rounds):
            watch = Stopwatch()
            await checkpointer.load(workflow, handler.run_id)
            walls.append(watch.wall)
        await handler.cancel_run()
    show(f"loading a run after {LONG:,} steps, ms", 1e3 * median(walls), "< 5")


# --- with workers ---


class Child:
    """A worker process. It tells of each run that ended, or rests, with a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def go(self) -> None:
        """Let it begin."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")
            await self._process.stdin.drain()

    async def told(self) -> str:
        """The next line that it says."""
        if self._process.stdout is None:
            raise RuntimeError("a worker says nothing")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker died")
        return line.decode().strip()

    def resident(self) -> float:
        """MB of memory that it has."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kilobytes = next(line.split()[1] for line in status.splitlines() if "VmRSS" in line)
        return int(kilobytes) / 1024


@asynccontextmanager
async def child(server: Server, idle: float = 3600.0) -> AsyncGenerator[Child]:
    """A worker process that is ready, and waits for `go`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "durable", "--worker", str(idle), "--url", server.url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    try:
        worker = Child(process)
        await worker.told()
        yield worker
    finally:
        process.kill()
        await process.wait()


async def work(url: str, idle: float) -> None:
    """Be a worker."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    workflows = [Chain(say, timeout=None), Waiting(say, timeout=None), Reacting(say, timeout=None)]
    await Worker(url, workflows, concurrency=100, idle_timeout=idle).run()


def say(what: str) -> None:
    """Tell the process that started this one."""
    print(what, flush=True)


async def shared(server: Server, rounds: int) -> None:
    """The same runs by one worker, and by two."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(min(rounds, 3)):
        for number, found in rates.items():
            found.append(await rate_of(server, number))
            await server.empty()
    one, two = median(rates[1]), median(rates[2])
    ratios = [b / a for a, b in zip(rates[1], rates[2], strict=True)]
    show(f"{SHARED_RUNS} runs of {STEPS} by one worker, steps a second", one)
    show("the same by two workers", two)
    show("two against one", median(ratios), "≥ 1.5")


async def rate_of(server: Server, number: int) -> float:
    """Steps a second of so many workers."""
    async with Client(server.url) as client, child(server) as first, child(server) as second:
        await start(client, Chain, SHARED_RUNS, {"steps": STEPS})
        workers = [first, second][:number]
        ended: asyncio.Queue[str] = asyncio.Queue()
        listening = [asyncio.create_task(listen(worker, ended)) for worker in workers]
        await asyncio.gather(*(worker.go() for worker in workers))
        await ended.get()
        watch = Stopwatch()
        for _ in range(SHARED_RUNS - 1):
            await ended.get()
        taken = watch.wall
        for one in listening:
            one.cancel()
    return (SHARED_RUNS - 1) * STEPS / taken


async def listen(worker: Child, ended: "asyncio.Queue[str]") -> None:
    """Pass on what a worker says."""
    while True:
        ended.put_nowait(await worker.told())


async def start(client: Client, workflow: Any, number: int, given: Any = None) -> list[Run]:
    """Start many runs, a hundred at a time."""
    runs = list[Run]()
    while len(runs) < number:
        some = min(100, number - len(runs))
        runs += await asyncio.gather(*(client.start(workflow, given) for _ in range(some)))
    return runs


async def parked(server: Server, _: int) -> None:
    """How much a run that waits takes, when no process has it any more."""
    async with Client(server.url) as client, child(server, idle=0.0) as worker:
        await worker.go()
        runs = await start(client, Waiting, PARKED)
        for _ in range(PARKED):
            await worker.told()
        while await owners_of(runs):  # noqa: ASYNC110  nobody tells when a run was given back
            await asyncio.sleep(0.1)
    sizes = [
        await server.client.memory_usage(key, samples=0)
        async for key in server.client.scan_iter(count=1000)
    ]
    show("bytes in Redis of a run that waits", sum(sizes) / PARKED, "< 3,000")


async def owners_of(runs: list[Run]) -> set[str]:
    """Who has them."""
    return {(await run.info()).owner for run in runs} - {""}


async def idle(server: Server, _: int) -> None:
    """How much memory a worker has for runs that wait in it."""
    async with Client(server.url) as client, child(server) as worker:
        await worker.go()
        await start(client, Waiting, 10)
        for _ in range(10):
            await worker.told()
        before = worker.resident()
        await start(client, Waiting, IDLE)
        for _ in range(IDLE):
            await worker.told()
        await asyncio.sleep(2)
        show(f"MB of a worker with {IDLE:,} waiting runs", worker.resident(), "< 300")
        show("the same, without them", before)


async def reactions(server: Server, _: int) -> None:
    """From sending an event to the step that waits for it in another process."""
    async with Client(server.url) as client, child(server) as worker:
        await worker.go()
        run = await client.start(Reacting, {"events": EVENTS})
        took = await asyncio.wait_for(answers(run, worker, EVENTS), 60)
    show("`send_event` to the reaction elsewhere, ms", 1e3 * median(took), "< 5")


async def answers(run: Run, worker: Child, events: int) -> list[float]:
    """Send events one after the other; seconds until each was reacted to."""
    took = list[float]()
    await worker.told()
    for _ in range(events):
        began = time.monotonic()
        await run.send_event(Ping())
        took.append(float(await worker.told()) - began)
    return took


CASES: dict[str, Callable[[Server, int], Awaitable[None]]] = {
    "chain": chain,
    "many": many,
    "peer": peer,
    "fan": fan_out,
    "big_fan": big_fan_out,
    "loading": loading,
    "shared": shared,
    "parked": parked,
    "idle": idle,
    "reactions": reactions,
}


def show(what: str, figure: float, aim: str = "") -> None:
    """Print a row."""
    digits = 0 if figure >= 100 or figure == int(figure) else 2
    print(f"| {what} | {figure:,.{digits}f} | {aim} |", flush=True)


async def measure(url: str, rounds: int, only: list[str]) -> None:
    """Run everything, and print the table."""
    client: Any = redis.asyncio.Redis.from_url(url, max_connections=2 * RUNS)  # pyright: ignore[reportUnknownMemberType]  partly untyped
    server = Server(url, client)
    info = await client.info("server")
    name = "Valkey " + info["valkey_version"] if "valkey_version" in info else "Redis"
    print(describe("stepwell", "redis", "hiredis"), f"{name} ({info['redis_version']})", sep=", ")
    print(f"medians of {rounds} rounds, load average {os.getloadavg()[0]:.1f} before\n")
    print("| durable | measured | aim |\n| --- | ---: | ---: |", flush=True)
    for case in only or CASES:
        await server.empty()
        await CASES[case](server, rounds)
    await client.aclose()


def main() -> None:
    """Measure on a server of our own, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server to measure on, which is EMPTIED; else our own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--worker", type=float, help="be a worker, with this idle_timeout")
    given = parser.parse_args()
    if given.worker is not None:
        asyncio.run(work(given.url, given.worker))
        return
    only = [case for case in given.only.split(",") if case]
    with tempfile.TemporaryDirectory(prefix="sw") as directory:
        url = given.url or asyncio.run(private_server(Path(directory)))
        asyncio.run(measure(url, given.rounds, only))


async def private_server(directory: Path) -> str:
    """The URL of a private server with AOF, in a directory that goes away."""
    from stepwell.redis.embedded import ensure_server  # noqa: PLC0415  only where it is wanted

    return await ensure_server(directory)


if __name__ == "__main__":
    main()
