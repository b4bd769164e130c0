"""Sections 3, 10 and 14: failures, retries, handlers, and the ends of runs."""

import asyncio
from typing import Annotated, Any

from differential.sights import seen
from stepwell import Context, Workflow, catch_error, step
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent
from stepwell.resource import Resource
from stepwell.retry_policy import (
    retry_if_exception_message,
    retry_if_exception_type,
    retry_policy,
    stop_after_attempt,
    wait_fixed,
    wait_none,
)


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class Mine(StopEvent):
    n: int


thrice = retry_policy(wait=wait_none(), stop=stop_after_attempt(3))


async def retries_and_what_the_step_is_told_of_them() -> object:
    class W(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0.001), stop=stop_after_attempt(3)))
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            info = ctx.retry_info()
            told = [info.retry_number, repr(info.last_exception), info.last_failed_at is None]
            await ctx.store.set("told", [*await ctx.store.get("told", default=[]), told])
            ctx.write_event_to_stream(A(n=info.retry_number))
            if info.retry_number < ev.fails:
                raise ValueError(f"attempt {info.retry_number}")
            return StopEvent(result=info.retry_number)

    return [await seen(W().run(fails=fails)) for fails in range(4)]


async def retries_of_some_exceptions_only() -> object:
    class W(Workflow):
        @step(
            retry_policy=retry_policy(
                retry=retry_if_exception_type(KeyError) | retry_if_exception_message("again"),
                wait=wait_none(),
                stop=stop_after_attempt(2),
            )
        )
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(A(n=ctx.retry_info().retry_number))
            raise {"key": KeyError("k"), "again": ValueError("again"), "no": ValueError("no")}[
                ev.what
            ]

    return [await seen(W().run(what=what)) for what in ("key", "again", "no")]


async def a_policy_of_ones_own_and_one_that_fails() -> object:
    class Once:
        def next(
            self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
        ) -> float | None:
            if str(error) == "policy":
                raise LookupError("no policy")
            return 0.0 if attempts == 1 else None

    class W(Workflow):
        @step(retry_policy=Once())
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(A(n=ctx.retry_info().retry_number))
            raise ValueError(ev.text)

    return [await seen(W().run(text=text)) for text in ("step", "policy")]


async def handlers_for_some_and_for_the_rest() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A | B:
            if ev.what == "begin":
                raise ValueError("begin")
            return A() if ev.what == "one" else B()

        @step(retry_policy=thrice)
        async def one(self, ev: A) -> StopEvent:
            raise ValueError("one")

        @step
        async def two(self, ev: B) -> StopEvent:
            raise ValueError("two")

        @catch_error(for_steps=["one"])
        async def named(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=["named", ev.step_name, ev.attempts, str(ev.exception)])

        @catch_error
        async def rest(self, ev: StepFailedEvent) -> StopEvent:
            event = type(ev.input_event).__name__
            return StopEvent(result=["rest", ev.step_name, ev.attempts, event])

    return [await seen(W().run(what=what)) for what in ("begin", "one", "two")]


async def budgets_of_handlers_follow_the_line_of_events() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A(n=ev.fails)

        @step
        async def work(self, ctx: Context, ev: A) -> StopEvent:
            ctx.write_event_to_stream(ev)
            if ev.n:
                raise ValueError(f"{ev.n} left")
            return StopEvent(result="through")

        @catch_error(for_steps=["work"], max_recoveries=2)
        async def handle(self, ev: StepFailedEvent) -> A:
            left: Any = ev.input_event
            return A(n=left.n - 1)

    return [await seen(W().run(fails=fails)) for fails in range(5)]


async def a_handler_that_fails_or_gives_nothing_useful() -> object:
    class W(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise ValueError(ev.what)

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:
            if str(ev.exception) == "raise":
                raise LookupError("handler")
            wrong: Any = {"int": 5, "list": [StopEvent()]}[str(ev.exception)]
            return wrong

    return [await seen_without_text(W, what) for what in ("raise", "int", "list")]


async def seen_without_text(workflow: Any, what: str) -> object:
    """The class of the error: only some texts are the same on both."""
    sight = await seen(workflow().run(what=what))
    return sight.result[0], [line.split()[0] for line in sight.published], sight.state


async def effects_of_failed_attempts_stand() -> object:
    class W(Workflow):
        @step(retry_policy=thrice)
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            number = ctx.retry_info().retry_number
            ctx.send_event(A(n=number))
            ctx.write_event_to_stream(B(n=number))
            await ctx.store.set(f"attempt {number}", True)
            if number < 2:
                raise ValueError

        @step(num_workers=1)
        async def end(self, ctx: Context, ev: A) -> StopEvent | None:
            found = ctx.collect_events(ev, [A] * 3)
            return StopEvent(result=sorted(one.n for one in found)) if found else None

    return await seen(W().run())


async def a_retry_goes_to_the_head_of_the_queue() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
            for n in range(3):
                ctx.send_event(A(n=n))

        @step(num_workers=1, retry_policy=thrice)
        async def work(self, ctx: Context, ev: A) -> StopEvent | None:
            ctx.write_event_to_stream(ev)
            if ctx.retry_info().retry_number < 2 - ev.n:
                raise ValueError
            return StopEvent() if ev.n == 2 else None

    return await seen(W().run())


async def a_time_out_that_names_the_steps() -> object:
    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | StopEvent | None:
            if ev.busy:
                await asyncio.Event().wait()

        @step
        async def end(self, ev: A) -> StopEvent:
            return StopEvent()

    return [await seen(W(timeout=0.02).run(busy=busy)) for busy in (True, False)]


async def no_handler_sees_a_time_out() -> object:
    class W(Workflow):
        @step(retry_policy=thrice)
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="handled")

    return await seen(W(timeout=0.02).run())


async def the_first_stop_event_ends_all() -> object:
    cut_off: list[str] = []

    class W(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
            ctx.send_event(A())
            ctx.send_event(B())

        @step
        async def never(self, ctx: Context, ev: A) -> StopEvent:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cut_off.append("never")
                raise
            return StopEvent(result="second")

        @step
        async def end(self, ev: B) -> StopEvent:
            await asyncio.sleep(0)
            return StopEvent(result="first")

    class Own(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Mine:
            return Mine(n=3)

    mine = await Own().run()
    return type(mine).__name__, mine.n, await seen(W().run()), cut_off


async def resources_kept_fresh_nested_and_failing() -> object:
    made: list[str] = []

    def kept() -> str:
        made.append("kept")
        return f"kept {len(made)}"

    async def fresh(inner: Annotated[str, Resource(kept)]) -> str:
        made.append("fresh")
        return f"fresh {len(made)} in {inner}"

    def failing() -> str:
        made.append("failing")
        if made.count("failing") < 3:
            raise LookupError("no resource")
        return "at last"

    class W(Workflow):
        @step
        async def begin(
            self,
            ctx: Context,
            ev: StartEvent,
            one: Annotated[str, Resource(kept)],
            two: Annotated[str, Resource(fresh, cache=False)],
        ) -> A:
            await ctx.store.set("begin", [one, two])
            return A()

        @step(retry_policy=thrice)
        async def end(
            self,
            ctx: Context,
            ev: A,
            two: Annotated[str, Resource(fresh, cache=False)],
            last: Annotated[str, Resource(failing)],
        ) -> StopEvent:
            return StopEvent(result=[two, last, ctx.retry_info().retry_number])

    workflow = W()
    return [await seen(workflow.run()), await seen(workflow.run()), made]
