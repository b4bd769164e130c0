"""Section 8: fan-out and fan-in, each statement on Stepwell and on LlamaIndex Workflows."""

import asyncio
import dataclasses
import importlib
import logging
from types import ModuleType
from typing import Any

import pytest

from differential.engines import ENGINES, loaded

pytest.importorskip("workflows")

HEAD = """
import asyncio
from typing import Annotated, Optional
from stepwell import Context, Workflow, catch_error, step
from stepwell.collect import All, Collect, Take
from stepwell.events import (
    CollectionReleaseEvent, Event, HumanResponseEvent, InputRequiredEvent, StartEvent,
    StepFailedEvent, StopEvent,
)
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_none

class A(Event):
    n: int = 0

class B(Event):
    n: int = 0

class BSub(B): ...

class C(Event):
    n: int = 0

class D(Event):
    n: int = 0

class Ask(InputRequiredEvent):
    n: int

class Answer(HumanResponseEvent):
    n: int

three_times = retry_policy(wait=wait_none(), stop=stop_after_attempt(3))

def numbers(events):
    return [ev.n for ev in events]
"""

WORK = """
    @step(num_workers=1)
    async def work(self, ev: A) -> B | None:
        return B(n=ev.n)
"""
JOIN = """
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=numbers(ev))
"""
SPREAD = """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A]:
        return [A(n=n) for n in range(3)]
"""


def begin(returns: str, body: str) -> str:
    """A workflow that begins with this step."""
    return f"""
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> {returns}:
        {body}
"""


NEVER_COMPLETE = (
    SPREAD
    + """
    @step
    async def one(self, ev: A) -> C:
        return C()
    @step
    async def two(self, ev: A) -> D | None:
        return D() if ev.n else None
    @step
    async def both(self, c: C, d: D) -> B:
        return B()
"""
    + JOIN
)

