"""What becomes durable, when, and what a kill between any two commits leaves behind."""

import asyncio
import json
import logging
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import pytest
from pydantic import BaseModel

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from stepwell.redis import RedisCheckpointer
from stepwell.redis.scripts import script
from support.processes import Child
from support.proxy import Command, Position, Proxy
from support.runs import (
    Done,
    Part,
    Probe,
    Runs,
    Second,
    Siblings,
    TwoSteps,
    exact,
    interrupt,
    until,
)
from support.servers import RedisServer

RESULT = [7, 2]


class Hold:
    """Holds the first commit on its way to the server, until it is let go."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, command: Command, position: Position) -> bool:
        is_commit = command.name == "EVALSHA" and command.words[1].decode() == script("commit").sha
        if is_commit and position == "before" and not self.held.is_set():
            self.held.set()
            self.let_go.wait()
        return False


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.let_go.set()  # a test that failed meanwhile


async def turns_of_the_loop() -> None:
    """Let everything happen that could happen without any more news from outside."""
    for _ in range(200):
        await asyncio.sleep(0)


# --- sync, async, exit ---


async def test_sync_starts_no_step_before_the_commit_that_caused_it(
    redis_server: RedisServer, runs: Runs, hold: Hold
) -> None:
    probe = Probe()
    with Proxy(redis_server.socket_path, on_command=hold) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace)
        handler = TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
        await asyncio.to_thread(hold.held.wait)
        await turns_of_the_loop()
        assert probe.executed == ["first"]
        hold.let_go.set()
        assert await handler == RESULT
    assert probe.executed == ["first", "second"]


async def test_async_runs_ahead_of_its_commits_and_its_result_waits_for_all(
    redis_server: RedisServer, runs: Runs, hold: Hold
) -> None:
    probe = Probe(holds=["second"])
    with Proxy(redis_server.socket_path, on_command=hold) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace, durability="async")
        handler = TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
        await asyncio.to_thread(hold.held.wait)
        await probe.reached.wait()
        assert [line[1] for line in runs.log("the-run")] == ["(created)"]
        probe.go.set()
        await turns_of_the_loop()
        assert not handler.is_done()
        hold.let_go.set()
        assert await handler == RESULT
    assert [line[1] for line in runs.log("the-run")] == ["(created)", "first", "second"]
    assert runs.fields("the-run")["status"] == "completed"


async def test_exit_commits_once_at_the_end(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    workflow = TwoSteps(probe, checkpointer=runs.checkpointer(durability="exit"))
    handler = workflow.run(run_id="the-run", value=7)
    await probe.reached.wait()
    await turns_of_the_loop()
    assert [line[0] for line in runs.log("the-run")] == [1]
    probe.go.set()
    assert await handler == RESULT
    assert [line[:2] for line in runs.log("the-run")] == [
        (1, "(created)"),
        (2, "first"),
        (2, "second"),
    ]


async def test_exit_starts_over_what_was_not_committed(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    held = TwoSteps(probe, checkpointer=runs.checkpointer(durability="exit"))
    await interrupt(lambda: held.run(run_id="the-run", value=7), probe)
    again = Probe()
    workflow = TwoSteps(again, checkpointer=runs.checkpointer(durability="exit"))
    assert await workflow.run(run_id="the-run", value=7) == RESULT
    assert again.executed == ["first", "second"]


async def test_exit_keeps_what_was_done_when_the_run_fails(runs: Runs) -> None:
    probe = Probe(fails_at=["second"])
    checkpointer = runs.checkpointer(durability="exit")
    with pytest.raises(ValueError, match="second failed"):
        await TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
    again = Probe()
    workflow = TwoSteps(again, checkpointer=checkpointer)
    assert (await workflow.run(run_id="the-run", value=7), again.executed) == (RESULT, ["second"])


class Countdown(Workflow):
    """One step after the other."""

    @step
    async def begin(self, ev: StartEvent) -> Part:
        return Part(number=ev.value)

    @step
    async def count(self, ev: Part, ctx: Context) -> Part | StopEvent:
        await ctx.store.append("counted", ev.number)
        return Part(number=ev.number - 1) if ev.number else StopEvent()


async def test_the_one_commit_of_exit_does_not_hold_all_that_ever_happened(
    redis_server: RedisServer, runs: Runs
) -> None:
    with Proxy(redis_server.socket_path) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace, durability="exit")
        await Countdown(checkpointer=checkpointer).run(run_id="the-run", value=1500)
    finish = script("finish").sha.encode()
    *_, size = [len(command.words) for command in proxy.commands if finish in command.words]
    assert size < 1100  # 1,000 lines of the log, and what is left at the end
    ctx = await runs.checkpointer().load(Countdown(), "the-run")
    assert await ctx.store.get("counted") == list(range(1500, -1, -1))


class Checkpointing(Workflow):
    """Checkpoints between two halves of one step."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def first(self, ev: StartEvent) -> Second:
        return Second(value=ev.value)

    @step
    async def second(self, ev: Second, ctx: Context) -> StopEvent:
        halves = await ctx.store.get("halves", [])
        for half in ("one", "two")[len(halves) :]:
            await self._probe(half)
            halves.append(half)
            await ctx.store.set("halves", halves)
            await ctx.checkpoint()
        return StopEvent(result=await ctx.store.get("halves"))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_checkpoint_is_durable_when_it_returns(runs: Runs, durability: str) -> None:
    probe = Probe(holds=["two"])
    held = Checkpointing(probe, checkpointer=runs.checkpointer(durability=durability))
    await interrupt(lambda: held.run(run_id="the-run", value=7), probe)
    assert json.loads(runs.fields("the-run")["state:halves"]) == ["one"]
    again = Probe()
    workflow = Checkpointing(again, checkpointer=runs.checkpointer(durability=durability))
    assert await workflow.run(run_id="the-run", value=7) == ["one", "two"]
    assert again.executed == ["two"]


