"""Which runs a worker takes, and how many at once."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client
from stepwell.events import StartEvent, StopEvent
from support.clients import Answer
from support.places import Place, serving, until_true
from support.runs import Probe, TwoSteps


class Crowd(Workflow):
    """Counts how many bodies run at once; they wait until they may go."""

    def __init__(self, *, waits: bool = False, **options: object) -> None:
        super().__init__(**options)  # pyright: ignore[reportArgumentType]  passed on
        self.inside = self.most = self.begun = 0
        self.go = asyncio.Event()
        self._waits = waits

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        if self._waits:
            await ctx.wait_for_event(Answer)
        self.begun += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.go.wait()
        self.inside -= 1
        return StopEvent(result=ev.get("number"))


class Other(Crowd):
    """The same under another name."""


# --- which ---


async def test_runs_of_other_workflows_and_other_queues_are_left_alone(
    place: Place, client: Client
) -> None:
    mine, other = Crowd(), Other()
    mine.go.set()
    runs = [
        await client.start(mine, queue="mine"),
        await client.start(mine, queue="theirs"),
        await client.start(other, queue="mine"),
    ]
    async with serving(place.checkpointer(), mine, queues=["mine"]):
        assert await runs[0].result() is None
        late = await client.start(mine, queue="mine")
        assert await late.result() is None
    assert [(await run.info()).status for run in runs] == ["completed", "pending", "pending"]
    assert [place.happened(run.run_id) for run in runs[1:]] == [["(enqueued)"]] * 2


async def test_a_worker_may_serve_several_queues_and_workflows(
    place: Place, client: Client
) -> None:
    probe, crowd = Probe(), Crowd()
    crowd.go.set()
    two = TwoSteps(probe)
    async with serving(place.checkpointer(), two, crowd, queues=["a", "b"]):
        runs = [
            await client.start(one, {"value": 1, "number": 2}, queue=queue)
            for one in (two, crowd)
            for queue in ("a", "b")
        ]
        assert [await run.result() for run in runs] == [[1, 2], [1, 2], 2, 2]


async def test_a_delayed_run_is_not_begun_before_its_time(place: Place, client: Client) -> None:
    crowd = Crowd()
    crowd.go.set()
    async with serving(place.checkpointer(), crowd):
        late = await client.start(crowd, delay=0.2)
        assert await (await client.start(crowd)).result() is None
        assert (await late.info()).status == "pending"
        await late.result()
    enqueued, claimed = place.times(late.run_id, "(enqueued)", "(claimed)")
    assert claimed - enqueued >= 200


# --- how many ---


async def test_no_more_runs_work_at_once_than_there_is_room_for(
    place: Place, client: Client
) -> None:
    crowd = Crowd()
    runs = [await client.start(crowd, {"number": number}) for number in range(9)]
    async with serving(place.checkpointer(), crowd, concurrency=3) as worker:
        await until_true(lambda: crowd.inside == 3)
        assert worker.health().executing == 3
        assert sum(bool(place.run(run.run_id).owner) for run in runs) == 3
        crowd.go.set()
        assert [await run.result() for run in runs] == list(range(9))
    assert crowd.most == 3


async def test_runs_that_rest_leave_their_room_to_others(place: Place, client: Client) -> None:
    waiting, crowd = Crowd(waits=True), Other()
    crowd.go.set()
    async with serving(place.checkpointer(), waiting, crowd, concurrency=2) as worker:
        for _ in range(5):
            await client.start(waiting)
        await until_true(lambda: worker.health().resting == 5)
        assert await (await client.start(crowd)).result() is None


async def test_a_run_that_rests_no_more_takes_its_room_back(place: Place, client: Client) -> None:
    waiting, crowd = Crowd(waits=True), Other()
    async with serving(place.checkpointer(), waiting, crowd, concurrency=2) as worker:
        resting = [await client.start(waiting) for _ in range(3)]
        await until_true(lambda: worker.health().resting == 3)
        for run in resting:
            await run.send_event(Answer())
        await until_true(lambda: waiting.inside == 3)
        assert worker.health().resting == 0
        late = await client.start(crowd)
        async with place.store() as store:  # a turn of its own, in which it was not taken
            await until_true(lambda: place.run(late.run_id).due_at is not None)
            await store.sweep(0)
        assert place.run(late.run_id).owner == ""
        crowd.go.set()
        waiting.go.set()
        await asyncio.gather(*(run.result() for run in [*resting, late]))


async def test_a_limit_of_a_workflow_holds_in_a_worker(place: Place, client: Client) -> None:
    crowd, other = Crowd(num_concurrent_runs=2), Other()
    runs = [await client.start(crowd, {"number": number}) for number in range(5)]
    async with serving(place.checkpointer(), crowd, other):
        await until_true(lambda: crowd.inside == 2)
        other.go.set()
        assert await (await client.start(other)).result() is None
        crowd.go.set()
        assert [await run.result() for run in runs] == list(range(5))
    assert crowd.most == 2


@pytest.mark.parametrize("place", [1], indirect=True)
@pytest.mark.parametrize("sends", ["while it waits for its turn", "before it is claimed"])
async def test_a_message_reaches_a_run_that_waits_for_its_turn(
    place: Place, client: Client, sends: str
) -> None:
    crowd = Crowd(waits=True, num_concurrent_runs=1)
    crowd.go.set()
    late = await client.start(crowd, {"number": 2}, delay=60)
    async with serving(place.checkpointer(), crowd) as worker:
        first = await client.start(crowd, {"number": 1})
        await until_true(lambda: worker.health().resting == 1)
        if sends == "before it is claimed":
            await late.send_event(Answer())
        place.pass_time(60)
        await until_true(lambda: place.run(late.run_id).owner)
        if sends != "before it is claimed":
            await late.send_event(Answer())
        await until_true(lambda: not any(place.server.mail.values()))
        await first.send_event(Answer())
        assert [await first.result(), await late.result()] == [1, 2]


# --- several workers ---


async def test_workers_share_the_load_and_execute_no_run_twice(
    place: Place, client: Client
) -> None:
    crowds = [Crowd() for _ in range(3)]
    runs = [await client.start(crowds[0], {"number": number}) for number in range(30)]
    async with AsyncExitStack() as workers:
        for crowd in crowds:
            checkpointer = place.checkpointer()
            await workers.enter_async_context(serving(checkpointer, crowd, concurrency=10))
        await until_true(lambda: all(crowd.inside == 10 for crowd in crowds))
        for crowd in crowds:
            crowd.go.set()
        assert [await run.result() for run in runs] == list(range(30))
    assert [crowd.begun for crowd in crowds] == [10, 10, 10]
    assert all(place.happened(run.run_id).count("(claimed)") == 1 for run in runs)


# --- claims that go wrong ---


async def test_a_run_whose_claim_was_never_answered_is_given_back(
    place: Place, client: Client
) -> None:
    crowd = Crowd()
    crowd.go.set()
    checkpointer = place.checkpointer()
    checkpointer.unanswered = 1
    async with serving(checkpointer, crowd):
        run = await client.start(crowd, {"number": 1})
        assert await run.result() == 1
    assert crowd.begun == 1
    assert checkpointer.unanswered == 0
