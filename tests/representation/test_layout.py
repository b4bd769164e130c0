"""Layouts of graphs: whatever the graph is, the drawing can be read."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.representation.layout import Box, Layout, Link, Placed, Route, lay_out

NAMES = "abcdefghij"

sizes = st.integers(min_value=20, max_value=200)
boxes_of_any_size = st.integers(min_value=1, max_value=len(NAMES)).flatmap(
    lambda number: st.tuples(
        *(st.builds(Box, st.just(name), sizes, sizes) for name in NAMES[:number])
    )
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tuple[Box, ...], list[Link]]:
    """Boxes, and links between any two of them: circles, loops, doubles and islands too."""
    boxes = draw(boxes_of_any_size)
    names = st.sampled_from([box.id for box in boxes])
    labels = st.sampled_from([0, 0, 0, 40, 120])
    return boxes, draw(st.lists(st.builds(Link, names, names, labels), max_size=20))


def boxes(names: str) -> list[Box]:
    return [Box(name, 80, 30) for name in names]


def links(*pairs: str) -> list[Link]:
    return [Link(source, target) for source, target in map(tuple, pairs)]


def overlap(one: Placed, other: Placed) -> bool:
    return (
        abs(one.x - other.x) < (one.width + other.width) / 2
        and abs(one.y - other.y) < (one.height + other.height) / 2
    )


def touches(box: Placed, route: Route, end: int) -> bool:
    """Whether that end of a route is on the edge of a box."""
    point = route.points[end]
    across, down = abs(point.x - box.x), abs(point.y - box.y)
    on_top_or_bottom = down == pytest.approx(box.height / 2, abs=0.2)
    on_side = across == pytest.approx(box.width / 2, abs=0.2)
    inside = across <= box.width / 2 + 0.2 and down <= box.height / 2 + 0.2
    return inside and (on_top_or_bottom or on_side)


@given(graphs())
@settings(deadline=None)
def test_no_two_boxes_overlap(graph: tuple[tuple[Box, ...], list[Link]]) -> None:
    layout = lay_out(*graph)
    for one, other in combinations(layout.boxes.values(), 2):
        assert not overlap(one, other)


@given(graphs())
@settings(deadline=None)
def test_each_link_is_drawn_once_from_its_source_to_its_target(
    graph: tuple[tuple[Box, ...], list[Link]],
) -> None:
    layout = lay_out(*graph)
    for link, route in zip(graph[1], layout.routes, strict=True):
        assert touches(layout.boxes[link.source], route, 0)
        assert touches(layout.boxes[link.target], route, -1)
        assert (route.label is not None) == bool(link.label_width)


@given(graphs())
@settings(deadline=None)
def test_links_lead_downwards_but_for_those_that_close_a_circle(
    graph: tuple[tuple[Box, ...], list[Link]],
) -> None:
    layout = lay_out(*graph)
    for link, route in zip(graph[1], layout.routes, strict=True):
        source, target = layout.boxes[link.source], layout.boxes[link.target]
        assert (source.layer >= target.layer) == route.upwards
        ys = [point.y for point in route.points]
        assert ys == sorted(ys, reverse=route.upwards)


@given(graphs())
@settings(deadline=None)
def test_without_the_links_upwards_there_is_no_circle(
    graph: tuple[tuple[Box, ...], list[Link]],
) -> None:
    """And none of them is upwards for nothing: with it there is one."""
    layout = lay_out(*graph)
    kept = [link for link, route in zip(graph[1], layout.routes, strict=True) if not route.upwards]
    for link, route in zip(graph[1], layout.routes, strict=True):
        assert not leads(link.target, link.source, kept) or route.upwards
        assert leads(link.target, link.source, kept) or not route.upwards


def leads(start: str, end: str, kept: list[Link]) -> bool:
    seen = [start]
    for name in seen:
        seen += [one.target for one in kept if one.source == name and one.target not in seen]
    return end in seen


@given(graphs())
@settings(deadline=None)
def test_all_of_it_is_inside_the_drawing(graph: tuple[tuple[Box, ...], list[Link]]) -> None:
    layout = lay_out(*graph)
    for box in layout.boxes.values():
        assert box.width / 2 - 0.2 <= box.x <= layout.width - box.width / 2 + 0.2
        assert box.height / 2 <= box.y <= layout.height - box.height / 2
    for route in layout.routes:
        for point in route.points:
            assert -0.2 <= point.x <= layout.width + 0.2
            assert 0 <= point.y <= layout.height


@given(graphs())
@settings(deadline=None)
def test_routes_between_layers_pass_no_box(graph: tuple[tuple[Box, ...], list[Link]]) -> None:
    """Where a route goes straight through a layer, no box stands."""
    layout = lay_out(*graph)
    for route in layout.routes:
        inner = route.points[1:-1]
        for one, other in pairwise(inner):
            if one.x == other.x:
                assert not any(
                    crosses(one.x, (one.y + other.y) / 2, box) for box in layout.boxes.values()
                )


def crosses(x: float, y: float, box: Placed) -> bool:
    return abs(x - box.x) < box.width / 2 and abs(y - box.y) < box.height / 2


@given(graphs())
@settings(deadline=None)
def test_the_same_graph_is_drawn_the_same(graph: tuple[tuple[Box, ...], list[Link]]) -> None:
    assert lay_out(*graph) == lay_out(*graph)


def test_nothing_is_drawn_as_nothing() -> None:
    assert lay_out([], []) == Layout(boxes={}, routes=(), width=0, height=0)


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out(boxes("abcd"), links("ab", "bc", "cd"))
    assert [box.layer for box in layout.boxes.values()] == [0, 1, 2, 3]
    assert len({box.x for box in layout.boxes.values()}) == 1


def test_a_parent_stands_in_the_middle_above_its_children() -> None:
    placed = lay_out(boxes("abc"), links("ab", "ac")).boxes
    assert placed["a"].x == pytest.approx((placed["b"].x + placed["c"].x) / 2, abs=0.2)


def test_branches_that_can_be_drawn_without_a_crossing_are() -> None:
    placed = lay_out(boxes("abcdef"), links("ab", "ac", "bf", "ce", "cd")).boxes
    assert (placed["b"].x < placed["c"].x) == (placed["f"].x < placed["e"].x)
    assert (placed["b"].x < placed["c"].x) == (placed["f"].x < placed["d"].x)


def test_a_box_that_nothing_leads_to_stands_just_above_what_it_leads_to() -> None:
    placed = lay_out(boxes("abcx"), links("ab", "bc", "xc")).boxes
    assert placed["x"].layer == placed["b"].layer


def test_a_link_back_runs_along_the_right_side() -> None:
    layout = lay_out(boxes("abc"), links("ab", "bc", "ca"))
    back = layout.routes[2]
    right = max(box.x + box.width / 2 for box in layout.boxes.values())
    assert back.upwards
    assert all(point.x > right for point in back.points[1:-1])


def test_a_label_has_room_of_its_own() -> None:
    layout = lay_out(boxes("ab"), [Link("a", "b", label_width=50)])
    label = layout.routes[0].label
    assert label is not None
    assert layout.boxes["a"].y + 15 < label.y < layout.boxes["b"].y - 15


def test_hundreds_of_boxes_are_no_trouble() -> None:
    many = [Box(str(number), 80, 30) for number in range(300)]
    ways = [Link(str(number), str(number + step)) for number in range(290) for step in (1, 7)]
    assert len(lay_out(many, ways).routes) == len(ways)
