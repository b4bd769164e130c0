"""Section 5 of the reference: what a context can do, and in which phase of its run."""

from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import ContextStateError, WorkflowRuntimeError
from stepwell.events import StartEvent, StopEvent
from support.programs import BOTH, outcome

pytest.importorskip("workflows")

PHASES = """
USES = {
    "store": lambda ctx: ctx.store.set("a", 1),
    "is_running": lambda ctx: ctx.is_running,
    "send_event": lambda ctx: ctx.send_event(B()),
    "stream_events": lambda ctx: ctx.stream_events() and "ok",
    "running_steps": lambda ctx: ctx.running_steps(),
    "get_result": lambda ctx: ctx.get_result(),
    "streaming_queue": lambda ctx: type(ctx.streaming_queue).__name__,
    "collect_events": lambda ctx: ctx.collect_events(A(), [A, B]),
    "write_event_to_stream": lambda ctx: ctx.write_event_to_stream(A()),
    "write None": lambda ctx: ctx.write_event_to_stream(None),
    "retry_info": lambda ctx: ctx.retry_info().retry_number,
    "get_step_context": lambda ctx: Context.get_step_context() is ctx,
    "to_dict": lambda ctx: type(ctx.to_dict()).__name__,
}

class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | B:
        self.inside = await attempt(lambda: USES[USE](ctx))
        self.begun.set()
        await self.go_on.wait()
        return StopEvent(result="result")
    @step
    async def other(self, ev: B) -> None:
        pass

async def main():
    workflow = W()
    workflow.begun, workflow.go_on = asyncio.Event(), asyncio.Event()
    ctx = Context(workflow)
    use = USES[USE]
    before = await attempt(lambda: use(ctx))
    handler = workflow.run(ctx=ctx)
    await workflow.begun.wait()
    outside = await attempt(lambda: use(ctx))
    workflow.go_on.set()
    await handler
    return before, outside, workflow.inside, await attempt(lambda: use(ctx))
"""

REFUSED = "ContextStateError"

PHASE_TABLE: dict[str, tuple[Any, ...]] = {
    "store": (None, None, None, None),
    "is_running": (False, True, True, False),
    "send_event": (REFUSED, None, None, ...),
    "stream_events": (REFUSED, "ok", REFUSED, "ok"),
    "running_steps": (REFUSED, ["begin"], REFUSED, []),
    "get_result": (REFUSED, "WorkflowRuntimeError", REFUSED, "result"),
    "streaming_queue": (REFUSED, "Queue", REFUSED, ...),
    "collect_events": (REFUSED, REFUSED, None, REFUSED),
    "write_event_to_stream": (REFUSED, REFUSED, None, REFUSED),
    "write None": (REFUSED, REFUSED, None, REFUSED),
    "retry_info": (REFUSED, REFUSED, 0, REFUSED),
    "get_step_context": ("WorkflowRuntimeError", "WorkflowRuntimeError", True, ...),
    "to_dict": ("dict", "dict", ..., "dict"),
}
"""Before the run, from outside, inside a step, afterwards; `...` where the two engines differ."""


@pytest.mark.parametrize("use", PHASE_TABLE)
@pytest.mark.parametrize("engine", BOTH)
def test_a_context_can_do_in_each_phase_what_makes_sense_there(engine: str, use: str) -> None:
    found = outcome(engine, f"USE = {use!r}\n{PHASES}")
    expected = PHASE_TABLE[use]
    assert [one for one, other in zip(found, expected, strict=True) if other is not ...] == [
        one for one in expected if one is not ...
    ]


