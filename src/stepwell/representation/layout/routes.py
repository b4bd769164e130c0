"""Gives out the heights, and leads each link from the edge of its source to that of its target."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stepwell.representation.layout.grid import Cell, Grid, Way
from stepwell.representation.layout.model import Layout, Placed, Point, Route

__all__ = ["drawn"]

_LAYER_GAP = 34
_LABEL_HEIGHT = 16
_WIDEST_GAP_ON_EDGE = 22
_WIDEST_GAP_ON_SIDE = 12


@dataclass(frozen=True, slots=True)
class _Band:
    """The strip of the drawing that a row fills."""

    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def drawn(grid: Grid) -> Layout:
    """Return the layout of a grid whose cells have their x."""
    bands = _bands(grid.rows)
    leaving, entering = _ports(grid.ways, bands)
    cells = [cell for row in grid.rows for cell in row]
    return Layout(
        boxes={name: _placed(name, cell, bands) for name, cell in grid.boxes.items()},
        routes=tuple(_route(way, leaving[way], entering[way], bands) for way in grid.ways),
        width=max((cell.x + cell.width / 2 for cell in cells), default=0),
        height=bands[-1].bottom if bands else 0,
    )


def _bands(rows: Sequence[Sequence[Cell]]) -> list[_Band]:
    bands: list[_Band] = []
    top = 0.0
    for row in rows:
        bottom = top + max((_height(cell) for cell in row), default=0)
        bands.append(_Band(top, bottom))
        top = bottom + _gap_below(row)
    return bands


def _height(cell: Cell) -> float:
    if cell.box:
        return cell.box.height
    return _LABEL_HEIGHT if cell.width else 0


def _gap_below(row: Sequence[Cell]) -> float:
    """Links that run far to the side get more height, so that they are not too flat."""
    widest = max((abs(cell.x - below.x) for cell in row for below in cell.down), default=0)
    return _LAYER_GAP + round(min(widest / 9, _LAYER_GAP))


def _placed(name: str, cell: Cell, bands: Sequence[_Band]) -> Placed:
    band = bands[cell.layer]
    return Placed(name, cell.x, band.middle, cell.width, _height(cell), cell.layer)


# --- where links leave and enter ---


_Ports: TypeAlias = dict[Way, Point]


def _ports(ways: Sequence[Way], bands: Sequence[_Band]) -> tuple[_Ports, _Ports]:
    """Where each way leaves its source, and where it enters its target.

    Ways down use the lower and the upper edge, sorted by where they go, so that they don't cross
    at the box. Ways up use the right edge and lie around each other.
    """
    down = [way for way in ways if not way.upwards]
    up = [way for way in ways if way.upwards]
    leaving: _Ports = {}
    entering: _Ports = {}
    for cell, found in _by(_source, down).items():
        found.sort(key=lambda way: [*way.waypoints, way.target][0].x)
        leaving.update(zip(found, _along_edge(cell, len(found), bands, lower=True), strict=True))
    for cell, found in _by(_target, down).items():
        found.sort(key=lambda way: [way.source, *way.waypoints][-1].x)
        entering.update(zip(found, _along_edge(cell, len(found), bands, lower=False), strict=True))
    arriving, departing = _by(_target, up), _by(_source, up)
    for cell in {**arriving, **departing}:
        into = sorted(arriving.get(cell, ()), key=lambda way: -way.waypoints[-1].x)
        out = sorted(departing.get(cell, ()), key=lambda way: way.waypoints[0].x)
        points = _along_side(cell, len(into) + len(out), bands)
        entering.update(zip(into, points, strict=False))
        leaving.update(zip(out, points[len(into) :], strict=True))
    return leaving, entering


def _source(way: Way) -> Cell:
    return way.source


def _target(way: Way) -> Cell:
    return way.target


def _by(end: Callable[[Way], Cell], ways: Iterable[Way]) -> dict[Cell, list[Way]]:
    groups: dict[Cell, list[Way]] = {}
    for way in ways:
        groups.setdefault(end(way), []).append(way)
    return groups


def _along_edge(cell: Cell, number: int, bands: Sequence[_Band], *, lower: bool) -> list[Point]:
    half = _height(cell) / 2
    y = bands[cell.layer].middle + (half if lower else -half)
    room = max(cell.width - _height(cell), 0)  # pills are round
    return [Point(x, y) for x in _spread(cell.x, room, _WIDEST_GAP_ON_EDGE, number)]


def _along_side(cell: Cell, number: int, bands: Sequence[_Band]) -> list[Point]:
    room = _height(cell) / 2
    ys = _spread(bands[cell.layer].middle, room, _WIDEST_GAP_ON_SIDE, number)
    return [Point(cell.x + cell.width / 2, y) for y in ys]


def _spread(centre: float, room: float, widest: float, number: int) -> list[float]:
    gap = min(widest, room / (number - 1)) if number > 1 else 0
    return [round(centre + gap * (place - (number - 1) / 2), 1) for place in range(number)]


# --- from one to the other ---


def _route(way: Way, start: Point, end: Point, bands: Sequence[_Band]) -> Route:
    return Route(
        points=(start, *_between(way, start, end, bands), end),
        upwards=way.upwards,
        label=Point(way.label.x, bands[way.label.layer].middle) if way.label else None,
    )


def _between(way: Way, start: Point, end: Point, bands: Sequence[_Band]) -> Iterator[Point]:
    for number, cell in enumerate(way.waypoints):
        band = bands[cell.layer]
        first, last = (band.bottom, band.top) if way.upwards else (band.top, band.bottom)
        if way.upwards and number == 0:
            first = start.y
        if way.upwards and number == len(way.waypoints) - 1:
            last = end.y
        yield Point(cell.x, first)
        yield Point(cell.x, last)
