"""Where one RESP frame ends and the next begins; knows commands and all replies of RESP2 and 3."""

from collections.abc import Iterator

__all__ = ["Frames", "arguments"]

_BULKS = b"$=!"
_ARRAYS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}  # frames per element


class Frames:
    """Cuts a stream of bytes, which arrives in any pieces, into whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every frame that is complete now, as the bytes it came in."""
        self._rest += data
        while (end := _frame_end(self._rest)) is not None:
            frame, self._rest = self._rest[:end], self._rest[end:]
            yield frame


def arguments(command: bytes) -> list[bytes]:
    """The name and arguments in the frame of a command, or in an inline command."""
    if not command.startswith(b"*"):
        return command.split()
    words, at = list[bytes](), command.index(b"\r\n") + 2
    while at < len(command):
        start = command.index(b"\r\n", at) + 2
        size = int(command[at + 1 : start])
        words.append(command[start : start + size])
        at = start + size + 2
    return words


def _frame_end(data: bytes) -> int | None:
    """The end of the first frame; None as long as a part of it is missing."""
    at, frames_left = 0, 1
    while frames_left:
        line_end = data.find(b"\n", at) + 1
        if line_end == 0:
            return None
        kind, rest = data[at : at + 1], data[at + 1 : line_end]
        at, frames_left = line_end, frames_left - 1
        if kind in _ARRAYS:
            frames_left += max(0, int(rest)) * _ARRAYS[kind] + (kind == b"|")  # precedes a frame
        elif kind in _BULKS and int(rest) >= 0:
            at += int(rest) + 2
    return at if at <= len(data) else None
