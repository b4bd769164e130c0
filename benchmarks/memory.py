"""Speed in memory, without a checkpointer, side by side with LlamaIndex Workflows.

    python benchmarks/memory.py

The same programs run on both engines, in turns, in one process; the table has the medians.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from statistics import median
from types import ModuleType
from typing import Any

from machine import describe

ROUNDS = 5

RUNS, STEPS = 200, 20
"""How many runs go on at once, and how many steps each has."""


def programs(name: str) -> tuple[Any, Any]:
    """The two workflows, made of the named package's classes."""
    package: ModuleType = import_module(name)
    events: ModuleType = import_module(f"{name}.events")
    step, base = package.step, package.Workflow
    start, stop, event = events.StartEvent, events.StopEvent, events.Event

    class Tick(event):
        left: int

    class Chain(base):
        @step
        async def begin(self, ev: start) -> Tick:
            return Tick(left=ev.steps)

        @step
        async def go_on(self, ev: Tick) -> Tick | stop:
            return Tick(left=ev.left - 1) if ev.left else stop(result="done")

    class Item(event):
        number: int

    class Done(event):
        number: int

    class Fan(base):
        @step
        async def split(self, ev: start) -> list[Item]:
            return [Item(number=number) for number in range(ev.size)]

        @step(num_workers=16)
        async def work(self, ev: Item) -> Done:
            return Done(number=ev.number)

        @step
        async def join(self, evs: list[Done]) -> stop:
            return stop(result=len(evs))

    return Chain(timeout=None), Fan(timeout=None)


async def many(workflow: Any) -> None:
    """Many runs at once."""
    await asyncio.gather(*[workflow.run(steps=STEPS) for _ in range(RUNS)])


async def seconds(run: Callable[[], Awaitable[object]]) -> float:
    """How long one run takes."""
    began = time.perf_counter()
    await run()
    return time.perf_counter() - began


async def measure() -> None:
    """Run everything, and print the table."""
    chain, fan = programs("stepwell")
    peer_chain, peer_fan = programs("workflows")
    cells: dict[str, list[float]] = {}
    cases: list[tuple[str, Callable[[], Awaitable[object]], int]] = [
        ("chain 1,000, peer", lambda: peer_chain.run(steps=1_000), 1_000),
        ("chain 1,000", lambda: chain.run(steps=1_000), 1_000),
        ("chain 10,000", lambda: chain.run(steps=10_000), 10_000),
        (f"{RUNS} runs of {STEPS}, peer", lambda: many(peer_chain), RUNS * STEPS),
        (f"{RUNS} runs of {STEPS}", lambda: many(chain), RUNS * STEPS),
        ("fan-out 1,000, peer", lambda: peer_fan.run(size=1_000), 1_000),
        ("fan-out 1,000", lambda: fan.run(size=1_000), 1_000),
        ("fan-out 10,000", lambda: fan.run(size=10_000), 10_000),
        ("fan-out 100,000", lambda: fan.run(size=100_000), 100_000),
    ]
    for _ in range(ROUNDS):
        for name, run, size in cases:
            cells.setdefault(name, []).append(await seconds(run) / size * 1e6)
    print(describe("stepwell", "llama-index-workflows", "pydantic"))
    print(f"medians of {ROUNDS} rounds\n")
    print("| case | µs a step or item | a second |\n| --- | ---: | ---: |")
    for name, values in cells.items():
        cost = median(values)
        print(f"| {name} | {cost:.1f} | {1e6 / cost:,.0f} |")
    ratios = {
        "chain, rate against the peer": ("chain 1,000, peer", "chain 1,000"),
        f"{RUNS} runs at once, rate against the peer": (
            f"{RUNS} runs of {STEPS}, peer",
            f"{RUNS} runs of {STEPS}",
        ),
        "fan-out of 1,000, rate against the peer": ("fan-out 1,000, peer", "fan-out 1,000"),
        "chain, cost of a step at 10,000 / 1,000": ("chain 10,000", "chain 1,000"),
        "fan-out, cost of an item at 10,000 / 1,000": ("fan-out 10,000", "fan-out 1,000"),
        "fan-out, cost of an item at 100,000 / 1,000": ("fan-out 100,000", "fan-out 1,000"),
    }
    print("\n| ratio of medians | |\n| --- | ---: |")
    for name, (above, below) in ratios.items():
        print(f"| {name} | {median(cells[above]) / median(cells[below]):.2f} |")


if __name__ == "__main__":
    asyncio.run(measure())
