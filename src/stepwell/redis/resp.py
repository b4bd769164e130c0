"""The protocol of Redis, as far as redis-py does not speak it for us."""

from collections.abc import Callable, Sequence
from typing import cast

import hiredis
from redis.exceptions import RedisError, ResponseError

__all__ = ["Word", "is_reply", "pack"]

Word = str | bytes | int

_pack = cast(
    "Callable[[tuple[Word, ...]], bytes]",
    hiredis.pack_command,  # pyright: ignore[reportUnknownMemberType] - typed for one word only
)


def pack(command: Sequence[Word]) -> bytes:
    """A command in RESP, the protocol of Redis; raises UnicodeEncodeError for half a surrogate."""
    try:
        return _pack(tuple(command))
    except TypeError:  # it knows no subclasses, as enumerations of texts are
        return _pack(tuple(w if isinstance(w, bytes) else str(w) for w in command))


def is_reply(error: RedisError) -> bool:
    """Whether the server sent this error; otherwise the connection is at fault."""
    return isinstance(error, ResponseError) or error.status_code is not None
