"""`draw`: what can be seen, that it is safe to show, and where it goes."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Annotated

import pytest

from stepwell import Context, Workflow, step
from stepwell.decorators import catch_error
from stepwell.errors import WorkflowValidationError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from stepwell.representation import draw, get_workflow_representation
from stepwell.representation.mermaid import mermaid_of
from stepwell.representation.palette import style_sheet
from stepwell.representation.picture import Line, Picture, Shape, picture_of
from stepwell.representation.svg import svg_of
from stepwell.representation.text import shortened, text_width
from stepwell.resource import Resource
from stepwell.retry_policy import retry_policy

SVG = "{http://www.w3.org/2000/svg}"


class Page(Event):
    url: str


class Parsed(Event):
    """What was found in a page."""


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Client:
    pass


def get_client() -> Client:
    """Opens a client."""
    return Client()


class Crawl(Workflow):
    """Fetches pages & <b>joins</b> them.

    In detail.
    """

    @step
    async def plan(self, ev: StartEvent | Answer) -> list[Page]: ...  # pyright: ignore[reportReturnType]  never run

    @step(num_workers=8, retry_policy=retry_policy())
    async def fetch(
        self, ctx: Context, ev: Page, client: Annotated[Client, Resource(get_client)]
    ) -> Parsed | None:
        """Gets one <script>alert("page")</script> & parses it."""

    @step
    async def index(self, ev: list[Parsed]) -> Ask | StopEvent: ...  # pyright: ignore[reportReturnType]  never run

    @catch_error(for_steps=["fetch"], max_recoveries=3)
    async def skip(self, ev: StepFailedEvent) -> Parsed: ...  # pyright: ignore[reportReturnType]  never run

    @catch_error
    async def give_up(self, ev: StepFailedEvent) -> StopEvent: ...  # pyright: ignore[reportReturnType]  never run


class Tiny(Workflow):
    """One step."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def picture(*shapes: Shape, lines: tuple[Line, ...] = ()) -> Picture:
    return Picture(title="x", description="", shapes=shapes, lines=lines)


def shapes_by_label(shown: Picture) -> dict[str, Shape]:
    return {shape.label: shape for shape in shown.shapes}


# --- what is shown ---


def test_each_thing_is_shown_as_what_it_is() -> None:
    shown = {shape.label: shape.kind for shape in picture_of(Crawl).shapes}
    assert shown == {
        "plan": "step",
        "StartEvent": "start",
        "Answer": "human",
        "Page": "event",
        "fetch": "step",
        "Parsed": "event",
        "Client": "resource",
        "index": "step",
        "Ask": "human",
        "human": "outside",
        "StopEvent": "stop",
        "skip": "handler",
        "give_up": "handler",
        "StepFailedEvent": "failure",
    }


def test_lists_are_told_at_the_arrows() -> None:
    labels = {(line.source, line.target): line.label for line in picture_of(Crawl).lines}
    assert labels["plan", "Page"] == "each"
    assert labels["Parsed", "index"] == "all"
    assert labels["Page", "fetch"] == ""


def test_an_error_handler_shows_whose_failures_it_handles() -> None:
    lines = [line for line in picture_of(Crawl).lines if line.kind == "failure"]
    assert [(line.source, line.target) for line in lines] == [
        ("fetch", "StepFailedEvent of skip"),
        ("StepFailedEvent of skip", "skip"),
        ("StepFailedEvent of give_up", "give_up"),
    ]
    notes = {shape.id: shape.note for shape in picture_of(Crawl).shapes}
    assert notes["StepFailedEvent of give_up"] == "of any other step"


def test_a_resource_leads_to_what_asks_for_it() -> None:
    needs = [line for line in picture_of(Crawl).lines if line.kind == "need"]
    assert [(line.target, line.label) for line in needs] == [("fetch", "client")]


def test_a_step_tells_its_signature_its_docstring_and_its_options() -> None:
    signature, documentation, *options = shapes_by_label(picture_of(Crawl))["fetch"].details
    assert signature == "fetch(ev: Page, ctx: Context, client: Client) -> Parsed | None"
    assert documentation.startswith("Gets one")
    assert options[0] == "num_workers: 8"
    assert options[1].startswith("retry_policy: ")
    assert " at 0x" not in options[1]


def test_a_filtered_graph_can_be_drawn_too() -> None:
    graph = get_workflow_representation(Crawl).filter_by_node_type("event", "external")
    shown = picture_of(graph)
    assert {shape.label for shape in shown.shapes} >= {"plan", "fetch", "index"}
    assert Line("plan", "fetch", "Page") in shown.lines


# --- SVG ---


def test_an_svg_is_xml_with_a_title_and_a_description() -> None:
    root = ET.fromstring(draw(Crawl, format="svg"))  # noqa: S314  our own text
    assert root.tag == f"{SVG}svg"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == "Crawl"
    assert description is not None
    assert "5 steps" in (description.text or "")


def test_an_svg_has_each_shape_and_each_line_once() -> None:
    root = ET.fromstring(draw(Crawl, format="svg"))  # noqa: S314  our own text
    shown = picture_of(Crawl)
    groups = [one for one in root.iter(f"{SVG}g") if "shape" in one.get("class", "").split()]
    paths = [one for one in root.iter(f"{SVG}path") if "line" in one.get("class", "").split()]
    assert len(groups) == len(shown.shapes)
    assert len(paths) == len(shown.lines)


