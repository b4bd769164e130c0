"""What a store refuses to do with a run, in the same words whatever it is made of.

Each message says what became of durable data, and the remedy.
"""

from stepwell.errors import (
    InboxFull,
    LeaseLost,
    RunCorrupt,
    RunNotFound,
    RunOver,
    StoreRefused,
    StoreUnavailable,
    WaitClosed,
)
from stepwell.storage.limits import INBOX_MAX

__all__ = [
    "closed",
    "corrupt",
    "executed",
    "gone",
    "inbox_full",
    "lease_lost",
    "out_of_order",
    "over",
    "wait_closed",
]


def gone(run_id: str) -> RunNotFound:
    """There is no such run, or not any more."""
    return RunNotFound(
        f"run {run_id} is not in the store: it never was, it has expired, it was deleted, or it is "
        "in another namespace; nothing was written. Look at the name and the namespace, or start "
        "it from its input"
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


def over(run_id: str, status: str) -> RunOver:
    """The run has ended."""
    again = (
        ""
        if status == "completed"
        else f". To go on with it, run it again with workflow.run(run_id={run_id!r}, ...), its "
        "input and a checkpointer"
    )
    return RunOver(
        f"run {run_id} is {status}: nothing was sent, since no step can take it any more{again}"
    )


def wait_closed(run_id: str, name: str) -> WaitClosed:
    """The wait that a message was meant for is over, or another one."""
    return WaitClosed(
        f"run {run_id}: the wait that the event is meant for ({name}) was answered, or given up; "
        "nothing was sent. Look at the run before you answer again"
    )


def inbox_full(run_id: str) -> InboxFull:
    """There is no room for another message."""
    return InboxFull(
        f"run {run_id}: {INBOX_MAX} messages wait for it already; nothing was sent. Send again "
        "when the run has taken some: see that a worker serves it, and a step takes such events"
    )


def executed(run_id: str) -> StoreRefused:
    """The run has an owner, so it can't be deleted."""
    return StoreRefused(
        f"run {run_id} is executed by a living process; nothing was deleted. Cancel it first"
    )


def closed() -> StoreUnavailable:
    """The connection was given back."""
    return StoreUnavailable("this store was closed; nothing was changed: open another one")