# Each statement, the workflow that shows it, and its result.
STATEMENTS: dict[str, tuple[str, Any]] = {
    # --- what a list return does ---
    "each element is dispatched, and gathered": (SPREAD + WORK + JOIN, [0, 1, 2]),
    "a list of several classes": (
        begin("list[A | B]", "return [A(n=1), B(n=2), A(n=3)]")
        + """
    @step
    async def join(self, ev: list[A | B]) -> StopEvent:
        return StopEvent(result=[(type(one).__name__, one.n) for one in ev])
""",
        [("A", 1), ("B", 2), ("A", 3)],
    ),
    "a list or nothing: the list": (
        begin("list[A] | None", "return [A(n=5)]") + WORK + JOIN,
        [5],
    ),
    "nothing instead of a list opens no stream": (
        begin("list[A] | D | None", "ctx.send_event(D(n=8))")
        + WORK
        + """
    @step
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent:
        return StopEvent(result="gathered")
    @step
    async def other(self, ev: D) -> StopEvent:
        for _ in range(20): await asyncio.sleep(0)
        return StopEvent(result="no stream")
""",
        "no stream",
    ),
    "an empty list opens and closes a stream": (begin("list[A]", "return []") + WORK + JOIN, []),
    "a bare event of a declared class is an ordinary one": (
        begin("list[A] | D", "return D(n=4)")
        + WORK
        + JOIN
        + """
    @step
    async def other(self, ev: D) -> StopEvent:
        return StopEvent(result=ev.n)
""",
        4,
    ),
    "a bare event of an element's class is a mistake": (
        begin("list[A]", "return A()") + WORK + JOIN,
        "WorkflowRuntimeError",
    ),
    "an element that is no event is a mistake": (
        begin("list[A]", "return [A(), 5]") + WORK + JOIN,
        "WorkflowRuntimeError",
    ),
    # --- what a list parameter gets ---
    "events come in the order of arrival": (
        SPREAD
        + """
    @step(num_workers=3)
    async def work(self, ev: A) -> B:
        for _ in range(100 * (3 - ev.n)): await asyncio.sleep(0)
        return B(n=ev.n)
"""
        + JOIN,
        [2, 1, 0],
    ),
    "an optional list parameter": (
        SPREAD
        + WORK
        + """
    @step
    async def join(self, ev: Optional[list[B]]) -> StopEvent:
        return StopEvent(result=numbers(ev))
""",
        [0, 1, 2],
    ),
    "branches that died are missing": (
        SPREAD
        + """
    @step(num_workers=1)
    async def work(self, ev: A) -> B | None:
        return B(n=ev.n) if ev.n != 1 else None
"""
        + JOIN,
        [0, 2],
    ),
    "a list of which all branches died is empty": (
        SPREAD
        + """
    @step
    async def work(self, ev: A) -> B | None:
        return None
"""
        + JOIN,
        [],
    ),
    "a list waits for branches of several steps, and for side steps": (
        SPREAD
        + WORK.replace("-> B | None", "-> C").replace("return B", "return C")
        + """
    @step(num_workers=1)
    async def more(self, ev: C) -> B:
        return B(n=ev.n + 10)
    @step
    async def aside(self, ctx: Context, ev: A) -> None:
        for _ in range(50): await asyncio.sleep(0)
        async with ctx.store.edit_state() as state:
            state["seen"] = state.get("seen", 0) + 1
    @step
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent:
        return StopEvent(result=(sorted(numbers(ev)), await ctx.store.get("seen")))
""",
        ([10, 11, 12], 3),
    ),
    "nested lists are gathered at the innermost level": (
        begin("list[A]", "return [A(n=n) for n in (2, 0, 3)]")
        + """
    @step
    async def split(self, ev: A) -> list[B]:
        return [B(n=n) for n in range(ev.n)]
    @step
    async def inner(self, ev: list[B]) -> C:
        return C(n=sum(numbers(ev)))
    @step
    async def outer(self, ev: list[C]) -> StopEvent:
        return StopEvent(result=sorted(numbers(ev)))
""",
        [0, 1, 3],
    ),
    "a gathering step returns a list again": (
        SPREAD
        + WORK
        + """
    @step
    async def again(self, ev: list[B]) -> list[C]:
        return [C(n=10 * one.n) for one in ev]
    @step
    async def end(self, ev: list[C]) -> StopEvent:
        return StopEvent(result=sorted(numbers(ev)))
""",
        [0, 10, 20],
    ),
    "several steps gather the same events": (
        SPREAD
        + WORK
        + """
    @step
    async def one(self, ev: list[B]) -> C:
        return C(n=len(ev))
    @step
    async def two(self, ev: list[B]) -> D:
        return D(n=sum(numbers(ev)))
    @step
    async def both(self, c: C, d: D) -> StopEvent:
        return StopEvent(result=(c.n, d.n))
""",
        (3, 3),
    ),
    "streams of different producers never mix": (
        begin("C | D | None", "ctx.send_event(C()); ctx.send_event(D())")
        + """
    @step
    async def one(self, ev: C) -> list[A]:
        return [A(n=n) for n in (1, 2)]
    @step
    async def two(self, ev: D) -> list[A]:
        return [A(n=n) for n in (3, 4, 5)]
"""
        + WORK
        + """
    @step
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent | None:
        found = await ctx.store.get("found", default=[])
        await ctx.store.set("found", sorted([*found, sorted(numbers(ev))]))
        return StopEvent(result=await ctx.store.get("found")) if found else None
""",
        [[1, 2], [3, 4, 5]],
    ),
    "a producer that runs twice opens two streams": (
        begin("C | None", "ctx.send_event(C(n=1)); ctx.send_event(C(n=2))")
        + """
    @step
    async def split(self, ev: C) -> list[A]:
        return [A(n=ev.n)] * ev.n
"""
        + WORK
        + """
    @step
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent | None:
        found = await ctx.store.get("found", default=[])
        await ctx.store.set("found", sorted([*found, numbers(ev)]))
        return StopEvent(result=await ctx.store.get("found")) if found else None
""",
        [[1], [2, 2]],
    ),
    # --- Take, All ---
    "Take gathers the first few": (
        SPREAD
        + WORK
        + """
    @step
    async def join(self, ev: Annotated[list[B], Collect(Take(2))]) -> StopEvent:
        return StopEvent(result=numbers(ev))
""",
        [0, 1],
    ),
    "Take gathers what there is, if the stream closes before": (
        SPREAD
        + WORK
        + """
    @step
    async def join(self, ev: Annotated[list[B], Collect(Take(7))]) -> StopEvent:
        return StopEvent(result=numbers(ev))
""",
        [0, 1, 2],
    ),
    "Take fires once, and the siblings keep running": (
        SPREAD
        + """
    @step(num_workers=1)
    async def work(self, ctx: Context, ev: A) -> B:
        async with ctx.store.edit_state() as state:
            state["worked"] = state.get("worked", 0) + 1
        return B(n=ev.n)
    @step
    async def first(self, ctx: Context, ev: Annotated[list[B], Collect(Take(1))]) -> None:
        async with ctx.store.edit_state() as state:
            state["fired"] = state.get("fired", 0) + 1
    @step
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent:
        return StopEvent(result=(await ctx.store.get("worked"), await ctx.store.get("fired")))
""",
        (3, 1),
    ),
    "Collect without a cardinality gathers all": (
        SPREAD
        + WORK
        + """
    @step
    async def join(self, ev: Annotated[list[B], Collect()]) -> StopEvent:
        return StopEvent(result=numbers(ev))
""",
        [0, 1, 2],
    ),
    # --- events that were sent ---
    "an event that was sent does not join a list": (
        SPREAD
        + """
    @step(num_workers=1)
    async def work(self, ctx: Context, ev: A) -> B | None:
        return B(n=ev.n)
    @step
    async def aside(self, ctx: Context, ev: A) -> None:
        pass
    @step
    async def join(self, ctx: Context, ev: list[B]) -> C:
        ctx.send_event(B(n=99))
        return C(n=len(ev))
    @step
    async def end(self, ev: C) -> StopEvent:
        return StopEvent(result=ev.n)
""",
        3,
    ),
    "an event that was sent to a gathering step is a mistake": (
        SPREAD
        + """
    @step
    async def work(self, ctx: Context, ev: A) -> B:
        ctx.send_event(B(n=99), step="join")
        return B(n=ev.n)
"""
        + JOIN,
        "WorkflowRuntimeError",
    ),
    # --- failures and waits ---
    "a retry keeps an event in its stream": (
        SPREAD
        + """
    @step(retry_policy=three_times)
    async def work(self, ctx: Context, ev: A) -> B:
        if ctx.retry_info().retry_number < ev.n:
            raise LookupError
        return B(n=ev.n)
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=sorted(numbers(ev)))
""",
        [0, 1, 2],
    ),
    "what a handler returns stays in the stream": (
        SPREAD
        + """
    @step
    async def work(self, ev: A) -> B:
        if ev.n == 1:
            raise LookupError
        return B(n=ev.n)
    @catch_error(for_steps=["work"])
    async def handle(self, ev: StepFailedEvent) -> B:
        return B(n=10 + ev.input_event.n)
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=sorted(numbers(ev)))
""",
        [0, 2, 11],
    ),
    "what a handler of all steps returns binds no step to another stream": (
        begin("list[A]", "return [A(n=2), A(n=2)]")
        + """
    @step
    async def split(self, ev: A) -> list[D]:
        return [D(n=n) for n in range(ev.n)]
    @step
    async def work(self, ev: D) -> C:
        return C(n=ev.n)
    @step
    async def inner(self, ev: list[C]) -> B:
        return B(n=len(ev))
    @catch_error
    async def handle(self, ev: StepFailedEvent) -> B:
        return B(n=7)
"""
        + JOIN,
        [2, 2],
    ),
    "an event of a handler that the stream never leads to is dropped": (
        begin("list[A]", "return [A(n=2), A(n=2)]")
        + """
    @step
    async def split(self, ev: A) -> list[D]:
        return [D(n=n) for n in range(ev.n)]
    @step
    async def work(self, ev: D) -> C:
        raise LookupError
    @step
    async def inner(self, ev: list[C]) -> B:
        return B(n=len(ev))
    @catch_error
    async def handle(self, ev: StepFailedEvent) -> B:
        return B(n=7)
"""
        + JOIN,
        [0, 0],
    ),
    "a wait keeps an event in its stream": (
        SPREAD
        + """
    @step
    async def work(self, ctx: Context, ev: A) -> B:
        answer = await ctx.wait_for_event(
            Answer, waiter_event=Ask(n=ev.n), requirements={"n": ev.n}
        )
        return B(n=10 * answer.n)
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=sorted(numbers(ev)))
""",
        [0, 10, 20],
    ),
    "a gathering step that is retried gets the identical list": (
        SPREAD
        + WORK
        + """
    @step(retry_policy=three_times)
    async def join(self, ctx: Context, ev: list[B]) -> StopEvent:
        got = [*await ctx.store.get("got", default=[]), numbers(ev)]
        await ctx.store.set("got", got)
        if len(got) < 3:
            raise LookupError
        return StopEvent(result=got)
""",
        [[0, 1, 2]] * 3,
    ),
    "a gathering step that failed is reported with its list": (
        SPREAD
        + WORK
        + """
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        raise LookupError
    @catch_error
    async def handle(self, ev: StepFailedEvent) -> StopEvent:
        batch = ev.input_event
        return StopEvent(result=(type(batch).__name__, numbers(batch.events)))
""",
        ("CollectionReleaseEvent", [0, 1, 2]),
    ),
    # --- several parameters ---
    "several parameters: one of each": (
        begin("A | B | None", "ctx.send_event(B(n=2)); ctx.send_event(A(n=1))")
        + """
    @step
    async def both(self, a: A, b: B) -> StopEvent:
        return StopEvent(result=(a.n, b.n))
""",
        (1, 2),
    ),
    "several parameters of one class: in the order of arrival": (
        begin("A | None", "ctx.send_event(A(n=1)); ctx.send_event(A(n=2))")
        + """
    @step
    async def both(self, one: A, two: A) -> StopEvent:
        return StopEvent(result=(one.n, two.n))
""",
        (1, 2),
    ),
    "several parameters: one batch after the other": (
        begin(
            "A | B | None",
            "[ctx.send_event(ev) for ev in (A(n=1), A(n=2), B(n=3), B(n=4))]; return None",
        )
        + """
    @step(num_workers=1)
    async def both(self, ctx: Context, a: A, b: B) -> StopEvent | None:
        found = [*await ctx.store.get("found", default=[]), (a.n, b.n)]
        await ctx.store.set("found", found)
        return StopEvent(result=found) if len(found) == 2 else None
""",
        [(1, 3), (2, 4)],
    ),
    "several parameters, with subclasses: another choice where the first does not do": (
        begin("B | BSub | None", "ctx.send_event(BSub(n=1)); ctx.send_event(B(n=2))")
        + """
    @step(accept_event_subclasses=True)
    async def both(self, b: B, sub: BSub) -> StopEvent:
        return StopEvent(result=(b.n, sub.n))
""",
        (2, 1),
    ),
    "several parameters have a buffer apart from collect_events": (
        begin(
            "A | B | None", "[ctx.send_event(ev) for ev in (A(n=1), A(n=2), B(n=3))]; return None"
        )
        + """
    @step(num_workers=1)
    async def collects(self, ctx: Context, ev: A) -> C | None:
        found = ctx.collect_events(ev, [A, A])
        return C(n=sum(numbers(found))) if found else None
    @step
    async def both(self, a: A, b: B) -> D:
        return D(n=10 * a.n + b.n)
    @step
    async def end(self, c: C, d: D) -> StopEvent:
        return StopEvent(result=(c.n, d.n))
""",
        (3, 13),
    ),
}


