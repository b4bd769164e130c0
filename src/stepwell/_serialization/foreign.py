"""Packages that we know more about: a module of ours that is imported when it is needed.

Such a module registers codecs for the package's classes when it is imported, and says by
`namespaces_of(workflow)` where a workflow of the package has classes that no step shows.

Never because of data alone: a name in stored data counts only if its package is imported already.
"""

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["bring_codecs", "namespaces_of"]

OURS = {"llama_index.core": "stepwell.integrations.llama_index"}
"""A package, and our module for it."""


def bring_codecs(module: str) -> None:
    """Register our codecs for the classes of a module, if we have any and its package is there."""
    _ours_for(module)


def namespaces_of(workflow: object) -> Iterable[Mapping[str, object]]:
    """Return namespaces, beside those of its steps, with classes that its runs may hold."""
    for base in type(workflow).__mro__:
        ours = _ours_for(base.__module__)
        if ours is not None:
            return ours.namespaces_of(workflow)
    return ()


def _ours_for(module: str) -> Any:
    """Our module, imported, for the package that a module belongs to; None if there is none."""
    for package, ours in OURS.items():
        if f"{module}.".replace(":", ".").startswith(f"{package}.") and package in sys.modules:
            return import_module(ours)
    return None
