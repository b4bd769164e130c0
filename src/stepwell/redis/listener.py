"""The subscriptions of a store: each at the server that has its channel, wherever that moves."""

import asyncio

from stepwell.errors import StoreUnavailable
from stepwell.redis.channels import Channel, Hearer
from stepwell.redis.home import Home
from stepwell.redis.slots import Node
from stepwell.redis.subscriber import Subscriber
from stepwell.redis.topology import Topology

__all__ = ["Hearer", "Listener"]


class Listener:
    """Listens to sharded channels, on one connection for each place where some live.

    Args:
        topology: where they live.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._home = Home()
        self._channels: dict[str, Channel] = {}
        self._subscribers: dict[Node | None, Subscriber] = {}
        topology.watch(self._move)

    @property
    def trouble(self) -> Exception | None:
        """Why there is no connection to a place, where there is none."""
        troubles = (subscriber.trouble for subscriber in self._subscribers.values())
        return next((trouble for trouble in troubles if trouble is not None), None)

    async def join(self, channel: str, hearer: Hearer) -> None:
        """Subscribe, and return when the server confirmed it, which may take for ever.

        Args:
            channel: its name.
            hearer: is set by every message, and whenever one may have been missed.

        Raises:
            RedisError: the server refuses.
            StoreError: there is none, for good.
        """
        loop = self._home.loop()
        known = self._channels.get(channel)
        if known is None:
            place = self._topology.master_of(channel)
            known = self._channels[channel] = Channel(channel, place, loop.create_future())
            self._at(place).add(known)
        known.hearers.add(hearer)
        try:
            await asyncio.shield(known.confirmed)
        except BaseException:
            self.leave(channel, hearer)
            raise

    def leave(self, channel: str, hearer: Hearer) -> None:
        """Listen no more."""
        known = self._channels.get(channel)
        if known is None:
            return
        known.hearers.discard(hearer)
        if not known.hearers:
            del self._channels[channel]
            self._at(known.place).remove(known)

    async def restart(self) -> None:
        """Take other connections: of one of these the server does not know any more."""
        for subscriber in list(self._subscribers.values()):
            await subscriber.restart()

    async def close(self) -> None:
        """End all subscriptions."""
        self._home.leave()
        for channel in list(self._channels.values()):
            self._refuse(channel, StoreUnavailable("the store was closed meanwhile"))
        for subscriber in self._subscribers.values():
            await subscriber.close()

    def _at(self, place: Node | None) -> Subscriber:
        known = self._subscribers.get(place)
        if known is None:
            known = Subscriber(self._topology, place, self._refuse)
            self._subscribers[place] = known
        return known

    def _refuse(self, channel: Channel, error: Exception) -> None:
        if self._channels.pop(channel.name, None) is not None:
            channel.refuse(error)

    def _move(self) -> None:
        """Follow the channels that live elsewhere now."""
        for channel in self._channels.values():
            place = self._topology.master_of(channel.name)
            if place != channel.place:
                self._at(channel.place).remove(channel)
                channel.place = place
                channel.miss()
                self._at(place).add(channel)
        in_use = self._topology.masters | {channel.place for channel in self._channels.values()}
        for place in self._subscribers.keys() - in_use:
            self._subscribers.pop(place).abandon()