# --- commits and the log ---


async def test_the_log_has_one_line_for_each_boundary(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    held = TwoSteps(probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: held.run(run_id="the-run", value=7), probe)
    with pytest.raises(ValueError, match="second failed"):
        await TwoSteps(Probe(fails_at=["second"]), checkpointer=runs.checkpointer()).run(
            run_id="the-run", value=7
        )
    assert await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7) == RESULT
    assert runs.log("the-run") == [
        (1, "(created)", 1, ""),
        (2, "first", 1, "StepReturned"),
        (2, "(released)", 1, "running"),
        (2, "(claimed)", 2, "running"),
        (3, "(resumed)", 0, "Resumed"),
        (4, "second", 2, "StepFailed"),
        (4, "(claimed)", 3, "failed"),
        (5, "(resumed)", 0, "Resumed"),
        (6, "second", 1, "StepReturned"),
    ]


class Heavy(Workflow):
    """Has much in its state, and changes little of it."""

    @step
    async def begin(self, ev: StartEvent, ctx: Context) -> Second:
        await ctx.store.set("heavy", "x" * 200_000)
        return Second(value=0)

    @step
    async def go_on(self, ev: Second, ctx: Context) -> Second | StopEvent:
        await ctx.store.set("light", ev.value)
        heavy = await ctx.store.get("heavy")
        return Second(value=ev.value + 1) if ev.value < 20 else StopEvent(result=len(heavy))


async def test_every_attempt_that_crashed_counts(runs: Runs) -> None:
    for _ in range(3):
        probe = Probe(holds=["second"])
        held = TwoSteps(probe, checkpointer=runs.checkpointer())
        await interrupt(lambda held=held: held.run(run_id="the-run", value=7), probe)
    await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert [line[2] for line in runs.log("the-run") if line[1] == "second"] == [4]


