"""Who may commit: leases, takeovers, zombies, and connections that break."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell.errors import LeaseLost, OutcomeUnknown, StoreUnavailable
from stepwell.redis import RedisCheckpointer
from stepwell.redis.scripts import script
from stepwell.storage.records import Lane
from support.processes import Child
from support.proxy import Command, Position, Proxy
from support.runs import Probe, Runs, TwoSteps, interrupt, until
from support.servers import RedisServer

RESULT = [7, 2]

CHILD = """
import asyncio, os, sys
from stepwell.errors import StepwellError
from support.runs import TwoSteps, checkpointer

held, go, options = sys.argv[1], sys.argv[2], eval(sys.argv[3])

async def probe(name):
    print("executes", name, flush=True)
    if name == held:
        print("held", flush=True)
        while not os.path.exists(go):
            await asyncio.sleep(0.01)

async def main():
    try:
        result = await TwoSteps(probe, checkpointer=checkpointer(**options)).run(
            run_id="the-run", value=7
        )
    except StepwellError as error:
        result = type(error).__name__
    print("result", result, flush=True)

asyncio.run(main())
"""


def steps(runs: Runs) -> list[tuple[str, int]]:
    """The steps that were committed, with their attempts."""
    return [(name, attempt) for _, name, attempt, _ in runs.log("the-run") if name[0] != "("]


def claims(runs: Runs) -> int:
    """How often the run changed hands."""
    return [name for _, name, _, _ in runs.log("the-run")].count("(claimed)")


def start(runs: Runs, probe: Probe, **options: Any) -> Any:
    return TwoSteps(probe, checkpointer=runs.checkpointer(**options)).run(run_id="the-run", value=7)


# --- a living owner ---


async def test_a_step_that_blocks_the_event_loop_keeps_its_run(runs: Runs) -> None:
    class Blocking(Probe):
        async def __call__(self, name: str) -> None:
            await super().__call__(name)
            if name == "second":
                outlive(runs)

    idle = Probe()
    owner = Blocking(holds=["second"])

    async def follow() -> Any:
        return await start(runs, idle)

    handler = start(runs, owner, lease=1)
    await owner.reached.wait()
    following = asyncio.create_task(asyncio.to_thread(asyncio.run, follow()))
    owner.go.set()
    assert (await handler, await following) == (RESULT, RESULT)
    assert (idle.executed, claims(runs)) == ([], 0)


def outlive(runs: Runs) -> None:
    """Block until every lease that was given so far is over."""
    end = lease_end(runs)
    while server_clock(runs) <= end:
        time.sleep(0.05)


def lease_end(runs: Runs) -> float:
    """When the last lease in the partition of the run ends, in milliseconds of the server."""
    owners = runs.keys.owners(runs.keys.partition_of("the-run"))
    return max(score for _, score in runs.redis.zrange(owners, 0, -1, withscores=True))


def server_clock(runs: Runs) -> float:
    """In milliseconds."""
    seconds, micros = runs.redis.time()
    return seconds * 1000 + micros / 1000


async def test_an_owner_whose_subscriptions_are_killed_keeps_its_run(
    own_server: Callable[..., RedisServer], namespace: str
) -> None:
    with Runs(own_server().unix_url, namespace) as runs:
        probe, idle = Probe(holds=["second"]), Probe()
        handler = start(runs, probe)
        await probe.reached.wait()
        follower = start(runs, idle)
        for _ in range(5):
            await until(lambda: runs.redis.client_kill_filter(_type="pubsub"))
        probe.go.set()
        assert [await handler, await follower] == [RESULT, RESULT]
        assert (idle.executed, claims(runs)) == ([], 0)


@pytest.mark.parametrize("end", [RedisServer.restart, RedisServer.kill])
async def test_a_server_that_restarts_takes_no_run_away(
    own_server: Callable[..., RedisServer], namespace: str, end: Callable[[RedisServer], None]
) -> None:
    server = own_server(appendfsync="always")
    with Runs(server.unix_url, namespace) as runs:
        probe, idle = Probe(holds=["second"]), Probe()
        handler = start(runs, probe)
        await probe.reached.wait()
        follower = start(runs, idle)
        end(server)
        if end is RedisServer.kill:
            server.start()
        late = start(runs, idle)
        await until(lambda: subscribers(runs))
        probe.go.set()
        assert [await handler, await follower, await late] == [RESULT] * 3
        assert (idle.executed, claims(runs)) == ([], 0)


def subscribers(runs: Runs) -> int:
    """How many connections listen to an owner's channel."""
    return len(runs.redis.execute_command("PUBSUB", "SHARDCHANNELS", "*owner:*"))


async def test_who_stops_waiting_does_not_stop_the_run(runs: Runs) -> None:
    probe = Probe(holds=["second"])
    handler = start(runs, probe)
    await probe.reached.wait()
    waiting = asyncio.create_task(handler.stop_event_result())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    probe.go.set()
    assert await handler == RESULT
    assert probe.executed == ["first", "second"]


