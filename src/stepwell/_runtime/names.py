"""The names of the runs that go on in this process without a checkpointer: each is given once."""

import asyncio
from weakref import WeakValueDictionary

__all__ = ["check_name_is_free", "take_name"]

_live: WeakValueDictionary[str, asyncio.Future[None]] = WeakValueDictionary()


def check_name_is_free(run_id: str) -> None:
    """Refuse a name that another run has, as long as that goes on.

    Raises:
        RuntimeError: it is taken.
    """
    ended = _live.get(run_id)
    if ended is not None and not (ended.done() or ended.get_loop().is_closed()):
        raise RuntimeError(
            f"a run named {run_id!r} is going on in this process: await its handler first, or give "
            f"this run another run_id"
        )


def take_name(run_id: str, ended: asyncio.Future[None]) -> None:
    """Keep a name for a run until it has ended."""
    _live[run_id] = ended
