"""Random programs whose outcome does not depend on the order in which free steps run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from differential.model import (
    Act,
    Arms,
    Branch,
    Loop,
    Pass,
    Pipeline,
    Program,
    Scatter,
    Spread,
    Stage,
    Trouble,
)

__all__ = ["programs"]

PLENTY = 1000
"""A budget of recoveries that no program uses up."""


@dataclass(frozen=True)
class Place:
    """What may be done at a place in a program.

    Attributes:
        depth: how many more stages may stand inside each other.
        single: there is one token at a time here.
        alone: nothing else runs, so that the end of the run cuts nothing off.
        unique: the path of a token tells it from others.
        quiet: the run may end before what happens here is done: leave no trace.
        mortal: the token may die, since a stream notices.
        drained: nothing ends before all of this place is done, side steps too.
        looped: it is inside of a loop.
    """

    depth: int = 2
    single: bool = True
    alone: bool = True
    unique: bool = True
    quiet: bool = False
    mortal: bool = False
    drained: bool = False
    looped: bool = False

    @property
    def inner(self) -> "Place":
        """One level deeper."""
        return replace(self, depth=self.depth - 1)

    @property
    def mixed(self) -> "Place":
        """After a join that can't tell whose parts it has."""
        return replace(self, unique=self.single)


@st.composite
def programs(draw: DrawFn) -> Program:
    """Programs for `source.written`."""
    place = Place(depth=draw(st.integers(1, 2)))
    stages, place = draw(_pipelines(place, longest=3))
    wildcard = PLENTY if draw(st.integers(0, 3)) == 0 else None
    return Program(stages, draw(st.integers(0, 6)), draw(_acts(place)), wildcard)


@st.composite
def _pipelines(draw: DrawFn, place: Place, longest: int = 2) -> tuple[Pipeline, Place]:
    """A pipeline, and the place behind it."""
    stages: list[Stage] = []
    for _ in range(draw(st.sampled_from([1, 1, longest]))):
        stage, place = draw(_stages(place))
        stages.append(stage)
    return tuple(stages), place


def _stages(place: Place) -> st.SearchStrategy[tuple[Stage, Place]]:
    """A stage that may stand here, and the place behind it."""
    kinds: list[Callable[[Place], st.SearchStrategy[tuple[Stage, Place]]]] = [_passes, _passes]
    if place.depth:
        kinds += [_branches, _spreads, _spreads, _arms]
        kinds += [_loops] * (not place.looped)
        kinds += [_scatters] * (place.single and not place.drained)
    return st.sampled_from(kinds).flatmap(lambda kind: kind(place))


@st.composite
def _passes(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    dies_at = draw(st.integers(0, 2)) if place.mortal and draw(st.booleans()) else None
    aside = None
    if draw(st.integers(0, 3)) == 0:
        quiet = place.quiet or not place.drained
        aside = draw(_acts(replace(place, quiet=quiet, alone=False), calm=True))
    return Pass(draw(_acts(place)), dies_at, aside), place


@st.composite
def _branches(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    act = draw(_acts(place))
    odd, after_odd = draw(_pipelines(place.inner))
    even, after_even = draw(_pipelines(place.inner))
    unique = after_odd.unique and after_even.unique
    return Branch(act, odd, even), replace(place, unique=unique)


@st.composite
def _loops(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    before = place.mixed
    body, after = draw(_pipelines(replace(before.inner, looped=True)))
    loop = Loop(draw(_acts(before)), draw(st.integers(0, 3)), body, draw(_acts(after)))
    return loop, before if after.unique else after.mixed


@st.composite
def _spreads(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    take = draw(st.none() | st.integers(1, 3))
    inside = replace(
        place.inner,
        single=False,
        alone=False,
        mortal=True,
        drained=place.drained or take is None,
        quiet=place.quiet or (take is not None and not place.drained),
    )
    parts = draw(_parts(inside))
    size = draw(st.none() | st.integers(0, 4))
    after = place.mixed
    spread = Spread(draw(_acts(place)), size, parts, take, draw(_acts(after)))
    return spread, after if take is None or place.drained else _left_behind(after)


def _left_behind(place: Place) -> Place:
    """Others may still be at work here."""
    return replace(place, alone=False)


@st.composite
def _scatters(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    inside = replace(place.inner, single=False, alone=False, mortal=False)
    parts = draw(_parts(inside))
    size = draw(st.integers(1, 4))
    sender, join = (draw(_acts(place, plain=True)) for _ in range(2))
    scatter = Scatter(sender, size, parts, join)
    return scatter, place.mixed


@st.composite
def _arms(draw: DrawFn, place: Place) -> tuple[Stage, Place]:
    inside = replace(place.inner, alone=False, mortal=False)
    number = draw(st.integers(2, 3))
    arms = tuple(draw(_pipelines(inside))[0] for _ in range(number))
    return Arms(arms, draw(_acts(place.mixed)), place.single, draw(st.booleans())), place.mixed


@st.composite
def _parts(draw: DrawFn, place: Place) -> tuple[Pipeline, ...]:
    return tuple(draw(_pipelines(place))[0] for _ in range(draw(st.integers(1, 2))))


@st.composite
def _acts(draw: DrawFn, place: Place, *, calm: bool = False, plain: bool = False) -> Act:
    workers = draw(st.integers(1, 4))
    trouble = None if calm else draw(_troubles(place))
    if not plain and draw(st.integers(0, 5)) == 0:
        return Act(sync=True, workers=workers, trouble=trouble)
    act = Act(pauses=draw(st.integers(0, 2)), workers=workers, trouble=trouble)
    return act if place.quiet else draw(_traces(place, act))


@st.composite
def _traces(draw: DrawFn, place: Place, act: Act) -> Act:
    return replace(
        act,
        notes=draw(st.booleans()),
        adds=draw(st.integers(0, 2)),
        keeps=place.unique and draw(st.booleans()),
        asks=place.unique and draw(st.integers(0, 9)) == 0,
    )


@st.composite
def _troubles(draw: DrawFn, place: Place) -> Trouble | None:
    if draw(st.integers(0, 4)):
        return None
    attempts = draw(st.integers(1, 3))
    fails = draw(st.integers(1, attempts))
    odd = draw(st.booleans())
    if fails < attempts:
        return Trouble(fails, attempts, odd)
    small = draw(st.integers(1, 2)) if place.alone else PLENTY
    handled = not place.alone or draw(st.booleans())
    return Trouble(fails, attempts, odd, small if handled else None)
