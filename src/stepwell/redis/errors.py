"""What goes wrong between a store and its server, told in Stepwell's words.

An error reply is known by its first word: redis-py has classes for some, servers differ in the rest
of the text. Every message says what was tried, where, what became of durable data, and the remedy.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from stepwell.errors import DurabilityError, RunCorrupt, StoreError
from stepwell.redis.resp import is_reply
from stepwell.storage.refusals import (
    corrupt,
    executed,
    gone,
    inbox_full,
    lease_lost,
    out_of_order,
    over,
    wait_closed,
)

__all__ = [
    "first_word",
    "is_final",
    "remedy",
    "run_refusal",
    "told",
    "undecodable",
    "wrong_type",
]

_WAIT = "Wait for the server, then try again"
_GRANT = (
    "Correct user and password in the address, or let the user run the commands, keys and channels "
    "that docs/redis-layout.md lists"
)
_SETTLE = "The nodes of the cluster send from one to the other: look at CLUSTER NODES of each"
_PASSING = {
    "ASK": _SETTLE,
    "BUSY": "Wait for the script that the server runs, or end it with SCRIPT KILL",
    "CLUSTERDOWN": _WAIT,
    "LOADING": _WAIT,
    "MASTERDOWN": _WAIT,
    "MOVED": _SETTLE,
    "MISCONF": "Repair what keeps the server from writing its data: its log tells (a full disk?)",
    "NOREPLICAS": "Bring the replicas back that min-replicas-to-write asks for",
    "NOSCRIPT": "Somebody runs SCRIPT FLUSH all the time: make an end of it",
    "OOM": "Give the server more memory (maxmemory), or delete what is not needed",
    "READONLY": "It is a replica: correct the address to that of the master",
    "TRYAGAIN": _WAIT,
}
_REMEDIES = _PASSING | {
    "DENIED": _GRANT, "NOAUTH": _GRANT, "NOPERM": _GRANT, "WRONGPASS": _GRANT,
    "CROSSSLOT": "Two keys of one run are in different slots: report it, with this message",
}  # fmt: skip


def first_word(error: Exception) -> str:
    """The first word of an error reply; empty if the server sent none."""
    if not isinstance(error, RedisError) or not is_reply(error):
        return ""
    if isinstance(error, AuthenticationError):
        return "WRONGPASS"  # old forms of it begin with ERR
    return error.status_code or str(error).partition(" ")[0]


def is_final(reason: Exception) -> bool:
    """Whether the answer will be the same in a moment."""
    word = first_word(reason)
    if not word:
        return isinstance(reason, StoreError)
    too_many_clients = word == "ERR" and isinstance(reason, RedisConnectionError)
    return not (word in _PASSING or too_many_clients)


def told(reason: Exception) -> str:
    """An error, with the first word that redis-py takes off some error replies."""
    word, text = first_word(reason), str(reason)
    return text if text.startswith(word) else f"{word} {text}"


def remedy(reason: Exception) -> str:
    """What to do about it."""
    word = first_word(reason)
    if not word:
        return "Start the server or correct the address, then try again"
    return _REMEDIES.get(word, "Stepwell needs all core commands of Redis 7.0, Valkey 7.2 or newer")


def wrong_type(what: str, key: str, expected: str, found: str) -> RunCorrupt:
    """A key of ours holds something that is not ours."""
    return RunCorrupt(
        f"{what}: the key {key} holds a {found} where Stepwell keeps a {expected}; nothing was "
        "changed. Another program uses the name: rename or delete its key, or take another "
        "namespace"
    )


def undecodable(run_id: str, name: str) -> RunCorrupt:
    """A text of a run is no text."""
    return RunCorrupt(
        f"run {run_id}: its field {name!r} is not UTF-8, so Stepwell did not write it; nothing was "
        "changed. Restore the field from a backup, or delete the run"
    )


def run_refusal(run_id: str, reply: Sequence[Any]) -> DurabilityError:  # noqa: PLR0911  one a code
    """The error for a script's reply about a run: a name, and what goes with it."""
    match [part.decode(errors="replace") if isinstance(part, bytes) else part for part in reply]:
        case ["GONE", *_]:
            return gone(run_id)
        case ["LEASE_LOST", epoch, *_]:
            return lease_lost(run_id, epoch)
        case ["OUT_OF_ORDER", seq, *_]:
            return out_of_order(run_id, seq)
        case ["CORRUPT", name, text, *_]:
            return corrupt(run_id, name, text)
        case ["OVER", status, *_]:
            return over(run_id, status)
        case ["CLOSED", name, *_]:
            return wait_closed(run_id, name)
        case ["FULL", *_]:
            return inbox_full(run_id)
        case ["EXECUTED", *_]:
            return executed(run_id)
        case _:
            return RunCorrupt(f"run {run_id}: a script gave the unknown answer {reply}")
