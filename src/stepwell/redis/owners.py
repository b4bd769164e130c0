"""Owners on Redis: their leases, whether they live, their mail, and what becomes of their runs."""

import asyncio
import secrets
from collections.abc import Sequence

from redis.exceptions import RedisError

from stepwell.errors import RunCorrupt
from stepwell.redis.gateway import Gateway
from stepwell.redis.indexes import Indexes
from stepwell.redis.keys import Keys
from stepwell.redis.listener import Listener
from stepwell.redis.orphans import Orphans
from stepwell.redis.patience import Patience
from stepwell.storage.limits import ABSENT_MS, AT_ONCE_MAX
from stepwell.storage.protocol import Bell
from stepwell.storage.records import Presence, Renewal, Swept

__all__ = ["Owners"]


class Owners:
    """The part of a store that knows owners, partition by partition.

    Args:
        gateway: to the server.
        listener: listens to the channels of the owners that appear here.
        keys: of the namespace.
        address: of the server, for messages.
        lease: seconds that an owner is trusted without renewal.
    """

    def __init__(
        self, gateway: Gateway, listener: Listener, keys: Keys, address: str, lease: float
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        self._keys = keys
        self._address = address
        self._lease = lease
        self._lease_ms = int(lease * 1000)
        self._orphans = Orphans(gateway, keys)
        self._indexes = Indexes(gateway, keys)
        self._appeared: dict[str, dict[int, asyncio.Event]] = {}
        self._heard: dict[tuple[str, int], str] = {}

    async def appear(self, owner: str, partition: int) -> Renewal:
        """Make an owner known in a partition: its channel first, then its lease."""
        what, appeared = f"making owner {owner} known", self._appeared.setdefault(owner, {})
        channel = self._keys.owner(partition, owner)
        lost = appeared.get(partition, asyncio.Event())
        await self.join(what, channel, lost)
        appeared[partition] = lost
        reply = await self._gateway.run(
            "appear", what, self.keys_of(partition), [owner, channel, self._lease_ms]
        )
        await self._bury(reply[2], partition)
        return Renewal(int(reply[1]), lapsed=False)

    async def renew(self, owner: str) -> Renewal:
        """Renew the lease of an owner in all partitions in which it appeared."""
        renewals = await asyncio.gather(
            *(self._renew(owner, partition) for partition in self._appeared.get(owner, ()))
        )
        if not renewals:
            reply = await self._gateway.run("time", "asking for the time", [self._keys.meta], ())
            return Renewal(int(reply[1]), lapsed=False)
        return Renewal(min(one.now for one in renewals), any(one.lapsed for one in renewals))

    async def disappear(self, owner: str) -> None:
        """End the lease of an owner that has no runs any more."""
        for partition, lost in self._appeared.pop(owner, {}).items():
            keys = self._keys_with_runs(partition, owner)
            what = f"ending the lease of owner {owner}"
            await self._gateway.run("disappear", what, keys, [owner])
            self._listener.leave(self._keys.owner(partition, owner), lost)

    async def presence(self, owner: str, partition: int) -> Presence:
        """Whether an owner still lives; asked twice, some time apart, it is sure."""
        reply = await self._gateway.run(
            "presence",
            f"looking for owner {owner}",
            self.keys_of(partition),
            [owner, self._keys.owner(partition, owner), ABSENT_MS],
        )
        return Presence[reply[0]]

    async def mail(self, owner: str, partition: int) -> Sequence[str]:
        """The runs of an owner that got messages since this was last asked."""
        keys = [self._keys.mail(partition, owner), self._keys.mailed(partition, owner)]
        what, nonce = f"asking for the mail of owner {owner}", secrets.token_hex(8)
        heard = self._heard.get((owner, partition), "")
        reply = await self._gateway.run("mail", what, keys, [nonce, heard])
        self._heard[owner, partition] = nonce
        return sorted(name.decode() for name in reply[1])

    async def sweep(self, partition: int) -> Swept:
        """Look for owners that are gone, and make their runs due, up to 100."""
        keys = [*self.keys_of(partition), self._keys.runs(partition), self._keys.ended(partition)]
        words = [self._keys.owner(partition, ""), ABSENT_MS]
        what = f"looking for orphans in partition {partition}"
        _, gone, late, forgotten, owners = await self._gateway.run("sweep", what, keys, words)
        orphaned = 0
        for owner in gone:
            limit = AT_ONCE_MAX - orphaned
            orphaned += await self._orphans.take_all(owner.decode(), partition, limit)
        await self._bury(late, partition)
        try:
            await self._indexes.forget([name.decode() for name in forgotten])
        except RunCorrupt as error:
            self._orphans.tell(f"an index in partition {partition}", error)
        return Swept(orphaned, owners)

    async def join(self, what: str, channel: str, bell: Bell) -> None:
        """Listen to a channel, and return when the server has confirmed it."""
        patience = Patience(what, self._address, self._lease, self._lease, changes=False)
        try:
            async with asyncio.timeout(self._lease):
                await self._listener.join(channel, bell)
        except RedisError as error:
            raise patience.refused(error) from error
        except TimeoutError as error:
            raise patience.given_up(self._listener.trouble or error) from error

    def keys_of(self, partition: int) -> list[str]:
        """The keys that tell which owners live."""
        keys = self._keys
        return [keys.owners(partition), keys.seen(partition), keys.absent(partition)]

    async def _renew(self, owner: str, partition: int) -> Renewal:
        channel = self._keys.owner(partition, owner)
        reply = await self._gateway.run(
            "renew",
            f"renewing the lease of owner {owner}",
            self.keys_of(partition),
            [owner, channel, self._lease_ms],
        )
        _, now, subscribers, lapsed = reply
        if subscribers == 0:
            await self._listener.restart()
        return Renewal(int(now), lapsed=lapsed == 1)

    async def _bury(self, owners: Sequence[bytes], partition: int) -> None:
        for name in owners:
            owner = name.decode()
            keys = self._keys_with_runs(partition, owner)
            try:
                await self._gateway.run("bury", f"forgetting owner {owner}", keys, [owner])
            except RunCorrupt as error:
                self._orphans.tell(f"owner {owner}", error)

    def _keys_with_runs(self, partition: int, owner: str) -> list[str]:
        owned, mail = self._keys.owned(partition, owner), self._keys.mail(partition, owner)
        return [*self.keys_of(partition), owned, mail]
