"""The mailbox: brings the messages that come for the runs of this process to them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from functools import partial

from stepwell.durable.hearing import Ear
from stepwell.durable.outage import Outage, Request
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Topic

__all__ = ["Mailbox"]

LOOK_EVERY = 1.0
"""How often, in seconds, the store is asked for mail that it told nothing of: news may be lost."""

log = logging.getLogger("stepwell")

Read = Callable[[], Awaitable[bool]]
"""Lets a run read its messages; returns whether it read all."""


class Mailbox:
    """Of one owner. A run whose mail could not be brought, or not all, is tried again.

    Args:
        store: has the mail.
        owner: for whom.
        expected: the runs that the owner has, or is about to have: mail for one that does not read
            yet is kept for it.
        outage: notes whether the store answers.
    """

    def __init__(
        self, store: RunStore, owner: str, expected: Collection[str], outage: Outage
    ) -> None:
        self._store = store
        self._owner = owner
        self._expected = expected
        self._outage = outage
        self._readers: dict[str, _Reader] = {}
        self._unread: set[str] = set()
        self._serving: dict[int, asyncio.Task[None]] = {}

    def open(self, run_id: str, read: Read) -> Callable[[], object]:
        """Have a run read its mail whenever there is some; returns the undoing."""
        reading = self._outage.request(f"reading the messages of run {run_id}")
        reader = self._readers[run_id] = _Reader(read, reading)
        partition = self._store.partition_of(run_id)
        if partition not in self._serving:
            serving = asyncio.get_running_loop().create_task(self._serve(partition))
            self._serving[partition] = serving
        return partial(self._shut, run_id, reader)

    def _shut(self, run_id: str, reader: "_Reader") -> None:
        reader.shut()
        if self._readers.get(run_id) is reader:  # else the run was claimed again meanwhile
            del self._readers[run_id]

    def remind(self, run_id: str) -> None:
        """A run has not read all: let it read again, some time."""
        self._unread.add(run_id)

    async def close(self) -> None:
        """Bring no more."""
        for serving in self._serving.values():
            serving.cancel()
        if self._serving:
            await asyncio.wait(self._serving.values())

    async def _serve(self, partition: int) -> None:
        ear = Ear(self._store, Topic("mail", partition, self._owner), self._outage)
        asking = self._outage.request(f"asking for the mail of partition {partition}")
        try:
            while True:
                await ear.open(LOOK_EVERY)
                await self._bring(partition, asking)
                await ear.hear(LOOK_EVERY)
        finally:
            ear.close()
            asking.end()

    async def _bring(self, partition: int, asking: Request) -> None:
        """Let all runs that got messages read them, side by side."""
        mine = {one for one in self._unread if self._store.partition_of(one) == partition}
        self._unread -= mine
        named: Iterable[str] | None = None
        with asking.noted():
            named = await self._store.mail(self._owner, partition)
        if named is None:
            named = self._expected_in(partition)  # the answer that is lost named some of them
        mine.update(named)
        self._unread |= {one for one in mine - self._readers.keys() if one in self._expected}
        readers = [(run_id, self._readers[run_id]) for run_id in mine & self._readers.keys()]
        await asyncio.gather(*(self._let_read(run_id, reader) for run_id, reader in readers))

    def _expected_in(self, partition: int) -> Iterator[str]:
        return (one for one in self._expected if self._store.partition_of(one) == partition)

    async def _let_read(self, run_id: str, reader: "_Reader") -> None:
        try:
            if await reader.read():
                return
        except Exception:  # the other runs want their messages
            log.exception("the messages of run %s can't be read", run_id)
        self._unread.add(run_id)


class _Reader:
    """Reads the messages of a run, as long as that is here.

    Args:
        read: reads them.
        request: stands for it.
    """

    __slots__ = ("_is_here", "_read", "_request")

    def __init__(self, read: Read, request: Request) -> None:
        self._read = read
        self._request = request
        self._is_here = True

    async def read(self) -> bool:
        """Whether all were read."""
        read_all = False
        with self._request.noted():
            read_all = await self._read()
        if not self._is_here:
            self._request.end()
        return read_all

    def shut(self) -> None:
        """The run is not here any more."""
        self._is_here = False
        self._request.end()
