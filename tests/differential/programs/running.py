"""Sections 2, 5 to 7 and 14: routing, waits, state, and runs one after the other."""

import asyncio
from typing import Any

from pydantic import BaseModel

from differential.sights import seen
from stepwell import Context, Workflow, step
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    UnhandledEvent,
)


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class State(BaseModel):
    count: int = 0
    names: list[str] = []


class Answer(HumanResponseEvent):
    n: int = 0


class Ask(InputRequiredEvent):
    n: int = 0
    answer: Answer | None = None


async def a_broadcast_reaches_each_step_once() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A(n=1)

        @step
        async def one(self, ev: A) -> B:
            return B(n=ev.n)

        @step
        async def two(self, ev: A) -> B:
            return B(n=ev.n + 1)

        @step(num_workers=1)
        async def end(self, ctx: Context, ev: B) -> StopEvent | None:
            found = ctx.collect_events(ev, [B, B])
            return StopEvent(result=sorted(one.n for one in found)) if found else None

    return await seen(W().run())


async def sends_to_one_step_and_to_all() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            ctx.send_event(A(n=1), step="one")
            ctx.send_event(A(n=2), step="two")
            ctx.send_event(A(n=3))

        @step(num_workers=1)
        async def one(self, ctx: Context, ev: A) -> B:
            return B(n=10 + ev.n)

        @step(num_workers=1)
        async def two(self, ctx: Context, ev: A) -> B:
            return B(n=20 + ev.n)

        @step(num_workers=1)
        async def end(self, ctx: Context, ev: B) -> StopEvent | None:
            found = ctx.collect_events(ev, [B] * 4)
            return StopEvent(result=sorted(one.n for one in found)) if found else None

    return await seen(W().run())


async def a_wait_is_answered_by_the_event_that_fits() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            got = await ctx.wait_for_event(
                Answer, waiter_event=Ask(n=7), waiter_id="one", requirements={"n": 7}
            )
            return StopEvent(result=got.n)

    handler = W().run()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            handler.ctx.send_event(Answer(n=6))
            handler.ctx.send_event(Answer(n=7))
    return await handler


async def parallel_waits_with_requirements() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=n) for n in range(3)]

        @step
        async def work(self, ctx: Context, ev: A) -> B:
            question = Ask(n=ev.n, answer=Answer(n=ev.n))
            got = await ctx.wait_for_event(Answer, waiter_event=question, requirements={"n": ev.n})
            return B(n=10 * got.n)

        @step
        async def end(self, ev: list[B]) -> StopEvent:
            return StopEvent(result=sorted(one.n for one in ev))

    return (await seen(W().run())).what_counts(in_order=False)


async def one_answer_for_all_who_wait_for_it() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A()

        @step
        async def one(self, ctx: Context, ev: A) -> B:
            return B(n=(await ctx.wait_for_event(Answer, waiter_event=Ask(n=1))).n + 1)

        @step
        async def two(self, ctx: Context, ev: A) -> B:
            return B(n=(await ctx.wait_for_event(Answer, waiter_event=Ask(n=2))).n + 2)

        @step(num_workers=1)
        async def end(self, ctx: Context, ev: B) -> StopEvent | None:
            found = ctx.collect_events(ev, [B, B])
            return StopEvent(result=sorted(one.n for one in found)) if found else None

    handler = W().run()
    asked: list[int] = []
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.n)
            if len(asked) == 2:
                handler.ctx.send_event(Answer(n=10))
    return sorted(asked), await handler


async def a_wait_that_takes_too_long() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await ctx.wait_for_event(Answer, waiter_event=Ask(n=1), timeout=0.01)
            except TimeoutError:
                return StopEvent(result="too long")
            return StopEvent(result="answered")

    return await seen(W().run())


async def two_waits_in_one_step() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            numbers = [
                (
                    await ctx.wait_for_event(
                        Answer,
                        waiter_event=Ask(n=n, answer=Answer(n=n)),
                        waiter_id=f"question {n}",
                        requirements={"n": n},
                    )
                ).n
                for n in (1, 2)
            ]
            return StopEvent(result=numbers)

    return await seen(W().run())


