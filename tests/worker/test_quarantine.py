"""Runs that kill their workers, again and again."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client, Run
from stepwell.errors import RunOver, RunQuarantined
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.worker import hosting
from support.clients import Answer
from support.places import Fragile, Place, serving, until_true
from support.processes import Child
from support.runs import Runs
from support.servers import RedisServer

CLAIMS_MAX = 5


class Onwards(Event):
    """From a step that is done to the one that kills."""


class Deadly(Workflow):
    """Its second step cuts its process off from the world, as death does."""

    def __init__(self, checkpointer: Fragile, harmless: int = 0) -> None:
        super().__init__(workflow_name="deadly")
        self.executed: list[str] = []
        self._here = checkpointer
        self._harmless = harmless

    @step
    async def before(self, ev: StartEvent, ctx: Context) -> Onwards:
        self.executed.append("before")
        return Onwards()

    @step
    async def kills(self, ev: Onwards, ctx: Context) -> Onwards | StopEvent:
        self.executed.append("kills")
        if await ctx.store.get("harmless", 0) < self._harmless:
            await ctx.store.increment("harmless")
            return Onwards()
        await self._here.cut()
        return await asyncio.Future()


async def die(place: Place, run_id: str, harmless: int = 0) -> list[str]:
    """Let a worker execute a run until that kills it; return the steps that it began."""
    checkpointer = place.checkpointer()
    deadly = Deadly(checkpointer, harmless)
    async with serving(checkpointer, deadly, claims_max=CLAIMS_MAX):
        await until_true(lambda: checkpointer.is_cut or ended(place, run_id))
    await place.find_the_dead()
    return deadly.executed


def ended(place: Place, run_id: str) -> bool:
    return place.run(run_id).ended_at is not None


async def quarantined(place: Place, client: Client) -> Run:
    """A run that has killed as many workers as it may."""
    run = await client.start(Deadly(place.checkpointer()))
    for _ in range(CLAIMS_MAX + 1):
        await die(place, run.run_id)
    return run


async def test_a_run_that_kills_its_workers_is_quarantined_with_evidence(
    place: Place, client: Client
) -> None:
    run = await client.start(Deadly(place.checkpointer()))
    executed = [await die(place, run.run_id) for _ in range(CLAIMS_MAX + 1)]
    # The first claim made progress, and does not count: one more body may be begun.
    assert executed == [["before", "kills"], *[["kills"]] * CLAIMS_MAX]
    assert await die(place, run.run_id) == []
    with pytest.raises(RunQuarantined, match=r"claimed 5 times.*kills \(attempt 6\)"):
        await run.result()
    assert (await run.info()).status == "quarantined"
    assert place.happened(run.run_id)[-1] == "(quarantined)"
    with pytest.raises(RunOver, match="ended already"):
        await run.cancel()


async def test_a_run_started_again_by_name_may_be_claimed_as_often_as_a_new_one(
    place: Place, client: Client
) -> None:
    run = await quarantined(place, client)
    assert await die(place, run.run_id) == []
    checkpointer = place.checkpointer()
    deadly = Deadly(checkpointer)
    checkpointer.attach(deadly)
    handler = deadly.run(run_id=run.run_id)
    await until_true(lambda: checkpointer.is_cut)
    assert deadly.executed == ["kills"]
    assert (await run.info()).claims == 1
    with suppress(Exception):
        await handler.cancel_run()


async def test_a_worker_that_gives_its_run_back_was_not_killed_by_it(
    place: Place, client: Client
) -> None:
    class Stays(Workflow):
        begun = 0

        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            type(self).begun += 1
            return await asyncio.Future()

    run = await client.start(Stays)
    for number in range(1, 9):
        async with serving(place.checkpointer(), Stays(), claims_max=2):
            await until_true(lambda number=number: Stays.begun == number)
    info = await run.info()
    assert (info.status, info.claims) == ("running", 0)


async def test_progress_forgives_the_deaths_before_it(place: Place, client: Client) -> None:
    run = await client.start(Deadly(place.checkpointer()))
    for turn in range(1, 9):
        for _ in range(CLAIMS_MAX - 2):
            await die(place, run.run_id, harmless=turn)
    assert (await run.info()).status == "running"
    assert place.run(run.run_id).fields["state:harmless"] == "8"


async def test_a_living_worker_that_others_take_for_dead_quarantines_nothing(
    place: Place, client: Client
) -> None:
    class Holds(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.begun = 0
            self.go = asyncio.Event()

        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            self.begun += 1
            await self.go.wait()
            return StopEvent(result="done")

    holds, checkpointer = Holds(), place.checkpointer()
    async with serving(checkpointer, holds, claims_max=2), checkpointer.session() as session:
        run = await client.start(holds)
        await until_true(lambda: holds.begun == 1)
        renewed_at = session.lease.renewed_at
        place.pass_time(601)
        await place.find_the_dead()
        await until_true(lambda: holds.begun == 2)
        await until_true(lambda: session.lease.renewed_at != renewed_at)
        for _ in range(3):
            await place.find_the_dead()
        holds.go.set()
        assert await run.result() == "done"
    assert holds.begun == 2


# --- those that were beside it ---


class Poison(Workflow):
    """Kills its process as soon as the other run is beside it, or can't be."""

    def __init__(self, place: Place, here: Fragile, beside: Callable[[], bool]) -> None:
        super().__init__(workflow_name="poison")
        self._place, self._here, self._beside = place, here, beside

    @step
    async def kills(self, ev: StartEvent) -> StopEvent:
        await until_true(lambda: self._beside() or is_away(self._place, "innocent"))
        await self._here.cut()
        return await asyncio.Future()


