"""What can be seen of a run, and when two sights are equivalent.

Equivalent are two runs with the same result (or the same class and text of an exception), the
same state at the end, the same last event, and the same published events:

- in the same order, where only one step runs at a time;
- else the same number of each event, by its type, its content and the step that published it.

Time spans in events (`elapsed_seconds`) are left out; an exception in an event counts by its class
and text.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

__all__ = ["SAFETY", "Run", "Sight", "answered", "seen"]

SAFETY = 60.0
"""Seconds after which a run that hangs is reported."""


class Run(Protocol):
    """The handler of either engine."""

    ctx: Any

    def stream_events(self) -> AsyncIterator[Any]:
        """What the run publishes."""
        ...

    def __await__(self) -> Any: ...


@dataclass(frozen=True)
class Sight:
    """What was seen of a run."""

    result: Any
    published: tuple[str, ...]
    state: dict[str, Any]

    def what_counts(self, *, in_order: bool) -> tuple[Any, ...]:
        """What is equal of equivalent runs."""
        published = self.published if in_order else Counter(self.published)
        return self.result, published, self.published[-1:], self.state


async def seen(run: Run) -> Sight:
    """Follow a run to its end, and answer what it asks.

    Raises:
        TimeoutError: it does not end.
    """
    async with asyncio.timeout(SAFETY):
        published = [_line(event) async for event in _answering(run)]
        result = await _result(run)
    state = await run.ctx.store.get_state()
    fields = state.to_dict() if hasattr(state, "to_dict") else state.model_dump()
    return Sight(result, tuple(published), cast("dict[str, Any]", fields))


@asynccontextmanager
async def answered(run: Run) -> AsyncGenerator[None]:
    """Answer what the run asks in the meantime."""

    async def answer() -> None:
        async for _ in _answering(run):
            pass

    answering = asyncio.ensure_future(answer())
    yield
    answering.cancel()


async def _answering(run: Run) -> AsyncIterator[Any]:
    async for event in run.stream_events():
        answer = getattr(event, "answer", None)
        if answer is not None and run.ctx.is_running:  # not of a run that is over but for a thread
            run.ctx.send_event(answer)
        yield event


async def _result(run: Run) -> Any:
    try:
        return await run
    except Exception as error:  # noqa: BLE001  an error is an outcome like any other
        return type(error).__name__, str(error)


def _line(event: Any) -> str:
    fields = event.model_dump()
    for name in ("elapsed_seconds", "failed_at", "answer"):
        fields.pop(name, None)
    return f"{type(event).__name__} {json.dumps(fields, sort_keys=True, default=_plain)}"


def _plain(value: Any) -> str:
    return f"{type(value).__name__}: {value}"
