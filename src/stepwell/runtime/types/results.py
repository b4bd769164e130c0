"""What a step does instead of returning: wait for an event, and be run again when it comes."""

__all__ = ["WaitingForEvent"]


class WaitingForEvent(BaseException):
    """Leaves a step whose wait nobody keeps open: the step runs again when its event is there.

    No `Exception`: what a step catches for its own sake must not swallow it.
    """
