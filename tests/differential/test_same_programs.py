"""The same program text on Stepwell and on LlamaIndex Workflows: results, streams and errors.

Where the two differ on purpose, the program is not here but in the tests of the part it is about.
"""

import asyncio
import itertools
import sys
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("workflows")

HEAD = """
import asyncio
from typing import Annotated, Any, Optional, Union
from pydantic import BaseModel, Field
from {engine} import Context, Workflow, step
from {engine}.collect import Collect, Take
from {engine}.context.state_store import DictState, InMemoryStateStore
from {engine}.events import (
    Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent,
)

class A(Event):
    n: int = 0

class B(Event):
    n: int = 0

class C(Event):
    n: int = 0

class Ask(InputRequiredEvent):
    pass

class Answer(HumanResponseEvent):
    pass

async def observe(handler):
    "What can be seen of a run: its stream, then its result or error."
    seen = [(type(e).__name__, e.get("n", getattr(e, "n", None))) async for e in
            handler.stream_events()]
    try:
        return seen, await handler
    except Exception as error:
        return seen, type(error).__name__

async def tries(*actions):
    "What each action gives, or the class of its error."
    outcomes = []
    for action in actions:
        try:
            outcomes.append(await action)
        except Exception as error:
            outcomes.append(type(error).__name__)
    return outcomes
"""

PROGRAMS = {
    "a branch and a loop": """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> A | B:
        return A(n=ev.n) if ev.n % 2 else B(n=ev.n)
    @step
    async def odd(self, ctx: Context, ev: A) -> B | StopEvent:
        ctx.write_event_to_stream(ev)
        return StopEvent(result="one") if ev.n == 1 else B(n=3 * ev.n + 1)
    @step
    async def even(self, ev: B) -> A | B:
        return A(n=ev.n // 2) if ev.n // 2 % 2 else B(n=ev.n // 2)

async def main():
    return [await observe(W().run(n=n)) for n in (1, 6, 7)]
""",
    "lists in lists": """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A]:
        return [A(n=n) for n in ev.sizes]
    @step
    async def split(self, ev: A) -> list[B]:
        return [B(n=n) for n in range(ev.n)]
    @step
    async def inner(self, ev: list[B]) -> C:
        return C(n=sum(one.n for one in ev))
    @step
    async def outer(self, ev: list[C]) -> StopEvent:
        return StopEvent(result=sorted(one.n for one in ev))

async def main():
    return [await observe(W().run(sizes=sizes)) for sizes in ([], [0], [3, 0, 5], [1] * 9)]
""",
    "the first few of a list, and what died": """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A]:
        return [A(n=n) for n in range(ev.number)]
    @step(num_workers=1)
    async def work(self, ev: A) -> B | None:
        return B(n=ev.n) if ev.n % 2 else None
    @step
    async def join(self, ev: Annotated[list[B], Collect(Take(2))]) -> StopEvent:
        return StopEvent(result=[one.n for one in ev])

async def main():
    return [await observe(W().run(number=number)) for number in (0, 1, 3, 4, 9)]
""",
    "collected events": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        for kind, n in ev.arrivals:
            ctx.send_event((A if kind == "A" else B)(n=n))
    @step(num_workers=1)
    async def join(self, ctx: Context, ev: A | B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B, A])
        log = await ctx.store.get("log", default=[])
        await ctx.store.set("log", [*log, found and [one.n for one in found]])
        if len(log) == 3:
            return StopEvent(result=await ctx.store.get("log"))

async def main():
    orders = ["AABB", "ABAB", "BBAA", "ABBA"]
    return [await observe(W().run(arrivals=list(zip(o, (1, 2, 3, 4))))) for o in orders]
""",
    "one worker, in order": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(6):
            ctx.send_event(A(n=n))
    @step(num_workers=1)
    async def work(self, ctx: Context, ev: A) -> StopEvent | None:
        await asyncio.sleep(0)
        ctx.write_event_to_stream(ev)
        return StopEvent(result=ev.n) if ev.n == 5 else None

async def main():
    return await observe(W().run())
""",
    "mistakes of steps": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | StopEvent | None:
        match ev.what:
            case "raise": raise LookupError("x")
            case "list": return [A()]
            case "int": return 5
            case "target": ctx.send_event(A(), step="nowhere")
            case "misfit": ctx.send_event(B(), step="end")
    @step
    async def end(self, ev: A) -> list[B] | StopEvent:
        return StopEvent()
    @step
    async def join(self, ev: list[B]) -> StopEvent:
        return StopEvent()

async def main():
    whats = ["raise", "list", "int", "target", "misfit"]
    return [await observe(W().run(what=what)) for what in whats]
""",
    "lists that are none": """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A] | B:
        return {"bare": A(), "other": [A(), 5], "declared": B(n=1), "none": []}[ev.what]
    @step
    async def join(self, ev: list[A]) -> StopEvent:
        return StopEvent(result=len(ev))
    @step
    async def single(self, ev: B) -> StopEvent:
        return StopEvent(result="single")

async def main():
    return [await observe(W().run(what=w)) for w in ("bare", "other", "declared", "none")]
