"""`python -m stepwell.compat`: a program that nobody changed, started on Stepwell."""

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

REPORT = """
import sys
import workflows
print(workflows.__name__, __name__, sys.modules["__main__"].__dict__ is globals())
print(sys.argv)
"""


@pytest.fixture
def compat(python: Run) -> Run:
    return lambda *arguments: python("-m", "stepwell.compat", *arguments)


def test_a_script_runs_as_main_with_its_arguments(compat: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(REPORT)
    done = compat("script.py", "-m", "--flag", "value")
    assert done.stdout.splitlines() == [
        "stepwell __main__ True",
        "['script.py', '-m', '--flag', 'value']",
    ]
    assert done.returncode == 0


def test_a_script_finds_the_modules_beside_it_and_not_those_of_the_current_folder(
    compat: Run, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("place = 'the current folder'")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "helper.py").write_text("place = 'beside the script'")
    (tmp_path / "folder" / "script.py").write_text("import helper; print(helper.place)")
    assert compat("folder/script.py").stdout == "beside the script\n"


def test_the_search_path_is_that_of_a_plain_start(python: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text("import sys; print(sys.path)")
    plain = python("folder/script.py").stdout
    assert python("-m", "stepwell.compat", "folder/script.py").stdout == plain


def test_a_safe_path_stays_safe(python: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys; print(sys.path)")
    plain = python("-P", "script.py").stdout
    assert python("-P", "-m", "stepwell.compat", "script.py").stdout == plain


def test_a_module_runs_with_its_arguments(compat: Run, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "tool.py").write_text(REPORT)
    done = compat("-m", "package.tool", "one", "-x")
    assert done.stdout.splitlines() == [
        "stepwell __main__ True",
        f"['{tmp_path / 'package' / 'tool.py'}', 'one', '-x']",
    ]


def test_a_package_runs_by_its_main_module(compat: Run, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(REPORT)
    assert compat("-m", "package").stdout.startswith("stepwell __main__")
    assert compat("package").stdout.startswith("stepwell __main__")


def test_an_archive_runs_by_its_main_module(compat: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.pyz", "w") as archive:
        archive.writestr("__main__.py", REPORT)
    assert compat("program.pyz").stdout.startswith("stepwell __main__")


@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("raise SystemExit(7)", 7), ("raise SystemExit('no')", 1), ("1 / 0", 1)],
)
def test_the_exit_code_is_that_of_the_program(
    compat: Run, tmp_path: Path, end: str, code: int
) -> None:
    (tmp_path / "script.py").write_text(end)
    assert compat("script.py").returncode == code
    assert compat("-m", "script").returncode == code


def test_an_error_of_the_program_is_shown_with_its_traceback(compat: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("\nimport no_such_module")
    for arguments in (["script.py"], ["-m", "script"]):
        error = compat(*arguments).stderr
        assert 'script.py", line 2' in error
        assert error.endswith("ModuleNotFoundError: No module named 'no_such_module'\n")


def test_a_program_may_install_it_too(compat: Run, tmp_path: Path) -> None:
    source = (
        "import stepwell, workflows; stepwell.install_as_workflows(); print(workflows.__name__)"
    )
    (tmp_path / "script.py").write_text(source)
    assert compat("script.py").stdout == "stepwell\n"


# --- the command line itself ---


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name the script to run"),
        (["-m"], "-m needs the name of a module"),
        (["--fast", "script.py"], "there is no option --fast"),
        (["nowhere.py"], "there is no script nowhere.py"),
        (["."], "there is no script __main__.py"),
        (["-m", "nowhere"], "there is no module nowhere"),
        (["-m", "nowhere.at.all"], "there is no module nowhere.at.all"),
        (["-m", "json"], "there is no module json that can be run"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    compat: Run, arguments: list[str], problem: str
) -> None:
    done = compat(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"python -m stepwell.compat: {problem}")
    assert "usage: python -m stepwell.compat script.py [argument ...]" in rest


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_no_error(compat: Run, option: str) -> None:
    done = compat(option)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m stepwell.compat script.py")
