"""A `catch_error` step takes over when another step has failed for good.

It gets a StepFailedEvent, which has the exception, the name of the step, and the event that the
step was given, and it returns an event as any step does: another way to go, or a StopEvent that
ends the run in peace. `for_steps` says whose errors it takes; without it, those of all steps that
no other handler takes.
"""

from stepwell import Workflow, catch_error, step
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent


class Order(StartEvent):
    item: str


class Packed(Event):
    item: str


class Shop(Workflow):
    @step
    async def pack(self, ev: Order) -> Packed:
        if ev.item == "unicorn":
            raise LookupError("we have none")
        return Packed(item=ev.item)

    @step
    async def send(self, ev: Packed) -> StopEvent:
        if ev.item == "piano":
            raise ValueError("too heavy")
        return StopEvent(result=f"{ev.item}: sent")

    @catch_error(for_steps=["pack"])
    async def replace(self, ev: StepFailedEvent) -> Packed:
        return Packed(item="horse")

    @catch_error
    async def apologize(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"sorry: {ev.exception} to {ev.step_name}")


async def test_nothing_is_caught_where_nothing_fails() -> None:
    assert await Shop().run(item="tea") == "tea: sent"


async def test_a_handler_can_go_another_way() -> None:
    assert await Shop().run(item="unicorn") == "horse: sent"


async def test_a_handler_without_names_takes_the_errors_of_all_other_steps() -> None:
    assert await Shop().run(item="piano") == "sorry: too heavy to send"
