"""What holds sockets and futures belongs to one process and to one event loop."""

import asyncio
import os

from stepwell.errors import WorkflowRuntimeError
from stepwell.storage.refusals import closed

__all__ = ["Home"]


class _Forks:
    """How often this process and those that it descends from were forked.

    It is kept, because each commit looks: asking the system takes longer.
    """

    count = 0

    @classmethod
    def happened(cls) -> None:
        cls.count += 1


if hasattr(os, "register_at_fork"):  # Windows has no forks to register for
    os.register_at_fork(after_in_child=_Forks.happened)


class Home:
    """The process that made it, and the event loop that used it first."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._forks = _Forks.count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = False

    def leave(self) -> None:
        """Be of no use from now on."""
        self._left = True

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running event loop.

        Raises:
            WorkflowRuntimeError: it is another one than before, or this is a forked process.
            StoreUnavailable: it was left.
        """
        if self._left:
            raise closed()
        if _Forks.count != self._forks:
            raise WorkflowRuntimeError(
                f"a store of process {self._process} was used in the forked process {os.getpid()}, "
                "which shares its sockets: make a store of its own there"
            )
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise WorkflowRuntimeError(
                "a store was used in another event loop than the one it was opened in: "
                "make a store for each event loop"
            )
        return running
