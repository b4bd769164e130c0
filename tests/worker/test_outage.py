"""What a worker says of an outage of its store: one warning, and one line when it is over."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from typing import Any

import pytest

from stepwell.client import Client
from stepwell.durable import hearing, session
from stepwell.errors import RunCorrupt, StoreUnavailable
from stepwell.storage.memory import MemoryStore
from stepwell.storage.names import partition_of
from stepwell.worker import claiming, sweeping
from stepwell.worker.hosting import Hosting
from support.outages import BEGINS, ENDS, Said, listening
from support.places import Asks, Fragile, Place, serving, until_true
from support.runs import Probe, Runs, TwoSteps
from support.servers import RedisServer

AWAY = "looking: no answer in 3 s at place:1. Start the server"
ONCE = [("WARNING", f"{BEGINS}: {AWAY}"), ("INFO", ENDS)]
LOOKS = ("due", "sweep", "unblock")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(hearing, "LISTEN_AGAIN", 0.01)
    monkeypatch.setattr(session, "RELEASE_AGAIN", 0.01)
    for name in ("SWEEP_EVERY", "UNBLOCK_EVERY", "UNBLOCK_AGAIN"):
        monkeypatch.setattr(sweeping, name, 0.01)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    with listening(caplog) as said:
        yield said


class Away:
    """Lets some verbs of a store fail, in some partitions or all; counts how often they did."""

    def __init__(self, store: MemoryStore, *verbs: str, only: int | None = None) -> None:
        self._store = store
        self._verbs = verbs
        self._only = only
        self.failed = Counter[tuple[str, Any]]()

    @contextmanager
    def now(self) -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for verb in self._verbs:
                patch.setattr(self._store, verb, self._failing(verb))
            yield

    def _failing(self, verb: str) -> Callable[..., Any]:
        serve = getattr(self._store, verb)

        async def fail(first: Any, *others: Any, **options: Any) -> Any:
            if self._only not in (None, first):
                return await serve(first, *others, **options)
            self.failed[verb, first] += 1
            raise StoreUnavailable(AWAY)

        return fail

    def often(self, times: int, requests: int) -> bool:
        """Whether so many requests failed, each so often."""
        return len(self.failed) == requests and min(self.failed.values()) >= times


def store_of(checkpointer: Fragile) -> MemoryStore:
    """The one of the runs; the other is that of the lease."""
    return checkpointer.stores[0]


@pytest.mark.parametrize("place", [16], indirect=True)
async def test_a_worker_tells_once_of_an_outage_and_once_of_its_end(
    place: Place, client: Client, said: Said
) -> None:
    checkpointer = place.checkpointer()
    async with serving(checkpointer, TwoSteps()) as worker:
        await until_true(lambda: worker.health().ready)
        for number in (1, 2):
            away = Away(store_of(checkpointer), *LOOKS)
            with away.now():
                await until_true(lambda away=away: away.often(3, requests=16 * len(LOOKS)))
            await until_true(lambda number=number: len(said.loud) == 2 * number)
        assert said.loud == ONCE * 2
        run = await client.start(TwoSteps, {"value": 7})
        assert await run.result() == [7, 2]
    assert said.loud[4:] == []


async def test_a_store_that_reads_and_does_not_write_is_one_outage(
    place: Place, client: Client, said: Said
) -> None:
    checkpointer = place.checkpointer()
    async with serving(checkpointer, TwoSteps()) as worker:
        await until_true(lambda: worker.health().ready)
        away = Away(store_of(checkpointer), "claim")
        with away.now():
            runs = [await client.start(TwoSteps, {"value": value}) for value in range(3)]
            await until_true(lambda: away.often(3, requests=3))
        assert [await run.result() for run in runs] == [[value, 2] for value in range(3)]
        await until_true(lambda: len(said.loud) == 2)
    assert said.loud == ONCE


async def test_a_worker_that_is_full_asks_no_more_and_holds_no_outage_against_its_store(
    place: Place, client: Client, said: Said
) -> None:
    checkpointer, probe = place.checkpointer(), Probe(holds=["first"])
    async with serving(checkpointer, TwoSteps(probe), concurrency=1) as worker:
        await until_true(lambda: worker.health().ready)
        with Away(store_of(checkpointer), "due", only=1).now():
            await until_true(lambda: said.loud == ONCE[:1])
            run = await client.start(TwoSteps, {"value": 7}, run_id=name_in(place, 0))
            await probe.reached.wait()
            await until_true(lambda: said.loud == ONCE)
            probe.go.set()
            assert await run.result() == [7, 2]


async def test_a_place_that_is_kept_for_another_partition_ends_no_outage(
    place: Place, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer, refused, go = place.checkpointer(), list[int](), asyncio.Event()

    def reserve(hosting: Hosting, number: int) -> int:
        places = works(hosting, number)
        refused.extend([] if places else [number])
        return places

    works = Hosting.reserve
    monkeypatch.setattr(Hosting, "reserve", reserve)
    async with serving(checkpointer, TwoSteps(), concurrency=1) as worker:
        await until_true(lambda: worker.health().ready)
        store = store_of(checkpointer)
        due = store.due

        async def fail_or_wait(partition: int, *others: Any) -> Any:
            if partition == 0 and not go.is_set():
                raise StoreUnavailable(AWAY)
            if said.loud:
                await go.wait()
            return await due(partition, *others)

        monkeypatch.setattr(store, "due", fail_or_wait)
        await until_true(lambda: said.loud)
        refused.clear()
        await until_true(lambda: len(refused) > 2)
        assert said.loud == ONCE[:1]
        go.set()
        await until_true(lambda: said.loud == ONCE)


async def test_what_is_asked_for_seldom_is_asked_for_soon_during_an_outage(
    place: Place, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "UNBLOCK_EVERY", 3600)
    checkpointer = place.checkpointer()
    async with checkpointer.session(), AsyncExitStack() as workers:
        with Away(store_of(checkpointer), "unblock").now():
            await workers.enter_async_context(serving(checkpointer, Asks()))
            await until_true(lambda: said.loud == ONCE[:1])
        await until_true(lambda: said.loud == ONCE)


async def test_a_run_that_can_not_be_claimed_is_told_of_and_no_outage(
    place: Place, client: Client, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = place.checkpointer()
    async with serving(checkpointer, Asks()) as worker:
        await until_true(lambda: worker.health().ready)

        async def find_damage(run_id: str, *_: Any, **__: Any) -> None:
            raise RunCorrupt(f"run {run_id} is damaged")

        monkeypatch.setattr(store_of(checkpointer), "claim", find_damage)
        runs = [await client.start(Asks) for _ in range(2)]
        await until_true(lambda: len(said.all) == 2)
    names = [run.run_id for run in runs]
    assert sorted(said.all) == sorted(
        ("WARNING", f"run {name} can't be claimed: run {name} is damaged") for name in names
    )


async def test_a_worker_that_stops_asks_no_more_for_what_others_in_its_process_wait_for_too(
    place: Place, said: Said
) -> None:
    checkpointer = place.checkpointer()
    async with checkpointer.session() as session, serving(checkpointer, Asks()) as other:
        await until_true(lambda: other.health().ready)
        away = Away(store_of(checkpointer), *LOOKS)
        with away.now():
            async with serving(checkpointer, TwoSteps()):
                await until_true(lambda: away.often(3, requests=2 * len(LOOKS)))
            assert session.outage.lasts
            other.stop(now=True)
            await until_true(lambda: not session.outage.lasts)
    assert said.loud == ONCE


async def test_a_worker_tells_once_of_a_server_that_is_away_and_once_when_it_is_back(
    own_server: Callable[..., RedisServer], namespace: str, said: Said
) -> None:
    server = own_server()
    names = {f"run-{number}" for number in range(4)}
    with Runs(server.unix_url, namespace) as runs:
        checkpointer, probe = runs.checkpointer(lease=1), Probe(holds=["second"])
        async with Client(runs.checkpointer()) as client, serving(checkpointer, TwoSteps(probe)):
            started = [await client.start(TwoSteps, {"value": 7}, run_id=name) for name in names]
            await until_true(lambda: probe.executed.count("second") == len(names))
            async with checkpointer.session() as session:
                owner = session.lease.owner
            server.stop()
            await until_true(lambda: said.again(*requests(owner, names)))
            probe.holds = ()
            server.start()
            assert [await run.result() for run in started] == [[7, 2]] * len(names)
            await until_true(lambda: said.of_outages == [BEGINS, ENDS])
    lost = (
        f"owner {owner} could not renew its lease in 1 s: its runs stop here, and go on wherever "
        "the store can be reached"
    )
    assert said.of_outages == [BEGINS, ENDS]
    sure = {lost, *(f"run {name} stops here: {lost}" for name in names)}
    assert sure <= set(said.of_others)
    others = "run ", f"the lease of owner {owner} was over for a while"
    assert all(text.startswith(others) for text in set(said.of_others) - sure)


def requests(owner: str, names: Collection[str]) -> list[str]:
    """What a worker that had such runs asks again and again during an outage."""
    of_all = "claiming due runs of", "looking for dead owners in", news_of("due")
    of_some = "asking for the mail of", news_of("mail")
    some = {partition_of(name, 16) for name in names}
    return [
        f"renewing the lease of owner {owner}",
        *(f"giving run {name} back" for name in names),
        *(f"{kind} partition {number}" for kind in of_all for number in range(16)),
        *(f"{kind} partition {number}" for kind in of_some for number in some),
    ]


def news_of(kind: str) -> str:
    return f"listening for news of kind {kind!r} in"


def name_in(place: Place, partition: int) -> str:
    """The name for a run of a partition."""
    names = (f"run-{number}" for number in count())
    return next(one for one in names if partition_of(one, place.server.partitions) == partition)
