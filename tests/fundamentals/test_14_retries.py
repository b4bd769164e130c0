"""A step that fails is tried again if it has a retry policy.

The policy says after which errors, after what time, and how often; without one, the first error
ends the run, and awaiting the run raises it. Give a policy to steps that talk to what may be down
for a moment. Each attempt begins at the first line of the step.
"""

import pytest

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.retry_policy import (
    retry_if_exception_type,
    retry_policy,
    stop_after_attempt,
    wait_fixed,
)


class Fetch(Workflow):
    @step(
        retry_policy=retry_policy(
            retry=retry_if_exception_type(ConnectionError),
            wait=wait_fixed(0),
            stop=stop_after_attempt(3),
        )
    )
    async def fetch(self, ev: StartEvent, ctx: Context) -> StopEvent:
        attempt = ctx.retry_info().retry_number + 1
        if not ev.page:
            raise ValueError("which page?")
        if attempt < ev.works_at:
            raise ConnectionError(f"attempt {attempt} failed")
        return StopEvent(result=f"{ev.page}, at attempt {attempt}")


async def test_a_step_is_tried_again() -> None:
    assert await Fetch().run(page="news", works_at=3) == "news, at attempt 3"


async def test_a_run_fails_with_the_error_of_the_last_attempt() -> None:
    with pytest.raises(ConnectionError, match="attempt 3 failed"):
        await Fetch().run(page="news", works_at=4)


async def test_an_error_that_the_policy_does_not_name_ends_the_run_at_once() -> None:
    with pytest.raises(ValueError, match="which page"):
        await Fetch().run(page="", works_at=1)


class Explain(Workflow):
    @step(retry_policy=retry_policy(wait=wait_fixed(0)))
    async def explain(self, ev: StartEvent, ctx: Context) -> StopEvent:
        error = ctx.retry_info().last_exception
        if error is None:
            raise TimeoutError("too slow")
        return StopEvent(result=f"the first attempt was {error}")


async def test_a_step_can_look_at_the_attempt_before() -> None:
    assert await Explain().run() == "the first attempt was too slow"
