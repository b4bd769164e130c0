"""`draw`: a workflow as Mermaid text, as an SVG or as a page."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias

from stepwell.errors import WorkflowValidationError
from stepwell.representation.mermaid import mermaid_of
from stepwell.representation.page import page_of
from stepwell.representation.picture import Picture, picture_of
from stepwell.representation.svg import svg_of

__all__ = ["DrawingFormat", "draw"]

DrawingFormat: TypeAlias = Literal["mermaid", "markdown", "svg", "html"]

_SUFFIXES: dict[str, DrawingFormat] = {
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".md": "markdown",
    ".svg": "svg",
    ".html": "html",
    ".htm": "html",
}


def draw(
    workflow: object,
    path: str | PathLike[str] | None = None,
    *,
    format: DrawingFormat | None = None,  # noqa: A002 - what it is called where things are saved
) -> str:
    """Draw a workflow: its steps, and the events and resources between them.

    Args:
        workflow: a workflow class, an instance of one, or a `WorkflowGraph`.
        path: where the drawing is written, if anywhere. Its suffix says what is drawn: `.mmd` and
            `.md` are Mermaid text, bare and in a Markdown block; `.svg` is a picture; `.html` a
            page to move and zoom in. Both of them follow the reader's light or dark mode and need
            no other file.
        format: "mermaid", "markdown", "svg" or "html", whatever the suffix; "mermaid" by default
            where there is no path.

    Returns:
        The text of the drawing.

    Raises:
        WorkflowValidationError: the first argument is no workflow, or the format is unknown.
        OSError: the file can't be written.
    """
    target = None if path is None else Path(path)
    text = _drawer(format or _format_of(target))(picture_of(workflow))
    if target is not None:
        target.write_text(text, encoding="utf-8")
    return text


def _format_of(path: Path | None) -> DrawingFormat:
    if path is None:
        return "mermaid"
    if path.suffix.lower() not in _SUFFIXES:
        raise WorkflowValidationError(
            f"draw: the suffix of {str(path)!r} says nothing about the format. End it with one of "
            f"{', '.join(_SUFFIXES)}, or give format=..."
        )
    return _SUFFIXES[path.suffix.lower()]


def _markdown_of(picture: Picture) -> str:
    return f"```mermaid\n{mermaid_of(picture)}```\n"


_DRAWERS: dict[str, Callable[[Picture], str]] = {
    "mermaid": mermaid_of,
    "markdown": _markdown_of,
    "svg": svg_of,
    "html": page_of,
}


def _drawer(name: str) -> Callable[[Picture], str]:
    if name not in _DRAWERS:
        raise WorkflowValidationError(
            f"draw: unknown format {name!r}. Choose one of {', '.join(_DRAWERS)}."
        )
    return _DRAWERS[name]
