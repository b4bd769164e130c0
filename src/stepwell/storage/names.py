"""What the name of a run says: whether it is one, where the run lives, and of what input it is."""

import re
import zlib
from functools import lru_cache

__all__ = ["digest_of", "partition_of"]

_RUN_ID = re.compile(r"[A-Za-z0-9_.:~@/-]{1,200}")


@lru_cache(maxsize=1024)
def partition_of(run_id: str, partitions: int) -> int:
    """The partition of a run: what precedes the first `~` in its id chooses, for ever.

    Raises:
        ValueError: it is no run id.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"run id {run_id!r} can't be used: take 1 to 200 of A-Z a-z 0-9 _ . : ~ @ / -"
        )
    return zlib.crc32(run_id.partition("~")[0].encode()) % partitions


def digest_of(run_id: str) -> str:
    """The digest under which a run of that id is found by its input; empty if under none."""
    digest, tilde, _ = run_id.partition("~")
    return digest if tilde else ""
