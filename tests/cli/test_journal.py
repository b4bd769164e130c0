"""The journal: what a process wrote is there, whatever happened to the process."""

from pathlib import Path

import pytest

from stepwell.cli.demo.journal import Entry, Journal, JournalReader
from support.processes import Child

WRITER = """
import sys, signal
from pathlib import Path
from stepwell.cli.demo.journal import Entry, Journal

Journal(Path(sys.argv[1])).write(Entry(pid=1, at=0.5, what="began", document="a.md"))
signal.raise_signal(signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def entry(number: int) -> Entry:
    return Entry(pid=number, at=number / 8, what="ended", document=f"{number}.md", commits=number)


def test_a_reader_gets_each_entry_once(path: Path) -> None:
    reader = JournalReader(path)
    journal = Journal(path)
    assert reader.read() == []
    journal.write(entry(1))
    journal.write(entry(2))
    assert reader.read() == [entry(1), entry(2)]
    journal.write(entry(3))
    assert reader.read() == [entry(3)]
    assert reader.read() == []
    assert reader.entries == [entry(1), entry(2), entry(3)]
    reader.close()


def test_writers_add_to_what_others_wrote(path: Path) -> None:
    first, second = Journal(path), Journal(path)
    first.write(entry(1))
    second.write(entry(2))
    first.write(entry(3))
    reader = JournalReader(path)
    assert reader.read() == [entry(1), entry(2), entry(3)]
    reader.close()


def test_an_entry_is_read_when_its_line_is_whole(path: Path) -> None:
    reader = JournalReader(path)
    line = entry(1).model_dump_json().encode() + b"\n"
    path.write_bytes(line[:20])
    assert reader.read() == []
    path.write_bytes(line)
    assert reader.read() == [entry(1)]
    reader.close()


async def test_an_entry_outlives_the_kill_of_its_writer(path: Path) -> None:
    async with Child(WRITER, str(path)) as child:
        assert await child.exit() < 0
    reader = JournalReader(path)
    assert reader.read() == [Entry(pid=1, at=0.5, what="began", document="a.md")]
    reader.close()
