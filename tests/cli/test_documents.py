"""Documents of the environment, and how the example turns documents into pages."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.demo import program
from stepwell.cli.demo.documents import file_name, write_descriptions

HOSTILE = {
    "a.md": "<script>alert(1)</script>\n\n[x](javascript:alert(1))\n\n<b>bold</b>",
    "a.rst": (
        ".. raw:: html\n\n   <script>alert(1)</script>\n\n"
        ".. include:: /etc/passwd\n\n<script>alert(1)</script>\n"
    ),
    "a.txt": "</pre><script>alert(1)</script>",
    "<script>.md": "text",
}


@pytest.fixture
def example() -> Any:
    return program.load()


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("text/markdown", "my-package.md"),
        ("text/markdown; charset=UTF-8; variant=GFM", "my-package.md"),
        ("Text/X-RST", "my-package.rst"),
        ("text/plain", "my-package.txt"),
        ("text/asciidoc", "my-package.txt"),
    ],
)
def test_the_content_type_of_a_description_gives_its_suffix(content_type: str, name: str) -> None:
    assert file_name("My_Package", content_type) == name


def test_a_distribution_can_not_name_a_file_elsewhere() -> None:
    assert "/" not in file_name("../../evil", "text/plain")
    assert not file_name("../.hidden", "text/plain").startswith(".")


def test_the_environment_has_documents_of_both_kinds(tmp_path: Path, example: Any) -> None:
    write_descriptions(tmp_path)
    names = example.find_documents(tmp_path)
    assert {"pydantic.md", "docutils.rst"} <= set(names)
    assert "Pydantic" in (tmp_path / "pydantic.md").read_text()


def test_documents_are_found_in_folders_and_in_order(tmp_path: Path, example: Any) -> None:
    for name in ("b.md", "a.rst", "guide/c.txt", "d.html", ".hidden.md", ".git/e.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "folder.md").mkdir()
    assert example.find_documents(tmp_path) == ["a.rst", "b.md", "guide/c.txt"]


def test_markdown_becomes_html(example: Any) -> None:
    page = example.render("a.md", "# Title\n\n*text*\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert "<h1>Title</h1>" in page
    assert "<em>text</em>" in page
    assert "<td>2</td>" in page


def test_restructured_text_becomes_html(example: Any) -> None:
    page = example.render("a.rst", "Title\n=====\n\n*text*\n\n- point\n")
    assert '<h1 class="title">Title</h1>' in page
    assert "<em>text</em>" in page
    assert "<li>" in page


def test_plain_text_stays_as_it_is(example: Any) -> None:
    assert "<pre># no title\n  &amp; {no} format</pre>" in example.render(
        "a.txt", "# no title\n  & {no} format"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_bring_no_code_and_no_files_in(name: str, example: Any) -> None:
    page = example.render(name, HOSTILE[name])
    assert "<script" not in page
    assert "<b>" not in page
    assert 'href="javascript:' not in page
    assert "root:" not in page


def test_a_page_may_execute_nothing_and_load_only_pictures(example: Any) -> None:
    page = example.render("a.rst", "`link <javascript:alert(1)>`_")
    policy = "default-src 'none'; img-src https:"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page


@pytest.mark.parametrize("text", ["unknown :role:`x`", ".. nothing::\n", "*", "Title\n=", "`a <"])
def test_faulty_restructured_text_is_a_page_all_the_same(text: str, example: Any) -> None:
    page = example.render("a.rst", text)
    assert page.endswith("</html>\n")
    assert "system-message" not in page


def test_a_document_whose_renderer_fails_is_shown_as_it_is(
    example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    monkeypatch.setitem(example.RENDERERS, ".md", fail)
    page = example.render("a.md", "<b>")
    assert "<!-- not rendered: ValueError -->\n<pre>&lt;b&gt;</pre>" in page


def test_a_document_that_is_no_text_is_a_page_all_the_same(tmp_path: Path, example: Any) -> None:
    (tmp_path / "a.md").write_bytes(b"\xff\xfe text")
    example.convert(tmp_path / "a.md", tmp_path / "pages" / "deep" / "a.md.html")
    assert "�� text" in (tmp_path / "pages" / "deep" / "a.md.html").read_text(encoding="utf-8")


def test_a_page_replaces_the_former_one_and_leaves_nothing_beside(
    tmp_path: Path, example: Any
) -> None:
    pages = tmp_path / "pages"
    for text in ("one", "two"):
        (tmp_path / "a.md").write_text(text)
        example.convert(tmp_path / "a.md", pages / "a.md.html")
    assert [page.name for page in pages.iterdir()] == ["a.md.html"]
    assert "<p>two</p>" in (pages / "a.md.html").read_text()