async def test_wait_for_event_is_refused_outside_of_steps_and_says_where_it_belongs() -> None:
    class Once(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    ctx: Context[Any] = Context(Once())
    with pytest.raises(ContextStateError, match=r"wait_for_event.*before the run.*inside a step"):
        await ctx.wait_for_event(StopEvent)
    handler = Once().run()
    with pytest.raises(ContextStateError, match=r"wait_for_event.*outside of a step"):
        await handler.ctx.wait_for_event(StopEvent)
    await handler


SENDS = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        self.inside = [await attempt(lambda: one(ctx)) for one in MISTAKES]
        for n in range(4):
            ctx.send_event(A(n=n))
        ctx.send_event(A(n=4), step="second")
    @step(num_workers=1)
    async def first(self, ctx: Context, ev: A) -> None:
        await ctx.store.set("first", [*await ctx.store.get("first", default=[]), ev.n])
    @step(num_workers=1)
    async def second(self, ctx: Context, ev: A) -> StopEvent | None:
        await ctx.store.set("second", [*await ctx.store.get("second", default=[]), ev.n])
        if ev.n == 4:
            first, second = await ctx.store.get("first"), await ctx.store.get("second")
            return StopEvent(result=[first, second])
    @step
    async def base(self, ev: B) -> None:
        pass

MISTAKES = [
    lambda ctx: ctx.send_event(A(), step="nowhere"),
    lambda ctx: ctx.send_event(A(), step="base"),
    lambda ctx: ctx.send_event(ASub(), step="first"),
]

async def main():
    workflow = W()
    handler = workflow.run()
    outside = [await attempt(lambda: one(handler.ctx)) for one in MISTAKES]
    return await handler, workflow.inside, outside
"""


@pytest.mark.parametrize("engine", BOTH)
def test_sends_reach_all_that_take_exactly_that_class_or_the_one_named_in_order(
    engine: str,
) -> None:
    mistakes = ["WorkflowRuntimeError"] * 3
    assert outcome(engine, SENDS) == ([[0, 1, 2, 3], [0, 1, 2, 3, 4]], mistakes, mistakes)


COLLECTS = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        self.empty = ctx.collect_events(ev, [])
        for name, n in ev.arrivals:
            ctx.send_event({"A": A, "B": B}[name](n=n))
    @step(num_workers=1)
    async def join(self, ctx: Context, ev: A | B) -> StopEvent | None:
        found = ctx.collect_events(ev, EXPECTED)
        other = ctx.collect_events(ev, [type(ev)] * 3, buffer_id="other")
        log = [*await ctx.store.get("log", default=[]), [
            found and [told(one) for one in found], other and [told(one) for one in other]
        ]]
        await ctx.store.set("log", log)
        if len(log) == len(ARRIVALS):
            return StopEvent(result=[self.empty, *log])

async def main():
    return await W().run(arrivals=ARRIVALS)
"""


@pytest.mark.parametrize(
    ("expected", "arrivals", "found"),
    [
        ("[B, A]", "A1 B2", {1: ["B2", "A1"]}),
        ("[B, A]", "A1 A2 B1 B2", {2: ["B1", "A1"]}),
        ("[A, A]", "A1 A2 A3 A4", {1: ["A1", "A2"], 3: ["A3", "A4"]}),
        ("[A, B, A]", "A1 A2 B3", {2: ["A1", "B3", "A2"]}),
    ],
)
@pytest.mark.parametrize("engine", BOTH)
def test_collected_events_come_in_the_order_in_which_they_were_expected(
    engine: str, expected: str, arrivals: str, found: dict[int, list[str]]
) -> None:
    pairs = [(one[0], int(one[1])) for one in arrivals.split()]
    result = outcome(engine, f"EXPECTED = {expected}\nARRIVALS = {pairs!r}\n{COLLECTS}")
    assert result[0] == []
    assert [first for first, _ in result[1:]] == [found.get(at) for at in range(len(pairs))]


@pytest.mark.parametrize("engine", BOTH)
def test_collections_of_one_step_are_told_apart_by_their_id(engine: str) -> None:
    pairs = [("A", 1), ("A", 2), ("A", 3)]
    result = outcome(engine, f"EXPECTED = [A, A]\nARRIVALS = {pairs!r}\n{COLLECTS}")
    assert [other for _, other in result[1:]] == [None, None, ["A1", "A2", "A3"]]


WAITS = {
    "an event that fits the class and the requirements": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(Answer, Ask(), requirements={"n": 2})
        return StopEvent(result=answer.n)

async def main():
    handler = W().run()
    seen = []
    async for event in handler.stream_events():
        seen.append(told(event))
        if isinstance(event, Ask):
            for n in (1, 2, 2):
                handler.ctx.send_event(Answer(n=n))
    return seen, await handler
""",
        (["Ask0", "StopEvent"], 2),
    ),
    "all waits that fit, of all steps, and no step twice": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[A]:
        return [A(n=n) for n in range(3)]
    @step
    async def waits(self, ctx: Context, ev: A | Answer) -> B:
        if isinstance(ev, Answer):
            return B(n=100)
        answer = await ctx.wait_for_event(Answer, Ask(n=ev.n))
        return B(n=ev.n * 10 + answer.n)
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=sorted(one.n for one in ev))

async def main():
    handler = W().run()
    asked = set()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.add(event.n)
            if len(asked) == 3:
                handler.ctx.send_event(Answer(n=7))
    return sorted(asked), await handler
""",
        ([0, 1, 2], [7, 17, 27]),
    ),
    "its worker is free meanwhile": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(3):
            ctx.send_event(A(n=n))
    @step(num_workers=1)
    async def waits(self, ctx: Context, ev: A) -> B:
        answer = await ctx.wait_for_event(Answer, Ask(n=ev.n), requirements={"n": ev.n})
        return B(n=answer.n)
    @step
    async def join(self, ctx: Context, ev: B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B] * 3)
        return found and StopEvent(result=sorted(one.n for one in found))

async def main():
    handler = W().run()
    asked = []
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.n)
            if len(asked) == 3:
                for n in (2, 0, 1):
                    await handler.send_event(Answer(n=n))
    return asked, await handler
""",
        ([0, 1, 2], [0, 1, 2]),
    ),
    "three at a time, told apart by their names": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answers = [
            await ctx.wait_for_event(Answer, Ask(n=n), waiter_id=f"w{n}", requirements={"n": n})
            for n in range(3)
        ]
        return StopEvent(result=[one.n for one in answers])

async def main():
    handler = W().run()
    asked = []
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.n)
            handler.ctx.send_event(Answer(n=event.n))
    return asked, await handler
""",
        ([0, 1, 2], [0, 1, 2]),
    ),
    "not for ever": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        try:
            await ctx.wait_for_event(Answer, timeout=3)
        except asyncio.TimeoutError:
            return StopEvent(result="gave up")

