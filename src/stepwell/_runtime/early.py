"""What is asked of a run before it was found in the store."""

import asyncio
import logging
from collections.abc import Callable

from stepwell._engine.ticks import CancelAsked, EventArrived, Tick
from stepwell.errors import StepwellError

__all__ = ["Early"]

log = logging.getLogger("stepwell")


class Early:
    """Keeps it in its order, until the run was found, or was not."""

    __slots__ = ("_senders", "_ticks")

    def __init__(self) -> None:
        self._ticks: list[Tick] = []
        self._senders: list[tuple[Tick | None, asyncio.Future[None]]] = []

    def keep(self, tick: Tick) -> None:
        """Let a tick wait."""
        self._ticks.append(tick)

    async def found(self, tick: Tick | None) -> None:
        """Wait until the run was found.

        Args:
            tick: what was kept for its sender, who learns whether the run takes it; None if
                nothing was.

        Raises:
            StepwellError: the run was not found here, or refuses the tick.
        """
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._senders.append((tick, found))
        await found

    def hand_over(self, run_id: str, take: Callable[[Tick], None]) -> None:
        """The run was found: let it take everything. Who sent what it refuses is told so."""
        for tick in self._ticks:
            try:
                take(tick)
            except StepwellError as error:
                if not self._tell(error, tick):
                    log.warning("run %s: what was sent is not delivered: %s", run_id, error)
        self._tell(None)

    def refuse(self, why: BaseException) -> bool:
        """The run is not executed here; return whether it was asked to end."""
        self._tell(why)
        for tick in self._ticks:
            if isinstance(tick, EventArrived):
                log.warning("%s was not delivered: %s", type(tick.event).__name__, why)
        return any(isinstance(tick, CancelAsked) for tick in self._ticks)

    def _tell(self, error: BaseException | None, only: Tick | None = None) -> bool:
        """Tell all senders, or those of one tick, how it went; whether there are any."""
        senders = [found for tick, found in self._senders if only is None or tick is only]
        for found in senders:
            if found.done():  # it gave up waiting, or was refused
                continue
            if error is None:
                found.set_result(None)
            else:
                found.set_exception(error)
        return bool(senders)
