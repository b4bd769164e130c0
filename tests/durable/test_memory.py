"""`memory:`: runs are durable as long as the process, so a workflow is tested without a server."""

import asyncio
import threading
from uuid import uuid4

import pytest

from stepwell.durable.checkpointer import find_checkpointer
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.errors import RunConflict, RunNotFound
from stepwell.storage.memory import MemoryServer
from support.runs import Probe, TwoSteps, interrupt

RESULT = [7, 2]


@pytest.fixture
def url() -> str:
    """A place of the test's own."""
    return f"memory:{uuid4().hex}"


async def test_a_workflow_takes_the_url(url: str) -> None:
    assert await TwoSteps(checkpointer=url).run(run_id="the-run", value=7) == RESULT
    again = Probe()
    assert await TwoSteps(again, checkpointer=url).run(run_id="the-run", value=7) == RESULT
    assert again.executed == []


async def test_a_failed_run_goes_on_at_the_step_that_failed(url: str) -> None:
    with pytest.raises(ValueError, match="second failed"):
        await TwoSteps(Probe(fails_at=["second"]), checkpointer=url).run(value=7)
    again = Probe()
    assert await TwoSteps(again, checkpointer=url).run(value=7) == RESULT
    assert again.executed == ["second"]


async def test_an_interrupted_run_goes_on(url: str) -> None:
    probe = Probe(holds=["second"])
    held = TwoSteps(probe, checkpointer=url)
    await interrupt(lambda: held.run(value=7), probe)
    again = Probe()
    assert await TwoSteps(again, checkpointer=url).run(value=7) == RESULT
    assert again.executed == ["second"]


async def test_whoever_asks_for_a_run_that_is_executed_follows_it(url: str) -> None:
    probe = Probe(holds=["second"])
    first = TwoSteps(probe, checkpointer=MemoryCheckpointer(url)).run(run_id="the-run", value=7)
    await probe.reached.wait()
    again = Probe()
    follower = TwoSteps(again, checkpointer=MemoryCheckpointer(url)).run(run_id="the-run", value=7)
    probe.go.set()
    assert (await follower, await first, again.executed) == (RESULT, RESULT, [])


def test_event_loops_and_threads_share_the_place(url: str) -> None:
    def execute(probe: Probe) -> None:
        results.append(asyncio.run(run(probe)))

    async def run(probe: Probe) -> list[int]:
        return await TwoSteps(probe, checkpointer=url).run(run_id="the-run", value=7)

    results: list[list[int]] = []
    probes = [Probe(), Probe()]
    for probe in probes:
        thread = threading.Thread(target=execute, args=[probe])
        thread.start()
        thread.join()
    assert results == [RESULT, RESULT]
    assert [probe.executed for probe in probes] == [["first", "second"], []]


async def test_another_input_under_the_same_id_is_refused(url: str) -> None:
    await TwoSteps(checkpointer=url).run(run_id="the-run", value=7)
    with pytest.raises(RunConflict):
        await TwoSteps(checkpointer=url).run(run_id="the-run", value=8)


async def test_the_context_of_a_run_is_loaded(url: str) -> None:
    workflow = TwoSteps(checkpointer=url)
    await workflow.run(run_id="the-run", value=7)
    checkpointer = find_checkpointer(url)
    assert await (await checkpointer.load(workflow, "the-run")).store.get("count") == 2
    with pytest.raises(RunNotFound, match=f"'nothing' in {url}"):
        await checkpointer.load(workflow, "nothing")


async def test_a_server_of_ones_own_shares_nothing() -> None:
    mine, yours = MemoryCheckpointer(MemoryServer()), MemoryCheckpointer(MemoryServer())
    await TwoSteps(checkpointer=mine).run(run_id="the-run", value=7)
    again = Probe()
    await TwoSteps(again, checkpointer=yours).run(run_id="the-run", value=7)
    assert again.executed == ["first", "second"]


def test_the_same_place_makes_equal_checkpointers(url: str) -> None:
    server = MemoryServer()
    assert MemoryCheckpointer(url) == MemoryCheckpointer(url) == find_checkpointer(url)
    assert MemoryCheckpointer(url) != MemoryCheckpointer(f"{url}x")
    assert MemoryCheckpointer(server) == MemoryCheckpointer(server)
    assert MemoryCheckpointer(server) != MemoryCheckpointer(MemoryServer())


def test_an_address_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="'redis://here' is no address in memory"):
        MemoryCheckpointer("redis://here")
