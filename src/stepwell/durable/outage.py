"""Outages of the store: a session tells of each when it begins and when it is over, and no more."""

import logging
import threading
import time
from types import TracebackType

from stepwell.errors import DurabilityError, StoreError

__all__ = ["Outage", "Request"]

log = logging.getLogger("stepwell")


class Outage:
    """What one session knows of it: which of its requests the store fails to serve.

    They are told apart, as a store of several servers may serve some and not the others, and one
    that is full reads and does not write. It is over when each is served, or not made any more.
    The thread of the lease notes here what it asks for, too.
    """

    def __init__(self) -> None:
        self._unserved: set[Request] = set()
        self._began = 0.0
        self._lock = threading.Lock()

    @property
    def lasts(self) -> bool:
        """Whether some request is still to be served."""
        return bool(self._unserved)

    def serves(self, request: "Request") -> bool:
        """Whether a request was served when it was last made."""
        return request not in self._unserved

    def request(self, what: str) -> "Request":
        """Something that is asked for until it is done; `what` is the subject of a sentence."""
        return Request(what, self)

    def add(self, request: "Request", sent: float, error: StoreError) -> None:
        """A request that was sent at an instant of the monotonic clock was not served."""
        with self._lock:
            if self._unserved:
                log.debug("%s is tried again: %s", request.what, error)
            else:
                self._began = sent
                log.warning("this process waits for its store: %s", error)
            self._unserved.add(request)

    def remove(self, request: "Request") -> None:
        """A request was served, or is not made any more."""
        with self._lock:
            if request in self._unserved:
                self._unserved.remove(request)
                if not self._unserved:
                    seconds = time.monotonic() - self._began
                    log.info("this process waits for its store no longer, after %.1f s", seconds)

    def close(self) -> None:
        """Nothing is asked for any more."""
        for request in list(self._unserved):
            self.remove(request)


class Request:
    """Something that a session asks its store for, again and again, until it is done.

    Whoever asks no more has to end it, unless it was served: else the outage lasts for ever.

    Args:
        what: it is, as the subject of a sentence.
        outage: is told.
    """

    __slots__ = ("_outage", "what")

    def __init__(self, what: str, outage: Outage) -> None:
        self.what = what
        self._outage = outage

    @property
    def is_served(self) -> bool:
        """Whether the store did what it was last asked for."""
        return self._outage.serves(self)

    def noted(self) -> "_Noting":
        """Ask once, in a block: an error of the store ends the block only."""
        return _Noting(self)

    def miss(self, sent: float, error: StoreError) -> None:
        """It was not served; it was sent at an instant of the monotonic clock."""
        self._outage.add(self, sent, error)

    def end(self) -> None:
        """It was served, or is not made any more."""
        self._outage.remove(self)


class _Noting:
    """One try of a request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._sent = time.monotonic()

    def __enter__(self) -> None:
        """It is made now."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> bool:
        match error:
            case StoreError():
                self._request.miss(self._sent, error)
            case DurabilityError():
                log.warning("%s failed, and is tried again: %s", self._request.what, error)
                self._request.end()
            case None:
                self._request.end()
            case _:
                return False
        return True
