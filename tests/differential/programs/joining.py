"""Sections 5 and 8: events that come together."""

import asyncio
from typing import Annotated, Any

from differential.sights import seen
from stepwell import Context, Workflow, catch_error, step
from stepwell.collect import Collect, Take
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_none


class A(Event):
    n: int = 0


class ASub(A): ...


class B(Event):
    n: int = 0


class C(Event):
    n: int = 0


twice = retry_policy(wait=wait_none(), stop=stop_after_attempt(2))


async def collect_events_over_all_orders_of_a_multiset() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | B | C | None:
            for number, kind in enumerate(ev.order):
                ctx.send_event({"A": A, "B": B}[kind](n=number))
            ctx.send_event(C())

        @step(num_workers=1)
        async def join(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            if isinstance(ev, C):
                return StopEvent(result=await ctx.store.get("log"))
            found = ctx.collect_events(ev, [A, B, A])
            log: list[Any] = await ctx.store.get("log", default=[])
            await ctx.store.set("log", [*log, found and [one.n for one in found]])
            return None

    orders = ["AAB", "ABA", "BAA", "AAAB", "BBAA", "ABABAA", "BBBAAAA", "AAAABB"]
    return [await seen(W().run(order=order)) for order in orders]


async def collect_events_with_several_buffers_and_nothing_expected() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            for n in range(4):
                ctx.send_event(A(n=n))

        @step(num_workers=1)
        async def join(self, ctx: Context, ev: A) -> StopEvent | None:
            assert ctx.collect_events(ev, []) == []
            found = ctx.collect_events(ev, [A, A], buffer_id=f"parity {ev.n % 2}")
            done: list[Any] = await ctx.store.get("done", default=[])
            if found is not None:
                done = [*done, [one.n for one in found]]
                await ctx.store.set("done", done)
            return StopEvent(result=done) if len(done) == 2 else None

    return await seen(W().run())


async def collect_events_by_many_workers_that_give_way() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            for n in range(9):
                ctx.send_event(A(n=n))

        @step(num_workers=9)
        async def join(self, ctx: Context, ev: A) -> B | None:
            await asyncio.sleep(0)
            found = ctx.collect_events(ev, [A] * 3)
            await asyncio.sleep(0)
            return B(n=sum(one.n for one in found)) if found else None

        @step(num_workers=3)
        async def end(self, ctx: Context, ev: B) -> StopEvent | None:
            found = ctx.collect_events(ev, [B] * 3)
            return StopEvent(result=sum(one.n for one in found)) if found else None

    return await seen(W().run())


async def collect_events_again_after_a_failure() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            for n in range(3):
                ctx.send_event(A(n=n))

        @step(num_workers=1, retry_policy=twice)
        async def join(self, ctx: Context, ev: A) -> StopEvent | None:
            found = ctx.collect_events(ev, [A] * 3)
            if not found:
                return None
            if not ctx.retry_info().retry_number:
                raise LookupError
            return StopEvent(result=[one.n for one in found])

    return await seen(W().run())


async def nested_lists_with_dying_and_empty_branches() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=n) for n in ev.sizes]

        @step
        async def split(self, ev: A) -> list[B] | None:
            return [B(n=n) for n in range(ev.n)] if ev.n != 1 else None

        @step
        async def work(self, ev: B) -> C | None:
            return C(n=ev.n) if ev.n % 2 else None

        @step
        async def inner(self, ev: list[C]) -> ASub:
            return ASub(n=sum(one.n for one in ev))

        @step
        async def outer(self, ev: list[ASub]) -> StopEvent:
            return StopEvent(result=sorted(one.n for one in ev))

    return [await seen(W().run(sizes=sizes)) for sizes in ([], [1], [0, 1, 2], [5, 0, 4, 1, 1])]


async def gathering_steps_in_series_and_side_by_side() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=n) for n in range(ev.number)]

        @step
        async def all_of_them(self, ev: list[A]) -> list[B]:
            return [B(n=one.n) for one in ev if one.n % 2]

        @step(num_workers=1)
        async def first_few(self, ctx: Context, ev: Annotated[list[A], Collect(Take(2))]) -> None:
            await ctx.store.set("few", [one.n for one in ev])

        @step
        async def end(self, ctx: Context, ev: list[B]) -> StopEvent:
            return StopEvent(result=[[one.n for one in ev], await ctx.store.get("few")])

    return [await seen(W().run(number=number)) for number in range(5)]


async def a_failing_gathering_step_and_its_handler() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=1), A(n=2)]

        @step(retry_policy=twice)
        async def join(self, ev: list[A]) -> StopEvent:
            raise ValueError([one.n for one in ev])

        @catch_error(for_steps=["join"])
        async def handle(self, ev: StepFailedEvent) -> StopEvent:
            gathered: Any = ev.input_event
            numbers = [one.n for one in gathered.events]
            return StopEvent(result=[ev.step_name, ev.attempts, numbers, str(ev.exception)])

    return await seen(W().run())


async def joins_bind_by_class_and_by_arrival() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | ASub | B | None:
            for number, kind in enumerate(ev.order):
                ctx.send_event({"A": A, "S": ASub, "B": B}[kind](n=number))

        @step(num_workers=1, accept_event_subclasses=True)
        async def both(self, ctx: Context, x: A, y: ASub, b: B) -> StopEvent:
            return StopEvent(result=[(type(one).__name__, one.n) for one in (x, y, b)])

    orders = ["ASB", "SAB", "BSA", "SSB", "BSSA", "AASB", "SBS", "BBAS"]
    return [await seen(W().run(order=order)) for order in orders]


async def a_join_inside_of_a_list() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return [A(n=1), B(n=10), B(n=20), A(n=2)]

        @step(num_workers=1)
        async def both(self, a: A, b: B) -> C:
            return C(n=a.n + b.n)

        @step
        async def end(self, ev: list[C]) -> StopEvent:
            return StopEvent(result=[one.n for one in ev])

    return await seen(W().run())


async def subclasses_where_they_are_accepted_and_where_not() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | ASub | B | None:
            ctx.send_event(ASub(n=1))
            ctx.send_event(A(n=2))
            ctx.send_event(B(n=3))

        @step(num_workers=1, accept_event_subclasses=True)
        async def wide(self, ctx: Context, ev: A) -> None:
            ctx.write_event_to_stream(ev)

        @step(num_workers=1)
        async def narrow(self, ctx: Context, ev: A) -> None:
            ctx.write_event_to_stream(C(n=ev.n))

        @step
        async def end(self, ev: B) -> StopEvent:
            for _ in range(20):
                await asyncio.sleep(0)
            return StopEvent(result="done")

    return (await seen(W().run())).what_counts(in_order=False)


async def recoveries_of_branches_are_joined() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=n) for n in range(ev.number)]

        @step
        async def work(self, ev: A) -> B:
            raise ValueError(f"work {ev.n}")

        @step
        async def join(self, ev: list[B]) -> C:
            return C(n=len(ev))

        @step
        async def last(self, ev: C) -> StopEvent:
            raise ValueError(f"last {ev.n}")

        @catch_error(max_recoveries=2)
        async def handle(self, ev: StepFailedEvent) -> B | StopEvent:
            return B() if ev.step_name == "work" else StopEvent(result="saved")

    return [await seen(W().run(number=number)) for number in (0, 1, 3)]
