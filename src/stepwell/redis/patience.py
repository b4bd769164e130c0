"""The tries of one call: pauses between them, and an honest end."""

import asyncio
import random
import time

from redis.exceptions import RedisError

from stepwell.errors import OutcomeUnknown, StoreError, StoreRefused, StoreUnavailable
from stepwell.redis.acks import Unacknowledged
from stepwell.redis.errors import first_word, is_final, remedy, told
from stepwell.redis.wire import Disconnected

__all__ = ["Patience", "pause_seconds"]

_PAUSE_SECONDS = 0.02
_PAUSE_SECONDS_MAX = 1.0


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures; random, so that many do not come back at once.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    longest = min(_PAUSE_SECONDS * 2 ** min(failures, 16), _PAUSE_SECONDS_MAX)
    return random.uniform(0, longest)  # noqa: S311 - no secret


class Patience:
    """Waits between the tries of a call, and ends them with an error that says all.

    Args:
        what: was tried, as the subject of a sentence.
        address: of the server.
        seconds: for all tries.
        seconds_alone: for all tries, if nobody answers at all.
        changes: whether it changes anything, once it gets through.
    """

    def __init__(
        self, what: str, address: str, seconds: float, seconds_alone: float, *, changes: bool
    ) -> None:
        self._what = what
        self._address = address
        self._seconds = seconds
        self._seconds_alone = seconds_alone
        self._changes = changes
        self._started = time.monotonic()
        self._tries = 0
        self._in_doubt = False
        self._missed: Unacknowledged | None = None

    async def after(self, trouble: Disconnected | RedisError | Unacknowledged) -> None:
        """Return when it is time for the next try.

        Raises:
            StoreRefused: the server refuses, and will.
            StoreUnavailable: time is over, and no try reached the server.
            OutcomeUnknown: time is over, and a try may have been carried out, or was and did not
                get where it should.
        """
        self._tries += 1
        self._remember(trouble)
        reason = trouble.reason if isinstance(trouble, Disconnected) else trouble
        if isinstance(reason, StoreError):
            raise reason
        if is_final(reason):
            raise self.refused(reason) from reason
        pause = pause_seconds(self._tries)
        if self._elapsed() + pause > self._seconds_after(reason):
            raise self.given_up(reason) from reason
        await asyncio.sleep(pause)

    def given_up(self, reason: Exception) -> StoreError:
        """The error when time is over, also for somebody who only waited while others tried."""
        tried = f"{self._what}: {self._effort()} in {self._elapsed():.1f} s at {self._address}"
        if said := told(reason).rstrip("."):
            tried = f"{tried}, the last time: {said}"
        if self._missed:
            return OutcomeUnknown(
                f"{tried}. It was applied on the server, and {self._missed.by} did not acknowledge "
                "it, so it may be lost with the server. When that is repaired, start the run "
                "again: it goes on from what is there"
            )
        if self._in_doubt:
            return OutcomeUnknown(
                f"{tried}. It was sent and no reply came, so it may or may not have been done; "
                "what was committed before stays. When the server is back, start the run again: it "
                "goes on from what is there"
            )
        return StoreUnavailable(
            f"{tried}. Nothing was changed by it, and what was committed stays. {remedy(reason)}"
        )

    def refused(self, reason: Exception) -> StoreRefused:
        """The error when the server will not."""
        return StoreRefused(
            f"{self._what}: the server at {self._address} refuses: {told(reason)}. "
            f"{self._damage(reason)}, and what was committed stays. {remedy(reason)}"
        )

    def _remember(self, trouble: Exception) -> None:
        if isinstance(trouble, Unacknowledged):
            self._missed = trouble
        elif isinstance(trouble, Disconnected):
            self._in_doubt |= self._changes and trouble.sent

    def _seconds_after(self, reason: Exception) -> float:
        """Somebody answered, or nobody is there at all."""
        answered = first_word(reason) or isinstance(reason, Unacknowledged)
        return self._seconds if answered else self._seconds_alone

    def _effort(self) -> str:
        match self._tries:
            case 0:
                return "no answer"
            case 1:
                return "tried once"
            case times:
                return f"tried {times} times"

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _damage(self, reason: Exception) -> str:
        if "script: " in str(reason):  # said by a command inside a script
            return "A part of it may have been written"
        if self._missed:
            return f"An earlier try was carried out, and {self._missed.by} did not acknowledge it"
        if self._in_doubt:
            return "An earlier try may have been carried out"
        return "Nothing was changed by it"
