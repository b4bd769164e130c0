"""Checks that need a process of their own: the functions of a file, run there one after another.

In that process `workflows` means Stepwell, so that the file can import LlamaIndex.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["checks_in", "run_checks"]

PREFIX = "check_"

RUNNER = """
import asyncio, inspect, json, runpy, sys, traceback
import stepwell
stepwell.install_as_workflows()
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
outcomes = {}
for name, check in runpy.run_path(sys.argv[1]).items():
    if name.startswith("check_"):
        try:
            asyncio.run(check()) if inspect.iscoroutinefunction(check) else check()
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
print(json.dumps(outcomes))
"""


def checks_in(file: Path) -> list[str]:
    """The names of the checks in a file, which is not imported for it."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text())
    names = [node.name for node in tree.body if isinstance(node, functions)]
    return [name for name in names if name.startswith(PREFIX)]


def run_checks(file: Path, env: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Run all of them in one process; by name: None, or the traceback of what went wrong."""
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", RUNNER, str(file)],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
