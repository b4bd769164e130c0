"""The watchdog: sees from another thread that a step blocks the event loop, and says which."""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Watchdog"]

REPORT_AFTER = 1.0
"""After how many seconds a blocked event loop is reported; then after twice as many, and so on."""

ENGINE = frozenset({"asyncio", "hiredis", "json", "pydantic", "redis", "stepwell"})
"""The packages that are at work when what a step left is written down."""

A_STEP = "Make the step a plain function (def), which runs in a thread, or await what takes long"
THE_ENGINE = "What it returned or keeps takes long to write down: make it less, or in smaller parts"

log = logging.getLogger("stepwell")


class Watchdog:
    """Watches the event loop in which it is made.

    Args:
        stall_limit: how long, in seconds, the loop may be blocked and count as alive.
    """

    def __init__(self, stall_limit: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._stall_limit = stall_limit
        self._asked_at: float | None = None
        self._report_after = REPORT_AFTER
        self._at_work: asyncio.Task[Any] | None = None

    def look(self) -> bool:
        """Whether the loop is alive, or blocked for less than the limit; called from a thread.

        It is asked to give a sign of life, which is looked for the next time. It is blocked if it
        is busy with the same task at two looks; a busy machine, or many tasks, are no step's fault.
        """
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._at_work = now, asyncio.current_task(self._loop)
            self._loop.call_soon_threadsafe(self._answer)
            return True
        blocked = now - self._asked_at
        before, self._at_work = self._at_work, asyncio.current_task(self._loop)
        if blocked >= self._report_after and self._at_work is before:
            self._report_after *= 2
            log.warning("%s", self._report(blocked))
        return blocked < self._stall_limit

    def _answer(self) -> None:
        self._asked_at = None
        self._report_after = REPORT_AFTER

    def _report(self, blocked: float) -> str:
        task, frames = self._at_work, list(self._frames())
        advice = THE_ENGINE if ENGINE.issuperset(map(_package, frames)) else A_STEP
        return (
            f"{task.get_name() if task else 'a callback'} has blocked the event loop for "
            f"{blocked:.1f} s{_place(frames)}: no other step of this process goes on meanwhile. "
            f"{advice}; after {self._stall_limit:.0f} s the runs of this process go elsewhere"
        )

    def _frames(self) -> Iterator[FrameType]:
        """What the loop calls at present, the innermost first."""
        frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage]  documented
        while frame is not None and _module(frame) != "asyncio.events":
            yield frame
            frame = frame.f_back


def _place(frames: list[FrameType]) -> str:
    if not frames:
        return ""
    code = frames[0].f_code
    return f" ({code.co_filename}:{frames[0].f_lineno}, in {code.co_name})"


def _package(frame: FrameType) -> str:
    return _module(frame).partition(".")[0]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
