"""Kill the process at any instant, start it again with the same input, and it goes on.

This file is also a program. The test starts it, it kills itself in the middle of its second step,
and the test starts it again. A SIGKILL leaves no time to clean up, so this is what a power cut or a
machine that runs out of memory does, too. The step that was cut off runs again from its first line;
the steps before it do not.
"""

# ruff: noqa: S603, T201  a program that prints, and is started by its test
import asyncio
import os
import signal
import subprocess
import sys

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


class Fetched(Event):
    text: str


class Summarize(Workflow):
    @step
    async def fetch(self, ev: StartEvent) -> Fetched:
        print("fetch", flush=True)
        return Fetched(text=f"the text of {ev.document}")

    @step
    async def summarize(self, ev: Fetched) -> StopEvent:
        print("summarize", flush=True)
        if "killed" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        return StopEvent(result=ev.text.upper())


async def main(url: str, namespace: str) -> None:
    workflow = Summarize(checkpointer=RedisCheckpointer(url, namespace=namespace))
    print(await workflow.run(document="report"))


def test_what_was_finished_before_a_kill_is_not_done_again(redis_url: str, namespace: str) -> None:
    program = [sys.executable, __file__, redis_url, namespace]

    first = subprocess.run([*program, "killed"], stdout=subprocess.PIPE, text=True, check=False)
    assert first.returncode == -signal.SIGKILL
    assert first.stdout.splitlines() == ["fetch", "summarize"]

    second = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == ["summarize", "THE TEXT OF REPORT"]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
