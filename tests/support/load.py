"""Clients of the workload: they start runs, wait for them, and note what they were told."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from stepwell.client import Client
from stepwell.errors import (
    InboxFull,
    OutcomeUnknown,
    RunNotFound,
    RunOver,
    StoreError,
    StoreUnavailable,
    WaitClosed,
)
from stepwell.redis.keys import Keys
from support.history import Answer, Final, History, Line, Send
from support.workload import Job, Signal

__all__ = ["Load", "insist", "send"]

PATIENCE = 0.1
"""After so many seconds a client asks a server again that did not answer."""

REFUSALS = (RunOver, RunNotFound, WaitClosed, InboxFull)

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again, as long as the server is not there or nobody knows what became of it."""
    while True:
        try:
            return await ask()
        except (StoreUnavailable, OutcomeUnknown):
            await asyncio.sleep(PATIENCE)


async def send(client: Client, run_id: str, token: str, sender: str) -> Send:
    """Send a signal once, with its token as the key."""
    try:
        await client.get(run_id).send_event(Signal(token=token), key=token)
    except REFUSALS:
        return Send(run_id, token, Answer.REFUSED, sender)
    except StoreError:
        return Send(run_id, token, Answer.UNKNOWN, sender)
    return Send(run_id, token, Answer.OK, sender)


class Load:
    """The runs of one test.

    Args:
        client: of the server.
    """

    def __init__(self, client: Client) -> None:
        self.history = History()
        self._client = client
        self._jobs: dict[str, Job] = {}

    async def start(self, jobs: Iterable[Job]) -> None:
        """Start runs; whatever the server does, in the end all are started."""
        await asyncio.gather(*[self._start(job) for job in jobs])

    async def _start(self, job: Job) -> None:
        await insist(lambda: self._client.start(job.flow, job.input, run_id=job.run_id))
        self._jobs[job.run_id] = job
        self.history.starts.append(job.started(Answer.OK))

    async def send(self, run_id: str, token: str, sender: str = "") -> Send:
        """Send a signal, until somebody knows what became of it."""
        while True:
            sent = await send(self._client, run_id, token, sender)
            self.history.sends.append(sent)
            if sent.answer is not Answer.UNKNOWN:
                return sent
            await asyncio.sleep(PATIENCE)

    async def end(self, within: float) -> None:
        """Wait until all runs have ended, at most so many seconds: the laws tell of the others."""
        waiting = [asyncio.ensure_future(self._result(job)) for job in self._jobs.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _result(self, job: Job) -> None:
        run = self._client.get(job.run_id, job.flow)
        self.history.results.append((job.run_id, await insist(run.result)))

    async def look(self, redis: Any) -> History:
        """How all runs stand, read through a redis-py client that decodes what it is answered."""
        keys = Keys("default", 16)
        for run_id, job in self._jobs.items():
            if fields := redis.hgetall(keys.run(run_id)):
                log = tuple(_line(line) for line in redis.lrange(keys.log(run_id), 0, -1))
                self.history.finals[run_id] = await self._final(job, fields, log)
        return self.history

    async def _final(self, job: Job, fields: Mapping[str, str], log: tuple[Line, ...]) -> Final:
        status = fields["status"]
        run = self._client.get(job.run_id, job.flow)
        result = await run.result() if status == "completed" else None
        received = result if "signals" in job.input and result else ()
        state = {"count": json.loads(fields.get("state:count", "0"))}
        return Final(job.run_id, status, result, state, received, log)


def _line(text: str) -> Line:
    seq, at, step, attempt, _, outcome = json.loads(text)
    return Line(seq, at, step, attempt, outcome)
