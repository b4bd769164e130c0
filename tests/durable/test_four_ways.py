"""The four ways in which a run gets its checkpointer, and all the things one can be made from."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import redis
import redis.asyncio

from stepwell import Context, Workflow, step
from stepwell.errors import ContextStateError, WorkflowValidationError
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from stepwell.resource import Resource
from support.processes import Child
from support.runs import Probe, Runs, Second, TwoSteps, interrupt
from support.servers import RedisServer

RESULT = [7, 2]


class Plain(Workflow):
    """A class whose `__init__` takes no keywords, and calls no other."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    @step
    async def first(self, ev: StartEvent, ctx: Context) -> Second:
        await self._probe("first")
        await ctx.store.increment("count")
        return Second(value=ev.value)

    @step
    async def second(self, ev: Second, ctx: Context) -> StopEvent:
        await self._probe("second")
        return StopEvent(result=[ev.value, await ctx.store.increment("count")])


# --- checkpointer= ---


async def test_a_workflow_takes_a_checkpointer(runs: Runs) -> None:
    assert await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7) == RESULT
    assert runs.fields("the-run")["status"] == "completed"


async def test_a_workflow_takes_a_url(own_server: Callable[..., RedisServer]) -> None:
    server = own_server()
    with Runs(server.unix_url, "default") as runs:
        workflow = TwoSteps(checkpointer=server.url)
        assert await workflow.run(run_id="the-run", value=7) == RESULT
        assert runs.fields("the-run")["status"] == "completed"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mysql://somewhere", "mysql:.*no store is known.*redis"),
        ("somewhere", "no store is known"),
        (7, "a checkpointer or a URL, not int"),
    ],
)
def test_what_is_no_checkpointer_is_refused(source: Any, message: str) -> None:
    with pytest.raises(WorkflowValidationError, match=message):
        TwoSteps(checkpointer=source)


