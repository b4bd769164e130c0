"""Sorts the rows so that few links cross.

Each row is sorted by the barycenters of its neighbours, sweeping down and up; after each sweep
neighbours are swapped where that helps (E. Gansner et al., "A technique for drawing directed
graphs", 1993). What stands beside a box moves with it.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import TypeAlias

from stepwell.representation.layout.grid import Cell

__all__ = ["sort_rows"]

_SWEEPS = 16

_Rows: TypeAlias = list[list[Cell]]
_Positions: TypeAlias = dict[Cell, int]


def sort_rows(rows: _Rows) -> None:
    """Sort each row in place; of all sweeps the order with the fewest crossings is kept."""
    for row in rows:
        _arrange(row, [cell for cell in row if cell.beside is None], _positions(rows))
    best, fewest = _copy(rows), _crossings(rows)
    for sweep in range(_SWEEPS):
        _sweep(rows, downwards=sweep % 2 == 0)
        _swap_neighbours(rows)
        if (crossings := _crossings(rows)) < fewest:
            best, fewest = _copy(rows), crossings
    rows[:] = best


def _copy(rows: _Rows) -> _Rows:
    return [list(row) for row in rows]


def _positions(rows: _Rows) -> _Positions:
    return {cell: position for row in rows for position, cell in enumerate(row)}


def _arrange(row: list[Cell], order: Sequence[Cell], positions: _Positions) -> None:
    """Put a row into this order; the waypoints beside a box follow it, the nearest links first."""
    followers: dict[Cell, list[Cell]] = {cell: [] for cell in order}
    for cell in row:
        if cell.beside is not None:
            followers[cell.beside].append(cell)
    for waypoints in followers.values():
        waypoints.sort(
            key=lambda cell: max((positions[it] for it in cell.up + cell.down), default=0)
        )
    row[:] = [cell for leader in order for cell in (leader, *followers[leader])]
    positions.update((cell, position) for position, cell in enumerate(row))


def _sweep(rows: _Rows, *, downwards: bool) -> None:
    positions = _positions(rows)

    def barycenter(cell: Cell) -> float:
        joined = cell.up if downwards else cell.down
        found = [positions[other] for other in joined]
        return sum(found) / len(found) if found else positions[cell]

    for row in rows if downwards else reversed(rows):
        free = sorted((cell for cell in row if cell.beside is None), key=barycenter)
        _arrange(row, free, positions)


def _swap_neighbours(rows: _Rows) -> None:
    positions = _positions(rows)
    for row in rows:
        order = [cell for cell in row if cell.beside is None]
        for left in range(len(order) - 1):
            one, other = order[left : left + 2]
            if _crossed(one, other, positions) > _crossed(other, one, positions):
                order[left : left + 2] = other, one
        _arrange(row, order, positions)


def _crossed(left: Cell, right: Cell, positions: _Positions) -> int:
    """How often the links of two cells cross, if they stand in this order."""
    return sum(
        positions[one] > positions[other]
        for ends, others in ((left.up, right.up), (left.down, right.down))
        for one in ends
        for other in others
    )


def _crossings(rows: _Rows) -> int:
    positions = _positions(rows)
    return sum(
        _inversions([position for cell in row for position in _sorted(cell.down, positions)])
        for row in rows
    )


def _sorted(cells: Sequence[Cell], positions: _Positions) -> list[int]:
    return sorted(positions[cell] for cell in cells)


def _inversions(numbers: Sequence[int]) -> int:
    """How many pairs stand in the wrong order."""
    seen: list[int] = []
    count = 0
    for number in numbers:
        count += len(seen) - bisect_right(seen, number)
        insort(seen, number)
    return count
