"""Every program on the two seed pages runs, with its import lines changed and nothing else."""

import inspect
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import fakeredis
import pytest
import redis

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.resource import Resource
from support.processes import Child
from support.seeds import as_stepwell, execute, programs
from support.servers import RedisServer

NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Context": Context,
    "Redis": redis.Redis,
    "Resource": Resource,
    "StartEvent": StartEvent,
    "StopEvent": StopEvent,
    "Workflow": Workflow,
    "step": step,
}


async def test_state_page_counts_in_an_untyped_state() -> None:
    seed = await execute(programs("000")[0], {})
    workflow = seed["MyWorkflow"]()
    ctx: Context[Any] = Context(workflow)
    await workflow.run(ctx=ctx)
    await workflow.run(ctx=ctx)
    assert await ctx.store.get("count") == 2


async def test_state_page_locks_the_state() -> None:
    snippet = programs("000")[1]
    method = "\n".join(f"    {line}" for line in snippet.splitlines())
    seed = await execute(f"class MyWorkflow(Workflow):\n{method}\n", NAMES)
    handler = seed["MyWorkflow"]().run()
    await handler
    assert await handler.ctx.store.get("count") == 1


async def test_state_page_has_a_typed_state_and_keeps_it_over_runs() -> None:
    page = programs("000")
    typed = await execute(page[2] + page[3], NAMES)
    assert await typed["MyWorkflow"]().run() == "Done!"
    across = await execute(page[4], typed)
    state = await across["ctx"].store.get_state()
    assert (across["result"], state) == ("Done!", typed["CounterState"](count=2))


async def test_durable_page_keeps_a_client_in_the_instance() -> None:
    class Client:
        def exec(self, _query: str) -> int:
            return 42

    seed = await execute(programs("004")[0], {**NAMES, "Client": Client})
    workflow = seed["DbWorkflow"](Client())
    assert [await workflow.run(), await workflow.run()] == [42, 42]


async def test_durable_page_saves_and_loads_a_context() -> None:
    saved: dict[str, dict[str, str]] = {}

    class Db:
        save = staticmethod(saved.__setitem__)
        load = staticmethod(saved.__getitem__)

    state_page = await execute(programs("000")[0], {})
    names = {"MyWorkflow": state_page["MyWorkflow"], "Context": Context, "db": Db}
    seed = await execute(programs("004")[1], names)
    assert await seed["context"].store.get("count") == 1


# --- the durable workflow itself: the programs that snapshot into Redis ---

PLAIN, INJECTED = 2, 4
MANY = [f"document-{number}" for number in range(60)]


def durable_program(number: int) -> str:
    """The class, and for the injected one the factory that stands on the page before it."""
    page = programs("004")
    assert len(page) == 4, "the page has other programs than it had"
    return page[number - 1] if number == INJECTED else page[2]


def callers_document() -> str:
    """`convert()` takes no argument on the page: the document is a name of the one who calls it."""
    caller = inspect.stack()[2].frame
    return caller.f_locals["doc_id"]


async def run_once(program: str, client: Any, ids: list[str], fail_at: str = "") -> list[str]:
    """Start the workflow as the page says: with the snapshot, if there is one, and the input."""
    converted: list[str] = []

    def convert() -> None:
        doc_id = callers_document()
        if doc_id == fail_at:
            raise RuntimeError("in the middle")
        converted.append(doc_id)

    def connect(**_options: object) -> Any:
        return client

    seed = await execute(program, {**NAMES, "convert": convert, "Redis": connect})
    cls = seed["DurableWorkflow"]
    workflow = cls(client) if "self.redis" in program else cls()
    ctx: Context[Any] = Context.from_dict(workflow, client.hgetall("ctx"))
    if not fail_at:
        await workflow.run(ctx=ctx, ids=ids)
        return converted
    with pytest.raises(RuntimeError, match="in the middle"):
        await workflow.run(ctx=ctx, ids=ids)
    return converted


