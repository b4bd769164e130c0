"""The colours of a drawing, one line a kind, for light and for dark surroundings."""

from collections.abc import Mapping
from dataclasses import dataclass

from stepwell.representation.picture import Kind, LineKind

__all__ = ["LEGEND", "LINE_COLOURS", "SHAPE_COLOURS", "Colours", "Mode", "style_sheet"]


@dataclass(frozen=True, slots=True)
class Colours:
    """What a shape is painted with."""

    fill: str
    edge: str
    text: str


@dataclass(frozen=True, slots=True)
class Mode:
    """The colours of the paper: what is drawn on, and what is written on it."""

    ground: str
    title: str
    muted: str


LIGHT = Mode(ground="#ffffff", title="#1b2430", muted="#667180")
DARK = Mode(ground="#11161d", title="#e8edf3", muted="#93a0b0")

_SLATE = Colours("#f6f7f9", "#b4bdc9", "#3b4653"), Colours("#1c232d", "#4c5968", "#c3ccd7")
_BLUE = Colours("#e8f0fb", "#7fa3d1", "#1c3557"), Colours("#1a2a40", "#5580b3", "#d3e3f8")
_GREEN = Colours("#e4f3ea", "#74b28f", "#1c4a31"), Colours("#16301f", "#4f9a70", "#c7ebd5")
_VIOLET = Colours("#eeeaf8", "#9d8dcb", "#3c2f68"), Colours("#272040", "#8674bd", "#ddd4f6")
_AMBER = Colours("#fdf2dc", "#d6a64c", "#5f4409"), Colours("#362a12", "#b98c38", "#f4dfb3")
_RED = Colours("#fbe9e7", "#d68d84", "#6d251d"), Colours("#381d1b", "#b5665d", "#f6cfca")
_TEAL = Colours("#e3f3f4", "#6eb0b5", "#15484d"), Colours("#12292c", "#4b9096", "#c2e7ea")

SHAPE_COLOURS: Mapping[Kind, tuple[Colours, Colours]] = {
    "start": _GREEN,
    "event": _SLATE,
    "step": _BLUE,
    "stop": _VIOLET,
    "human": _AMBER,
    "outside": _AMBER,
    "failure": _RED,
    "handler": _RED,
    "resource": _TEAL,
    "config": _TEAL,
}
"""Light, then dark."""

LINE_COLOURS: Mapping[LineKind, tuple[str, str]] = {
    "flow": ("#8390a0", "#77859a"),
    "failure": ("#d08379", "#b5665d"),
    "need": ("#6eb0b5", "#4b9096"),
}

LEGEND: Mapping[Kind, str] = {
    "start": "start event",
    "step": "step",
    "event": "event",
    "stop": "stop event",
    "human": "human",
    "handler": "error handler",
    "resource": "resource",
    "config": "config",
}


def style_sheet() -> str:
    """Return the CSS of all drawings; the reader's system chooses between light and dark."""
    dark = "\n".join(_rules(1, DARK))
    return "\n".join([*_rules(0, LIGHT), "@media (prefers-color-scheme: dark) {", dark, "}"])


def _rules(mode: int, paper: Mode) -> list[str]:
    return [
        f".stepwell .ground {{ fill: {paper.ground}; }}",
        f".stepwell .title {{ fill: {paper.title}; }}",
        f".stepwell .muted {{ fill: {paper.muted}; }}",
        f".stepwell .halo {{ stroke: {paper.ground}; }}",
        *(_shape_rules(kind, colours[mode]) for kind, colours in SHAPE_COLOURS.items()),
        *(_line_rules(kind, colours[mode]) for kind, colours in LINE_COLOURS.items()),
    ]


def _shape_rules(kind: Kind, colours: Colours) -> str:
    return (
        f".stepwell .{kind} .body {{ fill: {colours.fill}; stroke: {colours.edge}; }} "
        f".stepwell .{kind} .mark {{ fill: {colours.edge}; }} "
        f".stepwell .{kind} text {{ fill: {colours.text}; }}"
    )


def _line_rules(kind: LineKind, colour: str) -> str:
    return (
        f".stepwell .line-{kind} {{ stroke: {colour}; }} "
        f".stepwell .head-{kind} {{ fill: {colour}; }}"
    )
