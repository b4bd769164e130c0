"""Agents of LlamaIndex, in processes of their own: this one knows the peer's `workflows`, too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.processes import Child
from support.servers import RedisServer

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where programs note what they did; see `executed`."""
    file = tmp_path / "journal"
    file.touch()
    return file


@pytest.fixture
def program(redis_server: RedisServer, namespace: str, journal: Path) -> Callable[..., Child]:
    """`program(name, *arguments)`: one of the programs, with a server to commit to."""

    def start(name: str, *arguments: str, cwd: Path | None = None) -> Child:
        env = {"URL": redis_server.unix_url, "NAMESPACE": namespace, "JOURNAL": str(journal)}
        return Child(PROGRAMS / f"{name}.py", *arguments, env=env, cwd=cwd)

    return start
