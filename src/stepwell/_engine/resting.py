"""Rest: no step runs outside of its waits, so that only time or the outside can move the run."""

from collections.abc import Iterator

from stepwell._engine.state import RunState

__all__ = ["next_due"]


def next_due(state: RunState) -> float | None:
    """Return when time moves the run next, in seconds of Unix time; None if it never does."""
    return min(_instants(state), default=None)


def _instants(state: RunState) -> Iterator[float]:
    for queue in state.queues.values():
        for work in queue.delayed.values():
            if work.failure is not None and work.failure.due is not None:
                yield work.failure.due
    for waits in state.waits.values():
        for (_, name), work in waits.entries.items():
            deadline = work.progress.waiters[name].deadline
            if deadline is not None:
                yield deadline