""",
    "a human": """
class W(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Ask:
        return Ask(n=1)
    @step
    async def end(self, ev: Answer) -> StopEvent:
        return StopEvent(result=ev.text)

async def main():
    handler = W().run()
    seen = []
    async for event in handler.stream_events():
        seen.append(type(event).__name__)
        if isinstance(event, Ask):
            handler.ctx.send_event(Answer(text="yes"))
    return seen, await handler, W().validate()
""",
    "a stop event of its own class": """
class Mine(StopEvent):
    n: int

class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Mine:
        return Mine(n=4)

async def main():
    handler = W().run()
    result = await handler
    return type(result).__name__, result.n, await observe(W().run()) == ([("Mine", 4)], result)
""",
    "the ends of runs": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(A(n=1))
        await asyncio.Event().wait()
        return StopEvent()

async def main():
    cancelled = W(timeout=None).run()
    async for event in cancelled.stream_events():
        break
    await cancelled.cancel_run()
    await cancelled.cancel_run()
    try:
        await cancelled
    except Exception as error:
        name = type(error).__name__
    return name, type(cancelled.get_stop_event()).__name__, await observe(W(timeout=0.05).run())
""",
    "the state store": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        s = ctx.store
        log = await tries(
            s.set("a.b.c", 1), s.get("a"), s.get("a.b.c"), s.get("a.x"), s.get("a.x", default=7),
            s.set("", 1), s.set("l", [1, 2]), s.set("l.0", 5), s.get("l"), s.set("l.7", 5),
            s.get("l.1"), s.get("l.9", default=None), s.get(".".join("a" * 1001)),
            s.set("items", 3), s.get("items"), s.set("5", 6), s.get("5"),
        )
        try:
            async with s.edit_state() as state:
                state.kept = 1
                raise LookupError
        except LookupError:
            log.append(await s.get("kept", default="undone"))
        async with s.edit_state() as state:
            state.kept = state.a["b"]["c"] + 1
            log += await tries(s.set("x", 1), s.get("kept", default="not yet"))
        log.append(await s.get("kept"))
        await s.clear()
        return StopEvent(result=[*log, await s.get("a", default="cleared")])

async def main():
    return await W().run()
""",
    "a typed state": """
class Parent(BaseModel):
    n: int = 0

class Child(Parent):
    tags: list[str] = []

class W(Workflow):
    @step
    async def begin(self, ctx: Context[Parent], ev: StartEvent) -> A:
        return A()
    @step
    async def end(self, ctx: Context[Child], ev: A) -> StopEvent:
        s = ctx.store
        log = [type(await s.get_state()).__name__]
        log += await tries(
            s.set("n", 5), s.get("n"), s.set("other", 1), s.set("tags", ["a"]),
            s.set_state(Parent(n=9)), s.get("tags"), s.get("n"), s.set_state(DictState()),
            s.set("n", "text"), s.get("n"), s.clear(), s.get("n"),
        )
        return StopEvent(result=log)

async def main():
    return await W().run()
""",
    "one context, several runs": """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        count = await ctx.store.get("count", default=0) + 1
        await ctx.store.set("count", count)
        if count == 2:
            raise LookupError
        return StopEvent(result=count)

async def main():
    workflow = W()
    ctx = Context(workflow)
    return [await observe(workflow.run(ctx=ctx)) for _ in range(3)]
""",
    "mistakes of callers": """
class Named(StartEvent):
    name: str

class W(Workflow):
    @step
    async def begin(self, ev: Named) -> StopEvent:
        return StopEvent(result=ev.name)

class Dangling(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent | A:
        return StopEvent()

class Empty(Workflow):
    pass

async def main():
    async def run(make):
        return await make()
    return await tries(
        run(lambda: W().run()), run(lambda: W().run(name="x")), run(lambda: W().run(name=[])),
        run(lambda: W().run(start_event=5)), run(lambda: W().run(start_event=Named(name="y"))),
        run(lambda: Dangling().run()), run(lambda: Empty().run()),
    )
""",
    "sync steps": """
class W(Workflow):
    @step
    def begin(self, ev: StartEvent) -> list[A]:
        return [A(n=n) for n in range(3)]
    @step
    def work(self, ev: A) -> B:
        return B(n=ev.n * 2)
    @step
    def join(self, ev: list[B]) -> StopEvent:
        return StopEvent(result=sorted(one.n for one in ev))

async def main():
    return await observe(W().run())
""",
}

numbers = itertools.count()


def loaded(engine: str, program: str) -> ModuleType:
    """The program as a module: step signatures look up names there."""
    module = ModuleType(f"program_{next(numbers)}")
    sys.modules[module.__name__] = module
    exec(HEAD.replace("{engine}", engine) + program, vars(module))  # noqa: S102  the programs above
    return module


def outcome(engine: str, program: str) -> Any:
    module = loaded(engine, program)
    try:
        return asyncio.run(module.main())
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same_on_both(name: str) -> None:
    assert outcome("stepwell", PROGRAMS[name]) == outcome("workflows", PROGRAMS[name])