async def a_typed_state_that_steps_share() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context[State], ev: StartEvent) -> A:
            async with ctx.store.edit_state() as state:
                state.count += 1
                state.names.append("begin")
            return A()

        @step
        async def end(self, ctx: Context[State], ev: A) -> StopEvent:
            await ctx.store.set("count", await ctx.store.get("count") + 10)
            return StopEvent(result=(await ctx.store.get_state()).count)

    workflow = W()
    ctx = Context(workflow)
    await ctx.store.set("names", ["seed"])
    return [await seen(workflow.run(ctx=ctx)) for _ in range(2)]


async def a_context_that_goes_on_to_another_workflow() -> object:
    class One(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("a.b", [1, {"c": None}])
            return StopEvent()

    class Two(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=[await ctx.store.get("a.b.1.c"), await ctx.store.get("a.b.0")])

    first = One().run()
    await first
    second = Two()
    return await seen(second.run(ctx=Context.from_dict(second, first.ctx.to_dict())))


async def an_interrupted_run_that_goes_on() -> object:
    gate = asyncio.Event()

    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A:
            await ctx.store.set("begun", await ctx.store.get("begun", default=0) + 1)
            return A(n=ev.n)

        @step
        async def work(self, ctx: Context, ev: A) -> B:
            ctx.write_event_to_stream(ev)
            await gate.wait()
            return B(n=ev.n + 1)

        @step
        async def end(self, ev: B) -> StopEvent:
            return StopEvent(result=ev.n)

    workflow = W()
    first = workflow.run(n=4)
    async for _ in first.stream_events():
        break
    await first.cancel_run()
    stored: Any = first.ctx.to_dict()
    gate.set()
    return await seen(workflow.run(ctx=Context.from_dict(workflow, stored)))


async def runs_that_wait_for_their_turn() -> object:
    running: list[int] = []
    most: list[int] = []

    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            running.append(ev.n)
            most.append(len(running))
            await asyncio.sleep(0.001)
            running.remove(ev.n)
            return StopEvent(result=ev.n)

    workflow = W(num_concurrent_runs=2)
    handlers = [workflow.run(n=n) for n in range(6)]
    return await asyncio.gather(*handlers), max(most)


async def unbound_and_inherited_and_overridden_steps() -> object:
    class Base(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A(n=1)

        @step
        async def end(self, ev: A) -> StopEvent:
            return StopEvent(result=ev.n)

    class Derived(Base):
        @step
        async def end(self, ev: A) -> B:  # pyright: ignore[reportIncompatibleMethodOverride]
            return B(n=ev.n + 1)

        @step
        async def last(self, ev: B) -> StopEvent:
            return StopEvent(result=ev.n * 10)

    class Bare(Workflow): ...

    @step(workflow=Bare)
    async def begin(ev: StartEvent) -> A:  # pyright: ignore[reportUnusedFunction]
        return A(n=5)

    @step(workflow=Bare)
    def end(ev: A) -> StopEvent:  # pyright: ignore[reportUnusedFunction]
        return StopEvent(result=ev.n)

    return [await seen(cls().run()) for cls in (Base, Derived, Bare)]


async def events_that_nobody_takes() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | StopEvent:
            ctx.send_event(B(n=1))
            return A()

        @step
        async def end(self, ev: A) -> StopEvent:
            await asyncio.sleep(0)
            return StopEvent()

    handler = W().run()
    unhandled = [
        event.event_type
        async for event in handler.stream_events(expose_internal=True)
        if isinstance(event, UnhandledEvent)
    ]
    return unhandled, await handler


async def what_a_stream_tells_of_the_steps() -> object:
    class W(Workflow):
        @step(num_workers=1)
        async def begin(self, ev: StartEvent) -> A:
            return A()

        @step(num_workers=1)
        async def end(self, ev: A) -> StopEvent:
            return StopEvent()

    handler = W().run()
    states: list[object] = []
    async for event in handler.stream_events(expose_internal=True):
        change = [event.get(name, getattr(event, name, None)) for name in ("name", "step_state")]
        states.append((type(event).__name__, *(getattr(one, "value", one) for one in change)))
    return states


async def a_handler_before_and_after_the_end() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(None)
            ctx.write_event_to_stream(A(n=1))
            return StopEvent(result=[1])

    handler = W().run(run_id="the run")
    before = [handler.run_id, handler.is_done(), handler.get_stop_event()]
    results = [await handler, await handler, str(await handler.stop_event_result())]
    after = [handler.is_done(), type(handler.get_stop_event()).__name__]
    return before, results, after, [type(one).__name__ async for one in handler.stream_events()]
