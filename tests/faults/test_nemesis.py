"""Runs belong to no process: whatever dies, freezes or is cut off, every run ends as it should.

What every one of these tests demands is in `support.laws`; beside that each shows that what it is
about did happen. `NEMESIS_SEED` in the output of a failed test repeats its faults.
"""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stepwell.redis import scripts
from stepwell.redis.scripts import script
from support import nemesis
from support.fleet import Fleet, python_path
from support.history import Answer, Body, Final, History, Send, Way
from support.journal import JOURNALS
from support.processes import Child
from support.runs import until
from support.servers import RedisServer
from support.workload import chain, held, listener, mixture

pytestmark = pytest.mark.timeout(120)

LUA = Path(scripts.__file__).parent / "lua"

SENDER = Path(__file__).parent / "programs" / "sender.py"


@pytest.fixture
def server(own_server: Callable[..., RedisServer]) -> RedisServer:
    return own_server()


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Any]:
    with server.client() as redis:
        yield redis


def repeated(history: History) -> int:
    """How many bodies were executed more than once."""
    return len(history.bodies) - len({(body.run_id, body.token) for body in history.bodies})


def in_log(finals: dict[str, Final], step: str) -> int:
    """How often something is in the logs of all runs."""
    return sum(final.lines(step) for final in finals.values())


def holding(fleet: Fleet) -> list[Body]:
    """The bodies that stand at the gate, or stood there when they died."""
    return [body for body in fleet.bodies() if body.way is None and "hold" in body.token]


async def test_without_faults_every_body_is_executed_once(
    server: RedisServer, redis: Any, scene: Any, judged: Any
) -> None:
    async with scene(server.unix_url) as (fleet, load):
        await load.start(mixture(30))
        history = await judged(fleet, load, redis, within=60)
    assert repeated(history) == 0
    assert in_log(history.finals, "(orphaned)") == 0


