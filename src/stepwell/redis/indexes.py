"""Indexes of runs by input: who reads one, and names of runs that are not there any more."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from stepwell.redis.gateway import Gateway
from stepwell.redis.keys import Keys
from stepwell.storage.limits import AT_ONCE_MAX
from stepwell.storage.names import digest_of

__all__ = ["Indexes"]


class Indexes:
    """The part of a store that finds runs by their input.

    Args:
        gateway: to the server.
        keys: of the namespace.
    """

    def __init__(self, gateway: Gateway, keys: Keys) -> None:
        self._gateway = gateway
        self._keys = keys

    async def same_input(self, digest: str) -> Sequence[str]:
        """The runs of one workflow and input that did not complete, oldest first.

        Of the 100 oldest, those that are not there any more are forgotten.
        """
        key, what = self._keys.same(digest), f"looking for runs with the input {digest}"
        members = await self._gateway.read("zset", what, "ZRANGE", key, 0, -1)
        names = [member.decode() for member in members]
        gone = await self._prune(digest, names[:AT_ONCE_MAX])
        return [name for name in names if name not in gone]

    async def forget(self, names: Sequence[str]) -> None:
        """Take runs out of the indexes of their inputs whose time to live is over."""
        by_digest = defaultdict[str, list[str]](list)
        for name in names:
            if digest := digest_of(name):
                by_digest[digest].append(name)
        await asyncio.gather(*(self._prune(*entry) for entry in by_digest.items()))

    async def _prune(self, digest: str, names: Sequence[str]) -> set[str]:
        if not names:
            return set()
        keys = [self._keys.same(digest), *map(self._keys.run, names)]
        what = f"forgetting runs with the input {digest}"
        _, *gone = await self._gateway.run("prune", what, keys, names)
        return {name.decode() for name in gone}
