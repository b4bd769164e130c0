"""Imports of `workflows` answered with Stepwell's own modules.

An alias is the module itself under a second name in `sys.modules`, no copy and no proxy: classes
are the same objects, a patched attribute is patched under both names, and `__name__`, pickles and
durable type names say `stepwell`. A module is imported when its alias is.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from typing_extensions import override

from stepwell.compat.names import MOVED, NAMESPACE, is_in, source_of, target_of
from stepwell.errors import WorkflowConfigurationError

__all__ = ["install_as_workflows"]


def install_as_workflows() -> None:
    """Make `import workflows` mean Stepwell, in this process and from now on.

    `import workflows[.x]` and `import llama_agents.workflows[.x]` then give the very modules of
    Stepwell, also to code that is imported later, whether or not LlamaIndex Workflows is installed.
    Nothing is imported by the call, and a second call changes nothing. Processes that are started
    from this one have to call it for themselves. The metadata of installed distributions stays as
    it is: `importlib.metadata.version("llama-index-workflows")` tells what is installed.

    Raises:
        WorkflowConfigurationError: `workflows` was imported before.
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return
    _refuse_if_imported()
    sys.meta_path.insert(0, _AliasFinder())
    sys.meta_path.append(_NamespaceFinder())


def _refuse_if_imported() -> None:
    imported = next((name for name in sys.modules if target_of(name)), None)
    if imported is None:
        return
    place = getattr(sys.modules[imported], "__file__", None) or "an unknown place"
    raise WorkflowConfigurationError(
        f"install_as_workflows() comes too late: {imported} is imported already, from {place}. "
        "Call it before the first import of workflows, llama_agents or llama_index, "
        "or start the program with python -m stepwell.compat"
    )


class _AliasFinder(MetaPathFinder):
    """Finds our modules under their other names, before any finder looks for files."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        real = target_of(fullname)
        if real is None:
            return None
        if source_of(fullname) in MOVED:
            return ModuleSpec(fullname, _MovedLoader(real))
        return _alias_spec(fullname, real)


def _alias_spec(name: str, target: str) -> ModuleSpec:
    found = find_spec(target)
    if found is None:  # an error even to a mere find_spec: later finders can't name both
        raise ModuleNotFoundError(
            f"No module named {name!r}: it stands for {target!r}, which does not exist", name=name
        )
    spec = ModuleSpec(name, _AliasLoader(target), origin=found.origin)
    spec.submodule_search_locations = found.submodule_search_locations
    return spec


class _AliasLoader(Loader):
    """Imports the target, and lets the import system enter it under the alias as well."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._own_spec: ModuleSpec | None = None

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._target)
        self._own_spec = module.__spec__
        return module

    @override
    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import system has just put the alias's there


class _MovedLoader(_AliasLoader):
    """Does so for a module that lives in another distribution now."""

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(
            f"{spec.name} is deprecated: import {self._target} instead",
            DeprecationWarning,
            stacklevel=2,
        )
        try:
            return super().create_module(spec)
        except ModuleNotFoundError as error:
            if not is_in(self._target, error.name):
                raise
            raise ImportError(self._remedy(spec.name), name=spec.name) from error

    def _remedy(self, name: str) -> str:
        package = "-".join(self._target.replace("_", "-").split(".")[:2])
        return (
            f"{name} is {self._target} of the package {package}, which is not installed: "
            f"pip install {package}, and import {self._target}"
        )


class _NamespaceFinder(MetaPathFinder):
    """Stands in for the package around our second name where no installed one provides it."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        return ModuleSpec(NAMESPACE, None, is_package=True) if fullname == NAMESPACE else None
