"""Programs that a test runs in a Python process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """`python(*arguments)`: run in an empty folder, its exit code and output as text."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603  our own interpreter

    return run


@pytest.fixture
def printed(python: Run) -> Callable[[str], list[str]]:
    """What a program prints that begins with the installation; it must succeed."""

    def lines(program: str, *options: str) -> list[str]:
        done = python(
            *options, "-c", f"import stepwell\nstepwell.install_as_workflows()\n{program}"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return lines
