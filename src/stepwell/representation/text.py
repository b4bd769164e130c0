"""How wide a text is, without a font at hand, and how it is made safe to show."""

import unicodedata

__all__ = ["shortened", "text_width", "visible"]

_NARROW = frozenset("iljtfrI.,:;'|!()[]{} -`\"")
_WIDE = frozenset("mwMWQGO@%&_")


def text_width(text: str, size: float) -> float:
    """Estimate from above how wide a text is in a common sans-serif, in the unit of `size`."""
    return sum(_em(character) for character in text) * size


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.1
    if character in _NARROW:
        return 0.42
    if character in _WIDE:
        return 0.92
    return 0.72 if character.isupper() else 0.61


def shortened(text: str, length: int) -> str:
    """Return the first line in at most `length` characters."""
    line, _, _ = visible(text).strip().partition("\n")
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def visible(text: str) -> str:
    """Return the text without the characters that XML can't have."""
    return "".join(character for character in text if _is_visible(character))


def _is_visible(character: str) -> bool:
    if unicodedata.category(character) in {"Cc", "Cs"}:
        return character in "\n\t"
    return character not in "\ufffe\uffff"
