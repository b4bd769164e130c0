"""What goes into a layout and what comes out. All lengths are in pixels."""

from dataclasses import dataclass

__all__ = ["Box", "Layout", "Link", "Placed", "Point", "Route"]


@dataclass(frozen=True, slots=True)
class Box:
    """Something to place."""

    id: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """A line from one box to another, with room for a label if that has a width."""

    source: str
    target: str
    label_width: float = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A place, from the upper left corner of the drawing."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a box is: its centre, its size, and its layer, counted from the top."""

    id: str
    x: float
    y: float
    width: float
    height: float
    layer: int


@dataclass(frozen=True, slots=True)
class Route:
    """How a link runs.

    Attributes:
        points: from the edge of its source to the edge of its target. A route is vertical at
            each of them, but one that goes upwards leaves and enters a box at its side.
        upwards: whether the link closes a circle.
        label: the centre of its label.
    """

    points: tuple[Point, ...]
    upwards: bool = False
    label: Point | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing: the boxes by id, and a route for each link in the order of the links."""

    boxes: dict[str, Placed]
    routes: tuple[Route, ...]
    width: float
    height: float
