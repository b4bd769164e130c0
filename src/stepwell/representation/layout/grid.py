"""The cells of a layout in their rows: boxes, and the waypoints of the links."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from stepwell._empty import empty
from stepwell.representation.layout.model import Box, Link

__all__ = ["Cell", "Grid", "Way"]


@dataclass(slots=True, eq=False)
class Cell:
    """A box, or a waypoint of a link.

    Attributes:
        layer: the number of its row.
        width: zero for a waypoint that carries no label.
        box: None for a waypoint.
        beside: the box to whose right a waypoint stands.
        up: the cells in the row above that it is joined to.
        down: those in the row below.
        x: its centre.
    """

    layer: int
    width: float
    box: Box | None = None
    beside: "Cell | None" = None
    up: list["Cell"] = field(default_factory=empty(list["Cell"]))
    down: list["Cell"] = field(default_factory=empty(list["Cell"]))
    x: float = 0


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A link with the cells that it runs through.

    Attributes:
        waypoints: those between its ends, the one nearest to the source first. A link upwards
            has one beside either end too.
        label: the waypoint that carries its label.
    """

    source: Cell
    target: Cell
    waypoints: list[Cell]
    upwards: bool
    label: Cell | None


class Grid:
    """Rows of cells, each from left to right; and a way for each link."""

    def __init__(
        self,
        boxes: Sequence[Box],
        links: Sequence[Link],
        upwards: set[int],
        layers: dict[str, int],
    ) -> None:
        self.boxes = {box.id: Cell(layers[box.id], box.width, box) for box in boxes}
        self.rows: list[list[Cell]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
        for cell in self.boxes.values():
            self.rows[cell.layer].append(cell)
        self.ways = [self._way(link, number in upwards) for number, link in enumerate(links)]

    def _way(self, link: Link, upwards: bool) -> Way:
        source, target = self.boxes[link.source], self.boxes[link.target]
        crossed = (
            range(source.layer, target.layer - 1, -1)
            if upwards
            else range(source.layer + 1, target.layer)
        )
        waypoints = [Cell(layer, width=0) for layer in crossed]
        label = waypoints[len(waypoints) // 2] if link.label_width else None
        if label:
            label.width = link.label_width
        if upwards:
            waypoints[0].beside, waypoints[-1].beside = source, target
            _join(list(reversed(waypoints)))
        else:
            _join([source, *waypoints, target])
        for cell in waypoints:
            self.rows[cell.layer].append(cell)
        return Way(source, target, waypoints, upwards, label)


def _join(downwards: Sequence[Cell]) -> None:
    for upper, lower in pairwise(downwards):
        upper.down.append(lower)
        lower.up.append(upper)
