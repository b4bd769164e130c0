"""The first try of what is asked most: a commit. It costs one future while all goes well."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redis.exceptions import NoScriptError

from stepwell.redis.acks import Unacknowledged
from stepwell.redis.wire import Disconnected, Interrupted

__all__ = ["FirstTry"]

_TROUBLES = Disconnected, Unacknowledged, NoScriptError
"""What is not seen from another try's own reply, or would be asked for twice."""

Otherwise = Callable[[Any], Coroutine[Any, Any, None]]


class FirstTry(asyncio.Future[None]):
    """Done when the server says OK to a script; after anything else, when another way has ended.

    Args:
        otherwise: does the same with patience, as if nothing had happened (None), or after trouble
            of which another try has to know.
        tasks: holds the task of that as long as it lasts.
    """

    def __init__(self, otherwise: Otherwise, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._otherwise = otherwise
        self._tasks = tasks

    def hear(self, reply: Any) -> None:
        """Take the reply, or what came instead of it."""
        if self.done():  # its caller was cancelled
            return
        if isinstance(reply, list) and reply[0] == b"OK":
            self.set_result(None)
        elif isinstance(reply, Disconnected) and isinstance(reply.reason, Interrupted):
            self.cancel()
        else:
            self._go_on(reply if isinstance(reply, _TROUBLES) else None)

    def _go_on(self, trouble: Exception | None) -> None:
        task = self.get_loop().create_task(self._otherwise(trouble))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self.cancel()
        elif self.done():
            return
        elif error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
