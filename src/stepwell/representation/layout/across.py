"""Places the cells of each row from left to right.

The squares of the horizontal distances of joined cells are made small: row by row each cell is
pulled to the mean of its neighbours, and the row gives way as little as its order and the gaps
demand. That is isotonic regression, solved by pooling adjacent violators (R. Barlow et al.,
"Statistical inference under order restrictions", 1972). It leaves long links slightly bent, so
what hangs together one to one is then put on one vertical line, as far as there is room.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from stepwell.representation.layout.grid import Cell

__all__ = ["place_across"]

_BOX_GAP = 30
_WAY_GAP = 16
_SWEEPS = 60
_STRAIGHTNESS = (1, 3, 8)
"""How strong a joint pulls, by how many waypoints it has: long links shall be straight."""


def place_across(rows: Sequence[Sequence[Cell]]) -> None:
    """Give each cell its x; the leftmost edge is at 0."""
    for row in rows:
        _pack(row)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _settle(row)
    cells = [cell for row in rows for cell in row]
    _straighten(rows)
    left = min((cell.x - cell.width / 2 for cell in cells), default=0)
    for cell in cells:
        cell.x = round(cell.x - left, 1)


def _distance(left: Cell, right: Cell) -> float:
    """How far the centres of two neighbours have to be apart."""
    gap = _BOX_GAP if left.box and right.box else _WAY_GAP
    return (left.width + right.width) / 2 + gap


def _pack(row: Sequence[Cell]) -> None:
    for left, right in pairwise(row):
        right.x = left.x + _distance(left, right)


def _settle(row: Sequence[Cell]) -> None:
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + _distance(left, right))
    wanted = [_wanted(cell) for cell in row]
    levels = _isotonic(
        [
            _Level(place - offset, weight)
            for (place, weight), offset in zip(wanted, offsets, strict=True)
        ]
    )
    for cell, level, offset in zip(row, levels, offsets, strict=True):
        cell.x = level + offset


def _wanted(cell: Cell) -> tuple[float, float]:
    """Where a cell is pulled to, and how strongly."""
    pulls = list(_pulls(cell)) or [(cell.x, 0.1)]
    weight = sum(strength for _, strength in pulls)
    return sum(place * strength for place, strength in pulls) / weight, weight


def _pulls(cell: Cell) -> Iterator[tuple[float, float]]:
    for other in (*cell.up, *cell.down):
        yield other.x, _STRAIGHTNESS[(cell.box is None) + (other.box is None)]
    if cell.beside:
        yield cell.beside.x + _distance(cell.beside, cell), 1


@dataclass(slots=True)
class _Level:
    """Neighbours that share one value: their weighted mean."""

    value: float
    weight: float
    size: int = 1


def _isotonic(levels: Sequence[_Level]) -> list[float]:
    """The nearest values that do not fall from left to right."""
    pooled: list[_Level] = []
    for level in levels:
        pooled.append(level)
        while len(pooled) > 1 and pooled[-2].value > pooled[-1].value:
            last = pooled.pop()
            pooled.append(_merged(pooled.pop(), last))
    return [level.value for level in pooled for _ in range(level.size)]


def _merged(one: _Level, other: _Level) -> _Level:
    weight = one.weight + other.weight
    value = (one.value * one.weight + other.value * other.weight) / weight
    return _Level(value, weight, one.size + other.size)


# --- straight lines ---


@dataclass(frozen=True, slots=True)
class _Room:
    """How far a cell can move to either side while the others stay."""

    left: float
    right: float

    def common(self, other: "_Room") -> "_Room":
        return _Room(max(self.left, other.left), min(self.right, other.right))


def _straighten(rows: Sequence[Sequence[Cell]]) -> None:
    neighbours = {
        cell: (left, right)
        for row in rows
        for left, cell, right in zip([None, *row], row, [*row[1:], None], strict=False)
    }
    for run in _runs(rows):
        rest = run
        while rest:
            rest = _straightened(rest, [_room(cell, *neighbours[cell]) for cell in rest])


def _runs(rows: Sequence[Sequence[Cell]]) -> Iterator[list[Cell]]:
    """The chains of cells that are joined to each other and to nothing else between."""
    for row in rows:
        for cell in row:
            if not any(_follows(above, cell) for above in cell.up):
                yield list(_run_from(cell))


def _run_from(cell: Cell) -> Iterator[Cell]:
    yield cell
    while len(cell.down) == 1 and _follows(cell, cell.down[0]):
        cell = cell.down[0]
        yield cell


def _follows(upper: Cell, lower: Cell) -> bool:
    return len(upper.down) == len(lower.up) == 1


def _room(cell: Cell, left: Cell | None, right: Cell | None) -> _Room:
    return _Room(
        left.x + _distance(left, cell) if left else -inf,
        right.x - _distance(cell, right) if right else inf,
    )


def _straightened(run: list[Cell], rooms: Sequence[_Room]) -> list[Cell]:
    """Put as much of a run as fits, from its top, on one line; return the rest."""
    room, fitting = rooms[0], 1
    for other in rooms[1:]:
        common = room.common(other)
        if common.left > common.right:
            break
        room, fitting = common, fitting + 1
    middle = sum(cell.x for cell in run[:fitting]) / fitting
    for cell in run[:fitting]:
        cell.x = min(max(middle, room.left), room.right)
    return run[fitting:]
