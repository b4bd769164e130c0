"""Where step bodies say what they do: a file of each process, outside of Redis.

Every line is one `write` to a file that was opened to append, so that a process which is killed
leaves whole lines only.
"""

import json
import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from stepwell import Context

__all__ = ["JOURNALS", "Note", "body"]

JOURNALS = "JOURNALS"
"""The variable that names the directory of the journals."""

_numbers = count()


class Note:
    """What a body says of itself while it runs."""

    def __init__(self) -> None:
        self.rests = False

    @contextmanager
    def rest(self) -> Generator[None]:
        """Say that the body stands in a wait or a sleep: it may be released now."""
        self.rests = True
        yield
        self.rests = False


@contextmanager
def body(ctx: Context[Any], token: str, after: Iterable[str] = ()) -> Generator[Note]:
    """Write down that a body begins here, and how it ends.

    Args:
        ctx: the context of its step.
        token: what it is about, the same whenever that is executed again.
        after: the tokens whose commits made it possible.
    """
    note, number = Note(), next(_numbers)
    _write(number, "began", run=ctx.run_id, token=token, after=list(after))
    try:
        yield note
    except Exception:
        _write(number, "failed")
        raise
    except BaseException:
        _write(number, "rested" if note.rests else "cut")
        raise
    _write(number, "returned")


def _write(number: int, what: str, **more: object) -> None:
    line = {"pid": os.getpid(), "number": number, "what": what, "at": time.monotonic(), **more}
    os.write(_file(os.getpid()), f"{json.dumps(line)}\n".encode())


@cache
def _file(pid: int) -> int:
    path = Path(os.environ[JOURNALS]) / f"{pid}-{time.monotonic_ns()}.journal"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