async def observed(module: ModuleType) -> Any:
    """The result, or the name of the error; questions are answered with their numbers."""
    handler = module.W(timeout=10).run()
    async for event in handler.stream_events():
        if isinstance(event, module.Ask):
            handler.ctx.send_event(module.Answer(n=event.n))
    try:
        return await handler
    except Exception as error:  # noqa: BLE001  an error is an outcome
        return type(error).__name__


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_fan_out_and_fan_in(statement: str, engine: str) -> None:
    text, result = STATEMENTS[statement]
    with loaded(HEAD + text, engine) as module:
        assert asyncio.run(observed(module)) == result


@pytest.mark.parametrize("engine", ENGINES)
def test_the_error_of_a_bare_event_says_so(engine: str) -> None:
    text, _ = STATEMENTS["a bare event of an element's class is a mistake"]
    with loaded(HEAD + text, engine) as module:
        assert "bare" in asyncio.run(message(module))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_part_that_is_left_over_keeps_no_stream_open(engine: str) -> None:
    """So there is no stream that can never close."""
    with loaded(HEAD + NEVER_COMPLETE, engine) as module:
        assert len(asyncio.run(result(module))) == 2


async def message(module: ModuleType) -> str:
    try:
        return f"no error, but {await module.W(timeout=10).run()}"
    except Exception as error:  # noqa: BLE001  of the engine's own class
        return f"{type(error).__name__}: {error}"


