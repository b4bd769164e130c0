"""What agents keep in the state and in events: stored, and made again in another process."""

from pathlib import Path

import pytest

from support.checks import checks_in, run_checks
from support.processes import Child

FILE = Path(__file__).parent / "programs" / "codecs.py"

DATA_ALONE = """
import sys
from stepwell._serialization import Codec
from stepwell.errors import DecodingError
try:
    Codec().decode('{"$type": "llama_index.core.memory.memory:Memory", "value": {}}', "it")
except DecodingError as error:
    print(error)
print([name for name in sys.modules if "llama_index.core" in name or "integrations" in name])
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str | None]:
    return run_checks(FILE)


@pytest.mark.parametrize("check", checks_in(FILE))
def test_codecs(outcomes: dict[str, str | None], check: str) -> None:
    assert outcomes[check] is None, outcomes[check]


async def test_a_name_in_data_imports_nothing() -> None:
    async with Child(DATA_ALONE) as child:
        assert await child.exit() == 0
    refusal, imported = child.lines
    assert "'llama_index.core.memory.memory:Memory' is unknown here" in refusal
    assert imported == "[]"