async def main():
    return await W().run()
""",
        "gave up",
    ),
    "a human is asked once, although the step fails afterwards": (
        """
class W(Workflow):
    failures = 0
    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(Answer, Ask())
        self.failures += 1
        if self.failures < 3:
            raise ValueError
        return StopEvent(result=[answer.n, ctx.retry_info().retry_number])

async def main():
    handler = W().run()
    asked = 0
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked += 1
            handler.ctx.send_event(Answer(n=5))
    return asked, await handler
""",
        (1, [5, 2]),
    ),
    "derived classes where the step takes them": (
        """
class W(Workflow):
    @step(accept_event_subclasses=True)
    async def begin(self, ctx: Context, ev: StartEvent) -> B:
        found = await ctx.wait_for_event(A, Ask())
        return B(n=found.n)
    @step
    async def exact(self, ctx: Context, ev: StartEvent) -> B:
        found = await ctx.wait_for_event(A, Ask())
        return B(n=found.n)
    @step(num_workers=1)
    async def join(self, ctx: Context, ev: B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B, B])
        return found and StopEvent(result=[one.n for one in found])

async def main():
    handler = W().run()
    asked = 0
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked += 1
            if asked == 2:
                handler.ctx.send_event(ASub(n=1))
                handler.ctx.send_event(A(n=2))
    return await handler
""",
        [1, 2],
    ),
}


@pytest.mark.parametrize("case", WAITS)
@pytest.mark.parametrize("engine", BOTH)
def test_a_step_waits_for(engine: str, case: str) -> None:
    program, expected = WAITS[case]
    assert outcome(engine, program) == expected


RETRIES = """
class W(Workflow):
    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        info = ctx.retry_info()
        log = [*await ctx.store.get("log", default=[]), [
            info.retry_number, info.elapsed_seconds >= 0, type(info.last_exception).__name__,
            info.last_failed_at is not None and info.last_failed_at.utcoffset().seconds,
        ]]
        await ctx.store.set("log", log)
        if len(log) < 3:
            raise LookupError
        return StopEvent(result=log)

async def main():
    return await W().run()
"""


@pytest.mark.parametrize("engine", BOTH)
def test_a_step_knows_of_its_failed_attempts(engine: str) -> None:
    assert outcome(engine, RETRIES) == [
        [0, True, "NoneType", False],
        [1, True, "LookupError", 0],
        [2, True, "LookupError", 0],
    ]


ACROSS = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | StopEvent:
        await ctx.store.set("runs", await ctx.store.get("runs", default=0) + 1)
        ctx.send_event(A(n=ev.n))
        return B()
    @step(num_workers=1)
    async def join(self, ctx: Context, ev: A) -> StopEvent | None:
        found = ctx.collect_events(ev, [A, A])
        return found and StopEvent(result=[one.n for one in found])
    @step
    async def end(self, ctx: Context, ev: B) -> StopEvent:
        await asyncio.sleep(1)
        return StopEvent(result=await ctx.store.get("runs"))

class Other(W):
    pass

async def main():
    workflow = W()
    ctx = Context(workflow)
    results = [await workflow.run(ctx=ctx, n=n) for n in range(3)]
    copy = Context.from_dict(workflow, ctx.to_dict())
    results += [await workflow.run(ctx=copy, n=3), await workflow.run(ctx=ctx, n=4)]
    other = Other()
    return [*results, await other.run(ctx=Context.from_dict(other, ctx.to_dict()), n=5)]
"""


@pytest.mark.parametrize("engine", BOTH)
def test_state_is_carried_from_run_to_run_and_buffers_are_not(engine: str) -> None:
    assert outcome(engine, ACROSS) == [1, 2, 3, 4, 4, 5]


OBJECTS = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async def inner():
            await asyncio.sleep(1)
            return Context.get_step_context() is ctx
        return StopEvent(result=[Context.get_step_context() is ctx, await inner(),
                                 await asyncio.create_task(inner())])

async def main():
    return await W().run()
"""


@pytest.mark.parametrize("engine", BOTH)
def test_what_a_step_calls_finds_the_very_context_of_the_step(engine: str) -> None:
    assert outcome(engine, OBJECTS) == [True, True, True]


class Nothing(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for use in (lambda: ctx.send_event(5), lambda: ctx.write_event_to_stream(5)):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the point
            with pytest.raises(WorkflowRuntimeError, match=r"\(5\) was given int"):
                use()
        return StopEvent()


async def test_what_is_no_event_is_neither_sent_nor_shown() -> None:
    handler = Nothing().run()
    with pytest.raises(WorkflowRuntimeError, match=r"send_event\(None\) was given"):
        await handler.send_event(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the point
    assert [type(event) async for event in handler.stream_events()] == [StopEvent]
