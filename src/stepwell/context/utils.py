"""Qualified names: how serialized data names a class, and how the class is found again."""

from importlib import import_module
from typing import Any, cast

__all__ = ["get_qualified_name", "import_module_from_qualified_name"]


def get_qualified_name(value: Any) -> str:
    """Return `module.Class` of a value's class, without what the class is inside of.

    Args:
        value: an instance.
    """
    cls = cast("type[Any]", type(value))
    return f"{cls.__module__}.{cls.__name__}"


def import_module_from_qualified_name(qualified_name: str) -> Any:
    """Import the module of a qualified name, and return what the name stands for in it.

    Args:
        qualified_name: `module.attribute`; the module may have dots.

    Raises:
        ValueError: the name has no dot.
        ImportError: the module can't be imported.
        AttributeError: the module has no such attribute.
    """
    module_name, _, attribute = qualified_name.rpartition(".")
    if not module_name or not attribute:
        raise ValueError(f"{qualified_name!r} is no qualified name: it should be module.attribute")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ImportError(f"module {module_name!r} can't be imported: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise AttributeError(f"module {module_name!r} has no {attribute!r}") from None
