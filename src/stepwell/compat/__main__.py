"""`python -m stepwell.compat script.py`: an unchanged program, with Stepwell as `workflows`."""

import runpy
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from pkgutil import get_importer
from typing import NoReturn

from stepwell.compat import install_as_workflows
from stepwell.compat.names import is_in

__all__: list[str] = []

USAGE = """\
usage: python -m stepwell.compat script.py [argument ...]
       python -m stepwell.compat -m module [argument ...]

Runs a program written for LlamaIndex Workflows on Stepwell: `import workflows` and
`import llama_agents.workflows` mean Stepwell in it. The rest is as in `python script.py`."""


def main(arguments: list[str]) -> None:
    """Do what the command line asks for.

    Raises:
        SystemExit: 2 for a wrong command line; else whatever the program itself exits with.
    """
    match arguments:
        case ["-h" | "--help", *_]:
            print(USAGE)  # noqa: T201  what the user asked for
        case ["-m", module, *rest]:
            _run_module(module, rest)
        case ["-m"]:
            _refuse("-m needs the name of a module")
        case []:
            _refuse("name the script to run")
        case [script, *rest] if not script.startswith("-"):
            _run_script(script, rest)
        case _:
            _refuse(f"there is no option {arguments[0]}")


def _run_script(script: str, arguments: list[str]) -> None:
    path = Path(script)
    program = path / "__main__.py" if path.is_dir() else path
    if not program.exists():
        _refuse(f"there is no script {program}")
    if not sys.flags.safe_path:
        _look_beside(path)
    sys.argv = [script, *arguments]
    install_as_workflows()
    runpy.run_path(script, run_name="__main__")


def _look_beside(script: Path) -> None:
    """Put first in `sys.path` what `python script` has there, instead of our `-m`'s."""
    del sys.path[0]
    if get_importer(str(script)) is None:  # else it is a folder or an archive: runpy does it
        sys.path.insert(0, str(script.resolve().parent))


def _run_module(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    install_as_workflows()
    if not _can_run(module):
        _refuse(f"there is no module {module} that can be run")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _can_run(module: str) -> bool:
    spec = _find(module)
    if spec and spec.submodule_search_locations is not None:
        spec = _find(f"{module}.__main__")
    return spec is not None


def _find(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except ModuleNotFoundError as error:
        if not is_in(module, error.name):
            raise
        return None


def _refuse(problem: str) -> NoReturn:
    print(f"python -m stepwell.compat: {problem}\n\n{USAGE}", file=sys.stderr)  # noqa: T201  a usage error
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
