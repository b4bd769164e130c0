"""Wraps a drawing in a page that moves, zooms and tells more, in one file."""

from html import escape
from importlib.resources import files
from string import Template

from stepwell.representation.picture import Picture
from stepwell.representation.svg import svg_of
from stepwell.representation.text import visible

__all__ = ["page_of"]


def page_of(picture: Picture) -> str:
    """Return the HTML document of a picture."""
    return Template(_part("page.html")).substitute(
        title=escape(visible(picture.title)), svg=svg_of(picture), script=_part("page.js")
    )


def _part(name: str) -> str:
    return files("stepwell.representation").joinpath(name).read_text(encoding="utf-8")
