"""`stepwell demo`, from its command line to its files, with real kills and a real server."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepwell.cli.app import app
from stepwell.cli.demo import program
from stepwell.cli.demo.journal import JournalReader
from support.processes import Child
from support.servers import RedisServer

COUNT = 40
TEXT = {
    ".md": "# Title {n}\n\nSome *text* and a [link](https://example.org).\n\n" * 60,
    ".rst": "Title {n}\n=======\n\nSome *text* and a `link <https://example.org>`__.\n\n" * 30,
}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(COUNT):
        suffix = list(TEXT)[number % 2]
        (folder / f"{number:02}{suffix}").write_text(TEXT[suffix].format(n=number))
    return folder


def row(output: str, name: str) -> str:
    found = re.search(rf"{name} +│ +(.+?) +│", output)
    assert found is not None, output
    return found[1]


def conversions(home: Path) -> Counter[str]:
    reader = JournalReader(home / "journal.jsonl")
    reader.read()
    reader.close()
    return Counter(entry.document for entry in reader.entries if entry.what == "began")


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_nothing_is_lost_and_what_was_finished_is_not_done_again(
    documents: Path, tmp_path: Path, own_server: Callable[..., RedisServer]
) -> None:
    output = run("--documents", documents, "--out", tmp_path / "out", "--url", own_server().url)

    (home,) = (tmp_path / "out").iterdir()
    begun = conversions(home)
    pages = {page.name.removesuffix(".html") for page in (home / "pages").glob("*.html")}
    names = {path.name for path in documents.iterdir()}
    assert pages == set(begun) == names
    repeated = begun.total() - COUNT
    assert repeated <= 2
    assert row(output, "documents") == str(COUNT)
    assert row(output, "conversions executed") == str(begun.total())
    assert row(output, "conversions repeated") == str(repeated)
    assert row(output, "documents lost") == "0"
    assert row(output, "processes killed") == "2"
    assert len(row(output, "time to resume").split(",")) == 2
    assert int(row(output, "commits").replace(",", "")) >= COUNT
    assert int(row(output, "bytes sent to the store").replace(",", "")) > 0
    assert output.count("with SIGKILL") == 2
    assert output.count("started again with the same input") == 2


def test_without_kills_every_document_is_converted_once_on_a_private_server(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "STEPWELL_EMBEDDED_IDLE_SECONDS", "0.5")
    output = run("--documents", documents, "--no-kill")

    (home,) = (path for path in Path(".stepwell/demo").iterdir() if path.name != "store")
    assert conversions(home) == Counter({path.name: 1 for path in documents.iterdir()})
    assert row(output, "conversions repeated") == "0"
    assert row(output, "processes killed") == "0"
    assert "time to resume" not in output
    assert "not killed" in output


async def test_the_example_is_a_program_of_its_own(
    documents: Path, tmp_path: Path, own_server: Callable[..., RedisServer]
) -> None:
    arguments = [str(documents), str(tmp_path / "pages"), "--store", own_server().url]
    async with Child(program.locate(), *arguments) as child:
        assert await child.exit() == 0
    assert child.lines == [f"{COUNT} documents are in {tmp_path / 'pages'}"]
    assert len(list((tmp_path / "pages").iterdir())) == COUNT
