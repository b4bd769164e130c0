"""A state may be a Pydantic model, which type checkers know.

A step says so by asking for `Context[Account]`. The state is then an Account from the start of the
run, with the defaults of its fields, and it has no other fields than these. Choose it as soon as a
workflow is more than a sketch: a misspelt key becomes an error where it is written.
"""

import pytest
from pydantic import BaseModel, Field

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent


class Account(BaseModel):
    balance: int = 100
    booked: list[str] = Field(default_factory=list[str])


class Booking(Workflow):
    @step
    async def book(self, ev: StartEvent, ctx: Context[Account]) -> StopEvent:
        async with ctx.store.edit_state() as account:
            account.balance -= ev.price
            account.booked.append(ev.item)
        return StopEvent(result=await ctx.store.get_state())


async def test_the_state_is_an_object_of_the_model() -> None:
    account = await Booking().run(item="tea", price=4)
    assert account == Account(balance=96, booked=["tea"])


class Misspelt(Workflow):
    @step
    async def book(self, ev: StartEvent, ctx: Context[Account]) -> StopEvent:
        await ctx.store.set("balanse", 0)
        return StopEvent()


async def test_a_field_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="balanse"):
        await Misspelt().run()
