"""A place in memory where runs live: a server whose time a test makes, and connections to cut."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from typing_extensions import override

from stepwell import Context, Workflow, step
from stepwell.client import Client
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.errors import StoreUnavailable
from stepwell.events import StartEvent, StopEvent
from stepwell.storage.memory import MemoryServer, MemoryStore, StoredRun
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Lane, NewRun
from stepwell.worker import Worker
from support.clients import Answer

__all__ = ["Asks", "Fragile", "Place", "serving", "until_true"]


class Fragile(MemoryCheckpointer):
    """Its connections can be cut, as by the death of the process or of the network.

    Attributes:
        is_cut: they were.
        unanswered: so many answers get lost that say that a run is ours.
    """

    def __init__(self, server: MemoryServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._runs_at = server
        self.stores: list[MemoryStore] = []
        self.unanswered = 0
        self.is_cut = False

    @override
    def connect(self) -> RunStore:
        self.stores.append(_Connection(self, self._runs_at, lease=self.lease))
        return self.stores[-1]

    async def cut(self) -> None:
        """Let nothing come through any more, in no direction; others see that it is gone."""
        self.is_cut = True
        for store in self.stores:
            await store.close()


class _Connection(MemoryStore):
    def __init__(self, checkpointer: Fragile, server: MemoryServer, *, lease: float) -> None:
        super().__init__(server, lease=lease)
        self._checkpointer = checkpointer

    @override
    async def claim(
        self,
        run_id: str,
        owner: str,
        was: str,
        lane: Lane,
        *,
        due: bool = False,
        since: int | None = None,
        epoch: int | None = None,
    ) -> Claim | None:
        claim = await super().claim(run_id, owner, was, lane, due=due, since=since, epoch=epoch)
        if claim is not None and self._checkpointer.unanswered:
            self._checkpointer.unanswered -= 1
            raise StoreUnavailable(f"the answer to a claim of run {run_id} got lost")
        return claim

    @override
    async def create(self, run: NewRun) -> Claim | None:
        claim = await super().create(run)
        if claim is not None and self._checkpointer.unanswered:
            self._checkpointer.unanswered -= 1
            raise StoreUnavailable(f"the answer to the creation of run {run.run_id} got lost")
        return claim


class Place:
    """A server of the test's own."""

    def __init__(self, partitions: int = 2) -> None:
        self._ahead = time.time() - time.monotonic()
        self.server = MemoryServer(clock=self.now, partitions=partitions)

    def now(self) -> int:
        """The time of the server, in ms since 1970."""
        return int((time.monotonic() + self._ahead) * 1000)

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass on the server, at once."""
        self._ahead += seconds

    async def pass_time_for(self, checkpointer: Fragile, seconds: float) -> None:
        """Let time pass, and the owner there know what time it is, as it does every few seconds."""
        async with checkpointer.session() as session:
            self.pass_time(seconds)
            session.lease.renew_soon()
            await until_true(lambda: session.lease.clock() * 1000 >= self.now() - 500)

    def checkpointer(self, **options: Any) -> Fragile:
        """One of its own: a session and an owner that nobody else has."""
        return Fragile(self.server, **{"lease": 600, **options})

    def client(self) -> Client:
        """A client of the place."""
        return Client(self.checkpointer())

    def run(self, run_id: str) -> StoredRun:
        """What is stored of a run."""
        return self.server.runs[run_id]

    def happened(self, run_id: str) -> list[str]:
        """What the log says that happened to the run itself, or to which step."""
        return [line.split('"')[1] for line in self.run(run_id).log]

    def boundaries(self, run_id: str) -> list[tuple[str, int]]:
        """What its log says: the step, or in parentheses what happened, and the attempt."""
        lines = [json.loads(line) for line in self.run(run_id).log]
        return [(line[2], line[3]) for line in lines]

    def outcomes(self, run_id: str) -> list[str]:
        """How each boundary ended."""
        return [json.loads(line)[5] for line in self.run(run_id).log]

    def times(self, run_id: str, *things: str) -> list[int]:
        """When these things happened to a run last, in ms."""
        lines = [json.loads(line) for line in self.run(run_id).log]
        return [max(line[1] for line in lines if line[2] == thing) for thing in things]

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[MemoryStore]:
        """A connection of somebody else."""
        store = MemoryStore(self.server)
        await store.open()
        yield store
        await store.close()

    async def find_the_dead(self) -> None:
        """Make the runs of those due whose connections are cut: look, wait, look again."""
        async with self.store() as store:
            for _ in range(2):
                for partition in range(store.partitions):
                    await store.sweep(partition)
                self.pass_time(0.5)


class Asks(Workflow):
    """Waits for two answers, the one with 1 and then the one with 2, for as long as it takes."""

    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        values = [
            (await ctx.wait_for_event(Answer, requirements={"value": value}, timeout=None)).value
            for value in (1, 2)
        ]
        return StopEvent(result=values)


@asynccontextmanager
async def serving(
    checkpointer: Checkpointer, *workflows: Workflow, **options: Any
) -> AsyncGenerator[Worker]:
    """A worker, while the block lasts; then it is stopped at once."""
    worker = Worker(checkpointer, workflows, **options)
    task = asyncio.create_task(worker.run(handle_signals=False))
    try:
        yield worker
    finally:
        worker.stop(now=True)
        with suppress(asyncio.CancelledError):
            await task


async def until_true(fact: Callable[[], Any]) -> None:
    """Wait for a fact that nobody announces."""
    while not fact():  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0.002)
