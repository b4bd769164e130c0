"""Runs of owners that are gone: they are taken from them, and damage to one holds up no other."""

import asyncio
import logging
from typing import Any

from stepwell.errors import DurabilityError, RunCorrupt
from stepwell.redis.errors import run_refusal
from stepwell.redis.fields import text
from stepwell.redis.gateway import Gateway
from stepwell.redis.keys import Keys
from stepwell.storage.records import Lane

__all__ = ["Orphans"]

_TOLD_MAX = 1000
"""Of so many runs and owners, the last ones, it is known that their damage was logged."""

log = logging.getLogger("stepwell")


class Orphans:
    """The part of a store that makes runs of owners due that are gone.

    Args:
        gateway: to the server.
        keys: of the namespace.
    """

    def __init__(self, gateway: Gateway, keys: Keys) -> None:
        self._gateway = gateway
        self._keys = keys
        self._told = dict[str, None]()

    async def take_all(self, owner: str, partition: int, limit: int) -> int:
        """Make up to `limit` runs of an owner that is gone due; returns how many there were."""
        if limit <= 0:
            return 0
        owned, what = self._keys.owned(partition, owner), f"looking for the runs of owner {owner}"
        try:
            names = await self._gateway.read("set", what, "SRANDMEMBER", owned, limit)
        except RunCorrupt as error:
            self.tell(f"owner {owner}", error)
            return 0
        return sum(await asyncio.gather(*(self._take(name.decode(), owner) for name in names)))

    def tell(self, subject: str, error: DurabilityError, then: str = "") -> None:
        """Log what is wrong with a run or an owner, the first time."""
        if subject not in self._told:
            log.warning("the sweep passes over %s: %s%s", subject, error, then)
        self._told[subject] = None
        if len(self._told) > _TOLD_MAX:
            del self._told[next(iter(self._told))]

    async def _take(self, run_id: str, owner: str) -> bool:
        try:
            lane = await self._lane_of(run_id)
        except RunCorrupt as error:
            return await self._disown(run_id, owner, error)
        try:
            reply = await self._orphan(run_id, owner, lane)
        except RunCorrupt as error:  # the run is well: it is found when what is beside it is mended
            self.tell(f"run {run_id}", error)
            return False
        if reply[0] == "CORRUPT":
            return await self._disown(run_id, owner, run_refusal(run_id, reply))
        return reply[0] == "OK"

    async def _lane_of(self, run_id: str) -> Lane:
        names, what = ("queue", "workflow"), f"looking for the lane of run {run_id}"
        key = self._keys.run(run_id)
        found = await self._gateway.read("hash", what, "HMGET", key, *names)
        return Lane(*(text(run_id, n, v or b"") for n, v in zip(names, found, strict=True)))

    async def _orphan(self, run_id: str, owner: str, lane: Lane) -> list[Any]:
        keys, partition = self._keys, self._keys.partition_of(run_id)
        return await self._gateway.run(
            "orphan",
            f"taking run {run_id} from owner {owner}",
            [
                keys.run(run_id),
                keys.log(run_id),
                keys.owned(partition, owner),
                keys.owners(partition),
                keys.mail(partition, owner),
                keys.due(partition, lane),
            ],
            [run_id, owner, *lane, keys.done(run_id), keys.due_news(partition)],
        )

    async def _disown(self, run_id: str, owner: str, error: DurabilityError) -> bool:
        """Nobody can execute what can't be read: it is no more looked for in its owner's name."""
        remedy = ". Nobody looks for it any more: once it is restored, start it again by its id"
        self.tell(f"run {run_id}", error, remedy)
        owned = self._keys.owned(self._keys.partition_of(run_id), owner)
        what = f"taking run {run_id} off the list of owner {owner}"
        await self._gateway.run("disown", what, [owned], [run_id])
        return False
