"""Worker processes that a test starts, kills and freezes; each fault is noted."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.history import Body, Fault, journals, read_bodies
from support.journal import JOURNALS
from support.processes import Child

__all__ = ["Fleet", "python_path"]

PROGRAM = Path(__file__).parents[1] / "faults" / "programs" / "worker.py"


def python_path() -> str:
    """Where a child finds what the tests share."""
    tests = str(Path(__file__).parents[1])
    return os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))


class Fleet:
    """Workers for the workload, in processes of their own.

    async with Fleet(url, directory, 3) as fleet:
        await fleet.kill(0)
        await fleet.start(0)
        async with fleet.frozen(1):
            ...

    Args:
        url: of the server.
        directory: for the journals.
        size: how many workers there are.
        lease: how long a worker that is silent is trusted, in seconds.
        **options: of `Worker`.
    """

    def __init__(
        self, url: str, directory: Path, size: int, *, lease: float = 2.0, **options: Any
    ) -> None:
        self.workers: list[Child] = []
        self.faults: list[Fault] = []
        self.lease = lease
        self._directory = directory
        self._arguments = [url, json.dumps({"lease": lease, **options})]
        self._size = size
        self._children = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._directory.mkdir(exist_ok=True)
        try:
            self.workers = [await self._spawn() for _ in range(self._size)]
            for worker in self.workers:
                await worker.line("ready")
        except BaseException:
            await self._children.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._children.aclose()

    async def start(self, index: int) -> None:
        """Put a new process in the place of one that ended."""
        self.workers[index] = await self._begin()

    async def grow(self) -> None:
        """Add a worker."""
        self.workers.append(await self._begin())

    async def kill(self, *indexes: int) -> None:
        """SIGKILL, at once for all of them."""
        began, workers = time.monotonic(), [self.workers[index] for index in indexes]
        for worker in workers:
            worker.kill()
        await asyncio.gather(*[worker.exit() for worker in workers])
        self._note("kill", began, workers)

    async def drain(self, index: int) -> int:
        """SIGTERM; returns the exit code."""
        began, worker = time.monotonic(), self.workers[index]
        worker.signal(signal.SIGTERM)
        code = await worker.exit()
        self._note("drain", began, [worker])
        return code

    @asynccontextmanager
    async def frozen(self, index: int) -> AsyncGenerator[Child]:
        """SIGSTOP, and SIGCONT on leaving.

        Its consequences are over a lease later: until then it may not have learnt what it missed.
        """
        began, worker = time.monotonic(), self.workers[index]
        worker.signal(signal.SIGSTOP)
        try:
            yield worker
        finally:
            worker.signal(signal.SIGCONT)
            self._note("freeze", began, [worker], freezes=True, aftermath=self.lease)

    @asynccontextmanager
    async def hit(self, kind: str, *, forgets: bool = False) -> AsyncGenerator[None]:
        """Something that hits all of them, until the end of the block and a lease longer."""
        began = time.monotonic()
        yield
        self._note(kind, began, None, forgets=forgets, aftermath=self.lease)

    def bodies(self) -> list[Body]:
        """What the journals say so far."""
        return read_bodies(self._directory)

    async def reach(self, token: str, number: int) -> None:
        """Return when so many bodies of a token have begun since the first worker was started."""
        while self._begun(token) < number:  # noqa: ASYNC110  other processes set no event
            await asyncio.sleep(0.02)

    def _begun(self, token: str) -> int:
        told = f'"token": {json.dumps(token)},'.encode()
        return sum(one.read_bytes().count(told) for one in journals(self._directory))

    async def _begin(self) -> Child:
        worker = await self._spawn()
        await worker.line("ready")
        return worker

    async def _spawn(self) -> Child:
        env = {JOURNALS: str(self._directory), "PYTHONPATH": python_path()}
        worker = Child(PROGRAM, *self._arguments, env=env)
        return await self._children.enter_async_context(worker)

    def _note(
        self,
        kind: str,
        began: float,
        workers: Iterable[Child] | None,
        *,
        freezes: bool = False,
        forgets: bool = False,
        aftermath: float = 0.0,
    ) -> None:
        pids = None if workers is None else frozenset(worker.pid for worker in workers)
        over = time.monotonic() + aftermath
        self.faults.append(Fault(kind, began, over, pids, freezes=freezes, forgets=forgets))
