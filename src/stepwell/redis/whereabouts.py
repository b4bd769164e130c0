"""Who has a run, and in which lane it waits: what one must know to name the keys of a transition.

A script has to be told its keys. So a store remembers where it last saw a run, and asks only for
those that it does not know; the script compares, and tells where the run is if it is elsewhere.
"""

from collections import OrderedDict
from typing import NamedTuple

from stepwell.storage.records import Lane

__all__ = ["Whereabouts", "WhereaboutsMemory"]

_RUNS_MAX = 10_000


class Whereabouts(NamedTuple):
    """Where a run was last seen.

    Attributes:
        owner: who had it; empty if nobody did.
    """

    owner: str
    lane: Lane


class WhereaboutsMemory:
    """The whereabouts of the runs that were last spoken of; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._seen = OrderedDict[str, Whereabouts]()

    def of(self, run_id: str) -> Whereabouts | None:
        """Where a run was last seen; None if that is not known."""
        return self._seen.get(run_id)

    def note(self, run_id: str, owner: str, lane: Lane) -> Whereabouts:
        """Remember where a run is now."""
        seen = self._seen[run_id] = Whereabouts(owner, lane)
        self._seen.move_to_end(run_id)
        if len(self._seen) > _RUNS_MAX:
            self._seen.popitem(last=False)
        return seen

    def forget(self, run_id: str) -> None:
        """Remember nothing of a run that is over."""
        self._seen.pop(run_id, None)
