"""What the steps of a run share is its state, in `ctx.store`.

A step gets the context by asking for it: a parameter annotated with Context. Events carry what the
next step needs; the state holds what many steps need, or what adds up over a run. `get` and `set`
take a path into it; `increment` and `append` count and gather; `edit_state` changes several things
as one. Each run has a state of its own, and it can still be read when the run is over.
"""

import pytest

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Packed(Event):
    pass


class Checkout(Workflow):
    @step
    async def pack(self, ev: StartEvent, ctx: Context) -> Packed:
        await ctx.store.set("customer", {"name": ev.name, "city": "Paris"})
        for item in ev.basket:
            await ctx.store.append("packed", item)
            await ctx.store.increment("weight", len(item))
        return Packed()

    @step
    async def label(self, ev: Packed, ctx: Context) -> StopEvent:
        city = await ctx.store.get("customer.city")
        country = await ctx.store.get("customer.country", default="France")
        return StopEvent(result=f"{city}, {country}")


async def test_a_step_reads_what_an_earlier_one_stored() -> None:
    assert await Checkout().run(name="Ada", basket=["tea", "cake"]) == "Paris, France"


async def test_the_state_can_be_read_when_the_run_is_over() -> None:
    handler = Checkout().run(name="Ada", basket=["tea", "cake"])
    await handler
    assert await handler.ctx.store.get("packed") == ["tea", "cake"]
    assert await handler.ctx.store.get("weight") == 7


class Transfer(Workflow):
    @step
    async def transfer(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.set("balance", 100)
        try:
            async with ctx.store.edit_state() as state:
                state.balance -= 30
                state.account = {"Ada": 1, "Grace": 2}[ev.to]
        except KeyError:
            return StopEvent(result=f"not sent, {await ctx.store.get('balance')} left")
        return StopEvent(result=f"sent, {await ctx.store.get('balance')} left")


@pytest.mark.parametrize(
    ("to", "result"), [("Ada", "sent, 70 left"), ("Bob", "not sent, 100 left")]
)
async def test_an_edit_happens_as_a_whole_or_not_at_all(to: str, result: str) -> None:
    assert await Transfer().run(to=to) == result
