"""What the library says of outages of its store."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import pytest

__all__ = ["BEGINS", "ENDS", "Said", "listening"]

BEGINS = "this process waits for its store"
ENDS = "this process waits for its store no longer"


class Said:
    """What was logged so far of outages, and what was warned of.

    Args:
        caplog: of the test.
    """

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def all(self) -> list[tuple[str, str]]:
        """The level of each, and its text."""
        return [
            (one.levelname, one.getMessage())
            for one in self._caplog.records
            if one.name == "stepwell" and (one.module == "outage" or one.levelno >= logging.WARNING)
        ]

    @property
    def loud(self) -> list[tuple[str, str]]:
        """Without what only a debugger reads, and how long it took."""
        told = [(level, text) for level, text in self.all if level != "DEBUG"]
        return [(level, text.partition(", after")[0]) for level, text in told]

    @property
    def of_outages(self) -> list[str]:
        """When they begin and end: the texts without the reasons."""
        texts = (text.partition(":")[0] for _, text in self.loud)
        return [text for text in texts if text in (BEGINS, ENDS)]

    @property
    def of_others(self) -> list[str]:
        """The texts of all else that is loud."""
        texts = [text for _, text in self.loud]
        return [text for text in texts if text.partition(":")[0] not in (BEGINS, ENDS)]

    def again(self, *requests: str) -> bool:
        """Whether each of these requests was made again."""
        made = {
            text.partition(" is tried again")[0] for level, text in self.all if level == "DEBUG"
        }
        return made >= set(requests)


@contextmanager
def listening(caplog: pytest.LogCaptureFixture) -> Generator[Said]:
    """All that is said while the block lasts."""
    with caplog.at_level(logging.DEBUG, "stepwell"):
        yield Said(caplog)
