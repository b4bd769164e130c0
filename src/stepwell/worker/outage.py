"""Outages of the store: a worker tells of each when it begins and when it is over, and no more."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager

from stepwell.errors import DurabilityError, StoreError

__all__ = ["Outage"]

log = logging.getLogger("stepwell")


class Outage:
    """What one worker knows of it: which of its requests the store fails to serve.

    They are told apart, as a store of several servers may serve some and not the others, and one
    that is full reads and does not write. It is over when all are served that were not.
    """

    def __init__(self) -> None:
        self._unserved: set[str] = set()
        self._began = 0.0

    @property
    def lasts(self) -> bool:
        """Whether some request is still to be served."""
        return bool(self._unserved)

    @contextmanager
    def noted(self, request: str) -> Generator[None]:
        """Send a request, which is going to be repeated: an error about it ends the block only.

        Args:
            request: what it is, as the subject of a sentence; the same each time.
        """
        sent = time.monotonic()
        try:
            yield
        except StoreError as error:
            self._begin(request, sent, error)
        except DurabilityError as error:
            log.warning("%s failed, and is tried again: %s", request, error)
            self.end(request)
        else:
            self.end(request)

    def end(self, request: str) -> None:
        """A request was served, or is not made any more."""
        if request in self._unserved:
            self._unserved.remove(request)
            if not self._unserved:
                log.info("the store answers again after %.1f s", time.monotonic() - self._began)

    def _begin(self, request: str, sent: float, error: StoreError) -> None:
        if self._unserved:
            log.debug("%s is tried again: %s", request, error)
        else:
            self._began = sent
            log.warning("the worker waits for its store: %s", error)
        self._unserved.add(request)
