"""What a worker says of an outage of its store: one warning, and one line when it is over."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from stepwell.client import Client
from stepwell.durable import session
from stepwell.errors import (
    DurabilityError,
    OutcomeUnknown,
    RunCorrupt,
    StoreRefused,
    StoreUnavailable,
)
from stepwell.storage.memory import MemoryStore
from stepwell.storage.names import partition_of
from stepwell.worker import claiming, sweeping
from stepwell.worker.outage import Outage
from support.places import Asks, Fragile, Place, serving, until_true
from support.runs import Probe, TwoSteps

AWAY = "looking: no answer in 3 s at place:1. Start the server"
BEGINS = f"the worker waits for its store: {AWAY}"
LOOKS = ("due", "sweep", "unblock")

Said = Callable[[], list[tuple[str, str]]]
"""What was logged so far of outages, and what was warned of: level and text."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(session, "RELEASE_AGAIN", 0.01)
    for name in ("SWEEP_EVERY", "UNBLOCK_EVERY", "UNBLOCK_AGAIN"):
        monkeypatch.setattr(sweeping, name, 0.01)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    def of_outages() -> list[tuple[str, str]]:
        return [
            (one.levelname, one.getMessage())
            for one in caplog.records
            if one.module == "outage" or one.levelno >= logging.WARNING
        ]

    with caplog.at_level(logging.DEBUG, "stepwell"):
        yield of_outages


def loud(said: Said) -> list[tuple[str, str]]:
    """Without what only a debugger reads, and how long it took."""
    return [(level, text.partition(" after")[0]) for level, text in said() if level != "DEBUG"]


ONCE = [("WARNING", BEGINS), ("INFO", "the store answers again")]


# --- what is noted ---


def fail(outage: Outage, request: str, error: DurabilityError) -> None:
    with outage.noted(request):
        raise error


def serve(outage: Outage, request: str) -> None:
    with outage.noted(request):
        pass


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreRefused, OutcomeUnknown])
def test_an_outage_is_told_when_it_begins_and_when_all_is_served_again(
    said: Said, kind: type[DurabilityError]
) -> None:
    outage = Outage()
    for request in ("one", "other", "one"):
        fail(outage, request, kind(AWAY))
    serve(outage, "third")
    serve(outage, "one")
    assert outage.lasts
    assert said() == [
        ("WARNING", BEGINS),
        ("DEBUG", f"other is tried again: {AWAY}"),
        ("DEBUG", f"one is tried again: {AWAY}"),
    ]
    serve(outage, "other")
    serve(outage, "other")
    assert not outage.lasts
    assert loud(said) == ONCE


def test_each_outage_is_told_with_its_time(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    outage, times = Outage(), iter([10.0, 20.0, 22.5, 100.0, 101.0, 103.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("stepwell.worker.outage.time", clock)
    for _ in range(2):
        fail(outage, "one", StoreUnavailable(AWAY))
        serve(outage, "one")
    ends = [text for level, text in said() if level == "INFO"]
    assert ends == [f"the store answers again after {time} s" for time in ("12.5", "3.0")]


def test_what_is_wrong_with_one_thing_is_no_outage_and_told_each_time(said: Said) -> None:
    outage = Outage()
    for _ in range(2):
        fail(outage, "one", RunCorrupt("run r is damaged"))
    assert not outage.lasts
    assert said() == [("WARNING", "one failed, and is tried again: run r is damaged")] * 2
    fail(outage, "one", StoreUnavailable(AWAY))
    fail(outage, "one", RunCorrupt("run r is damaged"))  # which the store has found
    assert not outage.lasts


def test_what_is_no_error_of_ours_is_nothing_that_the_store_did(said: Said) -> None:
    outage = Outage()
    fail(outage, "one", StoreUnavailable(AWAY))
    with pytest.raises(ZeroDivisionError), outage.noted("one"):
        raise ZeroDivisionError
    with pytest.raises(asyncio.CancelledError), outage.noted("one"):
        raise asyncio.CancelledError
    assert outage.lasts
    assert loud(said) == ONCE[:1]


# --- what a worker says ---


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
            await until_true(lambda number=number: len(loud(said)) == 2 * number)
        assert loud(said) == ONCE * 2
        run = await client.start(TwoSteps, {"value": 7})
        assert await run.result() == [7, 2]
    assert loud(said)[4:] == []


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
        await until_true(lambda: len(loud(said)) == 2)
    assert loud(said) == ONCE


async def test_a_worker_that_is_full_asks_no_more_and_holds_no_outage_against_its_store(
    place: Place, client: Client, said: Said
) -> None:
    checkpointer, probe = place.checkpointer(), Probe(holds=["first"])
    async with serving(checkpointer, TwoSteps(probe), concurrency=1) as worker:
        await until_true(lambda: worker.health().ready)
        with Away(store_of(checkpointer), "due", only=1).now():
            await until_true(lambda: loud(said) == ONCE[:1])
            run = await client.start(TwoSteps, {"value": 7}, run_id=name_in(place, 0))
            await probe.reached.wait()
            await until_true(lambda: loud(said) == ONCE)
            probe.go.set()
            assert await run.result() == [7, 2]


async def test_what_is_asked_for_seldom_is_asked_for_soon_during_an_outage(
    place: Place, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "UNBLOCK_EVERY", 3600)
    checkpointer = place.checkpointer()
    async with checkpointer.session(), AsyncExitStack() as workers:
        with Away(store_of(checkpointer), "unblock").now():
            await workers.enter_async_context(serving(checkpointer, Asks()))
            await until_true(lambda: loud(said) == ONCE[:1])
        await until_true(lambda: loud(said) == ONCE)


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
        await until_true(lambda: len(said()) == 2)
    names = [run.run_id for run in runs]
    assert sorted(said()) == sorted(
        ("WARNING", f"run {name} can't be claimed: run {name} is damaged") for name in names
    )


def name_in(place: Place, partition: int) -> str:
    """The name for a run of a partition."""
    names = (f"run-{number}" for number in count())
    return next(one for one in names if partition_of(one, place.server.partitions) == partition)
