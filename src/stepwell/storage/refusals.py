"""What a store refuses to do with a run, in the same words whatever it is made of.

Each message says what became of durable data, and the remedy.
"""

from stepwell.errors import LeaseLost, RunCorrupt, RunNotFound, StoreRefused, StoreUnavailable

__all__ = ["closed", "corrupt", "gone", "lease_lost", "out_of_order"]


def gone(run_id: str) -> RunNotFound:
    """There is no such run, or not any more."""
    return RunNotFound(
        f"run {run_id} is not in the store any more (deleted, expired, or the server lost its "
        "data); nothing was written. Start it again from its input"
    )


def lease_lost(run_id: str, epoch: object) -> LeaseLost:
    """The token is not that of the run; the run is at this epoch."""
    return LeaseLost(
        f"run {run_id} ended or belongs to another process now (owner number {epoch}); nothing was "
        "written. Follow the run by its id; what is still computed here is refused"
    )


def out_of_order(run_id: str, seq: object) -> StoreRefused:
    """The commit is not the one that follows number `seq`."""
    return StoreRefused(
        f"run {run_id}: the server is at commit {seq}, which is not the one before this; nothing "
        "was written. It lost commits that it had acknowledged (a restart or a failover): start "
        "the run again, it goes on from what is there"
    )


def corrupt(run_id: str, name: str, text: str) -> RunCorrupt:
    """A field holds what no store of ours wrote."""
    return RunCorrupt(
        f"run {run_id}: its field {name!r} holds {text!r}, which Stepwell did not write; nothing "
        "was changed. Restore the field from a backup, or delete the run"
    )


def closed() -> StoreUnavailable:
    """The connection was given back."""
    return StoreUnavailable("this store was closed; nothing was changed: open another one")
