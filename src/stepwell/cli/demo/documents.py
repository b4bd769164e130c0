"""Documents that every Python environment has: the descriptions of its installed packages."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

__all__ = ["file_name", "write_descriptions"]

_SUFFIXES = {"text/markdown": ".md", "text/x-rst": ".rst", "text/plain": ".txt"}
_UNDECLARED = "text/x-rst"  # what the core metadata specification says


def write_descriptions(folder: Path) -> None:
    """Write the description of each installed distribution to a file of its own."""
    for name, text in _descriptions():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")


def file_name(distribution: str, content_type: str) -> str:
    """The name of the file for a description, by the header `Description-Content-Type`."""
    kind = content_type.partition(";")[0].strip().lower()
    stem = re.sub(r"[^a-z0-9.]+", "-", distribution.lower()).strip("-.")
    return f"{stem}{_SUFFIXES.get(kind, '.txt')}"


def _descriptions() -> Iterator[tuple[str, str]]:
    for distribution in distributions():
        text = _header(distribution, "Description", "")
        if text.strip() not in ("", "UNKNOWN"):
            kind = _header(distribution, "Description-Content-Type", _UNDECLARED)
            yield file_name(distribution.name, kind), text


def _header(distribution: Distribution, name: str, default: str) -> str:
    return distribution.metadata.get_all(name, [default])[0]
