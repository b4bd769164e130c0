"""Hundreds of runs, and workers that stop, die and fall silent: each run is done, once."""

import asyncio
import random
from contextlib import suppress

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import StoreUnavailable
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.worker import Worker
from support.places import Fragile, Place

RUNS = 500
STEPS = 3


class Hop(Event):
    """To the next step."""

    left: int


class Hops(Workflow):
    """Counts its steps; some of them rest for a moment."""

    @step
    async def begin(self, ev: StartEvent) -> Hop:
        return Hop(left=STEPS)

    @step
    async def hop(self, ev: Hop, ctx: Context) -> Hop | StopEvent:
        count = await ctx.store.increment("count")
        await asyncio.sleep(0)
        if ev.left == 2:
            await ctx.sleep(0.01)
        return StopEvent(result=count) if ev.left == 1 else Hop(left=ev.left - 1)


class Crew:
    """One worker after another."""

    def __init__(self, place: Place, chance: random.Random, durability: str) -> None:
        self._place = place
        self._chance = chance
        self._durability = durability
        self.checkpointer: Fragile
        self.worker: Worker
        self.task: asyncio.Task[None]
        self.hire()

    def hire(self) -> None:
        """Begin with a new one."""
        self.checkpointer = self._place.checkpointer(durability=self._durability)
        self.worker = Worker(
            self.checkpointer,
            [Hops()],
            concurrency=self._chance.choice([5, 100]),
            idle_timeout=self._chance.choice([0.0, 60.0]),
            grace=0.05,
            claims_max=50,
        )
        self.task = asyncio.create_task(self.worker.run(handle_signals=False))

    async def lose(self) -> None:
        """End it in some way."""
        match self._chance.choice(["stop", "stop now", "cancel", "die"]):
            case "stop":
                self.worker.stop()
            case "stop now":
                self.worker.stop(now=True)
            case "cancel":
                self.task.cancel()
            case _:
                await self.checkpointer.cut()
                self.worker.stop(now=True)
        with suppress(asyncio.CancelledError, StoreUnavailable):  # it was cut as it began
            await self.task


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_run_is_completed_and_counts_each_step_once(durability: str) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311  no secret
    print(f"seed {seed}")  # noqa: T201  shown if it fails
    chance, place = random.Random(seed), Place(4)  # noqa: S311  no secret
    crews = [Crew(place, chance, durability) for _ in range(3)]
    async with place.client() as client:
        runs = [await client.start(Hops) for _ in range(RUNS)]

        async def disturb() -> None:
            for _ in range(12):
                await asyncio.sleep(chance.random() * 0.05)
                crew = chance.choice(crews)
                await crew.lose()
                if chance.random() < 0.3:
                    place.pass_time(601)
                await place.find_the_dead()
                crew.hire()

        _, *results = await asyncio.gather(disturb(), *(run.result() for run in runs))
        assert results == [STEPS] * RUNS
        for run in runs if durability == "sync" else ():
            assert place.outcomes(run.run_id).count("StepReturned") == STEPS + 1
    for crew in crews:
        crew.worker.stop(now=True)
        await crew.task
