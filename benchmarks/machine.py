"""What a number was measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["describe"]


def describe(*packages: str) -> str:
    """One line that names the machine, the Python and the versions of some packages."""
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
