"""A clock that jumps: where every task waits for a timer, the time of the loop is that timer's."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from typing_extensions import override

__all__ = ["run_with_jumping_clock"]

_T = TypeVar("_T")


class _JumpingLoop(asyncio.SelectorEventLoop):
    """Never waits for time, only for files."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    @override
    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: _JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self._loop.now += timeout
            timeout = 0
        return super().select(timeout)


def run_with_jumping_clock(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop whose timers cost no time; `asyncio.sleep(1000)` is one turn.

    A program that waits for nothing but itself hangs, as it would with any clock.
    """
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(main)
