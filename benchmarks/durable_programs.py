"""The workflows of benchmarks/durable.py, which workers of their own processes import too."""

import time
from collections.abc import Callable
from typing import Any

from stepwell import Context, Workflow, step
from stepwell.events import Event, InputRequiredEvent, StartEvent, StopEvent

__all__ = ["Chain", "Fan", "Ping", "Reacting", "Waiting"]

Say = Callable[[str], None]


class Ping(Event):
    """What runs wait for."""


class Tick(Event):
    """The next link of a chain."""

    left: int
    waits: bool


class Item(Event):
    """One of many."""

    number: int


class Done(Event):
    """One of many, done."""

    number: int


class Again(Event):
    """Wait once more."""

    left: int


class Telling(Workflow):
    """Its runs tell the process that started theirs what became of them."""

    def __init__(self, say: Say = lambda _: None, **options: Any) -> None:
        super().__init__(**options)
        self.say = say


class Chain(Telling):
    """Some steps, one after the other."""

    @step
    async def begin(self, ev: StartEvent) -> Tick:
        """Count as one of them."""
        return Tick(left=ev.steps - 2, waits=ev.get("waits", default=False))

    @step
    async def go_on(self, ev: Tick, ctx: Context) -> Tick | StopEvent:
        """Do nothing, until it is the last one."""
        if ev.left:
            return Tick(left=ev.left - 1, waits=ev.waits)
        if ev.waits:
            await ctx.wait_for_event(Ping, InputRequiredEvent(), timeout=None)
        self.say("ended")
        return StopEvent()


class Fan(Workflow):
    """Much work side by side."""

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        """Make it."""
        return [Item(number=number) for number in range(ev.size)]

    @step(num_workers=16)
    async def work(self, ev: Item) -> Done:
        """Do a piece of it."""
        return Done(number=ev.number)

    @step
    async def join(self, evs: list[Done]) -> StopEvent:
        """Put it together."""
        return StopEvent(result=len(evs))


class Waiting(Telling):
    """Waits for an event that does not come."""

    @step
    async def wait(self, ev: StartEvent, ctx: Context) -> StopEvent:
        """Wait."""
        self.say("waits")
        await ctx.wait_for_event(Ping, timeout=None)
        return StopEvent()


class Reacting(Telling):
    """Waits for events, and tells when it has one."""

    @step
    async def begin(self, ev: StartEvent) -> Again:
        """Wait for the first."""
        self.say("begun")
        return Again(left=ev.events)

    @step
    async def react(self, ev: Again, ctx: Context) -> Again | StopEvent:
        """Wait for one."""
        await ctx.wait_for_event(Ping, timeout=None)
        self.say(str(time.monotonic()))
        return Again(left=ev.left - 1) if ev.left > 1 else StopEvent()
