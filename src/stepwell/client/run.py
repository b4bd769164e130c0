"""A run as its client sees it, by its name alone."""

from collections.abc import Callable, Mapping
from typing import Any

from stepwell._names import kind_of
from stepwell._runtime.outcome import Outcome
from stepwell.client.ending import noted, unfinished
from stepwell.client.following import Following
from stepwell.client.known import Known
from stepwell.client.requests import checked_seconds
from stepwell.client.waits import find_wait
from stepwell.durable.loader import outcome_of
from stepwell.durable.messages import event_message
from stepwell.durable.verdict import cancel
from stepwell.errors import (
    RunBlocked,
    RunCorrupt,
    RunOver,
    WaitClosed,
)
from stepwell.events import Event
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Message, RunInfo
from stepwell.storage.refusals import gone

__all__ = ["Run"]

_LOOKS_MAX = 5
"""How often an open wait may change before its event is refused."""

_KEY_CHARACTERS_MAX = 200


class Run:
    """A run that is, or was, or may be executed somewhere: by a worker, or another process.

    `Client.start` and `Client.get` make it. It holds nothing but a name: make it again anywhere.

    Args:
        run_id: its name.
        known: its workflow, as far as that is known here.
        store: gives the open store of the client.
    """

    def __init__(self, run_id: str, known: Known, store: Callable[[], RunStore]) -> None:
        self._run_id = run_id
        self._known = known
        self._store = store

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self._run_id

    def __repr__(self) -> str:
        return f"Run({self._run_id!r})"

    async def info(self) -> RunInfo:
        """Say how the run stands: its status, who executes it, its queue and tags.

        Raises:
            RunNotFound: there is no such run, or not any more.
            StoreError: the store can't be reached, or refuses.
        """
        info = await self._store().peek(self._run_id)
        if info is None:
            raise gone(self._run_id)
        return info

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  the interface
        """Wait for the end of the run, whoever executes it, and return its result.

        A run that is blocked is waited for: code that can go on with it may come.

        Args:
            timeout: how long to wait, in seconds; None for ever.

        Raises:
            BaseException: the error that ended the run: of the same class where that is loaded
                here, else RunFailed; WorkflowCancelledByUser, WorkflowTimeoutError.
            RunQuarantined: the run killed its workers, and was set aside.
            TimeoutError: it did not end in time; the message tells how it stands.
            RunNotFound: there is no such run, or not any more.
            RunBlocked: its result has a class in it that is not known here.
            StoreError: the store can't be reached, or refuses.
        """
        seconds = None if timeout is None else checked_seconds("timeout", timeout)
        fields = await Following(self._store(), self._run_id).end(seconds)
        return self._outcome(fields).result()

    def _outcome(self, fields: Mapping[str, str]) -> Outcome:
        error = unfinished(self._run_id, fields)
        if error is not None:
            return Outcome(None, error)
        try:
            return noted(self._run_id, fields, outcome_of(self._known.plan, self._run_id, fields))
        except RunCorrupt as error:
            if self._known.has_code:
                raise
            raise RunBlocked(
                f"{error}. Name the workflow whose code knows what is in it: "
                f"client.get({self._run_id!r}, workflow=...)"
            ) from error

    async def send_event(
        self, event: Event, step: str | None = None, *, key: str | None = None
    ) -> None:
        """Send an event to the run; it is durable when this returns, and is consumed once.

        One that no step takes or waits for yet is kept for a wait that begins later.

        Args:
            event: for the run.
            step: its only receiver; None for all that take it or wait for it.
            key: a name for this message: sent again under it, it counts once.

        Raises:
            RunOver: the run has ended.
            WaitClosed: the step has waited for such an event, and does not any more.
            RunNotFound: there is no such run, or not any more.
            InboxFull: too many messages wait for it.
            WorkflowRuntimeError: the workflow has no such step, or it can't take such events.
            EncodingError: the event has no durable form.
            StoreError: the store can't be reached, or refuses.
        """
        _check_sent(event, step, key)
        if step is None or self._known.takes(event, step):
            await self._store().deliver(self._message(event, step, key, None))
            return
        self._known.check_step(event, step)
        await self._send_to_wait(event, step, key)

    async def _send_to_wait(self, event: Event, step: str, key: str | None) -> None:
        """The store judges, in one go, whether the wait is open, and whether the key was used."""
        codec, subclasses = self._known.codec_for(event), self._known.subclasses_go_to(step)
        for look in range(1, _LOOKS_MAX + 1):
            fields = await self._store().read(self._run_id) or {}
            wait = find_wait(codec, fields, event, step, subclasses=subclasses)
            try:
                await self._store().deliver(self._message(event, step, key, wait and wait.guard))
            except WaitClosed:
                if look == _LOOKS_MAX or wait is None or not wait.is_open:
                    raise
            else:
                return

    def _message(
        self, event: Event, step: str | None, key: str | None, open_wait: tuple[str, str] | None
    ) -> Message:
        codec = self._known.codec_for(event)
        return event_message(codec, self._run_id, event, step, key, open_wait)

    async def cancel(self) -> None:
        """Ask that the run ends, wherever it is executed; `result()` tells when it has.

        If nobody executes it, it has ended when this returns, also if it was not begun: unless a
        worker takes it in that moment, which ends it then.

        Raises:
            RunOver: it has ended.
            RunNotFound: there is no such run, or not any more.
            InboxFull: too many messages wait for it, and others asked for this a hundred times.
            RunCorrupt: what is stored of it can't be read.
            StoreError: the store can't be reached, or refuses. If the answer was lost, the run may
                be asked to end all the same.
        """
        try:
            await cancel(self._store(), self._run_id)
        except RunOver as error:
            raise RunOver(
                f"run {self._run_id!r} has ended already: there is nothing to cancel. Its status "
                "is in `await run.info()`"
            ) from error


def _check_sent(event: object, step: object, key: object) -> None:
    """Refuse what can't be sent, before anything is.

    Raises:
        TypeError: one of them is of the wrong type.
        ValueError: the key is empty, or too long.
    """
    if not isinstance(event, Event):
        raise TypeError(f"send_event() was given {kind_of(event)}: give it an Event")
    if not isinstance(step, str | None):
        raise TypeError(f"step={step!r:.80}: give the name of a step, or leave it out")
    if not isinstance(key, str | None):
        raise TypeError(f"key={key!r:.80}: give a text, or leave it out")
    if key is not None and not 1 <= len(key) <= _KEY_CHARACTERS_MAX:
        raise ValueError(f"key={key!r:.80}: give 1 to {_KEY_CHARACTERS_MAX} characters")
