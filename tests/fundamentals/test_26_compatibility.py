"""Programs written for LlamaIndex Workflows run on Stepwell as they are.

`stepwell.install_as_workflows()`, called before the first import of `workflows`, makes that name
mean Stepwell, for your code and for the libraries that it uses. A script that must not be touched
is run by `python -m stepwell.compat script.py`. Around code that makes its workflows itself,
`with RedisCheckpointer(...)` makes their runs durable.
"""

# ruff: noqa: S603  the programs that it starts are its own
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio

from workflows import Workflow, step
from workflows.events import StartEvent, StopEvent


class Sum(Workflow):
    @step
    async def add_up(self, ev: StartEvent) -> StopEvent:
        print("adding up, by", Workflow.__module__)
        return StopEvent(result=sum(ev.numbers))


async def main():
    print(await Sum().run(run_id="monday", numbers=[1, 2, 3]))


if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_program_makes_stepwell_its_workflows() -> None:
    program = f"import stepwell\nstepwell.install_as_workflows()\n{PROGRAM}"
    python = [sys.executable, "-c", program]
    done = subprocess.run(python, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == ["adding up, by stepwell.workflow", "6"]


def test_a_script_stays_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    python = [sys.executable, "-m", "stepwell.compat", str(script)]
    done = subprocess.run(python, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == ["adding up, by stepwell.workflow", "6"]


DURABLY = """
import asyncio, stepwell, sys
stepwell.install_as_workflows()
from program import main
from stepwell.redis import RedisCheckpointer

with RedisCheckpointer(sys.argv[1], namespace=sys.argv[2]):
    asyncio.run(main())
"""


def test_its_runs_are_durable_inside_of_a_checkpointer(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    python = [sys.executable, "-c", DURABLY, redis_url, namespace]
    first = subprocess.run(python, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    again = subprocess.run(python, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    assert first.stdout.splitlines() == ["adding up, by stepwell.workflow", "6"]
    assert again.stdout.splitlines() == ["6"]
