"""Read these files in order, like a short book: each explains one idea, by programs that run.

The contents are in docs/tutorial.md. A later file uses what the earlier ones have introduced, and
nothing else. All that a program needs stands in its file. Only the Redis of the durable ones, from
chapter 20 on, comes from outside: `redis_url` is the address of a real server, and `namespace` a
name in it that no other test uses.
"""

import ast
from pathlib import Path

import pytest

CHAPTERS = sorted(
    path for path in Path(__file__).parent.glob("test_*.py") if path.stem[5:7] != "00"
)
PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def first_sentence(chapter: Path) -> str:
    return (ast.get_docstring(ast.parse(chapter.read_text())) or "").partition("\n")[0]


def test_the_contents_list_every_chapter_in_order_with_its_first_sentence() -> None:
    expected = [
        f"{number}. [{chapter.stem[8:].replace('_', ' ').capitalize()}]"
        f"(../tests/fundamentals/{chapter.name}): {first_sentence(chapter)}"
        for number, chapter in enumerate(CHAPTERS, start=1)
    ]
    assert [line for line in PAGE.read_text().splitlines() if line[:1].isdigit()] == expected


def test_the_chapters_are_numbered_without_a_gap() -> None:
    numbers = [int(chapter.stem[5:7]) for chapter in CHAPTERS]
    assert numbers == list(range(1, len(CHAPTERS) + 1))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_imports_what_every_user_can_import(chapter: Path) -> None:
    modules = [
        node.module
        for node in ast.walk(ast.parse(chapter.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    own = [module for module in modules if module.startswith(("stepwell._", "support"))]
    assert own == []
