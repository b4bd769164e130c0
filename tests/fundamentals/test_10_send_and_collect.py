"""`ctx.send_event` sends as many events as a step likes, and `ctx.collect_events` waits for some.

Returning an event is the rule. Send when a step must give work away before it has ended, or when
the events are of several classes; the annotation names what is sent, too. The collecting step is
called with each event: `collect_events` keeps it and returns None, until all that are expected are
there.
"""

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Line(Event):
    item: str


class Priced(Event):
    price: int


class Discount(Event):
    percent: int


class Invoice(Workflow):
    @step
    async def read(self, ev: StartEvent, ctx: Context) -> Line | Discount:
        await ctx.store.set("lines", len(ev.basket))
        for item in ev.basket:
            ctx.send_event(Line(item=item))
        return Discount(percent=50)

    @step
    async def price(self, ev: Line) -> Priced:
        return Priced(price={"tea": 4, "cake": 6}[ev.item])

    @step
    async def add_up(self, ev: Priced | Discount, ctx: Context) -> StopEvent | None:
        lines = await ctx.store.get("lines")
        collected = ctx.collect_events(ev, [Priced] * lines + [Discount])
        if collected is None:
            return None
        *priced, discount = collected
        return StopEvent(result=sum(one.price for one in priced) * discount.percent // 100)


async def test_what_is_collected_comes_in_the_order_in_which_it_is_expected() -> None:
    assert await Invoice().run(basket=["tea", "cake", "cake"]) == 8
