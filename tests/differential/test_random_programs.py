"""Programs that nobody thought of do the same on Stepwell and on LlamaIndex Workflows.

Each is also run on Stepwell with every wait left and its step run again, and interrupted: its
context is stored as text in the middle, and another run goes on from there.

The programs are the same each time, so that the same code gets the same verdict. To look at others:

    STEPWELL_EXPLORE=$RANDOM pytest tests/differential
"""

import asyncio
import json
import os
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from differential.engines import head, loaded
from differential.model import Program
from differential.sights import SAFETY, Sight, answered, seen
from differential.source import FUEL, written
from differential.strategies import programs
from stepwell import Context
from support.runs import Runs
from support.servers import RedisServer

pytest.importorskip("workflows")

SHARDS = 8
EXAMPLES = 260
"""Programs a shard: more than 2,000 in all."""
DURABLE_EXAMPLES = 40
"""Programs that are run on each kind of server too."""

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(600)]


def explored(examples: int, salt: object) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Settings of a search through this many programs, another one for each salt."""

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        quick = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        moments = st.integers(0, 999)
        region = os.environ.get("STEPWELL_EXPLORE", "")
        start = random.Random(f"{region} {salt}").getrandbits(64)  # noqa: S311  no secret
        return hypothesis.seed(start)(quick(given(programs(), moments)(check)))

    return decorate


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_random_program_does_the_same_on_both_and_interrupted(
    shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed = 0
    with asyncio.Runner() as loop:

        @explored(EXAMPLES, shard)
        def check(program: Program, moment: int) -> None:
            nonlocal executed
            executed += 1
            loop.run(compare(program, moment, monkeypatch))

        check()
    assert executed >= EXAMPLES


def test_a_random_program_does_the_same_when_it_is_durable(
    redis_server: RedisServer, namespace: str
) -> None:
    executed = 0
    with Runs(redis_server.unix_url, namespace) as runs, asyncio.Runner() as loop:

        @explored(DURABLE_EXAMPLES, "durable")
        def check(program: Program, moment: int) -> None:
            nonlocal executed
            executed += 1
            loop.run(compare_durable(program, runs))

        check()
    assert executed >= DURABLE_EXAMPLES


async def compare_durable(program: Program, runs: Runs) -> None:
    text = written(program)
    note(f"{text}\nfirst number: {program.number}")
    expected, _ = await plain(program, text, "stepwell")
    with loaded(text, "stepwell", {**head("stepwell"), "add": increment}) as module:
        workflow = module.W(timeout=SAFETY, checkpointer=runs.checkpointer())
        found = await seen(workflow.run(n=program.number, fuel=FUEL))
    in_order = program.is_sequential
    assert found.what_counts(in_order=in_order) == expected.what_counts(in_order=in_order)


async def compare(program: Program, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(program)
    note(f"{text}\nfirst number: {program.number}, interrupted at {moment / 1000}")
    ours, turns = await plain(program, text, "stepwell")
    theirs, _ = await plain(program, text, "workflows")
    in_order = program.is_sequential
    if not program.recovers_across_waits:
        assert ours.what_counts(in_order=in_order) == theirs.what_counts(in_order=in_order)
    if program.asks:
        with monkeypatch.context() as patch:
            patch.setenv("STEPWELL_REPLAY_WAITS", "1")
            again, _ = await plain(program, text, "stepwell")
        assert again.what_counts(in_order=in_order) == ours.what_counts(in_order=in_order)
    resumed = await interrupted(program, text, turns * moment // 1000)
    assert (resumed.result, resumed.state) == (ours.result, ours.state)


async def plain(program: Program, text: str, engine: str) -> tuple[Sight, int]:
    """A run, and how many turns of the event loop it took."""
    with loaded(text, engine, head(engine)) as module, counted() as turns:
        sight = await seen(module.W(timeout=SAFETY).run(n=program.number, fuel=FUEL))
    return sight, len(turns)


@contextmanager
def counted() -> Generator[list[None]]:
    """A list that gets longer with each turn of the event loop."""
    turns: list[None] = []

    async def count() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    yield turns
    counting.cancel()


async def interrupted(program: Program, text: str, turns: int) -> Sight:
    """A run that is stopped after some turns of the loop, and another that goes on from there."""
    with loaded(text, "stepwell", {**head("stepwell"), "add": increment}) as module:
        first = module.W(timeout=SAFETY).run(n=program.number, fuel=FUEL)
        async with answered(first):
            for _ in range(turns):
                await asyncio.sleep(0)
        if not first.ctx.is_running:  # it has ended, though a thread of it may still go on
            return await seen(first)
        fields = json.dumps(first.ctx.to_dict())
        await first.cancel_run()
        workflow = module.W(timeout=SAFETY)
        second = workflow.run(ctx=Context.from_dict(workflow, json.loads(fields)))
        async for event in first.stream_events():
            if isinstance(event, module.Ask):
                second.ctx.send_event(event.answer)
        return await seen(second)


async def increment(ctx: Context, key: str, number: int) -> None:
    """In place of `add` of the head: exact when a step of several at a time is run again."""
    await ctx.store.increment(key, number)
