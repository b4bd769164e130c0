"""The loader of scripts, and the one name that a transition has everywhere."""

import re
from pathlib import Path

import pytest

from stepwell.redis.scripts import script, script_names

ROOT = Path(__file__).parents[2]
LAYOUT = (ROOT / "docs" / "redis-layout.md").read_text()


@pytest.mark.parametrize("name", script_names())
class TestEveryScript:
    def test_lets_the_server_refuse_it_before_its_first_line(self, name: str) -> None:
        assert re.match(r"#!lua( flags=allow-oom)?\n", script(name).text)

    def test_tells_what_it_promises_takes_and_replies(self, name: str) -> None:
        for topic in (name, "promise", "keys", "args", "replies"):
            assert f"\n-- {topic}: " in script(name).text

    def test_counts_no_keys_and_arguments_by_hand(self, name: str) -> None:
        body = script(name).text.partition("\n-- replies: ")[2]
        assert not re.search(r"(KEYS|ARGV)\[\d", body)

    def test_reads_the_clock_once(self, name: str) -> None:
        body = script(name).text.partition("\n-- replies: ")[2]
        assert body.count("clock()") <= 1

    def test_has_a_test_and_a_row_in_the_documentation(self, name: str) -> None:
        assert Path(__file__).with_name(f"test_{name}.py").exists()
        assert f"\n| `{name}` | " in LAYOUT


def test_the_documentation_has_rows_for_scripts_that_exist_only() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `\w+`", LAYOUT, re.MULTILINE)
    assert sorted(rows) == script_names()


def test_a_part_that_is_included_twice_is_there_once() -> None:
    text = script("finish").text
    assert text.count("local function epoch_of(") == 1
    assert text.index("local function epoch_of(") < text.index("local function standing(")
    assert text.index("local function standing(") < text.index("local function fence(")


def test_further_arguments_begin_after_those_with_a_name() -> None:
    text = script("commit").text
    assert "\nlocal token, seq, cid, taken, staged, sets, deletes = ARGV[1], ARGV[2]," in text
    assert "\nlocal rest = 8\n" in text
