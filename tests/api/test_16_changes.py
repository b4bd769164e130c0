"""Section 16: what came with the newer versions of the interface."""

from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.context import PickleSerializer
from stepwell.events import StartEvent, StopEvent
from stepwell.retry_policy import RetryPolicy


class Counts(Workflow):
    @step
    async def count(self, ev: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(result=await ctx.store.increment("count", 1))


class Broken:
    """A policy that raises."""

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        raise LookupError("no policy today")


class Fails(Workflow):
    @step(retry_policy=Broken())
    async def fail(self, ev: StartEvent) -> StopEvent:
        raise ValueError("no")


def test_a_workflow_has_the_serializer_that_it_was_given() -> None:
    serializer = PickleSerializer()
    assert Counts(serializer=serializer).serializer is serializer
    assert Counts().serializer is None


async def test_a_context_is_a_map_before_its_run_too_with_or_without_its_state() -> None:
    workflow = Counts()
    ctx: Context[Any] = Context(workflow)
    await ctx.store.set("count", 4)
    assert ctx.to_dict()["state:count"] == "4"
    assert "state:count" not in ctx.to_dict(include_state=False)
    assert await workflow.run(ctx=Context.from_dict(workflow, ctx.to_dict())) == 5


async def test_a_retry_policy_that_raises_fails_the_run_and_names_the_cause() -> None:
    assert isinstance(Broken(), RetryPolicy)
    with pytest.raises(LookupError, match="no policy today") as raised:
        await Fails().run()
    assert isinstance(raised.value.__cause__, ValueError)
