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

PATIENCE = 300.0
"""After how many seconds a run is let in, whoever is here."""


class Isolation:
    """Lets runs into one process.

    A run that was taken over is a suspect until it gets further, rests, or leaves. In its last
    claim a suspect is here without another one, in the claim before as one of up to 10, before that
    of up to 100. So a run that is innocent gets further in time, and one that kills is found out.
    A run that nobody died with is beside anybody. None waits for longer than `PATIENCE`: it may be
    what the others here wait for.

    Args:
        claims_max: how often a run may be claimed without getting further.
    """

    def __init__(self, claims_max: int) -> None:
        self._claims_max = claims_max
        self._suspects: dict[str, Claim] = {}
        self._particular: dict[str, float] = {}  # those that are not among as many as there are
        self._refused: dict[str, float] = {}

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
        is_crowded = number > min([most, *self._particular.values()])
        if is_crowded and self.waits(claim.run_id, now) < PATIENCE:
            self._refuse(claim.run_id, now)
            return False
        self._let_in(claim, most)
        return True

    def waits(self, run_id: str, now: float) -> float:
        """For how long, in seconds, a run has been refused."""
        return now - self._refused.get(run_id, now)

    def let_go(self, token: str) -> None:
        """The run that was claimed with this token is no suspect here any more."""
        self._suspects.pop(token, None)
        self._particular.pop(token, None)

    def _most(self, claim: Claim) -> float:
        """How many suspects there may be where this one is, with it."""
        left = self._claims_max - claim.claims
        return MOST[left] if left < len(MOST) else math.inf

    def _let_in(self, claim: Claim, most: float) -> None:
        self._refused.pop(claim.run_id, None)
        self._suspects[claim.token] = claim
        if most < math.inf:
            self._particular[claim.token] = most

    def _refuse(self, run_id: str, now: float) -> None:
        """Note since when; of those that went elsewhere nothing is known any more after a while."""
        if run_id not in self._refused:
            recent = now - 2 * PATIENCE
            self._refused = {one: since for one, since in self._refused.items() if since > recent}
            self._refused[run_id] = now
