"""What is left of a run whose steps were all stopped in the middle: work that can begin anew."""

from stepwell._engine import collecting, scheduling, waiting
from stepwell._engine.state import RunState

__all__ = ["stop_all"]


def stop_all(state: RunState) -> None:
    """Give back what unfinished steps have taken, leave their waits, and line all of them up."""
    for queue in state.queues.values():
        collecting.put_back(state, queue.works())
        for work in queue.works():
            waiting.leave(work)
        scheduling.stop(queue)
