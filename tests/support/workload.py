"""The workflows that workers execute while things break, and what must come of each run.

Every body has a token, and writes down when it begins and ends (see `support.journal`). Every run
counts its work in its state, so that work which was lost, or done twice, shows in a sum.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from support.history import ANYTHING, Answer, Start
from support.journal import body

__all__ = [
    "FLOWS",
    "Job",
    "Signal",
    "chain",
    "fan",
    "held",
    "listener",
    "loop",
    "mixture",
    "naps",
    "stubborn",
]


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be started, and what must come of it."""

    run_id: str
    flow: Workflow
    input: Mapping[str, Any]
    count: int
    tokens: frozenset[str]
    result: Any = ANYTHING

    def started(self, answer: Answer) -> Start:
        """What a client has to tell of it."""
        return Start(self.run_id, answer, self.result, {"count": self.count}, self.tokens)


class Links(StartEvent):
    """How long a chain is, and how many seconds each of its steps works."""

    links: int
    pause: float


class Link(Event):
    """A step of it."""

    links: int
    pause: float
    number: int


class Chain(Workflow):
    """One step after the other."""

    @step
    async def begin(self, ev: Links, ctx: Context) -> Link:
        with body(ctx, "link 0"):
            return await _linked(ctx, ev, 0)

    @step
    async def link(self, ev: Link, ctx: Context) -> Link | StopEvent:
        number = ev.number
        with body(ctx, f"link {number}", [f"link {number - 1}"]):
            following = await _linked(ctx, ev, number)
            if following.number < ev.links:
                return following
            return StopEvent(result=await ctx.store.get("path"))


async def _linked(ctx: Context, ev: Links | Link, number: int) -> Link:
    await ctx.store.increment("count")
    await asyncio.sleep(ev.pause)
    await ctx.store.append("path", number)
    return Link(links=ev.links, pause=ev.pause, number=number + 1)


def chain(run_id: str, links: int, pause: float) -> Job:
    """Steps one after the other, two at least."""
    tokens = frozenset(f"link {number}" for number in range(links))
    return Job(run_id, CHAIN, {"links": links, "pause": pause}, links, tokens, list(range(links)))


class Parts(StartEvent):
    """How many parts there are, and how many seconds each takes."""

    parts: int
    pause: float


class Part(Event):
    """One of them."""

    number: int
    pause: float


class Done(Event):
    """It is done."""

    number: int


class Fan(Workflow):
    """Many steps at a time, whose results are gathered."""

    @step
    async def split(self, ev: Parts, ctx: Context) -> list[Part]:
        with body(ctx, "split"):
            return [Part(number=number, pause=ev.pause) for number in range(ev.parts)]

    @step(num_workers=4)
    async def part(self, ev: Part, ctx: Context) -> Done:
        with body(ctx, f"part {ev.number}", ["split"]):
            await ctx.store.increment("count")
            await asyncio.sleep(ev.pause)
            return Done(number=ev.number)

    @step
    async def join(self, evs: list[Done], ctx: Context) -> StopEvent:
        parts = sorted(ev.number for ev in evs)
        with body(ctx, "join", [f"part {number}" for number in parts]):
            return StopEvent(result=parts)


def fan(run_id: str, parts: int, pause: float) -> Job:
    """Steps at a time, four at most."""
    tokens = frozenset(["split", "join", *(f"part {number}" for number in range(parts))])
    given = {"parts": parts, "pause": pause}
    return Job(run_id, FAN, given, parts, tokens, list(range(parts)))


class Loop(Workflow):
    """One step with a durable loop."""

    @step
    async def work(self, ev: Parts, ctx: Context) -> StopEvent:
        async for number in ctx.each(range(ev.parts)):
            with body(ctx, f"item {number}", [f"item {number - 1}"]):
                await ctx.store.increment("count")
                await asyncio.sleep(ev.pause)
                await ctx.store.append("path", number)
        return StopEvent(result=await ctx.store.get("path"))


def loop(run_id: str, parts: int, pause: float) -> Job:
    """Items of one step, each committed."""
    tokens = frozenset(f"item {number}" for number in range(parts))
    return Job(run_id, LOOP, {"parts": parts, "pause": pause}, parts, tokens, list(range(parts)))


class Signal(Event):
    """From outside."""

    token: str


class Listening(StartEvent):
    """For how many signals a run waits."""

    signals: int


class Listen(Event):
    """For which of them it waits now."""

    signals: int
    number: int


class Listener(Workflow):
    """Waits for signals, one after the other, and is released meanwhile; tells which it had."""

    @step
    async def begin(self, ev: Listening, ctx: Context) -> Listen:
        with body(ctx, "listen 0"):
            await ctx.store.set("received", [])
            return Listen(signals=ev.signals, number=1)

    @step
    async def listen(self, ev: Listen, ctx: Context) -> Listen | StopEvent:
        number = ev.number
        with body(
            ctx, f"listen {number}", [f"listen {number - 1}"] if number else ["listen"]
        ) as at:
            with at.rest():
                signal = await ctx.wait_for_event(Signal, timeout=None)
            await ctx.store.increment("count")
            await ctx.store.append("received", signal.token)
            if number < ev.signals:
                return Listen(signals=ev.signals, number=number + 1)
            return StopEvent(result=await ctx.store.get("received"))


