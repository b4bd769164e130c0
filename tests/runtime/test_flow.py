"""How events flow through a run: branches, loops, workers, lists, sends, collections."""

import asyncio
from typing import Annotated

import pytest

from stepwell import Context, Workflow, step
from stepwell.collect import Collect, Take
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, InputRequiredEvent, StartEvent, StopEvent


class Even(Event):
    n: int


class Odd(Event):
    n: int


class Item(Event):
    n: int


class Done(Event):
    n: int


class Ask(InputRequiredEvent):
    n: int = 0


# --- one after the other ---


class Collatz(Workflow):
    """Branches by the class of the returned event, and loops back."""

    @step
    async def begin(self, ev: StartEvent) -> Even | Odd:
        return self._next(ev.n)

    @step
    async def even(self, ctx: Context, ev: Even) -> Even | Odd | StopEvent:
        await ctx.store.increment("steps")
        return self._next(ev.n // 2)

    @step
    async def odd(self, ctx: Context, ev: Odd) -> Even | StopEvent:
        if ev.n == 1:
            return StopEvent(result=await ctx.store.get("steps"))
        await ctx.store.increment("steps")
        return Even(n=3 * ev.n + 1)

    def _next(self, n: int) -> Even | Odd:
        return Odd(n=n) if n % 2 else Even(n=n)


async def test_branches_and_loops_go_on_until_a_stop_event() -> None:
    assert await Collatz().run(n=27) == 111


class Broadcast(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item:
        return Item(n=2)

    @step
    async def double(self, ctx: Context, ev: Item) -> Done:
        return Done(n=2 * ev.n)

    @step
    async def triple(self, ctx: Context, ev: Item) -> Done:
        return Done(n=3 * ev.n)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        both = ctx.collect_events(ev, [Done, Done])
        return None if both is None else StopEvent(result=sorted(one.n for one in both))


async def test_an_event_goes_to_every_step_that_takes_it() -> None:
    assert await Broadcast().run() == [4, 6]


class Workers(Workflow):
    """Five items; each waits until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.let_go = {n: asyncio.Event() for n in range(5)}
        self.changed = asyncio.Condition()

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        for n in range(5):
            ctx.send_event(Item(n=n))

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
        async with self.changed:
            self.begun.append(ev.n)
            self.changed.notify_all()
        await self.let_go[ev.n].wait()
        done = await ctx.store.increment("done")
        return StopEvent(result=self.begun) if done == 5 else None

    async def until_begun(self, *expected: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.begun) == len(expected))
        assert self.begun == list(expected)


async def test_at_most_num_workers_run_and_the_others_wait_their_turn() -> None:
    workflow = Workers()
    handler = workflow.run()
    await workflow.until_begun(0, 1)
    workflow.let_go[1].set()
    await workflow.until_begun(0, 1, 2)
    workflow.let_go[2].set()
    workflow.let_go[3].set()
    await workflow.until_begun(0, 1, 2, 3, 4)
    workflow.let_go[0].set()
    workflow.let_go[4].set()
    assert await handler == [0, 1, 2, 3, 4]


class InOrder(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        for n in range(20):
            ctx.send_event(Item(n=n))

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Item) -> Done:
        await asyncio.sleep(0)
        ctx.write_event_to_stream(ev)
        return Done(n=ev.n)

    @step(num_workers=1)
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        await ctx.store.append("order", ev.n)
        return StopEvent(result=await ctx.store.get("order")) if ev.n == 19 else None


async def test_one_worker_handles_events_in_the_order_in_which_they_were_sent() -> None:
    handler = InOrder().run()
    assert await handler == list(range(20))
    shown = [event.n async for event in handler.stream_events() if isinstance(event, Item)]
    assert shown == list(range(20))


# --- sends ---


class Sends(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | Even | None:
        match ev.get("how"):
            case "to one step":
                ctx.send_event(Item(n=1), step="first")
            case "to nobody":
                ctx.send_event(Item(n=1), step="third")
            case "to one that does not take it":
                ctx.send_event(Even(n=1), step="first")
            case "to a list":
                ctx.send_event(Item(n=1), step="end")
            case "from a task":
                self.task = asyncio.create_task(self._later(ctx))
            case "the end":
                ctx.send_event(StopEvent(result="sent"))
            case _:
                ctx.send_event(Item(n=1))

    async def _later(self, ctx: Context) -> None:
        ctx.send_event(Item(n=5), step="first")

    @step
    async def first(self, ev: Item) -> StopEvent:
        return StopEvent(result=("first", ev.n))

    @step
    async def second(self, ev: Even) -> list[Item]:
        return [Item(n=ev.n)]

    @step
    async def end(self, ev: list[Item]) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize(
    ("how", "result"),
    [
        ("to all", ("first", 1)),
        ("to one step", ("first", 1)),
        ("from a task", ("first", 5)),
        ("the end", "sent"),
    ],
)
async def test_a_sent_event_arrives(how: str, result: object) -> None:
    assert await Sends().run(how=how) == result


@pytest.mark.parametrize("how", ["to nobody", "to one that does not take it", "to a list"])
async def test_a_send_that_no_step_can_take_fails_where_it_is_made(how: str) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"[Ss]tep"):
        await Sends().run(how=how)


# --- lists ---


class Nested(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Even]:
        return [Even(n=n) for n in ev.sizes]

    @step
    async def split(self, ev: Even) -> list[Item]:
        return [Item(n=n) for n in range(ev.n)]

    @step
    async def work(self, ev: Item) -> Item | Odd | None:
        return Odd(n=ev.n) if ev.n != 1 else None

    @step
    async def inner(self, ev: list[Odd]) -> Done:
        return Done(n=sum(one.n for one in ev))

    @step
    async def outer(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(one.n for one in ev))


@pytest.mark.parametrize(
    ("sizes", "result"), [([], []), ([0], [0]), ([3, 0, 5], [0, 2, 9]), ([1] * 30, [0] * 30)]
)
async def test_lists_in_lists_are_joined_from_the_inside(
    sizes: list[int], result: list[int]
) -> None:
    assert await Nested(disable_validation=True).run(sizes=sizes) == result


class FirstTwo(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.last = asyncio.Event()

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.number)]

    @step
    async def work(self, ev: Item) -> Done:
        if ev.n == 2:
            await self.last.wait()
        return Done(n=ev.n)

    @step
    async def join(self, ev: Annotated[list[Done], Collect(Take(2))]) -> StopEvent:
        return StopEvent(result=[one.n for one in ev])


@pytest.mark.parametrize(("number", "result"), [(3, [0, 1]), (1, [0]), (0, [])])
async def test_take_fires_early_or_with_what_there_is(number: int, result: list[int]) -> None:
    assert await FirstTwo().run(number=number) == result


async def test_a_batch_is_in_the_order_of_arrival() -> None:
    class Reversed(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.turns = [asyncio.Event() for _ in range(4)]
            self.turns[3].set()

        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(4)]

        @step
        async def work(self, ev: Item) -> Done:
            await self.turns[ev.n].wait()
            self.turns[ev.n - 1].set()
            return Done(n=ev.n)

        @step
        async def join(self, ev: list[Done]) -> StopEvent:
            return StopEvent(result=[one.n for one in ev])

    assert await Reversed().run() == [3, 2, 1, 0]


async def test_a_joining_step_can_fan_out_again() -> None:
    class Rounds(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=1)]

        @step
        async def work(self, ev: Item) -> Done:
            return Done(n=ev.n)

        @step
        async def join(self, ev: list[Done]) -> list[Item] | StopEvent:
            total = sum(one.n for one in ev)
            return StopEvent(result=total) if total > 10 else [Item(n=total) for _ in range(2)]

    assert await Rounds().run() == 16


# --- what a step may return ---


class Returns(Workflow):
    @step
    async def plain(self, ev: StartEvent) -> Item | StopEvent | None:
        return ev.value()

    @step
    async def spread(self, ev: Item) -> list[Done] | Odd:
        return [Done(n=1), 7] if ev.n else Done(n=1)  # type: ignore[list-item, return-value]  # pyright: ignore[reportReturnType]  the point

    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        return StopEvent()

    @step
    async def odd(self, ev: Odd) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([Item(n=1)], "'plain' returned list"),
        (7, r"'plain' returned int \(7\)"),
        ({"a": 1}, "'plain' returned dict"),
        (Item(n=0), "'spread' returned a bare Done"),
        (Item(n=1), "'spread' returned a list with int"),
    ],
)
async def test_what_no_step_may_return_fails_it(value: object, message: str) -> None:
    with pytest.raises(WorkflowRuntimeError, match=message):
        await Returns().run(value=lambda: value)


async def test_a_returned_input_request_is_published_and_others_are_not() -> None:
    class Asks(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Ask:
            return Ask(n=1)

        @step
        async def answer(self, ev: Ask) -> Item:
            return Item(n=ev.n)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    handler = Asks().run()
    assert [type(event) async for event in handler.stream_events()] == [Ask, StopEvent]
    assert await handler == 1


# --- collections ---


class Collects(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Even | Odd | None:
        for cls, n in ev.arrivals:
            ctx.send_event(cls(n=n))

    @step
    async def join(self, ctx: Context, ev: Even | Odd) -> StopEvent | None:
        found = ctx.collect_events(ev, [Odd, Even])
        if found is not None:
            await ctx.store.append("found", [type(found[0]).__name__, found[0].n, found[1].n])
        seen = await ctx.store.increment("seen")
        if seen == 4:
            return StopEvent(result=await ctx.store.get("found"))
        return None


async def test_collections_drop_what_is_not_needed_any_more() -> None:
    arrivals = [(Even, 1), (Even, 2), (Odd, 1), (Odd, 2)]
    assert await Collects().run(arrivals=arrivals) == [["Odd", 1, 1]]


async def test_collections_come_again_and_again() -> None:
    arrivals = [(Even, 1), (Odd, 1), (Odd, 2), (Even, 2)]
    assert await Collects().run(arrivals=arrivals) == [["Odd", 1, 1], ["Odd", 2, 2]]
