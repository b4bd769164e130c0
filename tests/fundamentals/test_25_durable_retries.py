"""A retry policy goes on counting when the process is killed.

How often a step failed, with what, and when it is tried again are part of the stored run. So the
limits of a policy are those of the run and not of one process, and a pause of an hour ends after an
hour, whatever happens to the process meanwhile. An attempt that a kill cut off has not failed: it
is made again. This file is a program that is killed in its second attempt.
"""

# ruff: noqa: S603, T201  a program that prints, and is started by its test
import asyncio
import os
import signal
import subprocess
import sys

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_fixed


class Fetch(Workflow):
    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
    async def fetch(self, ev: StartEvent, ctx: Context) -> StopEvent:
        failed = ctx.retry_info()
        print(f"{failed.retry_number} failed: {failed.last_exception}", flush=True)
        if failed.retry_number == 1 and "killed" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ConnectionError(f"{ev.page} is away")


async def main(url: str, namespace: str) -> None:
    workflow = Fetch(checkpointer=RedisCheckpointer(url, namespace=namespace))
    try:
        await workflow.run(page="news")
    except ConnectionError as error:
        print(f"gave up: {error}")


def test_attempts_are_counted_over_a_kill(redis_url: str, namespace: str) -> None:
    program = [sys.executable, __file__, redis_url, namespace]

    first = subprocess.run([*program, "killed"], stdout=subprocess.PIPE, text=True, check=False)
    assert first.returncode == -signal.SIGKILL
    assert first.stdout.splitlines() == ["0 failed: None", "1 failed: news is away"]

    second = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == [
        "1 failed: news is away",
        "2 failed: news is away",
        "gave up: news is away",
    ]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