@pytest.mark.parametrize(
    "options", [{"durability": "often"}, {"reuse": "always"}, {"on_lost": "ignore"}, {"lease": 0.5}]
)
def test_an_option_that_means_nothing_is_refused(runs: Runs, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        runs.checkpointer(**options)


def test_durability_means_nothing_without_a_checkpointer() -> None:
    with pytest.raises(WorkflowValidationError, match=r"durability='sync'.*checkpointer="):
        TwoSteps(durability="sync")


async def test_the_durability_of_the_workflow_goes_before_that_of_the_checkpointer(
    runs: Runs,
) -> None:
    checkpointer = runs.checkpointer(durability="sync")
    await TwoSteps(checkpointer=checkpointer, durability="exit").run(run_id="the-run", value=7)
    assert {seq for seq, *_ in runs.log("the-run")} == {1, 2}


# --- attach ---


async def test_attach_makes_any_workflow_durable(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    held = runs.checkpointer().attach(Plain(probe))
    await interrupt(lambda: held.run(run_id="the-run", value=7), probe)
    again = Probe()
    workflow = runs.checkpointer().attach(Plain(again))
    assert (await workflow.run(run_id="the-run", value=7), again.executed) == (RESULT, ["second"])


async def test_attach_takes_a_durability(runs: Runs) -> None:
    workflow = runs.checkpointer().attach(Plain(Probe()), durability="exit")
    assert await workflow.run(run_id="the-run", value=7) == RESULT
    assert {seq for seq, *_ in runs.log("the-run")} == {1, 2}


async def test_attach_refuses_a_durability_that_means_nothing(runs: Runs) -> None:
    with pytest.raises(ValueError, match="durability='often'"):
        runs.checkpointer().attach(TwoSteps(), durability="often")


# --- with ---


async def test_runs_started_inside_a_with_block_are_durable(runs: Runs) -> None:
    workflow = TwoSteps()
    with runs.checkpointer():
        inside = workflow.run(run_id="inside", value=7)
    outside = workflow.run(run_id="outside", value=7)
    assert [await inside, await outside] == [RESULT, RESULT]
    assert runs.ids() == {"inside"}


async def test_a_with_block_may_lie_in_another(runs: Runs) -> None:
    with Runs(runs.url, f"{runs.namespace}-inner") as inner:
        with runs.checkpointer() as one:
            with inner.checkpointer():
                await TwoSteps().run(run_id="inner", value=7)
            with one:
                await TwoSteps().run(run_id="again", value=7)
            await TwoSteps().run(run_id="outer", value=7)
        assert (inner.ids(), runs.ids()) == ({"inner"}, {"again", "outer"})


async def test_the_workflows_own_checkpointer_goes_before_that_of_the_block(runs: Runs) -> None:
    with Runs(runs.url, f"{runs.namespace}-own") as own, runs.checkpointer():
        await TwoSteps(checkpointer=own.checkpointer()).run(run_id="the-run", value=7)
        assert (own.ids(), runs.ids()) == ({"the-run"}, set())


async def test_an_async_with_block_keeps_its_connection_between_runs(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    async with checkpointer:
        for value in range(5):
            assert await TwoSteps().run(value=value) == [value, 2]
        assert checkpointer.stats.connections == 2  # of the runs, and of the lease
    assert len(runs.ids()) == 5


async def test_a_checkpointer_may_be_used_in_one_event_loop_after_another(runs: Runs) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())

    async def main(value: int) -> Any:
        return await workflow.run(value=value)

    results = [await asyncio.to_thread(asyncio.run, main(value)) for value in range(3)]
    assert results == [[0, 2], [1, 2], [2, 2]]


# --- as a resource ---

MANUAL = """
import asyncio, os, sys
from typing import Annotated
from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from stepwell.resource import Resource
from support.runs import Second, checkpointer

class Manual(Workflow):
    @step
    async def first(self, ev: StartEvent, ctx: Context) -> Second:
        print("first", flush=True)
        await ctx.store.set("first", True)
        return Second(value=ev.value)

    @step
    async def second(
        self, ev: Second, ctx: Context,
        durable: Annotated[RedisCheckpointer, Resource(checkpointer)],
    ) -> StopEvent:
        done = await ctx.store.get("done", [])
        for number in range(len(done), ev.value):
            print("item", number, flush=True)
            done.append(number)
            await ctx.store.set("done", done)
            if number == 3:
                await durable.snapshot(ctx)
            if number == 5 and sys.argv[1] == "hold":
                print("hold", flush=True)
                await asyncio.Event().wait()
        return StopEvent(result=[await ctx.store.get("first"), done])

async def main():
    print("result", await Manual().run(run_id="the-run", value=8), flush=True)

asyncio.run(main())
"""


async def test_a_checkpointer_that_a_step_asks_for_commits_at_its_snapshots_only(
    runs: Runs,
) -> None:
    async with Child(MANUAL, "hold", env=runs.env) as child:
        await child.line("hold")
        assert json.loads(runs.fields("the-run")["state:done"]) == [0, 1, 2, 3]
        assert {seq for seq, *_ in runs.log("the-run")} == {1, 2}
        child.kill()
        await child.exit()
    async with Child(MANUAL, "on", env=runs.env) as child:
        expected = [True, list(range(8))]
        assert await child.line("result") == f"result {expected}"
        assert child.lines[0] == "item 4"
    fields = runs.fields("the-run")
    assert fields["status"] == "completed"
    assert "[0,1,2,3,4,5,6,7]" in fields["result"]


def manual(runs: Runs) -> Workflow:
    """A workflow whose only checkpointer is a resource of a step."""

    async def factory() -> RedisCheckpointer:
        return runs.checkpointer()

    class Manual(Workflow):
        @step
        async def first(self, ev: StartEvent, ctx: Context) -> Second:
            await ctx.store.set("first", ev.value)
            return Second(value=ev.value)

        @step
        async def second(
            self,
            ev: Second,
            ctx: Context,
            durable: Annotated[RedisCheckpointer, Resource(factory)],
        ) -> StopEvent:
            before = runs.log("the-run")
            await ctx.store.set("second", ev.value)
            await durable.snapshot(ctx)
            kept = runs.fields("the-run")["state:second"]
            await ctx.store.set("second", 0)
            return StopEvent(result=[len(before), kept])

    return Manual()


async def test_a_snapshot_is_durable_when_it_returns(runs: Runs) -> None:
    workflow = manual(runs)
    assert await workflow.run(run_id="the-run", value=7) == [1, "7"]
    assert [seq for seq, *_ in runs.log("the-run")] == [1, 2, 2, 3]


async def test_a_stored_result_is_given_where_a_resource_is_the_checkpointer(runs: Runs) -> None:
    first = await manual(runs).run(run_id="the-run", value=7)
    before = runs.dump("the-run")
    assert await manual(runs).run(run_id="the-run", value=7) == first
    assert runs.dump("the-run") == before


async def test_a_snapshot_with_a_checkpointer_of_another_store_is_refused(runs: Runs) -> None:
    with Runs(runs.url, f"{runs.namespace}-foreign") as foreign:

        class Foreign(Workflow):
            @step
            async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
                await foreign.checkpointer().snapshot(ctx)
                return StopEvent(result=ev)

        workflow = Foreign(checkpointer=runs.checkpointer())
        with pytest.raises(ContextStateError, match=r"does not commit to this checkpointer.*Give"):
            await workflow.run(run_id="the-run")
        assert foreign.ids() == set()


async def test_a_snapshot_without_any_checkpointer_is_refused(runs: Runs) -> None:
    class Careless(Workflow):
        @step
        async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
            await runs.checkpointer().snapshot(ctx)
            return StopEvent(result=ev)

    with pytest.raises(ContextStateError, match="does not commit to this checkpointer"):
        await Careless().run()
    assert runs.ids() == set()


async def test_a_snapshot_takes_another_checkpointer_of_the_same_store(runs: Runs) -> None:
    class Equal(Workflow):
        @step
        async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
            await ctx.store.set("kept", ev.value)
            await runs.checkpointer().snapshot(ctx)
            return StopEvent(result=runs.fields("the-run")["state:kept"])

    workflow = Equal(checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run", value=7) == "7"


# --- what a checkpointer can be made from ---


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize("library", [redis, redis.asyncio], ids=["sync", "async"])
async def test_a_client_of_any_kind_names_the_server(
    runs: Runs, library: Any, decoded: bool
) -> None:
    client = library.Redis.from_url(runs.url, decode_responses=decoded)
    checkpointer = RedisCheckpointer(client, namespace=runs.namespace)
    assert checkpointer == runs.checkpointer()
    assert await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7) == RESULT
    assert runs.fields("the-run")["status"] == "completed"
    closed = client.aclose() if library is redis.asyncio else client.close()
    if closed is not None:
        await closed


async def test_urls_of_both_kinds_lead_to_the_same_runs(
    redis_server: RedisServer, runs: Runs
) -> None:
    probe = Probe(holds=["second"])
    over_tcp = RedisCheckpointer(redis_server.url, namespace=runs.namespace)
    held = TwoSteps(probe, checkpointer=over_tcp)
    await interrupt(lambda: held.run(run_id="the-run", value=7), probe)
    over_socket = RedisCheckpointer(redis_server.unix_url, namespace=runs.namespace)
    assert await TwoSteps(checkpointer=over_socket).run(run_id="the-run", value=7) == RESULT


async def test_an_embedded_server_is_started_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPWELL_EMBEDDED_IDLE_SECONDS", "0.2")
    checkpointer = RedisCheckpointer(f"embedded://{tmp_path}")
    assert await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7) == RESULT
    assert await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7) == RESULT


@pytest.mark.parametrize("source", ["http://x", "redis://x?colour=red", "embedded://host/dir"])
def test_a_url_that_means_nothing_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"scheme|colour|embedded"):
        RedisCheckpointer(source)


def test_an_object_that_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match=r"object is no redis-py client: pass a redis\.Redis"):
        RedisCheckpointer(object())
