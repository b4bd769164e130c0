"""What a long run costs that is not work: snapshots, and memory.

    python benchmarks/growth.py

`ctx.to_dict()` has to cost what the present state costs, however many steps came before; a run that
goes on and on has to stay as large as it is; and what has ended has to go away.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any
from weakref import ref

from machine import describe

ROUNDS = 5


def programs(name: str) -> Any:
    """A loop that stops at certain steps to be looked at, of the named package's classes."""
    package, events = import_module(name), import_module(f"{name}.events")
    step, base, context = package.step, package.Workflow, package.Context
    start, stop, event = events.StartEvent, events.StopEvent, events.Event

    class Tick(event):
        done: int

    class Looping(base):
        def __init__(self, steps: int, look: Callable[[int], None]) -> None:
            super().__init__(timeout=None)
            self.steps = steps
            self.look = look

        @step
        async def begin(self, ctx: context, ev: start) -> Tick:
            await ctx.store.set("text", "x" * 1000)
            return Tick(done=0)

        @step
        async def go_on(self, ev: Tick) -> Tick | stop:
            self.look(ev.done)
            return Tick(done=ev.done + 1) if ev.done < self.steps else stop(result="done")

    return Looping


async def snapshots(name: str, steps: tuple[int, ...]) -> dict[int, float]:
    """The time of `to_dict()` in milliseconds, from the handler's side, after so many steps."""
    took: dict[int, list[float]] = {}
    for _ in range(ROUNDS):
        handler: list[Any] = []

        def look(done: int, handler: list[Any] = handler) -> None:
            if done in steps:
                began = time.perf_counter()
                handler[0].ctx.to_dict()
                took.setdefault(done, []).append((time.perf_counter() - began) * 1e3)

        handler.append(programs(name)(max(steps), look).run())
        await handler[0]
    return {done: median(values) for done, values in took.items()}


async def memory(steps: tuple[int, ...]) -> dict[int, float]:
    """What one run of ours holds in KB after so many steps."""
    held: dict[int, float] = {}

    def look(done: int) -> None:
        if done in steps:
            gc.collect()
            held[done] = tracemalloc.get_traced_memory()[0] / 1e3

    tracemalloc.start()
    await programs("stepwell")(max(steps), look).run()
    tracemalloc.stop()
    return held


async def leftovers(runs: int) -> int:
    """How many workflows, contexts and handlers of ended runs are still there."""
    seen: list[ref[Any]] = []
    for _ in range(runs):
        workflow = programs("stepwell")(10, lambda _: None)
        handler = workflow.run()
        await handler
        seen += [ref(workflow), ref(handler), ref(handler.ctx)]
        del workflow, handler
    gc.collect()
    return sum(one() is not None for one in seen)


async def measure() -> None:
    """Run everything, and print the tables."""
    print(describe("stepwell", "llama-index-workflows", "pydantic"))
    print(f"medians of {ROUNDS} rounds\n")
    print("| engine | steps before | to_dict(), ms |\n| --- | ---: | ---: |")
    for name, steps in (("workflows", (10, 100, 1_000)), ("stepwell", (10, 1_000, 10_000))):
        for done, took in (await snapshots(name, steps)).items():
            print(f"| {name} | {done:,} | {took:.3f} |")
    print("\n| steps of one run | KB held |\n| --- | ---: |")
    for done, held in (await memory((100, 1_000, 10_000, 50_000))).items():
        print(f"| {done:,} | {held:,.0f} |")
    print(f"\nOf 100 ended runs, {await leftovers(100)} workflows, contexts and handlers are left.")


if __name__ == "__main__":
    asyncio.run(measure())
