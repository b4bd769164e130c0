"""What is counted from a journal and from pages."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.demo.journal import Entry
from stepwell.cli.demo.numbers import Launch, Numbers, count, find_lost, find_unrendered
from stepwell.cli.demo.screen import verdict

DOCUMENTS = ["a.md", "b.md", "c.md"]
WHOLE = "<!doctype html>\n<p>text</p>\n</html>\n"


def conversions(pid: int, *documents: str, at: float = 0.0) -> list[Entry]:
    """A process that was ready after 1 s and began conversions at 2 s, 3 s, ..."""
    entries = [Entry(pid=pid, at=at + 1, what="ready")]
    for n, name in enumerate(documents, start=1):
        begun = Entry(
            pid=pid, at=at + 1 + n, what="began", document=name, commits=n, bytes_sent=10 * n
        )
        entries += [begun, begun.model_copy(update={"what": "ended"})]
    return entries


def launches(*killed: bool) -> list[Launch]:
    return [Launch(pid, at=100.0 * pid, killed=was) for pid, was in enumerate(killed, start=1)]


def numbers(**changes: Any) -> Numbers:
    nothing = count(DOCUMENTS, conversions(1, *DOCUMENTS), launches(False))
    return Numbers(**{**nothing.__dict__, **changes})


def test_a_run_without_kills_executes_each_document_once() -> None:
    result = count(DOCUMENTS, conversions(1, *DOCUMENTS), launches(False))
    assert (result.documents, result.executed, result.repeated, result.kills) == (3, 3, 0, 0)
    assert result.resumes == []
    assert result.passed


def test_a_document_that_was_begun_twice_is_a_repetition() -> None:
    entries = conversions(1, "a.md", "b.md") + conversions(2, "b.md", "c.md")
    result = count(DOCUMENTS, entries, launches(True, False))
    assert (result.executed, result.repeated, result.kills) == (4, 1, 1)
    assert result.passed


def test_a_document_that_was_begun_three_times_is_two_repetitions() -> None:
    entries = conversions(1, "a.md") + conversions(2, "a.md") + conversions(3, *DOCUMENTS)
    result = count(DOCUMENTS, entries, launches(True, True, False))
    assert (result.executed, result.repeated) == (5, 2)
    assert result.passed


def test_a_conversion_counts_although_it_did_not_end() -> None:
    entries = conversions(1, "a.md")[:-1] + conversions(2, *DOCUMENTS)
    assert count(DOCUMENTS, entries, launches(True, False)).repeated == 1


def test_more_repetitions_than_kills_do_not_pass() -> None:
    entries = conversions(1, "a.md", "b.md") + conversions(2, *DOCUMENTS)
    result = count(DOCUMENTS, entries, launches(True, False))
    assert result.repeated == 2
    assert not result.passed
    assert "2 conversions had to be repeated after 1 kill" in verdict(result)


def test_a_lost_document_does_not_pass() -> None:
    result = count(DOCUMENTS, conversions(1, *DOCUMENTS), launches(False), lost=["b.md"])
    assert not result.passed
    assert verdict(result) == "Lost 1 document: b.md."


def test_commits_and_bytes_are_added_up_over_the_processes() -> None:
    entries = conversions(1, "a.md", "b.md") + conversions(2, "b.md", "c.md")
    result = count(DOCUMENTS, entries, launches(True, False))
    assert (result.commits, result.bytes_sent) == (4, 40)


def test_the_time_to_resume_is_from_the_start_of_a_process_to_its_first_conversion() -> None:
    entries = conversions(1, "a.md") + conversions(2, *DOCUMENTS, at=200.5)
    (resume,) = count(DOCUMENTS, entries, launches(True, False)).resumes
    assert (resume.total, resume.startup, resume.takeover) == (2.5, 1.5, 1.0)


def test_a_process_that_had_nothing_left_to_convert_has_no_time_to_resume() -> None:
    entries = conversions(1, *DOCUMENTS) + conversions(2)
    assert count(DOCUMENTS, entries, launches(True, False)).resumes == []


@pytest.mark.parametrize(
    ("page", "lost"),
    [
        pytest.param(None, ["a.md"], id="missing"),
        pytest.param("", ["a.md"], id="empty"),
        pytest.param(WHOLE[:-4], ["a.md"], id="cut"),
        pytest.param(WHOLE[4:], ["a.md"], id="without beginning"),
        pytest.param(WHOLE, [], id="whole"),
    ],
)
def test_a_document_is_lost_unless_its_page_is_whole(
    tmp_path: Path, page: str | None, lost: list[str]
) -> None:
    if page is not None:
        (tmp_path / "a.md.html").write_text(page)
    assert find_lost(["a.md"], tmp_path) == lost


def test_pages_tell_whose_renderer_failed(tmp_path: Path) -> None:
    (tmp_path / "a.md.html").write_text(WHOLE)
    (tmp_path / "b.md.html").write_text("<body>\n<!-- not rendered: KeyError -->\n</body>")
    assert find_unrendered(DOCUMENTS, tmp_path) == ["b.md"]


@pytest.mark.parametrize(("kills", "words"), [(0, "not killed"), (1, "once"), (2, "twice")])
def test_the_verdict_names_the_kills(kills: int, words: str) -> None:
    assert words in verdict(numbers(kills=kills))


def test_the_verdict_names_some_of_many_lost_documents() -> None:
    lost = [f"{number}.md" for number in range(9)]
    assert verdict(numbers(lost=lost)) == (
        "Lost 9 documents: 0.md, 1.md, 2.md, 3.md, 4.md and 4 more."
    )
