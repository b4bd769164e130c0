"""What a step has done so far in its loops and effects, and which of it is not committed yet."""

import asyncio
from itertools import chain

from stepwell._engine.state import Cursor, Effect, RunState, Work
from stepwell._runtime.places import Contents, Place
from stepwell.errors import WorkflowRuntimeError

__all__ = ["StepProgress"]


class StepProgress:
    """The loops and effects of one call; it is kept until the step is done, over all attempts.

    What places name, such as loops in loops, belongs to the item that it is in, and is forgotten
    when that is done. The effects and waits that a user named stay.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._outermost = Place()
        self._moved: dict[str, Cursor] = {}
        self._dropped: list[str] = []
        self._locks: dict[str, asyncio.Lock] = {}
        known = work.progress
        self._contents = Contents(chain(known.cursors, known.effects, known.waiters))

    @property
    def place(self) -> Place:
        """Where the current task is."""
        return self._outermost.innermost()

    def name_wait(self, what: str) -> str:
        """A name for one of several waits for the same."""
        name = self.place.count(what)
        self._contents.add(name)
        return name

    def cursor(self, name: str, digest: str) -> Cursor:
        """The position of a loop.

        Raises:
            WorkflowRuntimeError: the loop had other items before.
        """
        self._contents.add(name)
        cursor = self._work.progress.cursors.setdefault(name, Cursor(digest, 0))
        if cursor.digest != digest:
            raise WorkflowRuntimeError(
                f"Step {self._work.step!r} was run again, and the items of its loop {name[1:]!r} "
                f"are not those of the first time: loop over the same items in the same order "
                f"(sort them, or keep the list in the state), or give ctx.each() another name."
            )
        return cursor

    def advance(self, name: str, cursor: Cursor) -> None:
        """One more item of a loop is done: forget the loops, effects and waits inside of it."""
        for inside in self._contents.take(f"{name}/{cursor.done}"):
            self._drop(inside)
        cursor.done += 1
        self._moved[name] = cursor

    def note(self, run: RunState) -> None:
        """Let the positions of the loops go into the commit that the step's writes go into.

        Not earlier: with a commit of another step they would say more than the state does.
        """
        for fact in self._dropped:
            run.note(fact, None)
        for name, cursor in self._moved.items():
            run.note(f"each:{self._work.id}:{name}", cursor)
        self._dropped.clear()
        self._moved.clear()

    def alone(self, key: str) -> asyncio.Lock:
        """Lets one task at a time do what has this key."""
        return self._locks.setdefault(key, asyncio.Lock())

    def effect(self, key: str) -> Effect | None:
        """What is known of something that the step does once."""
        return self._work.progress.effects.get(key)

    def remember(self, run: RunState, key: str, effect: Effect) -> None:
        """Note what the step did once."""
        self._contents.add(key)
        self._work.progress.effects[key] = effect
        run.note(f"once:{self._work.id}:{key}", effect)

    def _drop(self, name: str) -> None:
        known, work = self._work.progress, self._work.id
        self._locks.pop(name, None)
        if known.cursors.pop(name, None) is not None:
            self._moved.pop(name, None)
            self._dropped.append(f"each:{work}:{name}")
        if known.effects.pop(name, None) is not None:
            self._dropped.append(f"once:{work}:{name}")
        waiter = known.waiters.get(name)
        if waiter is not None and not waiter.is_open:
            del known.waiters[name]
            self._dropped.append(f"wait:{work}:{name}")
