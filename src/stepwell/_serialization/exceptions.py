"""The forms of exceptions, without traceback, cause and context.

Every exception has one: a failure must always be told. A registered class keeps its arguments and
attributes. The others, and those that hold what can't be stored, are described by class name and
message.
"""

from typing import Any, cast

from stepwell._exceptions import describe_exception, rebuild_exception
from stepwell._serialization.forms import (
    TAG,
    VALUE,
    Json,
    Refusal,
    Walker,
    attribute_step,
    decode_list,
    decode_map,
    encode_list,
    encode_map,
)

DESCRIBED = "exception"


def encode_described(_walker: Walker, error: BaseException, _depth: int) -> dict[str, Json]:
    """Store an exception as its class name and message."""
    return {TAG: DESCRIBED, VALUE: describe_exception(error)}


def decode_described(walker: Walker, tagged: dict[str, Json], depth: int) -> Exception:
    """Make the exception again, or a stand-in for it."""
    return rebuild_exception(**decode_map(walker, tagged[VALUE], depth))


class ExceptionForm:
    """An exception of a registered class is its arguments and its attributes."""

    def __init__(self, name: str, cls: type[BaseException]) -> None:
        self._name = name
        self._cls = cls
        self._open: set[int] = set()

    def encode(self, walker: Walker, error: BaseException, depth: int) -> dict[str, Json]:
        if id(error) in self._open:
            raise Refusal("the exception contains itself")
        self._open.add(id(error))
        try:
            return self._encode_whole(walker, error, depth)
        except Exception:  # noqa: BLE001  what it holds has no form: the failure itself is told
            return encode_described(walker, error, depth)
        finally:
            self._open.discard(id(error))

    def _encode_whole(self, walker: Walker, error: BaseException, depth: int) -> dict[str, Json]:
        tagged: dict[str, Json] = {TAG: self._name, VALUE: encode_list(walker, _args(error), depth)}
        if vars(error):
            tagged["attributes"] = encode_map(walker, vars(error), depth, attribute_step)
        return tagged

    def decode(self, walker: Walker, tagged: dict[str, Json], depth: int) -> BaseException:
        args = decode_list(walker, tagged[VALUE], depth)
        made = self._make(args)
        vars(made).clear()
        vars(made).update(decode_map(walker, tagged.get("attributes", {}), depth))
        return made

    def _make(self, args: list[Any]) -> BaseException:
        """Call the class; one whose constructor takes something else gets along without it."""
        try:
            made = self._cls(*args)
        except Exception:  # noqa: BLE001  any constructor, given what it did not ask for
            return self._cls.__new__(self._cls, *args)
        if not isinstance(made, OSError):  # it keeps a file name apart from its arguments
            made.args = tuple(args)
        return made


def _args(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, OSError):
        return cast("tuple[Any, ...]", OSError.__reduce__(error)[1])
    return error.args