async def result(module: ModuleType) -> list[Any]:
    found: list[Any] = await module.W(timeout=10).run()
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_an_event_that_cannot_join_a_list_is_logged(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = STATEMENTS["an event that was sent does not join a list"]
    with caplog.at_level(logging.WARNING), loaded(HEAD + text, engine) as module:
        asyncio.run(observed(module))
    assert "join" in caplog.text


@pytest.mark.parametrize("engine", ENGINES)
def test_a_join_starts_anew_with_each_run_of_a_context(engine: str) -> None:
    text = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | StopEvent | None:
        ctx.send_event(A(n=ev.n))
        if ev.n == 1:
            return StopEvent(result="left a part behind")
        ctx.send_event(B(n=5))
    @step
    async def both(self, a: A, b: B) -> StopEvent:
        return StopEvent(result=(a.n, b.n))
"""
    with loaded(HEAD + text, engine) as module:

        async def twice() -> list[Any]:
            workflow = module.W(timeout=10)
            ctx = module.Context(workflow)
            return [await workflow.run(ctx=ctx, n=n) for n in (1, 2)]

        assert asyncio.run(twice()) == ["left a part behind", (2, 5)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None])
def test_take_wants_a_positive_whole_number(engine: str, count: Any) -> None:
    take = importlib.import_module(f"{engine}.collect").Take
    with pytest.raises((ValueError, TypeError)) as caught:
        take(count)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("engine", ENGINES)
def test_cardinalities_are_frozen_and_equal_by_value(engine: str) -> None:
    collect = importlib.import_module(f"{engine}.collect")
    assert collect.Collect() == collect.Collect(collect.All())
    assert collect.Take(2) == collect.Take(2) != collect.Take(3)
    for one, name in ((collect.Take(2), "n"), (collect.Collect(), "cardinality")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, name, 3)