def listener(run_id: str, signals: int) -> Job:
    """Ends after so many signals; its result is their tokens, and nobody knows the order."""
    tokens = frozenset(f"listen {number}" for number in range(signals + 1))
    return Job(run_id, LISTENER, {"signals": signals}, signals, tokens)


class Resting(StartEvent):
    """How many naps there are, and how many seconds each lasts."""

    naps: int
    pause: float


class Nap(Event):
    """Which of them it is."""

    naps: int
    pause: float
    number: int


class Naps(Workflow):
    """Sleeps durably, again and again."""

    @step
    async def begin(self, ev: Resting, ctx: Context) -> Nap:
        with body(ctx, "nap 0"):
            return Nap(naps=ev.naps, pause=ev.pause, number=1)

    @step
    async def nap(self, ev: Nap, ctx: Context) -> Nap | StopEvent:
        number = ev.number
        with body(ctx, f"nap {number}", [f"nap {number - 1}"]) as at:
            with at.rest():
                await ctx.sleep(ev.pause)
            count = await ctx.store.increment("count")
            if number < ev.naps:
                return Nap(naps=ev.naps, pause=ev.pause, number=number + 1)
            return StopEvent(result=count)


def naps(run_id: str, times: int, pause: float) -> Job:
    """Sleeps, one after the other."""
    tokens = frozenset(f"nap {number}" for number in range(times + 1))
    return Job(run_id, NAPS, {"naps": times, "pause": pause}, times, tokens, times)


class Trying(StartEvent):
    """How often a step fails before it succeeds."""

    failures: int


class Stubborn(Workflow):
    """Fails, and is tried again; what a failed attempt wrote stands."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.1), stop=stop_after_attempt(1000)))
    async def attempt(self, ev: Trying, ctx: Context) -> StopEvent:
        tried = await ctx.store.increment("count")
        with body(ctx, f"try {tried}", [f"try {tried - 1}"]):
            if tried <= ev.failures:
                raise ConnectionError(f"the service is not there, at try {tried}")
            return StopEvent(result=tried)


def stubborn(run_id: str, failures: int) -> Job:
    """Fails so often."""
    tokens = frozenset(f"try {number + 1}" for number in range(failures + 1))
    given = {"failures": failures}
    return Job(run_id, STUBBORN, given, failures + 1, tokens, failures + 1)


class Gate(StartEvent):
    """A file that somebody will make."""

    file: Path


class Through(Event):
    """The gate was open."""


class Held(Workflow):
    """Works until a file is there."""

    @step
    async def hold(self, ev: Gate, ctx: Context) -> Through:
        with body(ctx, "hold"):
            await ctx.store.increment("count")
            await asyncio.shield(_there(ev.file))
            return Through()

    @step
    async def go_on(self, ev: Through, ctx: Context) -> StopEvent:
        with body(ctx, "go on", ["hold"]):
            return StopEvent(result=await ctx.store.increment("count"))


@cache
def _there(file: Path) -> asyncio.Task[None]:
    """One task for all bodies of this process that wait for the same file."""

    async def wait() -> None:
        while not file.exists():  # noqa: ASYNC110, ASYNC240  a test tells other processes no other way
            await asyncio.sleep(0.02)

    return asyncio.ensure_future(wait())


def held(run_id: str, file: Path) -> Job:
    """A step that works until the file is there, and one after it."""
    return Job(run_id, HELD, {"file": str(file)}, 2, frozenset({"hold", "go on"}), 2)


CHAIN, FAN, LOOP = Chain(timeout=None), Fan(timeout=None), Loop(timeout=None)
LISTENER, NAPS = Listener(timeout=None), Naps(timeout=None)
STUBBORN, HELD = Stubborn(timeout=None), Held(timeout=None)


def mixture(number: int) -> list[Job]:
    """Jobs of all kinds that end by themselves, some 3 to 4 seconds long."""
    kinds: list[Callable[[str], Job]] = [
        lambda run_id: chain(run_id, 12, 0.25),
        lambda run_id: fan(run_id, 24, 0.4),
        lambda run_id: loop(run_id, 12, 0.25),
        lambda run_id: chain(run_id, 30, 0.1),
        lambda run_id: naps(run_id, 3, 1.0),
        lambda run_id: stubborn(run_id, 20),
    ]
    return [kinds[index % len(kinds)](f"run-{index}") for index in range(number)]


FLOWS = (CHAIN, FAN, LOOP, LISTENER, NAPS, STUBBORN, HELD)
"""What a worker serves."""
