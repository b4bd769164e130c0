"""The client: another process's door to the runs in a store. It executes nothing."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from stepwell.client.known import Known
from stepwell.client.requests import check_same, checked_run_id, checked_seconds, pending_run
from stepwell.client.run import Run
from stepwell.durable.checkpointer import Checkpointer, find_checkpointer
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import StartEvent
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import NewRun
from stepwell.workflow import Workflow

__all__ = ["Client"]


class Client:
    """Starts runs that workers execute, sends them events, and waits for their results.

        async with Client("redis://localhost") as client:
            run = await client.start(Greet, {"name": "Ada"})
            print(await run.result())

    Args:
        source: a checkpointer, or the URL of a store.
        **options: those of the checkpointer, if `source` is a URL: `namespace` above all.

    Raises:
        WorkflowValidationError: `source` is neither, or no store is known for the URL.
        TypeError, ValueError: an option is not known, or means nothing.
    """

    def __init__(self, source: Checkpointer | str, **options: Any) -> None:
        self._checkpointer = find_checkpointer(source, **options)
        self._open: tuple[RunStore, asyncio.AbstractEventLoop] | None = None

    def __repr__(self) -> str:
        return f"Client({self._checkpointer!r})"

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StoreError: the store can't be reached, or refuses.
        """
        if self._open is not None:
            raise WorkflowRuntimeError(f"{self!r} is open already: use it, or make another one")
        store = self._checkpointer.connect()
        await store.open()
        self._open = store, asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        store, self._open = self._store(), None
        await store.close()

    async def start(
        self,
        workflow: Workflow | type[Workflow] | str,
        given: StartEvent | Mapping[str, Any] | None = None,
        /,
        *,
        run_id: str | None = None,
        queue: str = "default",
        delay: float | timedelta | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a run; a worker that serves its workflow and queue executes it.

        It is durable when this returns. Without `run_id` it is a new run each time. With one, the
        same workflow and input again mean the same run, ended or not, so that a call whose answer
        was lost may be made again. An input for a workflow that is only named, and the same input
        for its class, count as two.

        Args:
            workflow: an instance, a class that can be made without arguments, or a name.
            given: the start event, or its fields. With a name alone the fields must be JSON, and
                the worker makes the event of them.
            run_id: a name for the run.
            queue: whose workers take it.
            delay: how long nobody shall begin it, in seconds or as a timedelta.
            tags: what `info()` tells of it: up to 16 names, of 64 characters, with values of 256.

        Raises:
            RunConflict: a run of that name has another workflow or input.
            WorkflowRuntimeError: the input is none of this workflow.
            WorkflowConfigurationError: the class can't be made without arguments.
            EncodingError: the input has no durable form.
            TypeError, ValueError: an argument can't be used.
            StoreError: the store can't be reached, or refuses.
        """
        store, known = self._store(), Known.of(workflow)
        run = pending_run(
            known,
            {} if given is None else given,
            run_id=run_id,
            queue=queue,
            tags={} if tags is None else tags,
        )
        await _create(store, run, 0.0 if delay is None else checked_seconds("delay", delay))
        return Run(run.run_id, known, self._store)

    def get(self, run_id: str, workflow: Workflow | type[Workflow] | None = None) -> Run:
        """Return the run of a name, without looking whether there is one.

        Args:
            run_id: its name.
            workflow: its code, which knows the classes in its result and its steps.

        Raises:
            TypeError, ValueError: an argument can't be used.
        """
        known = Known.by_name() if workflow is None else Known.of(workflow)
        return Run(checked_run_id(run_id), known, self._store)

    def _store(self) -> RunStore:
        if self._open is None:
            raise WorkflowRuntimeError(f"{self!r} is not open: use it in `async with`")
        store, loop = self._open
        if loop is not asyncio.get_running_loop():
            raise WorkflowRuntimeError(
                f"{self!r} was opened in another event loop: open one in this loop"
            )
        return store


async def _create(store: RunStore, run: NewRun, delay: float) -> None:
    """Create a run, unless it is there: one that was created by a call whose answer was lost.

    Raises:
        RunConflict: it is there, with another workflow or input.
    """
    while not await store.enqueue(run, delay):
        info = await store.peek(run.run_id)
        if info is not None:
            check_same(run, info)
            return
