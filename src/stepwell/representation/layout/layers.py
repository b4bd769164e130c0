"""Which layer each box is in, and which links lead upwards because they close a circle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stepwell.representation.layout.model import Box, Link

__all__ = ["closing_links", "layers_of"]


# --- circles ---


def closing_links(boxes: Sequence[Box], links: Sequence[Link]) -> set[int]:
    """Return the numbers of the links without which there is no circle.

    They are those that lead back into the path on which a depth-first search stands.
    """
    outgoing: dict[str, list[int]] = {box.id: [] for box in boxes}
    for number, link in enumerate(links):
        outgoing[link.source].append(number)
    closing: set[int] = set()
    done: set[str] = set()
    for root in _sources_first(boxes, links):
        if root not in done:
            closing.update(_closing_from(root, outgoing, links, done))
    return closing


def _sources_first(boxes: Sequence[Box], links: Sequence[Link]) -> list[str]:
    fed = {link.target for link in links}
    return sorted((box.id for box in boxes), key=fed.__contains__)


def _closing_from(
    root: str, outgoing: dict[str, list[int]], links: Sequence[Link], done: set[str]
) -> Iterator[int]:
    path = {root: iter(outgoing[root])}
    while path:
        name = next(reversed(path))
        number = next(path[name], None)
        if number is None:
            del path[name]
            done.add(name)
        elif (target := links[number].target) in path:
            yield number
        elif target not in done:
            path[target] = iter(outgoing[target])


# --- layers ---


@dataclass(frozen=True, slots=True)
class _Span:
    """A link pointed downwards, with the number of layers that it needs at least."""

    upper: str
    lower: str
    length: int


_Spans: TypeAlias = dict[str, list[_Span]]


def layers_of(boxes: Sequence[Box], links: Sequence[Link], upwards: set[int]) -> dict[str, int]:
    """Return the layer of each box, from 0: all links but those upwards lead to a higher number.

    A box is one below the lowest that leads to it; one with more links down than up then sinks
    as near to its targets as it can, which makes the links shorter in all. A link with a label
    spans two layers, to have room for it.
    """
    above: _Spans = {box.id: [] for box in boxes}
    below: _Spans = {box.id: [] for box in boxes}
    for span in _spans(links, upwards):
        above[span.lower].append(span)
        below[span.upper].append(span)
    layers: dict[str, int] = {}
    order = _topological(above, below)
    for name in order:
        layers[name] = max((layers[span.upper] + span.length for span in above[name]), default=0)
    for name in reversed(order):
        if len(below[name]) > len(above[name]):
            layers[name] = min(layers[span.lower] - span.length for span in below[name])
    first = min(layers.values(), default=0)
    return {name: layer - first for name, layer in layers.items()}


def _spans(links: Sequence[Link], upwards: set[int]) -> Iterator[_Span]:
    for number, link in enumerate(links):
        if link.source != link.target:
            ends = (link.source, link.target)
            upper, lower = reversed(ends) if number in upwards else ends
            yield _Span(upper, lower, length=2 if link.label_width else 1)


def _topological(above: _Spans, below: _Spans) -> list[str]:
    missing = {name: len(spans) for name, spans in above.items()}
    order = [name for name, number in missing.items() if not number]
    for name in order:
        for span in below[name]:
            missing[span.lower] -= 1
            if not missing[span.lower]:
                order.append(span.lower)
    return order
