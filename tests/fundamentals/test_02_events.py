"""An event is a Pydantic model, and its fields are what travels from step to step.

Declared fields are checked and converted when the event is made, and type checkers know them. A
workflow declares its input and its output by classes of its own, derived from StartEvent and
StopEvent. An event also keeps what it did not declare, which is handy in a first draft; what is
named like a method of dictionaries, such as `items`, is then read as `ev["items"]`.
"""

import pytest

from stepwell import Workflow, step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StartEvent, StopEvent


class Order(StartEvent):
    item: str
    quantity: int = 1


class Receipt(StopEvent):
    total: int


class Shop(Workflow):
    @step
    async def sell(self, ev: Order) -> Receipt:
        prices = {"tea": 4, "cake": 6}
        return Receipt(total=prices[ev.item] * ev.quantity)


async def test_the_keywords_of_run_are_the_fields_of_the_start_event() -> None:
    receipt = await Shop().run(item="tea", quantity=2)
    assert receipt == Receipt(total=8)


async def test_the_start_event_can_be_given_whole() -> None:
    receipt = await Shop().run(start_event=Order(item="cake"))
    assert receipt.total == 6


async def test_input_that_does_not_fit_is_refused_before_the_run_begins() -> None:
    with pytest.raises(WorkflowRuntimeError, match="quantity"):
        Shop().run(item="tea", quantity="many")


def test_an_event_keeps_what_it_did_not_declare() -> None:
    event = Event(colour="red")
    assert event.colour == "red"
    assert event["colour"] == "red"
    assert event.get("size", "medium") == "medium"
