"""What the annotations of a function mean.

An annotation may be a string (`from __future__ import annotations`), and the names in it may be
local to the function or class around it. They are looked up in the frames of those, as long as
they run, and in the globals of the module.
"""

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from stepwell.errors import WorkflowValidationError

__all__ = [
    "lexical_names",
    "resolved_parameters",
    "resolved_return",
    "split",
    "title",
    "union_members",
]

_UNIONS = (Union, types.UnionType)


def title(func: Callable[..., Any]) -> str:
    """The name of a callable in messages."""
    return getattr(func, "__qualname__", None) or repr(func)


def lexical_names(func: Callable[..., Any]) -> dict[str, Any]:
    """The local names that a string annotation of `func` can mean; the innermost scope wins."""
    function = _function_of(func)
    module = getattr(function, "__globals__", None)
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        is_local = frame.f_globals is module and frame.f_locals is not module
        if is_local and _encloses(frame.f_code.co_qualname, title(function)):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _encloses(scope: str, qualname: str) -> bool:
    return scope == "<module>" or qualname.startswith(f"{scope}.")


def _function_of(func: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function whose module and scope the annotations of a callable belong to."""
    while isinstance(func, functools.partial):
        func = func.func
    if isinstance(func, type):
        func = func.__init__
    elif not inspect.isroutine(func):
        func = type(func).__call__
    return inspect.unwrap(func)


def resolved_parameters(
    func: Callable[..., Any], names: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """The parameters of `func`, with each annotation resolved.

    Raises:
        WorkflowValidationError: an annotation can't be resolved.
    """
    return [
        parameter.replace(
            annotation=_resolved(func, f"parameter {name!r}", parameter.annotation, names)
        )
        for name, parameter in _signature(func).parameters.items()
    ]


def resolved_return(func: Callable[..., Any], names: Mapping[str, Any]) -> Any:
    """The return annotation of `func`, resolved; `inspect.Parameter.empty` if there is none.

    Raises:
        WorkflowValidationError: the annotation can't be resolved.
    """
    return _resolved(func, "return value", _signature(func).return_annotation, names)


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(func)
    except ValueError:  # a builtin that doesn't tell: nothing can be passed to it by name
        return inspect.Signature()


def _resolved(
    func: Callable[..., Any], place: str, annotation: Any, names: Mapping[str, Any]
) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    module = getattr(_function_of(func), "__globals__", {})
    try:
        return get_type_hints(holder, module, dict(names), include_extras=True)["it"]
    except Exception as error:
        raise WorkflowValidationError(
            f"{title(func)}: the annotation of its {place}, {annotation!r}, can't be resolved: "
            f"{error}. Define or import the name at module level, or in the scope where the "
            "function is decorated, and not under `if TYPE_CHECKING`."
        ) from error


def split(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Part `Annotated[T, ...] | None` into `T` and the markers."""
    annotation = _required(annotation)
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    bare, *markers = get_args(annotation)
    return _required(bare), tuple(markers)


def _required(annotation: Any) -> Any:
    """`T` of `T | None`."""
    if get_origin(annotation) not in _UNIONS:
        return annotation
    present = [member for member in get_args(annotation) if member is not types.NoneType]
    return present[0] if len(present) == 1 else annotation


def union_members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, of unions in it too; anything else is its own only member."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return union_members(get_args(annotation)[0])
    if origin not in _UNIONS:
        return (annotation,)
    return tuple(inner for member in get_args(annotation) for inner in union_members(member))