class Innocent(Workflow):
    """Its only step lasts as long as the poison is here, or about to come."""

    def __init__(self, place: Place) -> None:
        super().__init__(workflow_name="innocent")
        self.begun = 0
        self._place = place

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        self.begun += 1
        await until_true(lambda: is_away(self._place, "poison"))
        return StopEvent(result="done")


def is_away(place: Place, run_id: str) -> bool:
    """Whether a run has ended, or was given back untouched."""
    return ended(place, run_id) or place.happened(run_id)[-1] == "(released)"


async def serve_until_killed(place: Place, claims_max: int) -> int:
    """Serve both runs until that kills the worker, or both ended; how many innocents began."""
    here = place.checkpointer()
    innocent = Innocent(place)
    poison = Poison(place, here, lambda: innocent.begun > 0)
    async with serving(here, innocent, poison, claims_max=claims_max):
        await until_true(
            lambda: here.is_cut or (ended(place, "poison") and ended(place, "innocent"))
        )
    await place.find_the_dead()
    return innocent.begun


@pytest.mark.parametrize("claims_max", [2, CLAIMS_MAX])
async def test_a_run_that_was_beside_the_one_that_kills_is_not_quarantined_with_it(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, claims_max: int
) -> None:
    monkeypatch.setattr(hosting, "PUT_OFF_FOR", 0.1)
    innocent = await client.start("innocent", run_id="innocent")
    poison = await client.start("poison", run_id="poison")
    together = [await serve_until_killed(place, claims_max) for _ in range(claims_max - 1)]
    assert together == [1] * (claims_max - 1)
    assert (await innocent.info()).claims == (await poison.info()).claims == claims_max - 1
    while not ended(place, "poison"):
        await serve_until_killed(place, claims_max)
    assert await innocent.result() == "done"
    with pytest.raises(RunQuarantined, match=rf"claimed {claims_max} times.*no worker let another"):
        await poison.result()


async def last_claims(place: Place, client: Client, workflow: Workflow, number: int) -> list[Run]:
    """Runs whose next claim is the last one."""
    runs = [await client.start(workflow) for _ in range(number)]
    for run in runs:
        place.run(run.run_id).claims = CLAIMS_MAX - 1
    return runs


@pytest.mark.parametrize("at_once", [None, 1])
async def test_runs_in_their_last_claim_come_one_by_one_and_to_be_put_off_does_not_count(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, at_once: int | None
) -> None:
    class Holds(Workflow):
        inside = most = 0
        go = asyncio.Event()

        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.go.wait()
            self.inside -= 1
            return StopEvent()

    monkeypatch.setattr(hosting, "PUT_OFF_MAX", 0.01)
    holds = Holds(num_concurrent_runs=at_once)
    runs = await last_claims(place, client, holds, 3)

    def put_off() -> list[Run]:
        return [run for run in runs if place.happened(run.run_id).count("(claimed)") >= 3]

    async with serving(place.checkpointer(), holds, claims_max=CLAIMS_MAX):
        await until_true(lambda: len(put_off()) == 2)
        holds.go.set()
        for run in runs:
            await run.result()
    assert holds.most == 1


@pytest.mark.parametrize("messages", [0, 1])
async def test_a_run_that_is_put_off_is_left_alone_for_a_while_also_if_it_has_mail(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch, messages: int
) -> None:
    class Stays(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return await asyncio.Future()

    monkeypatch.setattr(hosting, "PUT_OFF_FOR", 0.2)
    runs = await last_claims(place, client, Stays(), 2)
    for run in runs * messages:
        await run.send_event(Answer(value=1))
    async with serving(place.checkpointer(), Stays(), claims_max=CLAIMS_MAX):
        await until_true(lambda: max(len(claimed_at(place, run)) for run in runs) >= 3)
    for first, second in chain.from_iterable(pairwise(claimed_at(place, run)) for run in runs):
        assert second - first >= 198  # of two clocks, one of which counts in ms


def claimed_at(place: Place, run: Run) -> list[int]:
    """When a run was claimed, in ms."""
    lines = map(json.loads, place.run(run.run_id).log)
    return [line[1] for line in lines if line[2] == "(claimed)"]


async def test_a_run_that_got_further_stands_in_nobodys_way(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GetsFurther(Workflow):
        further = 0

        @step
        async def first(self, ev: StartEvent) -> Onwards:
            return Onwards()

        @step
        async def second(self, ev: Onwards) -> StopEvent:
            self.further += 1
            return await asyncio.Future()

    monkeypatch.setattr(hosting, "PUT_OFF_MAX", 0.01)
    workflow = GetsFurther()
    await last_claims(place, client, workflow, 4)
    async with serving(place.checkpointer(), workflow, claims_max=CLAIMS_MAX):
        await until_true(lambda: workflow.further == 4)


# --- processes ---


DEADLY = """
import asyncio, os, sys
from stepwell import Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.worker import Worker
from support.runs import checkpointer

class Deadly(Workflow):
    @step
    async def kills(self, ev: StartEvent) -> StopEvent:
        with open(sys.argv[1], "a") as file:
            file.write("x")
        os._exit(9)

worker = Worker(checkpointer(lease=60), [Deadly(workflow_name="deadly")], claims_max=1)
asyncio.run(worker.run())
"""


async def test_processes_that_die_of_a_run_are_only_so_many(
    redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    bodies = tmp_path / "bodies"
    with Runs(redis_server.unix_url, namespace) as runs:
        async with Client(runs.checkpointer()) as client:
            run = await client.start("deadly")
            for _ in range(1):
                async with Child(DEADLY, str(bodies), env=runs.env) as child:
                    assert await child.exit() == 9
            async with Child(DEADLY, str(bodies), env=runs.env):
                with pytest.raises(RunQuarantined, match=r"claimed 1 times.*kills \(attempt 1\)"):
                    await run.result()
    assert bodies.read_text() == "x"
