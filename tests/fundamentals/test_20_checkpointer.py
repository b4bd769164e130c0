"""A checkpointer makes runs durable: what each step did is in Redis before the next one begins.

Give a workflow the address of a Redis, as in `checkpointer="redis://localhost:6379"`, or a
RedisCheckpointer with options: a namespace keeps applications apart. `"embedded:"` starts a private
server. A run that failed goes on at the step that failed when it is started again with the same
input, or by its name. That is the whole interface: the steps stay as they are.
"""

import pytest

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


class Paid(Event):
    amount: int


class Sell(Workflow):
    def __init__(self, checkpointer: RedisCheckpointer | None = None) -> None:
        super().__init__(checkpointer=checkpointer)
        self.steps: list[str] = []
        self.truck_is_broken = False

    @step
    async def pay(self, ev: StartEvent) -> Paid:
        self.steps.append("pay")
        return Paid(amount=ev.price)

    @step
    async def send(self, ev: Paid) -> StopEvent:
        self.steps.append("send")
        if self.truck_is_broken:
            raise OSError("the truck is broken")
        return StopEvent(result=f"sent for {ev.amount}")


async def test_a_failed_run_goes_on_at_the_step_that_failed(redis_url: str, namespace: str) -> None:
    workflow = Sell(RedisCheckpointer(redis_url, namespace=namespace))
    workflow.truck_is_broken = True
    with pytest.raises(OSError, match="broken"):
        await workflow.run(price=4)

    workflow.truck_is_broken = False
    assert await workflow.run(price=4) == "sent for 4"
    assert workflow.steps == ["pay", "send", "send"]


async def test_equal_input_begins_a_new_run_when_the_last_one_is_complete(
    redis_url: str, namespace: str
) -> None:
    workflow = Sell(RedisCheckpointer(redis_url, namespace=namespace))
    await workflow.run(price=4)
    await workflow.run(price=4)
    assert workflow.steps == ["pay", "send", "pay", "send"]


async def test_a_run_with_a_name_happens_once(redis_url: str, namespace: str) -> None:
    workflow = Sell(RedisCheckpointer(redis_url, namespace=namespace))
    assert await workflow.run(run_id="order-7", price=4) == "sent for 4"
    assert await workflow.run(run_id="order-7", price=4) == "sent for 4"
    assert workflow.steps == ["pay", "send"]


async def test_all_that_starts_inside_of_a_checkpointer_is_durable(
    redis_url: str, namespace: str
) -> None:
    workflow = Sell()
    async with RedisCheckpointer(redis_url, namespace=namespace):
        await workflow.run(run_id="order-7", price=4)
        await workflow.run(run_id="order-7", price=4)
    assert workflow.steps == ["pay", "send"]
