"""The programs in the documentation run, each in a process of its own, as a reader would."""

import re
from pathlib import Path

import pytest

from support.processes import Child

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def programs() -> list[tuple[str, str]]:
    """Every Python program of every page, and where it stands."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        for match in re.finditer(
            r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            line = page.read_text()[: match.start()].count("\n") + 2
            found.append((f"{page.relative_to(ROOT)}:{line}", match.group(1)))
    return found


def printed(program: str) -> list[str]:
    """What its comments say it prints."""
    return re.findall(r"# prints: (.*)$", program, re.MULTILINE)


@pytest.mark.parametrize(("where", "program"), programs(), ids=lambda value: value[:30])
async def test_program_of_a_page_runs(where: str, program: str, tmp_path: Path) -> None:
    async with Child(program, cwd=tmp_path) as child:
        assert await child.exit() == 0, where
        assert child.lines == printed(program), where


async def test_readme_resumes_by_hand(tmp_path: Path) -> None:
    by_hand = next(program for _, program in programs() if "DurableByHand" in program)
    use = """
import asyncio, fakeredis
client = fakeredis.FakeRedis()
print(asyncio.run(resume(client)), asyncio.run(resume(client)))
"""
    async with Child(by_hand + use, cwd=tmp_path) as child:
        assert await child.exit() == 0
        assert child.lines == ["['a', 'b'] ['a', 'b']"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