# --- an owner that goes ---


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_program_that_ends_gives_its_run_back(runs: Runs, durability: str) -> None:
    probe = Probe(holds=["second"])
    await interrupt(lambda: start(runs, probe, lease=60, durability=durability), probe)
    assert runs.log("the-run")[-1][1] == "(released)"
    fields = runs.fields("the-run")
    assert (fields["status"], "owner" in fields) == ("running", False)
    partition = runs.keys.partition_of("the-run")
    lane = Lane(fields["queue"], fields["workflow"])
    assert runs.redis.zscore(runs.keys.due(partition, lane), "the-run") is not None
    assert runs.redis.zcard(runs.keys.owners(partition)) == 0
    assert await start(runs, Probe()) == RESULT


async def test_an_interrupt_from_the_keyboard_gives_the_run_back(
    runs: Runs, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Child(CHILD, "second", str(tmp_path / "go"), "{'lease': 60}", env=runs.env) as child:
        await child.line("held")
        child.signal(signal.SIGINT)
        assert await child.exit() in (-signal.SIGINT, 1)
    assert "owner" not in runs.fields("the-run")
    again = Probe()
    assert (await start(runs, again), again.executed) == (RESULT, ["second"])
    noise = capfd.readouterr().err
    assert "KeyboardInterrupt" in noise
    assert "Task was destroyed" not in noise
    assert "never retrieved" not in noise


async def test_a_follower_goes_on_when_the_owner_is_killed(runs: Runs, tmp_path: Path) -> None:
    async with Child(CHILD, "second", str(tmp_path / "go"), "{'lease': 60}", env=runs.env) as child:
        await child.line("held")
        probe = Probe()
        handler = start(runs, probe)
        child.kill()
        assert (await handler, probe.executed) == (RESULT, ["second"])
    assert steps(runs) == [("first", 1), ("second", 2)]


@pytest.mark.parametrize(
    ("held", "on_lost", "said"),
    [
        ("first", "follow", f"result {RESULT}"),
        ("second", "follow", f"result {RESULT}"),
        ("second", "raise", "result LeaseLost"),
    ],
)
async def test_a_zombie_commits_nothing_and_follows(
    runs: Runs, tmp_path: Path, held: str, on_lost: str, said: str
) -> None:
    options = str({"lease": 1, "on_lost": on_lost})
    go = tmp_path / "go"
    async with Child(CHILD, held, str(go), options, env=runs.env) as child:
        await child.line("held")
        child.signal(signal.SIGSTOP)
        assert await start(runs, Probe()) == RESULT
        before = runs.dump("the-run")
        go.touch()
        child.signal(signal.SIGCONT)
        assert await child.line("result") == said
        assert await child.exit() == 0
        assert [line for line in child.lines if line.startswith("exec")][-1] == f"executes {held}"
    assert runs.dump("the-run") == before
    assert claims(runs) == 1


# --- a run that was taken away, seen from inside ---


def take_away(runs: Runs) -> None:
    """Do what a takeover does to the fence; the new owner is dead at once."""
    key = runs.keys.run("the-run")
    runs.redis.hset(key, mapping={"token": "9:stranger", "owner": "stranger"})


@pytest.mark.parametrize("held", ["first", "second"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_whose_new_owner_died_is_taken_back(
    runs: Runs, held: str, durability: str
) -> None:
    probe = Probe(holds=[held])
    handler = start(runs, probe, durability=durability)
    await probe.reached.wait()
    take_away(runs)
    probe.holds = ()
    probe.go.set()
    assert await handler == RESULT
    assert json_count(runs) == "2"
    assert claims(runs) == 1


async def test_the_stream_of_a_run_that_is_taken_back_has_its_last_event(runs: Runs) -> None:
    probe = Probe(holds=["first"])
    handler = start(runs, probe)
    await probe.reached.wait()
    take_away(runs)
    probe.holds = ()
    probe.go.set()
    published = [event async for event in handler.stream_events()]
    assert [await handler, *published] == [RESULT, handler.get_stop_event()]


def json_count(runs: Runs) -> str:
    return runs.fields("the-run")["state:count"]


@pytest.mark.parametrize("held", ["first", "second"])
async def test_a_lost_run_is_reported_where_that_was_asked_for(runs: Runs, held: str) -> None:
    probe = Probe(holds=[held])
    handler = start(runs, probe, on_lost="raise")
    await probe.reached.wait()
    take_away(runs)
    before = runs.dump("the-run")
    probe.go.set()
    with pytest.raises(LeaseLost, match=r"the-run.*another process.*nothing was written"):
        await handler
    assert runs.dump("the-run") == before


# --- connections that break ---


class Cut:
    """Cuts all connections at the first command that runs a certain script."""

    def __init__(self, name: str, position: Position) -> None:
        self._sha = script(name).sha
        self._position = position
        self.times = 0

    def __call__(self, command: Command, position: Position) -> bool:
        is_it = command.name == "EVALSHA" and command.words[1].decode() == self._sha
        if not is_it or position != self._position or self.times:
            return False
        self.times += 1
        return True


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize(
    "name", ["open", "appear", "create", "commit", "finish", "presence", "claim", "disappear"]
)
async def test_a_connection_that_breaks_at_any_script_changes_nothing(
    redis_server: RedisServer, runs: Runs, name: str, position: Position
) -> None:
    if name in ("presence", "claim"):
        probe = Probe(holds=["second"])
        await interrupt(lambda: start(runs, probe), probe)
        owner = "somebody" if name == "presence" else ""
        runs.redis.hset(runs.keys.run("the-run"), "owner", owner)
    cut = Cut(name, position)
    with Proxy(redis_server.socket_path, on_command=cut) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace)
        assert await TwoSteps(checkpointer=checkpointer).run(run_id="the-run", value=7) == RESULT
    assert cut.times == 1
    assert [step for step, _ in steps(runs)] == ["first", "second"]
    assert json_count(runs) == "2"


async def test_runs_survive_many_cuts(redis_server: RedisServer, runs: Runs) -> None:
    cuts = list[Position]()

    def cut(_command: Command, position: Position) -> bool:
        is_due = len(cuts) < 10 and random.random() < 0.1  # noqa: S311  no secret
        if is_due:
            cuts.append(position)
        return is_due

    with Proxy(redis_server.socket_path, on_command=cut) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace)
        probe = Probe()
        workflow = TwoSteps(probe, checkpointer=checkpointer)
        handlers = [workflow.run(run_id=f"run-{n}", value=n) for n in range(8)]
        assert [await handler for handler in handlers] == [[n, 2] for n in range(8)]
    assert cuts
    assert sorted(probe.executed) == ["first"] * 8 + ["second"] * 8


async def test_a_commit_without_any_answer_is_reported_as_unknown(
    redis_server: RedisServer, runs: Runs
) -> None:
    def swallow_replies(command: Command, position: Position) -> bool:
        words = command.words
        is_end = command.name == "EVALSHA" and words[1].decode() == script("finish").sha
        return is_end and position == "after"

    with Proxy(redis_server.socket_path, on_command=swallow_replies) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace, lease=1)
        probe = Probe()
        workflow = TwoSteps(probe, checkpointer=checkpointer)
        with pytest.raises(OutcomeUnknown, match=r"commit 3 of run the-run.*start the run again"):
            await workflow.run(run_id="the-run", value=7)
        assert await workflow.run(run_id="the-run", value=7) == RESULT
    assert probe.executed == ["first", "second"]


