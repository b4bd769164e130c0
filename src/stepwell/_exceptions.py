"""What stays of an exception when it leaves its process: its type and its message."""

import contextlib

from stepwell._names import dotted_name, loaded_class
from stepwell.errors import UnreconstructedException

__all__ = ["describe_exception", "rebuild_exception"]


def describe_exception(error: BaseException) -> dict[str, str]:
    """Return the name of an exception's class, and its message.

    A stand-in is described as what it stands for: a process that knows the class rebuilds it.
    """
    original = error.original_type if isinstance(error, UnreconstructedException) else None
    return {
        "exception_type": original or dotted_name(type(error)),
        "exception_message": _message_of(error),
    }


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001  the user's own __str__, while a failure is told
        return f"(it has no text: its __str__ raised {type(failure).__name__})"


def rebuild_exception(exception_type: str, exception_message: str) -> Exception:
    """Return the exception that was described, or a stand-in for it.

    The name comes from stored data. It is looked up among the classes that are loaded, and only
    an exception class is called, with the message.

    Args:
        exception_type: dotted name of the class.
        exception_message: what it said.
    """
    cls = loaded_class(exception_type)
    if cls is not None and issubclass(cls, Exception):
        with contextlib.suppress(Exception):  # a constructor that wants more than a message
            return _with_message(cls(exception_message), exception_message)
    return UnreconstructedException(exception_message, exception_type)


def _with_message(error: Exception, message: str) -> Exception:
    """Undo what the constructor adds to the text: the message has it already."""
    if str(error) != message:
        error.args = (message,)
    return error
