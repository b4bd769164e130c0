"""The event loop, which may be another one here, and its time."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["clock_of_loop", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def clock_of_loop(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """A clock that tells Unix time in seconds, as an event loop counts it on from now.

    Whoever sets the clock of the machine meanwhile moves no deadline.
    """
    began = time.time() - loop.time()
    return lambda: began + loop.time()