def test_a_drawing_needs_nothing_from_elsewhere() -> None:
    for name in ("svg", "html"):
        text = draw(Crawl, format=name).replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text
        assert "@import" not in text
        assert "src=" not in text


def test_no_text_becomes_markup() -> None:
    for name in ("svg", "html"):
        text = draw(Crawl, format=name)
        assert '<script>alert("page")' not in text
        assert "<b>joins</b>" not in text
        assert "&lt;script&gt;alert(&quot;page&quot;)" in text


@pytest.mark.parametrize("label", ['<&>"', "]]>", "a\x00b\x1bc", "\ud800", "\uffff", "日本語", ""])
def test_any_label_can_be_drawn(label: str) -> None:
    shape = Shape("a", "step", label, note=label, details=(label,))
    text = svg_of(picture(shape, lines=(Line("a", "a", label),)))
    ET.fromstring(text.encode())  # noqa: S314  our own text


def test_texts_fit_into_their_boxes() -> None:
    for label in ("i", "WWWWWWWW", "a_rather_long_name_of_a_step", "日本語のステップ"):
        root = ET.fromstring(svg_of(picture(Shape("a", "step", label))))  # noqa: S314  our own text
        body = next(
            one
            for one in root.iter(f"{SVG}rect")
            if one.get("class") == "body" and one.get("rx") == "8"
        )
        assert float(body.get("width", 0)) > text_width(label, 13)


def test_a_very_long_label_is_shortened_and_told_in_full() -> None:
    label = "x" * 200
    text = svg_of(picture(Shape("a", "step", label)))
    assert f"<title>{label}</title>" in text
    assert f">{shortened(label, 60)}</text>" in text


def test_there_are_colours_for_light_and_for_dark() -> None:
    assert "prefers-color-scheme: dark" in style_sheet()
    assert draw(Tiny, format="svg").count("prefers-color-scheme: dark") == 1


def test_the_same_workflow_is_drawn_the_same() -> None:
    for name in ("svg", "html", "mermaid"):
        assert draw(Crawl, format=name) == draw(Crawl(), format=name)


# --- HTML ---


def test_a_page_holds_the_drawing_and_its_script() -> None:
    page = draw(Crawl, format="html")
    assert page.startswith("<!doctype html>")
    assert "<title>Crawl</title>" in page
    assert draw(Crawl, format="svg") in page
    assert page.count("</script>") == 1


# --- Mermaid ---


def test_a_workflow_is_written_as_mermaid() -> None:
    assert (
        draw(Tiny)
        == """\
---
title: "Tiny"
---
flowchart TD
    step_only["only"]:::stepKind
    start_StartEvent(["StartEvent"]):::startKind
    stop_StopEvent(["StopEvent"]):::stopKind
    step_only --> stop_StopEvent
    start_StartEvent --> step_only
    classDef stepKind fill:#e8f0fb,stroke:#7fa3d1,color:#1c3557
    classDef startKind fill:#e4f3ea,stroke:#74b28f,color:#1c4a31
    classDef stopKind fill:#eeeaf8,stroke:#9d8dcb,color:#3c2f68
"""
    )


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ('say "hi"', "say #34;hi#34;"),
        ("a]b|c", "a#93;b#124;c"),
        ("<b>", "#60;b#62;"),
        ("`code` #1;", "#96;code#96; #35;1#59;"),
        ("two\nlines", "two lines"),
        ("größe", "größe"),
    ],
)
def test_signs_that_mean_something_to_mermaid_are_written_as_codes(
    label: str, written: str
) -> None:
    text = mermaid_text(Shape("a", "step", label), Shape("b", "event", "b"), label=label)
    assert f'step_a["{written}"]:::stepKind' in text
    assert f'step_a -->|"{written}"| event_b' in text


def mermaid_text(*shapes: Shape, label: str = "") -> str:
    return mermaid_of(picture(*shapes, lines=(Line("a", "b", label),)))


def test_ids_that_look_alike_to_mermaid_stay_apart() -> None:
    text = mermaid_text(Shape("a", "step", "1"), Shape("b", "step", "2"), Shape("b!", "step", "3"))
    assert 'step_b["2"]' in text
    assert 'step_b_2["3"]' in text


def test_a_step_may_be_called_like_a_word_of_mermaid() -> None:
    text = mermaid_text(Shape("a", "step", "end"), Shape("b", "step", "graph"))
    assert 'step_a["end"]' in text


# --- files ---


@pytest.mark.parametrize("suffix", [".svg", ".html", ".mmd", ".md", ".SVG"])
def test_what_is_returned_is_what_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"flow{suffix}"
    text = draw(Tiny, path)
    assert path.read_text(encoding="utf-8") == text
    assert draw(Tiny, str(path)) == text


def test_markdown_holds_mermaid_in_a_block(tmp_path: Path) -> None:
    assert draw(Tiny, tmp_path / "flow.md") == f"```mermaid\n{draw(Tiny)}```\n"


def test_a_format_that_is_given_wins_over_the_suffix(tmp_path: Path) -> None:
    assert draw(Tiny, tmp_path / "flow.txt", format="mermaid") == draw(Tiny)


def test_a_suffix_without_a_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WorkflowValidationError, match="says nothing about the format"):
        draw(Tiny, tmp_path / "flow.png")
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(WorkflowValidationError, match="unknown format 'png'"):
        draw(Tiny, format="png")  # pyright: ignore[reportArgumentType]  that is the test


def test_what_is_no_workflow_cannot_be_drawn() -> None:
    with pytest.raises(WorkflowValidationError, match="is no workflow"):
        draw(3)