async def test_workers_are_killed_again_and_again(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    async with scene(server.unix_url) as (fleet, load):
        await load.start(mixture(90))
        await nemesis.kill(fleet, rng, 5)
        history = await judged(fleet, load, redis, within=60)
    assert repeated(history) > 0
    assert in_log(history.finals, "(orphaned)") > 0


async def test_workers_freeze_for_longer_than_their_lease(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    async with scene(server.unix_url) as (fleet, load):
        await load.start(mixture(60))
        await nemesis.freeze(fleet, rng, 2)
        history = await judged(fleet, load, redis, within=60)
    assert in_log(history.finals, "(orphaned)") > 0


async def test_the_steps_of_a_frozen_worker_are_cancelled_when_it_goes_on(
    server: RedisServer, redis: Any, scene: Any, judged: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with scene(server.unix_url, workers=2) as (fleet, load):
        await load.start([held(f"run-{number}", gate) for number in range(20)])
        await fleet.reach("hold", 20)
        async with fleet.frozen(0) as frozen:
            lost = [body for body in holding(fleet) if body.pid == frozen.pid]
            await fleet.reach("hold", 20 + len(lost))
        await until(lambda: all(ended(fleet, body) is Way.CUT for body in lost))
        gate.touch()
        history = await judged(fleet, load, redis, within=20)
    assert lost
    assert in_log(history.finals, "(orphaned)") == len(lost)


def ended(fleet: Fleet, body: Body) -> Way | None:
    """How a body ended that had not."""
    return next(one.way for one in fleet.bodies() if (one.pid, one.began) == (body.pid, body.began))


async def test_the_server_is_killed_and_started_again(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    async with scene(server.unix_url) as (fleet, load):
        await load.start(mixture(60))
        late = asyncio.create_task(load.start([chain(f"late-{n}", 5, 0.1) for n in range(20)]))
        await nemesis.restart(fleet, server, rng, 2)
        await late
        history = await judged(fleet, load, redis, within=60)
    assert len(history.finals) == 80


async def test_the_server_stands_still_for_longer_than_a_lease(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    async with scene(server.unix_url, idle_timeout=0.2) as (fleet, load):
        await load.start(mixture(60))
        await nemesis.stall(fleet, server, rng, 2)
        history = await judged(fleet, load, redis, within=60)
    assert repeated(history) > 0


async def test_a_restart_of_the_server_takes_no_run_from_a_living_worker(
    server: RedisServer, redis: Any, scene: Any, judged: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with scene(server.unix_url, workers=2, lease=5.0) as (fleet, load):
        await load.start([held(f"run-{number}", gate) for number in range(20)])
        await fleet.reach("hold", 20)
        async with fleet.hit("restart"):
            server.kill()
            server.start()
        await until(lambda: resubscribed(redis, 2))
        gate.touch()
        history = await judged(fleet, load, redis, within=20)
    assert in_log(history.finals, "(orphaned)") == 0
    assert repeated(history) == 0


def resubscribed(redis: Any, owners: int) -> bool:
    """Whether so many owners listen to their channels, each in all partitions that it is in."""
    channels = redis.execute_command("PUBSUB", "SHARDCHANNELS", "stepwell:*:owner:*")
    return len({channel.rpartition(":")[2] for channel in channels}) >= owners


async def test_cutting_off_all_subscribers_takes_no_run_from_a_living_worker(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    async with scene(server.unix_url) as (fleet, load):
        await load.start([chain(f"run-{number}", 15, 0.25) for number in range(60)])
        async with fleet.hit("disconnect"):
            cut = await nemesis.disconnect(redis, rng, 12)
        history = await judged(fleet, load, redis, within=60)
    assert cut >= 12
    assert in_log(history.finals, "(orphaned)") == 0
    assert in_log(history.finals, "(claimed)") == 60
    assert repeated(history) == 0


async def test_signals_arrive_once_while_owners_die_and_runs_are_released(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    runs, each, senders = 30, 4, 3
    async with scene(server.unix_url, idle_timeout=0.2) as (fleet, load):
        await load.start(listener(f"run-{number}", each * senders) for number in range(runs))
        async with sending(server.unix_url, rng, senders, runs, each) as told:
            await nemesis.kill(fleet, rng, 4)
        load.history.sends += told
        history = await judged(fleet, load, redis, within=60)
    acknowledged = [one for one in history.sends if one.answer is Answer.OK]
    assert len(acknowledged) > len({one.token for one in acknowledged}) == runs * each * senders
    assert in_log(history.finals, "(parked)") > runs
    assert in_log(history.finals, "(orphaned)") > 0


async def test_signals_arrive_once_at_owners_that_are_cut_off_and_killed(
    server: RedisServer, redis: Any, scene: Any, judged: Any, rng: Random
) -> None:
    runs, each, senders = 20, 4, 2
    async with scene(server.unix_url, idle_timeout=60.0) as (fleet, load):
        await load.start(listener(f"run-{number}", each * senders) for number in range(runs))
        async with sending(server.unix_url, rng, senders, runs, each) as told:
            await nemesis.disconnect(redis, rng, 5)
            await nemesis.kill(fleet, rng, 1)
        load.history.sends += told
        history = await judged(fleet, load, redis, within=60)
    assert in_log(history.finals, "(parked)") == 0


@asynccontextmanager
async def sending(
    url: str, rng: Random, senders: int, runs: int, each: int
) -> AsyncGenerator[list[Send]]:
    """Clients in processes of their own that send meanwhile; in the end, what they were told."""
    told: list[Send] = []
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(sender(url, f"sender-{number}", rng, runs, each))
            for number in range(senders)
        ]
        yield told
        for child in children:
            assert await child.exit() == 0
            told += [_told(line) for line in child.lines]


def sender(url: str, name: str, rng: Random, runs: int, each: int) -> Child:
    """Sends so many signals to each run, in turns; every third one twice."""
    signals = [
        (f"run-{run}", f"{name}-{run}-{number}")
        for number in range(each)
        for run in rng.sample(range(runs), runs)
    ]
    twice = [one for index, one in enumerate(signals) for _ in range(1 + (index % 3 == 0))]
    env = {"PYTHONPATH": python_path(), JOURNALS: ""}
    return Child(SENDER, url, name, json.dumps(twice), str(rng.random() / 20), env=env)


def _told(line: str) -> Send:
    told = json.loads(line)
    return Send(told["run_id"], told["token"], Answer(told["answer"]), told["sender"])


async def test_a_worker_that_is_asked_to_end_gives_its_runs_to_others(
    server: RedisServer, redis: Any, scene: Any, judged: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with scene(server.unix_url, workers=2, lease=15.0, grace=0.5) as (fleet, load):
        await load.start([held(f"run-{number}", gate) for number in range(20)])
        await fleet.reach("hold", 20)
        given = [body for body in holding(fleet) if body.pid == fleet.workers[0].pid]
        assert await fleet.drain(0) == 0
        drain = fleet.faults[-1]
        assert drain.over - drain.began < 0.5 + 2
        await fleet.reach("hold", 20 + len(given))
        gate.touch()
        history = await judged(fleet, load, redis, within=20)
    assert given
    assert in_log(history.finals, "(orphaned)") == 0
    assert in_log(history.finals, "(released)") == len(given)  # the grace ended in their steps
    attempts = Counter(line.attempt for line in boundaries(history) if line.step == "hold")
    assert attempts == {1: 20 - len(given), 2: len(given)}


def boundaries(history: History) -> Sequence[Any]:
    """The lines of the logs that are about steps."""
    lines = [line for final in history.finals.values() for line in final.log]
    return [line for line in lines if not line.step.startswith("(")]


@pytest.mark.timeout(240)
async def test_many_runs_lose_their_owner_at_once(
    server: RedisServer, redis: Any, scene: Any, judged: Any, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", 2000
    async with scene(server.unix_url, workers=1, lease=15.0, concurrency=runs) as (fleet, load):
        await load.start([held(f"run-{number}", gate) for number in range(runs)])
        await fleet.reach("hold", runs)
        await asyncio.gather(*[fleet.grow() for _ in range(2)])
        record_scripts(redis)
        await fleet.kill(0)
        await fleet.reach("hold", 2 * runs)
        took = scripts_since(redis)
        gate.touch()
        history = await judged(fleet, load, redis, within=60)
    assert in_log(history.finals, "(orphaned)") == runs
    assert in_log(history.finals, "(claimed)") == 2 * runs
    assert runs <= len(took["claim"]) <= 2 * runs
    assert runs <= len(took["orphan"]) <= 3 * runs
    assert {name: slow for name, times in took.items() if (slow := p90(times)) > 10_000} == {}


def record_scripts(redis: Any) -> None:
    """Let the server write down how long every script takes.

    It has them all before: a call that only asks it to load one is no call of that script.
    """
    for file in LUA.glob("*.lua"):
        redis.script_load(script(file.stem).text)
    redis.config_set("slowlog-max-len", 1_000_000)
    redis.config_set("slowlog-log-slower-than", 0)
    redis.slowlog_reset()


def scripts_since(redis: Any) -> dict[str, list[int]]:
    """Microseconds of each script that was called, by its name."""
    names = {script(file.stem).sha: file.stem for file in LUA.glob("*.lua")}
    took = defaultdict[str, list[int]](list)
    for entry in redis.slowlog_get(1_000_000):
        command = entry["command"].decode().split()
        if command[0] == "EVALSHA":
            took[names[command[1]]].append(entry["duration"])
    redis.config_set("slowlog-log-slower-than", -1)
    return took


def p90(times: list[int]) -> int:
    """Nine in ten take no longer: where others want the processor, anybody has to wait at times."""
    return sorted(times)[int(0.9 * (len(times) - 1))]
