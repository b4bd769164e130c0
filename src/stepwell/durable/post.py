"""The post: takes events to a run that other processes execute, by its inbox."""

import logging

from stepwell._serialization.codec import Codec
from stepwell.durable.messages import cancel_message, event_message
from stepwell.errors import DurabilityError, RunNotFound, RunOver
from stepwell.events import Event
from stepwell.storage.protocol import RunStore

__all__ = ["Post"]

log = logging.getLogger("stepwell")


class Post:
    """The way to one run.

    Args:
        store: has its inbox.
        codec: knows the classes of the events.
        run_id: the run.
    """

    def __init__(self, store: RunStore, codec: Codec, run_id: str) -> None:
        self._store = store
        self._codec = codec
        self._run_id = run_id

    async def deliver(self, event: Event, step: str | None) -> None:
        """Give an event to the run; it is durable when this returns.

        Raises:
            RunOver, RunNotFound, InboxFull: it can't be given any more, or now.
            EncodingError: the event has no durable form.
            StoreError: the store can't be reached, or refuses.
        """
        await self._store.deliver(event_message(self._codec, self._run_id, event, step))

    async def cancel(self) -> None:
        """Ask the run to end. Whoever follows it hears of what came of that."""
        try:
            await self._store.deliver(cancel_message(self._run_id))
        except (RunOver, RunNotFound):
            return
        except DurabilityError as error:
            log.warning("run %s may not be cancelled: %s", self._run_id, error)
