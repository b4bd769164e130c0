"""Durable runs for tests: a workflow that stops where a test wants, and what lies on the server."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from redis import Redis

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from stepwell.redis import RedisCheckpointer
from stepwell.redis.keys import Keys

__all__ = [
    "Done",
    "Part",
    "Probe",
    "Runs",
    "Second",
    "Siblings",
    "TwoSteps",
    "checkpointer",
    "crash_after",
    "exact",
    "interrupt",
    "until",
]


class Probe:
    """Stands before the work of each step: remembers the step, and stops it where it is told.

    Args:
        fails_at: steps that raise a ValueError.
        holds: steps that wait until `go` is set; they set `reached`.
    """

    def __init__(self, *, fails_at: Collection[str] = (), holds: Collection[str] = ()) -> None:
        self.executed: list[str] = []
        self.fails_at = fails_at
        self.holds = holds
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, name: str) -> None:
        self.executed.append(name)
        if name in self.holds:
            self.reached.set()
            await self.go.wait()
        if name in self.fails_at:
            raise ValueError(f"{name} failed")


class Second(Event):
    """From the first step to the second."""

    value: int


class TwoSteps(Workflow):
    """Each step counts itself; the result is the input and the count."""

    def __init__(self, probe: Probe | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.probe = probe or Probe()

    @step
    async def first(self, ev: StartEvent, ctx: Context) -> Second:
        await self.probe("first")
        await ctx.store.increment("count")
        return Second(value=ev.value)

    @step
    async def second(self, ev: Second, ctx: Context) -> StopEvent:
        await self.probe("second")
        return StopEvent(result=[ev.value, await ctx.store.increment("count")])


class Part(Event):
    """One of several at a time."""

    number: int


class Done(Event):
    """A part is done."""

    number: int


class Siblings(Workflow):
    """Several steps at a time write to the same state."""

    def __init__(self, probe: Any, parts: int, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe
        self._parts = parts

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=number) for number in range(self._parts)]

    @step(num_workers=8)
    async def part(self, ev: Part, ctx: Context) -> Done:
        await ctx.store.increment("count", ev.number)
        await self._probe(f"one {ev.number}")
        await ctx.store.append("listed", ev.number)
        await ctx.store.set(f"own{ev.number}", [ev.number])
        await self._probe(f"two {ev.number}")
        await ctx.store.add("members", ev.number)
        (await ctx.store.get(f"own{ev.number}")).append("in place")
        await ctx.store.get("listed")  # others' half-done work, which is not ours to commit
        await ctx.store.increment("count", 1)
        await self._probe(f"three {ev.number}")
        return Done(number=ev.number)

    @step
    async def join(self, ev: list[Done], ctx: Context) -> StopEvent:
        await self._probe("join")
        state = (await ctx.store.get_state()).to_dict()
        listed, members = sorted(state.pop("listed")), sorted(state.pop("members"))
        gathered = sorted(one.number for one in ev)
        return StopEvent(result={**state, "lists": [listed, members, gathered]})


def exact(parts: int) -> dict[str, Any]:
    """The result of Siblings, whatever happened on the way."""
    numbers = list(range(parts))
    own = {f"own{number}": [number, "in place"] for number in numbers}
    return {"count": sum(numbers) + parts, **own, "lists": [numbers] * 3}


async def interrupt(start: Callable[[], WorkflowHandler[Any]], probe: Probe) -> str:
    """Start a run in an event loop that ends when the probe is reached; return its name.

    So does a program that is stopped by Ctrl-C: it gives its run back, in the middle of a step.
    """

    async def main() -> str:
        handler = start()
        await probe.reached.wait()
        return handler.run_id

    return await asyncio.to_thread(asyncio.run, main())


def checkpointer(**options: Any) -> RedisCheckpointer:
    """In a child that was started with `Runs.env`: a checkpointer for its runs."""
    return RedisCheckpointer(os.environ["URL"], namespace=os.environ["NAMESPACE"], **options)


async def until(fact: Callable[[], Any]) -> None:
    """Wait for a fact that nobody announces, such as a line in a log on the server."""
    while not fact():  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0.005)


class Runs:
    """The runs of one namespace, as they lie on the server."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.redis = cast("Any", Redis.from_url(url, protocol=2))
        self.keys = Keys(namespace, 16)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.redis.close()

    @property
    def env(self) -> dict[str, str]:
        """Lets a child import the tests' support, and use `checkpointer()` for these runs."""
        tests = str(Path(__file__).parents[1])
        return {"PYTHONPATH": tests, "URL": self.url, "NAMESPACE": self.namespace}

    def checkpointer(self, **options: Any) -> RedisCheckpointer:
        """A checkpointer of its own: a session and an owner that nobody else has."""
        return RedisCheckpointer(self.url, namespace=self.namespace, **options)

    def ids(self) -> set[str]:
        """The names of all runs."""
        found = self.redis.scan_iter(match=f"stepwell:{{{self.namespace}/*}}:run:*", count=1000)
        return {key.decode().partition(":run:")[2] for key in found}

    def fields(self, run_id: str) -> dict[str, str]:
        """The hash of a run."""
        found = self.redis.hgetall(self.keys.run(run_id))
        return {name.decode(): text.decode() for name, text in found.items()}

    def log(self, run_id: str) -> list[tuple[int, str, int, str]]:
        """What the log says of each boundary: seq, step, attempt, outcome."""
        lines = [json.loads(line) for line in self.redis.lrange(self.keys.log(run_id), 0, -1)]
        return [(line[0], line[2], line[3], line[5]) for line in lines]

    def dump(self, run_id: str) -> dict[str, bytes | None]:
        """All that is stored of a run, byte by byte."""
        keys = [self.keys.run(run_id), self.keys.log(run_id), *self.keys.same_of(run_id)]
        return {key: self.redis.dump(key) for key in keys}


async def crash_after(
    finished: list[str], runs: Runs, start: Callable[[], WorkflowHandler[Any]], probe: Probe
) -> None:
    """Interrupt a run at its probe, once these steps, and no others, are committed."""

    async def main() -> None:
        handler = start()
        await probe.reached.wait()
        await until(
            lambda: (
                [line[1] for line in runs.log("the-run") if line[3] == "StepReturned"] == finished
            )
        )
        assert not handler.is_done()

    await asyncio.to_thread(asyncio.run, main())
