"""Every name under which something is kept in Redis: the only place where one is spelt.

All keys of a run, and of the owners and indexes around it, share the hash tag of its partition, so
that one script may touch them all, in a cluster too.
"""

import re

from stepwell.storage.names import digest_of, partition_of
from stepwell.storage.records import Lane, Topic

__all__ = ["Keys", "check_namespace"]

_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def check_namespace(namespace: object) -> None:
    """Refuse what can't be part of a key.

    Raises:
        ValueError: the namespace can't be used.
    """
    if not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
        raise ValueError(
            f"namespace {namespace!r} can't be used: take 1 to 64 of A-Z a-z 0-9 _ . : -"
        )


class Keys:
    """The keys of one namespace.

    Args:
        namespace: 1 to 64 of `A-Z a-z 0-9 _ . : -`.
        partitions: how many hash tags its runs are spread over.

    Raises:
        ValueError: the namespace or the number can't be used.
    """

    def __init__(self, namespace: str, partitions: int) -> None:
        check_namespace(namespace)
        if not 1 <= partitions <= 4096:  # noqa: PLR2004 - a quarter of a cluster's slots
            raise ValueError(f"{partitions} partitions can't be used: take 1 to 4096")
        self.partitions = partitions
        self.meta = f"stepwell:{{{namespace}}}:meta"
        self._prefixes = [f"stepwell:{{{namespace}/{p}}}:" for p in range(partitions)]

    def partition_of(self, run_id: str) -> int:
        """The partition of a run; raises ValueError if it is no run id."""
        return partition_of(run_id, self.partitions)

    def run(self, run_id: str) -> str:
        """Hash: the context of a run, and what is kept in a run beside it."""
        return f"{self._of(run_id)}run:{run_id}"

    def log(self, run_id: str) -> str:
        """List: one line for each boundary of a run."""
        return f"{self._of(run_id)}log:{run_id}"

    def inbox(self, run_id: str) -> str:
        """List: the messages of a run that no commit has taken, each after its number."""
        return f"{self._of(run_id)}inbox:{run_id}"

    def sent(self, run_id: str) -> str:
        """Sorted set: the keys of the last messages to a run, by number."""
        return f"{self._of(run_id)}keys:{run_id}"

    def stage(self, run_id: str) -> str:
        """Hash: what a commit that is too large for one script sets (`+`) and deletes (`-`)."""
        return f"{self._of(run_id)}stage:{run_id}"

    def done(self, run_id: str) -> str:
        """Channel: the run ended, or changes hands."""
        return f"{self._of(run_id)}done:{run_id}"

    def same(self, digest: str) -> str:
        """Sorted set: runs of one workflow and input that did not complete, by creation."""
        return f"{self._of(digest)}same:{digest}"

    def same_of(self, run_id: str) -> list[str]:
        """The `same` of a run whose id tells its digest; none for other ids."""
        digest = digest_of(run_id)
        return [self.same(digest)] if digest else []

    def runs(self, partition: int) -> str:
        """Sorted set: all runs, by creation."""
        return f"{self._prefixes[partition]}runs"

    def ended(self, partition: int) -> str:
        """Sorted set: runs that ended, by the instant at which their time to live is over."""
        return f"{self._prefixes[partition]}ended"

    def due(self, partition: int, lane: Lane) -> str:
        """Sorted set: runs that nobody owns, by the instant at which somebody should."""
        return f"{self._prefixes[partition]}due:{lane.queue}:{lane.workflow}"

    def blocked(self, partition: int, lane: Lane) -> str:
        """Hash: runs that wait for other code -> the fingerprint of the one that blocked them."""
        return f"{self._prefixes[partition]}blocked:{lane.queue}:{lane.workflow}"

    def due_news(self, partition: int) -> str:
        """Channel: a run became due, now or later."""
        return f"{self._prefixes[partition]}due"

    def owners(self, partition: int) -> str:
        """Sorted set: owners by the end of their lease."""
        return f"{self._prefixes[partition]}owners"

    def owned(self, partition: int, owner: str) -> str:
        """Set: the runs of an owner."""
        return f"{self._prefixes[partition]}owned:{owner}"

    def mail(self, partition: int, owner: str) -> str:
        """Set: runs of an owner that got messages."""
        return f"{self._prefixes[partition]}mail:{owner}"

    def mailed(self, partition: int, owner: str) -> str:
        """Set: what an owner was told of its mail the last time, should it ask again."""
        return f"{self._prefixes[partition]}mailed:{owner}"

    def seen(self, partition: int) -> str:
        """Hash: owner -> incarnation of the server on which it was seen subscribed."""
        return f"{self._prefixes[partition]}seen"

    def absent(self, partition: int) -> str:
        """Hash: owner -> incarnation and instant at which it was found without subscriber."""
        return f"{self._prefixes[partition]}absent"

    def owner(self, partition: int, owner: str) -> str:
        """Channel: an owner listens to it as long as it lives, and hears of its mail."""
        return f"{self._prefixes[partition]}owner:{owner}"

    def channel(self, topic: Topic) -> str:
        """Channel: where there is news of a topic."""
        if topic.kind == "mail":
            return self.owner(topic.partition, topic.name)
        if topic.kind == "due":
            return self.due_news(topic.partition)
        return self.done(topic.name)

    def _of(self, run_id: str) -> str:
        return self._prefixes[self.partition_of(run_id)]
