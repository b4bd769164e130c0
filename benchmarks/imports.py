"""What an import costs, each in a process of its own, side by side with LlamaIndex Workflows.

    python benchmarks/imports.py

The rounds go through all programs in turn, so that a slow moment of the machine hits them alike.
All code is compiled before, into a folder of its own, as an installation leaves it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median
from tempfile import TemporaryDirectory

from machine import describe

ROUNDS = 15

PROGRAMS = [
    "pass",
    "import pydantic",
    "import stepwell",
    "from pydantic import BaseModel",
    "from stepwell import Workflow, step",
    "from workflows import Workflow, step",
]

RATIOS = [
    ("import stepwell", "import pydantic"),
    ("from stepwell import Workflow, step", "from workflows import Workflow, step"),
]


def seconds(program: str, env: Mapping[str, str]) -> float:
    """How long Python takes from its start to its end with the program."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=env, check=True)  # noqa: S603  the programs above
    return time.perf_counter() - began


def measure() -> dict[str, list[float]]:
    """The times of each program, in milliseconds."""
    times: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    with TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for program in PROGRAMS:
            seconds(program, env)  # compiles
        for _ in range(ROUNDS):
            for program in PROGRAMS:
                times[program].append(seconds(program, env) * 1e3)
    return times


def report(times: Mapping[str, list[float]]) -> None:
    """Print the table."""
    print(describe("stepwell", "llama-index-workflows", "pydantic"))
    print(f"medians of {ROUNDS} processes each\n")
    print("| program | ms |\n| --- | ---: |")
    for program, values in times.items():
        print(f"| `{program}` | {median(values):.0f} |")
    print("\n| ratio of medians | |\n| --- | ---: |")
    for above, below in RATIOS:
        print(f"| `{above}` / `{below}` | {median(times[above]) / median(times[below]):.2f} |")


if __name__ == "__main__":
    report(measure())