async def test_a_commit_costs_what_changed(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    assert await Heavy(checkpointer=checkpointer).run(run_id="the-run") == 200_000
    assert 200_000 < checkpointer.stats.bytes_sent < 300_000
    assert checkpointer.stats.commits == 22


async def test_finished_work_leaves_the_hash_with_its_commit(runs: Runs) -> None:
    probe = Probe(holds=["first", "second"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    await probe.reached.wait()
    assert works(runs) == {"work:1": "first"}
    probe.go.set()
    await handler
    assert works(runs) == {}
    probe = Probe(holds=["second"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="other", value=7)
    await probe.reached.wait()
    assert works(runs, "other") == {"work:2": "second"}
    probe.go.set()
    await handler


def works(runs: Runs, run_id: str = "the-run") -> dict[str, str]:
    """Which steps have work, by field."""
    fields = runs.fields(run_id).items()
    return {name: json.loads(text)["step"] for name, text in fields if name.startswith("work:")}


# --- concurrent steps (INV-18) ---


@pytest.mark.parametrize("half", ["one 1", "two 1", "three 1"])
async def test_half_done_edits_of_a_sibling_never_become_durable(runs: Runs, half: str) -> None:
    probe = Probe(holds=[half])

    def start() -> WorkflowHandler[Any]:
        return Siblings(probe, 3, checkpointer=runs.checkpointer()).run(run_id="the-run")

    async def main() -> None:
        handler = start()
        await probe.reached.wait()
        await until(lambda: len(works(runs)) == 1)
        assert not handler.is_done()

    await asyncio.to_thread(asyncio.run, main())
    fields = runs.fields("the-run")
    assert json.loads(fields["state:count"]) == 2 + 2
    assert listed(fields, "listed") == [0, 2]
    assert {name for name in fields if name.startswith("state:own")} == {"state:own0", "state:own2"}
    probe.holds = ()
    probe.executed.clear()
    assert await start() == exact(3)
    assert probe.executed == ["one 1", "two 1", "three 1", "join"]


def listed(fields: dict[str, str], key: str) -> list[Any]:
    """A list in the state, from the field of its beginning and those of its chunks."""
    names = [name for name in fields if name.partition("+")[0] == f"state:{key}"]
    ordered = sorted(names, key=lambda name: int(name.partition("+")[2] or 0))
    return sorted(element for name in ordered for element in json.loads(fields[name]))


SIBLINGS = """
import asyncio, json
from support.runs import Siblings, checkpointer

async def probe(name):
    await asyncio.sleep(0.002)
    print(name, flush=True)

async def main():
    result = await Siblings(probe, 24, checkpointer=checkpointer()).run(run_id="the-run")
    print("{" + json.dumps(result), flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_concurrent_steps_are_exact_across_kills_at_random_points(
    runs: Runs, durability: str
) -> None:
    program = SIBLINGS.replace("checkpointer()", f"checkpointer(durability={durability!r})")
    for _ in range(2):
        async with Child(program, env=runs.env) as child:
            for _ in range(random.randrange(1, 25)):  # noqa: S311  no secret
                await child.line()
            child.kill()
            await child.exit()
    async with Child(program, env=runs.env) as child:
        result = json.loads((await child.line("{"))[1:])
    assert result == exact(24)


# --- events ---


class Sender(Workflow):
    """Sends events, then does more."""

    def __init__(self, probe: Probe, sends: list[int], **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe
        self._sends = sends

    @step
    async def send(self, ev: StartEvent, ctx: Context) -> Second | Part:
        await ctx.store.set("half", True)
        for number in self._sends:
            ctx.send_event(Part(number=number))
        await self._probe("sent")
        return Second(value=0)

    @step(num_workers=1)
    async def take(self, ev: Part, ctx: Context) -> Done:
        await self._probe(f"take {ev.number}")
        await ctx.store.append("taken", ev.number)
        return Done(number=ev.number)

    @step
    async def end(self, ev: Done | Second, ctx: Context) -> StopEvent | None:
        await ctx.store.increment("ended")
        if await ctx.store.get("ended") == 4:
            return StopEvent(result=await ctx.store.get("taken"))
        return None


async def send_until_interrupted(runs: Runs, sends: list[int]) -> list[str]:
    probe = Probe(holds=["sent"])

    async def main() -> None:
        Sender(probe, sends, checkpointer=runs.checkpointer()).run(run_id="the-run")
        await until(lambda: set(works(runs).values()) == {"send"} and len(probe.executed) == 4)

    await asyncio.to_thread(asyncio.run, main())
    return probe.executed


async def test_an_event_sent_by_a_step_that_runs_again_is_delivered_once(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    executed = await send_until_interrupted(runs, [1, 2, 3])
    assert executed == ["sent", "take 1", "take 2", "take 3"]
    fields = runs.fields("the-run")
    assert "state:half" not in fields
    assert {name for name in fields if name.startswith("sent:")} == {
        "sent:1:0",
        "sent:1:1",
        "sent:1:2",
    }
    again = Probe()
    workflow = Sender(again, [1, 2, 3], checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == [1, 2, 3]
    assert again.executed == ["sent"]
    assert not [record for record in caplog.records if "SendDiverged" in record.message]


async def test_another_event_at_the_same_position_is_delivered_and_reported(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    await send_until_interrupted(runs, [1, 2, 3])
    with caplog.at_level(logging.WARNING, "stepwell"):
        workflow = Sender(Probe(), [1, 20, 3], checkpointer=runs.checkpointer())
        assert await workflow.run(run_id="the-run") == [1, 2, 3, 20]
    warnings = [record.message for record in caplog.records if "SendDiverged" in record.message]
    assert len(warnings) == 1
    assert all(word in warnings[0] for word in ("the-run", "'send'", "position 1", "Part"))


class Collector(Workflow):
    """Collects three parts, one after another."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def split(self, ev: StartEvent, ctx: Context) -> Part | None:
        for number in range(3):
            ctx.send_event(Part(number=number))
        return None

    @step(num_workers=1)
    async def collect(self, ev: Part, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(ev, [Part] * 3)
        await self._probe(f"collect {ev.number}")
        return StopEvent(result=[one.number for one in found]) if found else None


@pytest.mark.parametrize("held", [0, 1, 2])
async def test_collected_events_are_neither_lost_nor_doubled(runs: Runs, held: int) -> None:
    probe = Probe(holds=[f"collect {held}"])
    workflow = Collector(probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: workflow.run(run_id="the-run"), probe)
    again = Probe()
    workflow = Collector(again, checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == [0, 1, 2]
    assert again.executed == [f"collect {number}" for number in range(held, 3)]


@pytest.mark.parametrize("held", ["three 0", "three 2", "join"])
async def test_gathered_events_are_neither_lost_nor_doubled(runs: Runs, held: str) -> None:
    probe = Probe(holds=[held])
    workflow = Siblings(probe, 4, checkpointer=runs.checkpointer())
    await interrupt(lambda: workflow.run(run_id="the-run"), probe)
    again = Probe()
    workflow = Siblings(again, 4, checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == exact(4)
    assert again.executed.count("join") == 1


class Looping(Workflow):
    """Loops durably."""

    def __init__(self, probe: Probe, every: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe
        self._every = every

    @step
    async def loop(self, ev: StartEvent, ctx: Context) -> StopEvent:
        async for number in ctx.each(range(6), every=self._every):
            await self._probe(str(number))
            await ctx.store.append("done", number)
            await ctx.store.increment("count")
        return StopEvent(result=[await ctx.store.get("done"), await ctx.store.get("count")])


@pytest.mark.parametrize(("every", "first"), [(1, 4), (3, 3), (10, 0)])
async def test_a_durable_loop_goes_on_where_it_was_committed(
    runs: Runs, every: int, first: int
) -> None:
    probe = Probe(holds=["4"])
    workflow = Looping(probe, every, checkpointer=runs.checkpointer())
    await interrupt(lambda: workflow.run(run_id="the-run"), probe)
    again = Probe()
    workflow = Looping(again, every, checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == [list(range(6)), 6]
    assert again.executed == [str(number) for number in range(first, 6)]


class EndingEarly(Workflow):
    """Ends while there is work of every kind left."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=number) for number in range(4)]

    @step(num_workers=2)
    async def part(self, ev: Part, ctx: Context) -> Done | Second:
        async for _ in ctx.each([0]):
            pass
        ctx.send_event(Second(value=ev.number))
        await self._probe(f"part {ev.number}")
        return Done(number=ev.number)

    @step
    async def collect(self, ev: Second, ctx: Context) -> StopEvent | None:
        ctx.collect_events(ev, [Second] * 100)
        if "part 2" in self._probe.executed:
            return StopEvent(result="early")
        return None

    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result="late")


async def test_a_run_that_ends_early_forgets_the_work_that_was_left(runs: Runs) -> None:
    probe = Probe(holds=["part 0", "part 1"])
    workflow = EndingEarly(probe, checkpointer=runs.checkpointer())
    handler = workflow.run(run_id="the-run")
    await until(lambda: len(engine_fields(runs, "the-run")) == 5)
    probe.go.set()
    assert await handler == "early"
    assert engine_fields(runs, "the-run") == set()


def engine_fields(runs: Runs, run_id: str) -> set[str]:
    """The kinds of fields that a run needs only as long as it can go on."""
    kinds = {name.partition(":")[0] for name in runs.fields(run_id)}
    return kinds & {"work", "sent", "each", "join", "buffer"}


async def test_a_completed_run_keeps_no_engine_fields_and_everything_has_an_end(
    runs: Runs,
) -> None:
    await Siblings(Probe(), 4, checkpointer=runs.checkpointer()).run()
    await Collector(Probe(), checkpointer=runs.checkpointer()).run()
    await Sender(Probe(), [1, 2, 3], checkpointer=runs.checkpointer()).run()
    await Looping(Probe(), checkpointer=runs.checkpointer()).run()
    for run_id in runs.ids():
        kinds = {name.partition(":")[0] for name in runs.fields(run_id)}
        assert kinds <= {
            *("format", "workflow", "status", "next", "input", "result", "state"),
            *("token", "seq", "cid", "digest", "created_at", "ended_at"),
            *("queue", "tags", "claims"),
        }
    keys = set(runs.redis.scan_iter(match=f"stepwell:{{{runs.namespace}*", count=1000))
    endless = {key.decode() for key in keys if runs.redis.ttl(key) == -1}
    indexes = {key for key in endless if key.endswith(("}:runs", "}:ended"))}
    assert endless - indexes == {runs.keys.meta}


# --- values ---


class Colour(Enum):
    """An enum."""

    RED = "red"


class Model(BaseModel):
    """A model."""

    at: datetime
    price: Decimal
    parts: tuple[int, str]


@dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: int
    tags: frozenset[str]


class Carrying(Event):
    """An event with fields of many types."""

    model: Model
    anything: Any


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MODEL = Model(at=NOON, price=Decimal("1.10"), parts=(1, "a"))
VALUES: dict[str, Any] = {
    "model": MODEL,
    "dataclass": Point(1, frozenset({"a", "b"})),
    "tuple": (1, (2, "three"), None),
    "set": {1, 2, 3},
    "datetime": NOON,
    "decimal": Decimal("0.10"),
    "enum": Colour.RED,
    "bytes": b"\x00\xff",
    "uuid": UUID(int=7),
    "nested": {"list": [(1,), {"deep": {Colour.RED}}], "keys": {1: "one"}},
    "float": 1.0,
    "int": 10**20,
}


class Types(Workflow):
    """Takes values through state, event and result."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def write(self, ev: StartEvent, ctx: Context) -> Carrying:
        for key, value in VALUES.items():
            await ctx.store.set(key, value)
        return Carrying(model=MODEL, anything=VALUES)

    @step
    async def read(self, ev: Carrying, ctx: Context) -> StopEvent:
        await self._probe("read")
        stored = {key: await ctx.store.get(key) for key in VALUES}
        return StopEvent(result=[stored, ev.model, ev.anything])


async def test_values_keep_their_types_in_state_events_and_result(runs: Runs) -> None:
    probe = Probe(holds=["read"])
    held = Types(probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: held.run(run_id="the-run"), probe)
    workflow = Types(Probe(), checkpointer=runs.checkpointer())
    executed = await workflow.run(run_id="the-run")
    stored = await Types(Probe(), checkpointer=runs.checkpointer()).run(run_id="the-run")
    for result in (executed, stored):
        assert repr_of(result) == repr_of([VALUES, MODEL, VALUES])


def repr_of(value: Any) -> str:
    """Tells 1 from 1.0 and a list from a tuple; sets in one order."""
    match value:
        case dict():
            return f"dict {[repr_of(pair) for pair in cast('dict[Any, Any]', value).items()]}"
        case list() | tuple():
            listed = cast("list[Any]", value)
            return f"{type(listed).__name__} {[repr_of(one) for one in listed]}"
        case set() | frozenset():
            members = cast("set[Any]", value)
            return f"{type(members).__name__} {sorted(repr_of(one) for one in members)}"
        case Point():
            return f"Point {value.x} {repr_of(value.tags)}"
        case _:
            return f"{type(value)!r} {value!r}"