@pytest.mark.parametrize("number", [PLAIN, INJECTED])
@pytest.mark.parametrize("decoded", [True, False])
async def test_durable_page_goes_on_after_a_runtime_error(number: int, decoded: bool) -> None:
    client = fakeredis.FakeRedis(decode_responses=decoded)
    program = durable_program(number)
    first = await run_once(program, client, ["a", "b", "c", "d"], fail_at="c")
    second = await run_once(program, client, ["a", "b", "c", "d"])
    assert (first, second) == (["a", "b"], ["c", "d"])


DRIVER = """
import asyncio, os, signal, sys
from typing import Annotated
import redis as client_library
from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.resource import Resource

LOG = os.environ["LOG"]
IDS = os.environ["IDS"].split(",")

def Redis(**options):
    decoded = options["decode_responses"]
    return client_library.Redis.from_url(os.environ["URL"], decode_responses=decoded)

def convert():
    doc_id = sys._getframe(1).f_locals["doc_id"]
    with open(LOG, "a") as log:
        log.write(doc_id + chr(10))
    if doc_id == os.environ["KILL_AT"]:
        os.kill(os.getpid(), signal.SIGKILL)

{program}

async def main():
    redis = Redis(decode_responses=True)
    workflow = DurableWorkflow(redis) if "self.redis" in {source!r} else DurableWorkflow()
    ctx = Context.from_dict(workflow, redis.hgetall("ctx"))
    await workflow.run(ctx=ctx, ids=IDS)
    print("finished", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [PLAIN, INJECTED])
async def test_durable_page_survives_five_kills(
    number: int, own_server: Any, tmp_path: Path
) -> None:
    server: RedisServer = own_server()
    program = as_stepwell(durable_program(number))
    driver = DRIVER.format(program=program, source=program)
    log = tmp_path / "log"
    env = {"LOG": str(log), "IDS": ",".join(MANY), "URL": server.url}
    in_flight = sorted(random.sample(MANY, 5), key=MANY.index)
    for document in in_flight:
        async with Child(driver, env={**env, "KILL_AT": document}) as child:
            assert await child.exit() == -signal.SIGKILL
    async with Child(driver, env={**env, "KILL_AT": ""}) as child:
        await child.line("finished")
        assert await child.exit() == 0
    times = Counter(log.read_text().split())
    assert times == {document: 1 + (document in in_flight) for document in MANY}


async def test_three_steps_snapshot_into_one_hash_and_restart_from_any() -> None:
    for stop_at in ("one", "two", "three"):
        client = fakeredis.FakeRedis()
        executed: list[str] = []
        await run_three(client, executed, stop_at)
        first = list(executed)
        assert first[-1] == stop_at
        await run_three(client, executed, "")
        assert executed == [*first, *["one", "two", "three"][len(first) - 1 :]]


class Two(Event):
    """To the second step."""


class Three(Event):
    """To the third step."""


async def run_three(client: Any, executed: list[str], stop_at: str) -> None:
    def take(name: str, ctx: Context[Any]) -> None:
        client.hset("ctx", mapping=ctx.to_dict())
        executed.append(name)
        if name == stop_at:
            raise RuntimeError("in the middle")

    class ThreeSteps(Workflow):
        @step
        async def one(self, ev: StartEvent, ctx: Context) -> Two:
            await ctx.store.set("first", list(ev.items_))
            take("one", ctx)
            return Two()

        @step
        async def two(self, ev: Two, ctx: Context) -> Three:
            await ctx.store.set("second", {"seen": await ctx.store.get("first")})
            take("two", ctx)
            return Three()

        @step
        async def three(self, ev: Three, ctx: Context) -> StopEvent:
            take("three", ctx)
            return StopEvent(result=await ctx.store.get("second.seen"))

    workflow = ThreeSteps()
    ctx: Context[Any] = Context.from_dict(workflow, client.hgetall("ctx"))
    handler = workflow.run(ctx=ctx, items_=(1, 2))
    if stop_at:
        with pytest.raises(RuntimeError, match="in the middle"):
            await handler
    else:
        assert await handler == [1, 2]
