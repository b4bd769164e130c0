"""What classes are called in stored data, and how a name finds its class again."""

import sys
from pathlib import PurePath
from types import ModuleType

__all__ = ["dotted_name", "kind_of", "loaded_class", "type_name"]


def type_name(cls: type) -> str:
    """Return the name under which a class is stored: `module:qualname`.

    A class of the script that runs has the name that it would have if the script were imported,
    so that another process can read what this one wrote.
    """
    module = _main_name() if cls.__module__ == "__main__" else cls.__module__
    return f"{module}:{cls.__qualname__}"


def dotted_name(cls: type) -> str:
    """Return the same name as people write it: `module.qualname`."""
    return type_name(cls).replace(":", ".")


def kind_of(value: object) -> str:
    """Say in a message what was given instead of what was asked for."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def loaded_class(name: str) -> type | None:
    """Return the class of a dotted name, or None if no module that is loaded has it.

    The name may come from stored data, so it decides nothing about which code runs: no module
    is imported for it, and no `__getattr__` is asked.
    """
    parts = name.split(".")
    splits = ((".".join(parts[:count]), parts[count:]) for count in range(len(parts) - 1, 0, -1))
    found = (_class_in(_loaded_module(module), path) for module, path in splits)
    return next((cls for cls in found if cls is not None), None)


def _loaded_module(name: str) -> object:
    return sys.modules.get("__main__" if name == _main_name() else name)


def _class_in(module: object, path: list[str]) -> type | None:
    found = module
    for name in path:
        if not isinstance(found, ModuleType | type):
            return None
        found = vars(found).get(name)
    return found if isinstance(found, type) else None


def _main_name() -> str:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else "__main__"
