"""Places boxes in layers and routes the links between them: the layered drawing of a digraph.

The frame is that of K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of
hierarchical system structures" (1981), one module a phase:

1. `layers`: a depth-first search finds the links that close circles, which are drawn upwards; a
   box is in the layer below all that leads to it,
2. `grid`: a link has a waypoint of its own in each layer that it crosses,
3. `order`: barycenters and swaps of neighbours sort each layer, so that few links cross,
4. `across`: each cell goes as near to its neighbours as the others in its layer allow,
5. `routes`: heights are given out, and the links are led from box to box.

All of it is pure, and nothing depends on chance or on the order of a set.
"""

from collections.abc import Sequence

from stepwell.representation.layout.across import place_across
from stepwell.representation.layout.grid import Grid
from stepwell.representation.layout.layers import closing_links, layers_of
from stepwell.representation.layout.model import Box, Layout, Link, Placed, Point, Route
from stepwell.representation.layout.order import sort_rows
from stepwell.representation.layout.routes import drawn

__all__ = ["Box", "Layout", "Link", "Placed", "Point", "Route", "lay_out"]


def lay_out(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Place boxes and route links; the ends of each link are ids of boxes."""
    upwards = closing_links(boxes, links)
    grid = Grid(boxes, links, upwards, layers_of(boxes, links, upwards))
    sort_rows(grid.rows)
    place_across(grid.rows)
    return drawn(grid)
