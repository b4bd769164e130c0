"""A question to a human outlives the process that asked it.

People answer after hours or days, and no process has to wait for them. Start the run again by its
name and send the answer: the step that waits has it, and does not ask again. It runs from its first
line, so what it does before the wait should be harmless when done twice, or be done by `ctx.once`.
This file is a program that asks and is killed, then is started again with the answer.
"""

# ruff: noqa: S603, T201  a program that prints, and is started by its test
import asyncio
import os
import signal
import subprocess
import sys

from stepwell import Context, Workflow, step
from stepwell.events import HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Publish(Workflow):
    @step
    async def publish(self, ev: StartEvent, ctx: Context) -> StopEvent:
        question = Question(text=f"Publish {ev.document}?")
        answer = await ctx.wait_for_event(Answer, waiter_event=question, timeout=None)
        return StopEvent(result="published" if answer.text == "yes" else "kept")


async def ask(workflow: Publish) -> None:
    async for event in workflow.run(run_id="report", document="the report").stream_events():
        if isinstance(event, Question):
            print(event.text, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


async def answer(workflow: Publish, text: str) -> None:
    handler = workflow.run(run_id="report", document="the report")
    await handler.send_event(Answer(text=text))
    print(await handler)


async def main(url: str, namespace: str, *answers: str) -> None:
    workflow = Publish(checkpointer=RedisCheckpointer(url, namespace=namespace))
    await (answer(workflow, *answers) if answers else ask(workflow))


def test_the_answer_may_come_to_another_process(redis_url: str, namespace: str) -> None:
    program = [sys.executable, __file__, redis_url, namespace]

    first = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=False)
    assert first.returncode == -signal.SIGKILL
    assert first.stdout.splitlines() == ["Publish the report?"]

    second = subprocess.run([*program, "yes"], stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == ["published"]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
