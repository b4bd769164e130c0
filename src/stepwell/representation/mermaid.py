"""Writes a picture as Mermaid text, as many places show it that show Markdown."""

import re
from collections.abc import Iterator, Mapping

from stepwell.representation.palette import SHAPE_COLOURS
from stepwell.representation.picture import Kind, Line, Picture, Shape
from stepwell.representation.text import visible

__all__ = ["mermaid_of"]

_PILL = '(["{}"])'
_BRACKETS: Mapping[Kind, str] = {
    "step": '["{}"]',
    "handler": '["{}"]',
    "outside": '[/"{}"/]',
    "resource": '[("{}")]',
    "config": '[("{}")]',
}
_ARROWS = {"flow": "-->", "failure": "-.->", "need": "-.->"}


def mermaid_of(picture: Picture) -> str:
    """Return the Mermaid flowchart of a picture."""
    ids = _ids(picture)
    kinds: dict[Kind, None] = dict.fromkeys(shape.kind for shape in picture.shapes)
    return "\n".join(
        [
            "---",
            f'title: "{_title(picture.title)}"',
            "---",
            "flowchart TD",
            *(f"    {_node(ids[shape.id], shape)}" for shape in picture.shapes),
            *(f"    {_edge(line, ids)}" for line in picture.lines),
            *(f"    {_class(kind)}" for kind in kinds),
            "",
        ]
    )


def _ids(picture: Picture) -> dict[str, str]:
    """Names that Mermaid takes, one for each shape; the kind keeps them off its own words."""
    ids: dict[str, str] = {}
    for shape in picture.shapes:
        wanted = f"{shape.kind}_{re.sub(r'[^A-Za-z0-9]+', '_', shape.id).strip('_')}"
        ids[shape.id] = next(name for name in _candidates(wanted) if name not in ids.values())
    return ids


def _candidates(wanted: str) -> Iterator[str]:
    yield wanted
    number = 2
    while True:
        yield f"{wanted}_{number}"
        number += 1


def _node(node_id: str, shape: Shape) -> str:
    text = _escaped(shape.label)
    if shape.note:
        text += f"<br/>{_escaped(shape.note)}"
    return f"{node_id}{_BRACKETS.get(shape.kind, _PILL).format(text)}:::{_class_name(shape.kind)}"


def _edge(line: Line, ids: Mapping[str, str]) -> str:
    label = f'|"{_escaped(line.label)}"|' if line.label else ""
    return f"{ids[line.source]} {_ARROWS[line.kind]}{label} {ids[line.target]}"


def _class(kind: Kind) -> str:
    light, _ = SHAPE_COLOURS[kind]
    return f"classDef {_class_name(kind)} fill:{light.fill},stroke:{light.edge},color:{light.text}"


def _class_name(kind: Kind) -> str:
    return f"{kind}Kind"


def _escaped(text: str) -> str:
    """All but letters, digits and harmless signs as the character codes that Mermaid knows."""
    line = " ".join(visible(text).split())
    return "".join(
        character if character.isalnum() or character in " _.,:()-" else f"#{ord(character)};"
        for character in line
    )


def _title(text: str) -> str:
    """A string of YAML."""
    return " ".join(visible(text).split()).replace("\\", "\\\\").replace('"', '\\"')
