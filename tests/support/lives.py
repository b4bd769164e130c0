"""A durable run by hand: one life after another, over a store that is a dictionary."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from stepwell import Context, Workflow
from stepwell._engine.ticks import RunResumed, RunStarted
from stepwell._runtime.commits import Commits, Durability
from stepwell._runtime.outcome import Outcome
from stepwell._runtime.runner import Message, Runner
from stepwell.context.context import Internals, restore
from stepwell.events import StartEvent
from stepwell.resource import ResourceManager
from stepwell.storage.records import Claim, Commit

__all__ = ["Life", "Shelf"]


class Shelf:
    """Keeps one run.

    Attributes:
        fields: what is durable.
        commits: all that came, in their order.
        gate: commits wait here while it is closed.
    """

    def __init__(self) -> None:
        self.fields = {"format": "1", "workflow": "w", "status": "pending"}
        self.commits: list[Commit] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def commit(self, commit: Commit) -> None:
        await self.gate.wait()
        assert commit.seq == len(self.commits) + 1
        self.commits.append(commit)
        for name, text in commit.patch.items():
            if text is None:
                self.fields.pop(name, None)
            else:
                self.fields[name] = text

    def claim(self) -> Claim:
        """The right to the next commits; from now on the run is running."""
        claim = Claim("the-run", "1:x", len(self.commits), dict(self.fields))
        self.fields["status"] = "running"
        return claim


class Life:
    """The time of a run in one process, as a session would lead it.

    Args:
        shelf: where the run is.
        workflow: of the run.
        durability: when its steps become durable.
        clock: tells the time; by default the run's own.
    """

    def __init__(
        self,
        shelf: Shelf,
        workflow: Workflow,
        durability: Durability = Durability.SYNC,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._shelf = shelf
        self._durability = durability
        self._internals: Internals = Context[Any](workflow).internals
        self.runner = Runner(
            workflow._ready_program(),  # pyright: ignore[reportPrivateUsage]  as run() has it
            self._internals,
            "the-run",
            ResourceManager().open_run(),
            workflow._timeout,  # pyright: ignore[reportPrivateUsage]  as run() has it
            clock=clock,
        )

    def begin(
        self, event: StartEvent | None = None, messages: Sequence[Message] = ()
    ) -> list[Message]:
        """Begin a run that was only asked for."""
        return self._go(RunStarted(event or StartEvent()), messages)

    def resume(
        self, interrupted: bool | None = None, messages: Sequence[Message] = ()
    ) -> list[Message]:
        """Go on with what is durable."""
        return self._go(RunResumed(self.runner.clock(), interrupted), messages)

    def _go(self, tick: RunStarted | RunResumed, messages: Sequence[Message]) -> list[Message]:
        claim, runner = self._shelf.claim(), self.runner
        ledger = restore(self._internals, claim.fields)
        self._internals.run.changed = {}
        commands = runner.begin(tick)
        commits = Commits(
            self._shelf,
            claim,
            self._internals,
            ledger,
            self._durability,
            runner.perform,
            runner.abandon,
        )
        return runner.go(commands, commits, messages)

    async def end(self) -> Outcome:
        """How the run ended here."""
        await self.runner.ended
        return self.runner.outcome()

    async def rest(self) -> None:
        """Wait until the run rests."""
        rested = asyncio.Event()
        self.runner.watch_rest(rested.set)
        await rested.wait()

    def crash(self) -> None:
        """Lose the process: nothing goes on, nothing more becomes durable."""
        self.runner.abandon(RuntimeError("the process was killed"))
