"""The store does what it was asked, and its answer is lost for good: nobody's run is forgotten."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.client import Client
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.errors import OutcomeUnknown
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.storage.memory import MemoryServer, MemoryStore
from stepwell.worker import Worker
from support.runs import until

Verb = Callable[..., Awaitable[Any]]


class Ping(Event):
    """What the run waits for."""


class Waiting(Workflow):
    """Waits for one event."""

    @step
    async def wait(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Ping, timeout=None)
        return StopEvent(result="had it")


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """`lose(verb)`: the next answer of that verb that tells something does not come."""

    def lose(name: str) -> list[str]:
        lost: list[str] = []
        verb: Verb = getattr(MemoryStore, name)

        @wraps(verb)
        async def call(*args: Any, **options: Any) -> Any:
            answer = await verb(*args, **options)
            if answer and not lost:
                lost.append(name)
                raise OutcomeUnknown(f"{name}: no reply came")
            return answer

        monkeypatch.setattr(MemoryStore, name, call)
        return lost

    return lose


@asynccontextmanager
async def served(server: MemoryServer) -> AsyncGenerator[Client]:
    """A worker, and a client."""
    worker = Worker(MemoryCheckpointer(server), workflows=[Waiting(timeout=None)])
    serving = asyncio.create_task(worker.run(handle_signals=False))
    async with Client(MemoryCheckpointer(server)) as client:
        yield client
        worker.stop(now=True)
        await serving


async def test_a_run_whose_claim_was_not_answered_is_executed(
    lose: Callable[[str], list[str]],
) -> None:
    lost, server = lose("claim"), MemoryServer()
    async with served(server) as client:
        run = await client.start(Waiting)
        await run.send_event(Ping())
        assert await run.result(timeout=5) == "had it"
    assert lost


async def test_a_message_is_read_though_the_mail_that_told_of_it_was_not_answered(
    lose: Callable[[str], list[str]],
) -> None:
    server = MemoryServer()
    async with served(server) as client:
        run = await client.start(Waiting)
        await until(
            lambda: any(name.startswith("wait:") for name in server.runs[run.run_id].fields)
        )
        lost = lose("mail")
        await run.send_event(Ping())
        assert await run.result(timeout=5) == "had it"
    assert lost
