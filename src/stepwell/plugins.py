"""Runtimes, for programs that choose one by name; Stepwell has one, and it needs no launching.

Durability is no matter of the runtime here, but of a checkpointer: `Workflow(checkpointer=...)`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Self

from stepwell.errors import WorkflowRuntimeError

__all__ = ["BasicRuntime", "basic_runtime", "get_current_runtime"]


class BasicRuntime:
    """Runs workflows in this process. It has nothing to set up, so it is always launched."""

    @property
    def is_launched(self) -> bool:
        """Whether runs can be started: always."""
        return True

    async def launch(self) -> None:
        """Get ready for runs; there is nothing to do."""

    async def destroy(self) -> None:
        """Let go of what `launch()` set up: nothing."""

    def launch_sync(self) -> None:
        """Get ready for runs, outside of an event loop or in one; there is nothing to do."""

    def destroy_sync(self) -> None:
        """Let go of what `launch_sync()` set up: nothing."""

    @contextmanager
    def registering(self) -> Generator[Self]:
        """Make this the runtime of the workflows that are made inside the `with`."""
        before = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(before)

    def journal(self, run_id: str) -> NoReturn:
        """Refuse: the record of a run is kept by its checkpointer.

        Raises:
            WorkflowRuntimeError: always; it says what to use.
        """
        raise _no_hook(f"journal({run_id!r})")

    def restore(self, workflow: Any, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: a run is continued by its checkpointer.

        Raises:
            WorkflowRuntimeError: always; it says what to use.
        """
        raise _no_hook(f"restore({type(workflow).__name__}, ...)")

    def state_checkpoint(self, run_id: str) -> NoReturn:
        """Refuse: the state of a run is kept by its checkpointer.

        Raises:
            WorkflowRuntimeError: always; it says what to use.
        """
        raise _no_hook(f"state_checkpoint({run_id!r})")


def _no_hook(call: str) -> WorkflowRuntimeError:
    return WorkflowRuntimeError(
        f"BasicRuntime.{call}: runs are made durable by a checkpointer, not by their runtime. "
        "Start them with Workflow(checkpointer=...), and again with the same input or run_id= to "
        "go on; ctx.to_dict() and Context.from_dict() are there for snapshots by hand."
    )


basic_runtime = BasicRuntime()
"""The runtime of workflows that name none."""

_current: ContextVar[BasicRuntime] = ContextVar("current runtime", default=basic_runtime)


def get_current_runtime() -> BasicRuntime:
    """Return the runtime of the innermost `registering()`, or else `basic_runtime`."""
    return _current.get()
