"""What was written to the state, on its way into the next commit: by steps, and by others."""

import logging
from typing import Any

from stepwell._engine.ticks import StepFailed, StepReturned
from stepwell._engine.writes import Writes
from stepwell._runtime.call import StepCall
from stepwell._runtime.commits import Commits
from stepwell._serialization import NOTHING_CAPTURED, Captured
from stepwell.context.context import Internals
from stepwell.errors import EncodingError

__all__ = ["Staging"]

log = logging.getLogger("stepwell")


class Staging:
    """Of one run.

    Args:
        internals: the context of the run.

    Attributes:
        outside: what was written by others than the steps: by whoever has the handler, or by tasks
            that a step left behind.
    """

    __slots__ = ("_internals", "outside")

    def __init__(self, internals: Internals) -> None:
        self._internals = internals
        self.outside = Writes()

    # --- before ---

    def has(self, writes: Writes) -> bool:
        """Whether a step wrote anything, or others did."""
        return not (writes.are_none and self.outside.are_none)

    async def capture(self, writes: Writes) -> Captured:
        """Read what only an await can read of what a step wrote, and of what others did."""
        if not self.has(writes):
            return NOTHING_CAPTURED
        values = [*self._touched(writes), *self._touched(self.outside)]
        return await self._internals.plan.codec.capture(values)

    def _touched(self, writes: Writes) -> list[Any]:
        keys = writes.assigned | writes.fetched
        values = self._internals.store.cell.values() if keys else {}
        return [values[key] for key in keys & values.keys()]

    # --- by a step ---

    def stage_step(
        self, commits: Commits, call: StepCall, tick: StepReturned | StepFailed
    ) -> StepReturned | StepFailed:
        """Encode what a step did; what has no durable form makes the step fail."""
        self.stage_outside(commits, call.captures)
        events = tick.events if isinstance(tick, StepReturned) else ()
        try:
            commits.stage(call.writes, events, call.captures)
            call.note_progress()
        except EncodingError as error:
            tick = _failed_to_stage(call, tick, error)
            _stage_rest(commits, call)
        if isinstance(tick, StepFailed):
            commits.mend(call.work)
        return tick

    # --- by others ---

    def stage_outside(self, commits: Commits, captures: Captured = NOTHING_CAPTURED) -> None:
        """What was written from outside of the steps goes along with the next boundary.

        With the next one that has read it, if only an await can read it.
        """
        if self.outside.are_none:
            return
        codec = self._internals.plan.codec
        for value in self._touched(self.outside):
            if id(value) not in captures and codec.must_capture(value):
                return
        try:
            commits.stage(self.outside, captures=captures)
        except EncodingError as error:
            log.warning(
                "run %s: what was written from outside is not durable: %s", commits.run_id, error
            )
            commits.stage_rest(self.outside, captures)
        self.outside.forget()


def _stage_rest(commits: Commits, call: StepCall) -> None:
    """What a failed attempt wrote stands; its loops go on only from where all of it does."""
    if commits.stage_rest(call.writes, call.captures):
        call.note_progress()
    else:
        commits.roll_back(call.work)


def _failed_to_stage(
    call: StepCall, tick: StepReturned | StepFailed, error: EncodingError
) -> StepFailed:
    """What became of a call whose outcome has no durable form; an error of its own goes first."""
    if isinstance(tick, StepReturned):
        return call.failed(error)
    tick.error.add_note(f"What the step wrote is not durable either: {error}")
    return tick
