"""Warnings about names that are kept for older programs: each is given once in a process."""

import warnings

__all__ = ["warn_once"]

_warned: set[str] = set()


def warn_once(name: str, instead: str) -> None:
    """Warn the caller of a deprecated function, the first time that it is used.

    Args:
        name: the function.
        instead: what to do in its place.
    """
    if name not in _warned:
        _warned.add(name)
        warnings.warn(f"{name} is deprecated: {instead}", DeprecationWarning, stacklevel=3)
