"""Section 15: what llama-index-core imports of the engine, and how its agents use it."""

from pathlib import Path

import pytest

from support.checks import checks_in, run_checks

FILE = Path(__file__).with_name("llama_index_checks.py")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str | None]:
    return run_checks(FILE)


@pytest.mark.parametrize("check", checks_in(FILE))
def test_section_15(outcomes: dict[str, str | None], check: str) -> None:
    assert outcomes[check] is None, outcomes[check]
