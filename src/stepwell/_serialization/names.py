"""What the user may put into the name of a field."""

from stepwell.errors import EncodingError


def check_name(name: object, where: str) -> None:
    """Refuse a name that no store can write: a lone surrogate has no bytes in UTF-8.

    A text that is a value may hold one: values are written as ASCII.

    Args:
        name: a key of the state, of `ctx.once` and the like; None where there is none.
        where: what the name is, for the error: "the key of ctx.once".

    Raises:
        EncodingError: it can't be written.
        TypeError: it is no text.
    """
    if name is None:
        return
    if not isinstance(name, str):
        raise TypeError(f"{where} is {name!r:.80}: give a text")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise EncodingError(
            f"{where}, {name!a}, can't name a stored field: it has a lone surrogate, which is half "
            f"a character. Take that out, or escape it: name.encode('unicode_escape').decode()"
        ) from None
