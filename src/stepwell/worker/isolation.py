"""Which runs may be beside each other in a process, when one of them may be about to kill it.

Who was there is all that is known of a death. So with each death the runs that are left of it are
let in with fewer others, until one is there alone.
"""

import math
from collections.abc import Collection

from stepwell.storage.records import Claim

__all__ = ["Isolation"]

MOST = 1, 10, 100
"""Among how many suspects a run is in its last claim, in the one before, and in that before it.

Earlier it is among as many as there are: many that died once are no sign that one of them kills.
"""

PATIENCE = 10.0
"""For how long, in seconds, others give way to a run that there was no room for."""

NOBODY = math.inf, -math.inf


class Isolation:
    """Lets runs into one process.

    A run that was taken over is a suspect until it gets further, rests, or leaves. In its last
    claim a suspect is here without another one, in the claim before as one of up to 10, before that
    of up to 100. So a run that is innocent gets further in time, and one that kills is found out.
    A run that nobody died with is beside anybody.

    To a run that finds too many here, all those give way that would be one of more: for
    `PATIENCE` seconds, and then not for as long, so that neither waits for ever for the other.

    Args:
        claims_max: how often a run may be claimed without getting further.
    """

    def __init__(self, claims_max: int) -> None:
        self._claims_max = claims_max
        self._suspects: dict[str, Claim] = {}
        self._particular: dict[str, float] = {}  # those that are not among as many as there are
        self._turn: tuple[float, float] = NOBODY  # of up to how many, and since when it waits

    @property
    def suspects(self) -> Collection[Claim]:
        """Those that are here."""
        return tuple(self._suspects.values())

    def admit(self, claim: Claim, now: float) -> bool:
        """Whether a run may be here; if so it is here from now on, until it is let go.

        Args:
            claim: of the run.
            now: the time in seconds, by a clock that nobody sets.
        """
        if not 1 < claim.claims <= self._claims_max:
            return True
        most, number = self._most(claim), len(self._suspects) + 1
        if number > most:
            self._wait(most, now)
        if number > min([most, *self._particular.values()]) or self._gives_way(most, now):
            return False
        self._suspects[claim.token] = claim
        if most < math.inf:
            self._particular[claim.token] = most
        self._turn = NOBODY if most <= self._turn[0] else self._turn
        return True

    def let_go(self, token: str) -> None:
        """The run that was claimed with this token is no suspect here any more."""
        self._suspects.pop(token, None)
        self._particular.pop(token, None)

    def _most(self, claim: Claim) -> float:
        """How many suspects there may be where this one is, with it."""
        left = self._claims_max - claim.claims
        return MOST[left] if left < len(MOST) else math.inf

    def _wait(self, most: float, now: float) -> None:
        if now >= self._turn[1] + 2 * PATIENCE:
            self._turn = most, now

    def _gives_way(self, most: float, now: float) -> bool:
        return most > self._turn[0] and now < self._turn[1] + PATIENCE
