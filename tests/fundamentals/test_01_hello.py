"""A workflow is a class whose steps take an event and return the next one.

`run()` makes a StartEvent of its keywords, and gives it to the step that takes one. When a step
returns a StopEvent, the run is over, and awaiting it gives the result. Which step takes what is
read from the annotations: there is nothing to register, and no step calls another.
"""

import asyncio

from stepwell import Workflow, step
from stepwell.events import StartEvent, StopEvent


class Greeter(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")


async def test_a_run_gives_the_result_of_its_stop_event() -> None:
    assert await Greeter().run(name="Ada") == "Hello, Ada!"


async def test_a_workflow_runs_as_often_as_one_likes_and_several_times_at_once() -> None:
    greeter = Greeter()
    greetings = await asyncio.gather(greeter.run(name="Ada"), greeter.run(name="Grace"))
    assert greetings == ["Hello, Ada!", "Hello, Grace!"]


class BlockingGreeter(Workflow):
    @step
    def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")


async def test_a_step_that_is_no_coroutine_runs_in_a_thread_and_blocks_nobody() -> None:
    assert await BlockingGreeter().run(name="Ada") == "Hello, Ada!"
