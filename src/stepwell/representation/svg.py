"""Draws a picture as one SVG file that needs nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import get_args

from stepwell.representation.layout import Box, Link, Placed, Point, Route, lay_out
from stepwell.representation.palette import LEGEND, style_sheet
from stepwell.representation.picture import Kind, Line, LineKind, Picture, Shape
from stepwell.representation.text import shortened, text_width, visible

__all__ = ["svg_of"]

_MARGIN = 28
_LABEL_SIZE = 13
_NOTE_SIZE = 10.5
_TITLE_SIZE = 19
_SMALL_SIZE = 11.5
_LONGEST_LABEL = 60
_CORNER = 12
_LEGEND_ROW = 22
_WIDEST_LEGEND = 620

_BOXES: frozenset[Kind] = frozenset({"step", "handler", "resource", "config"})
_HEIGHTS: dict[Kind, float] = {"step": 38, "handler": 38, "resource": 30, "config": 30}
_PILL_HEIGHT = 28
_NOTE_HEIGHT = 12
_MARK_WIDTH = 20

_STATIC_STYLE = """
.stepwell { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
.stepwell text { font-size: 13px; }
.stepwell .title { font-size: 19px; font-weight: 600; }
.stepwell .muted { font-size: 11.5px; }
.stepwell .note { font-size: 10.5px; opacity: 0.8; }
.stepwell .step .name, .stepwell .handler .name { font-weight: 600; }
.stepwell .shape text { text-anchor: middle; dominant-baseline: central; }
.stepwell .body { stroke-width: 1.2; }
.stepwell .line { fill: none; stroke-width: 1.4; }
.stepwell .line-need, .stepwell .line-failure { stroke-dasharray: 4 3; }
.stepwell .label { font-size: 10.5px; text-anchor: middle; dominant-baseline: central; }
.stepwell .halo { paint-order: stroke; stroke-width: 5px; stroke-linejoin: round; }
"""


def svg_of(picture: Picture) -> str:
    """Return the SVG document of a picture."""
    boxes = [Box(shape.id, *_size(shape)) for shape in picture.shapes]
    links = [Link(line.source, line.target, _label_width(line)) for line in picture.lines]
    layout = lay_out(boxes, links)
    head = _Head(picture, layout.width)
    width, height = head.width + 2 * _MARGIN, head.height + layout.height + 2 * _MARGIN
    left = _MARGIN + (head.width - layout.width) / 2
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="stepwell" role="img" '
            f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}">',
            f"<title>{_safe(picture.title)}</title>",
            f"<desc>{_safe(_spoken(picture))}</desc>",
            f"<style>{_STATIC_STYLE}{style_sheet()}</style>",
            f"<defs>{''.join(_arrow_heads())}</defs>",
            '<rect class="ground" width="100%" height="100%"/>',
            f'<g transform="translate({_MARGIN} {_MARGIN})">',
            *head.drawn,
            "</g>",
            f'<g transform="translate({_n(left)} {_n(_MARGIN + head.height)})">',
            *_drawn_lines(picture.lines, layout.routes),
            *(_drawn_shape(shape, layout.boxes[shape.id]) for shape in picture.shapes),
            *_drawn_labels(picture.lines, layout.routes),
            "</g>",
            "</svg>",
            "",
        ]
    )


def _n(number: float) -> str:
    """A number as short as it can be written."""
    return f"{number:.1f}".removesuffix(".0")


def _safe(text: str) -> str:
    return escape(visible(text))


def _spoken(picture: Picture) -> str:
    steps = [shape.label for shape in picture.shapes if shape.kind in {"step", "handler"}]
    arrows = "; ".join(f"{line.source} to {line.target}" for line in picture.lines)
    return f"A workflow of {len(steps)} steps: {', '.join(steps)}. Arrows: {arrows}."


# --- shapes ---


def _size(shape: Shape) -> tuple[float, float]:
    label = text_width(shortened(shape.label, _LONGEST_LABEL), _LABEL_SIZE)
    text = max(label, text_width(shape.note, _NOTE_SIZE))
    height = _HEIGHTS.get(shape.kind, _PILL_HEIGHT) + (_NOTE_HEIGHT if shape.note else 0)
    padding = 30 if shape.kind in _BOXES else height
    return max(round(text + padding + _mark_width(shape)), 64), height


def _mark_width(shape: Shape) -> float:
    return _MARK_WIDTH if shape.kind in {"outside", "resource", "config"} else 0


def _drawn_shape(shape: Shape, box: Placed) -> str:
    radius = 8 if shape.kind in _BOXES else box.height / 2
    told = "\n\n".join((shape.label, *shape.details))
    left, top = _n(-box.width / 2), _n(-box.height / 2)
    return (
        f'<g class="shape {shape.kind}" transform="translate({_n(box.x)} {_n(box.y)})">'
        f"<title>{_safe(told)}</title>"
        f'<rect class="body" x="{left}" y="{top}" width="{_n(box.width)}" '
        f'height="{_n(box.height)}" rx="{_n(radius)}"/>'
        f"{_mark(shape, -box.width / 2 + 18)}{_texts(shape)}</g>"
    )


def _texts(shape: Shape) -> str:
    x = _n(_mark_width(shape) / 2)
    y = -_NOTE_HEIGHT / 2 - 1 if shape.note else 0
    name = _safe(shortened(shape.label, _LONGEST_LABEL))
    drawn = f'<text class="name" x="{x}" y="{_n(y)}">{name}</text>'
    if shape.note:
        drawn += f'<text class="note" x="{x}" y="{_n(y + 16)}">{_safe(shape.note)}</text>'
    return drawn


def _mark(shape: Shape, x: float) -> str:
    """A small sign before the text."""
    match shape.kind:
        case "outside":
            body = '<circle cy="-4" r="3.6"/><path d="M-6.5 7a6.5 6 0 0 1 13 0z"/>'
        case "resource":
            body = '<path d="M-5 -5a5 2.2 0 0 1 10 0v10a5 2.2 0 0 1 -10 0z"/>'
        case "config":
            body = '<path d="M-6 -5h12v2.4h-12zM-6 -1.2h12v2.4h-12zM-6 2.6h8v2.4h-8z"/>'
        case _:
            return ""
    return f'<g class="mark" transform="translate({_n(x)} 0)">{body}</g>'


# --- lines ---


def _arrow_heads() -> Iterator[str]:
    for kind in get_args(LineKind):
        yield (
            f'<marker id="stepwell-{kind}" viewBox="0 0 10 10" refX="9" refY="5" '
            'markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
            f'<path class="head-{kind}" d="M0 1 10 5 0 9 2.2 5z"/></marker>'
        )


def _drawn_lines(lines: Iterable[Line], routes: Iterable[Route]) -> Iterator[str]:
    for line, route in zip(lines, routes, strict=True):
        path = _path_up(route.points) if route.upwards else _path_down(route.points)
        yield (
            f'<path class="line line-{line.kind}" d="{path}" '
            f'marker-end="url(#stepwell-{line.kind})"/>'
        )


def _drawn_labels(lines: Iterable[Line], routes: Iterable[Route]) -> Iterator[str]:
    for line, route in zip(lines, routes, strict=True):
        if line.label and route.label:
            yield (
                f'<text class="label muted halo" x="{_n(route.label.x)}" '
                f'y="{_n(route.label.y)}">{_safe(shortened(line.label, _LONGEST_LABEL))}</text>'
            )


def _label_width(line: Line) -> float:
    label = shortened(line.label, _LONGEST_LABEL)
    return text_width(label, _NOTE_SIZE) + 8 if label else 0


def _path_down(points: Sequence[Point]) -> str:
    start, *_ = points
    return f"M{_n(start.x)} {_n(start.y)}{''.join(_bends(points))}"


def _bends(points: Sequence[Point]) -> Iterator[str]:
    """Curves that are vertical at each point."""
    for one, other in pairwise(points):
        if one.x == other.x:
            yield f"V{_n(other.y)}"
        else:
            middle = _n((one.y + other.y) / 2)
            yield (f"C{_n(one.x)} {middle} {_n(other.x)} {middle} {_n(other.x)} {_n(other.y)}")


def _path_up(points: Sequence[Point]) -> str:
    """Out to the right, up, and back to the left, with round corners."""
    start, corner, *between, other_corner, end = points
    rise = max(min(_CORNER, (corner.y - other_corner.y) / 2), 0)
    turned, turning = Point(corner.x, corner.y - rise), Point(other_corner.x, other_corner.y + rise)
    return (
        f"M{_n(start.x)} {_n(start.y)}H{_n(max(corner.x - _CORNER, start.x))}"
        f"Q{_n(corner.x)} {_n(corner.y)} {_n(turned.x)} {_n(turned.y)}"
        f"{''.join(_bends([turned, *between, turning]))}"
        f"Q{_n(other_corner.x)} {_n(end.y)} {_n(max(other_corner.x - _CORNER, end.x))} {_n(end.y)}"
        f"H{_n(end.x)}"
    )


# --- above the drawing ---


class _Head:
    """Title, the first line of the docstring, and the legend."""

    def __init__(self, picture: Picture, width: float) -> None:
        title = shortened(picture.title, _LONGEST_LABEL)
        subtitle = shortened(picture.description, 90)
        legend = sum(_legend_width(name) for name in _legend(picture).values())
        self.width = max(
            width,
            text_width(title, _TITLE_SIZE),
            text_width(subtitle, _SMALL_SIZE),
            min(legend, _WIDEST_LEGEND),
        )
        self.drawn = [f'<text class="title" y="16">{_safe(title)}</text>']
        y = 16
        if subtitle:
            y += 21
            self.drawn.append(f'<text class="muted" y="{y}">{_safe(subtitle)}</text>')
        self.height = self._draw_legend(picture, y + 26) + 34

    def _draw_legend(self, picture: Picture, y: float) -> float:
        """Draw the kinds that there are, in as many rows as they need; return the last row's y."""
        x = 0.0
        for kind, name in _legend(picture).items():
            width = _legend_width(name)
            if x + width > self.width:
                x, y = 0, y + _LEGEND_ROW
            self.drawn.append(_legend_entry(kind, name, x, y))
            x += width
        return y


def _legend(picture: Picture) -> dict[Kind, str]:
    kinds = {shape.kind for shape in picture.shapes}
    return {kind: name for kind, name in LEGEND.items() if kind in kinds}


def _legend_width(name: str) -> float:
    return text_width(name, _SMALL_SIZE) + 40


def _legend_entry(kind: Kind, name: str, x: float, y: float) -> str:
    radius = 3 if kind in _BOXES else 5.5
    return (
        f'<g transform="translate({_n(x)} {_n(y)})"><g class="{kind}">'
        f'<rect class="body" y="-9" width="18" height="11" rx="{radius}"/></g>'
        f'<text class="muted" x="24">{name}</text></g>'
    )