class Cancellable(Probe):
    """Notices that a step was stopped."""

    def __init__(self) -> None:
        super().__init__(holds=["second"])
        self.stopped = asyncio.Event()

    async def __call__(self, name: str) -> None:
        try:
            await super().__call__(name)
        except asyncio.CancelledError:
            self.stopped.set()
            raise


async def test_a_server_that_is_silent_longer_than_the_lease_stops_the_run_until_it_is_back(
    own_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_server()
    with Runs(server.unix_url, namespace) as runs:
        probe = Cancellable()
        handler = start(runs, probe, lease=2)
        await probe.reached.wait()
        signal_server(server, signal.SIGSTOP)
        await probe.stopped.wait()
        probe.holds = ()
        signal_server(server, signal.SIGCONT)
        assert await handler == RESULT
        assert probe.executed == ["first", "second", "second"]


async def test_steps_are_stopped_before_the_lease_ends(
    redis_server: RedisServer, runs: Runs
) -> None:
    let_go = threading.Event()

    def swallow(command: Command, position: Position) -> bool:
        if (command.name, position) == ("EVALSHA", "before") and probe.reached.is_set():
            let_go.wait()
        return False

    probe = Cancellable()
    with Proxy(redis_server.socket_path, on_command=swallow) as proxy:
        checkpointer = RedisCheckpointer(proxy.url, namespace=runs.namespace, lease=3)
        handler = TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
        await probe.stopped.wait()
        left = lease_end(runs) - server_clock(runs)
        probe.holds = ()
        let_go.set()
        assert await handler == RESULT
    assert left > 0


async def test_a_server_that_stays_away_is_reported_and_the_run_goes_on_when_it_is_back(
    own_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_server()
    with Runs(server.unix_url, namespace) as runs:
        probe = Probe(holds=["second"])
        async with runs.checkpointer(lease=1) as checkpointer:
            workflow = TwoSteps(probe, checkpointer=checkpointer)
            handler = workflow.run(run_id="the-run", value=7)
            await probe.reached.wait()
            signal_server(server, signal.SIGSTOP)
            probe.go.set()
            with pytest.raises(StoreUnavailable, match="what was committed stays"):
                await handler
            signal_server(server, signal.SIGCONT)
            assert await workflow.run(run_id="the-run", value=7) == RESULT
        assert json_count(runs) == "2"


def signal_server(server: RedisServer, number: signal.Signals) -> None:
    os.kill(server.pid, number)
