"""Section 14 of the reference: routing, order, the ends of runs, and what a run tells of itself."""

import asyncio
import gc
import re
import tracemalloc
import weakref
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowCancelledByUser
from stepwell.events import Event, StartEvent, StepStateChanged, StopEvent
from support.clock import run_with_jumping_clock
from support.programs import BOTH, outcome

pytest.importorskip("workflows")


class Round(Event):
    n: int


CASES = {
    "an event to every step that takes exactly its class": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | ASub | None:
        ctx.send_event(A(n=1))
        ctx.send_event(ASub(n=2))
    @step
    async def exact(self, ev: A) -> B:
        return B(n=ev.n)
    @step
    async def also(self, ev: A) -> B:
        return B(n=10 + ev.n)
    @step(accept_event_subclasses=True)
    async def derived(self, ev: A) -> B:
        return B(n=100 + ev.n)
    @step
    async def join(self, ctx: Context, ev: B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B] * 4)
        return found and StopEvent(result=sorted(one.n for one in found))

async def main():
    return await W().run()
""",
        [1, 11, 101, 102],
    ),
    "a returned question to the reader and to the steps that take it": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Ask:
        return Ask(n=1)
    @step
    async def notes(self, ctx: Context, ev: Ask) -> None:
        await ctx.store.set("asked", ev.n)
    @step
    async def end(self, ctx: Context, ev: Answer) -> StopEvent:
        return StopEvent(result=[ev.n, await ctx.store.get("asked")])

async def main():
    handler = W().run()
    seen = []
    async for event in handler.stream_events():
        seen.append(told(event))
        if isinstance(event, Ask):
            await asyncio.sleep(1)
            handler.ctx.send_event(Answer(n=2))
    return seen, await handler
""",
        (["Ask1", "StopEvent"], [2, 1]),
    ),
    "nothing else that is returned to the reader": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        ctx.write_event_to_stream(B(n=1))
        ctx.write_event_to_stream(C(n=2))
        ctx.write_event_to_stream(B(n=3))
        return A()
    @step
    async def end(self, ctx: Context, ev: A) -> StopEvent:
        ctx.write_event_to_stream(B(n=4))
        return StopEvent()

async def main():
    return await rest(W().run())
""",
        ["B1", "C2", "B3", "B4", "StopEvent"],
    ),
    "what a step sent before what it returned": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        ctx.send_event(A(n=1))
        ctx.send_event(A(n=2))
        await asyncio.sleep(1)
        return A(n=3)
    @step(num_workers=1)
    async def one_by_one(self, ctx: Context, ev: A) -> StopEvent | None:
        await asyncio.sleep(3 - ev.n)
        ctx.write_event_to_stream(ev)
        return StopEvent() if ev.n == 3 else None

async def main():
    return await rest(W().run())
""",
        ["A1", "A2", "A3", "StopEvent"],
    ),
    "as many at once as there are workers": (
        """
class W(Workflow):
    now = most = default_now = default_most = 0
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(12):
            ctx.send_event(A(n=n))
    @step(num_workers=3)
    async def three(self, ev: A) -> None:
        self.now += 1
        self.most = max(self.now, self.most)
        await asyncio.sleep(1)
        self.now -= 1
    @step
    async def default(self, ctx: Context, ev: A) -> B:
        self.default_now += 1
        self.default_most = max(self.default_now, self.default_most)
        await asyncio.sleep(10)
        self.default_now -= 1
        return B()
    @step
    async def end(self, ctx: Context, ev: B) -> StopEvent | None:
        return ctx.collect_events(ev, [B] * 12) and StopEvent()

async def main():
    workflow = W()
    await workflow.run()
    return workflow.most, workflow.default_most
""",
        (3, 4),
    ),
    "the first stop event, and an end for all other steps": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        self.log = []
        for n in range(3):
            ctx.send_event(A(n=n))
        ctx.send_event(B())
    @step
    async def waits(self, ctx: Context, ev: A) -> StopEvent:
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        ctx.write_event_to_stream(ev)
        return StopEvent(result="late")
    @step
    async def ends(self, ev: B) -> StopEvent:
        await asyncio.sleep(1)
        return StopEvent(result="first")

async def main():
    workflow = W()
    handler = workflow.run()
    result = await handler
    await asyncio.sleep(5)
    return result, await rest(handler), workflow.log
""",
        ("first", ["StopEvent"], ["cancelled"] * 3),
    ),
    "an end for what was queued": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        self.ran = []
        for n in range(5):
            ctx.send_event(A(n=n))
    @step(num_workers=1)
    async def works(self, ctx: Context, ev: A) -> StopEvent | None:
        self.ran.append(ev.n)
        return StopEvent(result=ev.n) if ev.n == 1 else None

async def main():
    workflow = W()
    result = await workflow.run()
    await asyncio.sleep(1)
    return result, workflow.ran
""",
        (1, [0, 1]),
    ),
    "branches that end": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.send_event(A(n=0))
        ctx.send_event(A(n=1))
        return None
    @step
    async def end(self, ev: A) -> StopEvent | None:
        return StopEvent(result="ended") if ev.n else None

async def main():
    return await W().run()
""",
        "ended",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", BOTH)
def test_a_run_gives(engine: str, case: str) -> None:
    program, expected = CASES[case]
    assert outcome(engine, program) == expected


# --- what a run tells of itself ---

TOLD = """
def line(event):
    if isinstance(event, StepStateChanged):
        given = [event.input_event_name, event.output_event_name]
        return [event.name, event.step_state.value, event.worker_id, *given]
    if isinstance(event, UnhandledEvent):
        return [type(event).__name__, event.event_type, event.step_name, event.idle]
    return told(event)

async def main():
    handler = W(**OPTIONS).run()
    lines = []
    async for event in handler.stream_events(expose_internal=True):
        lines.append(line(event))
        if lines[-1] == "WorkflowIdleEvent":
            send = SENDS.pop(0)
            handler.ctx.send_event(send)
    await attempt(lambda: handler)
    return lines

OPTIONS = {}
SENDS = []
"""

PROGRAMS = {
    "two steps": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> A:
        return A()
    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <A> | end running 0 A
        end not_running 0 <A> <StopEvent> | StopEvent
        """,
    ),
    "a step that returns nothing, and one that fails": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.send_event(A())
    @step
    async def end(self, ev: A) -> StopEvent:
        await asyncio.sleep(1)
        raise LookupError
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <NoneType> | end running 0 A
        end not_running 0 <A> | WorkflowFailedEvent
        """,
    ),
    "lists": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A | B]:
        return [A(), B()]
    @step
    async def end(self, ev: list[A | B]) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <B>
        end running 0 CollectionReleaseEvent
        end not_running 0 <CollectionReleaseEvent> <StopEvent> | StopEvent
        """,
    ),
    "an empty list": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[A]:
        return []
    @step
    async def end(self, ev: list[A]) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <NoneType>
        end running 0 CollectionReleaseEvent
        end not_running 0 <CollectionReleaseEvent> <StopEvent> | StopEvent
        """,
    ),
    "a join": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        ctx.send_event(A())
        ctx.send_event(B())
    @step
    async def end(self, a: A, b: B) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <NoneType> | end running 0 B
        end not_running 0 <B> <StopEvent> | StopEvent
        """,
    ),
    "retries": (
        """
class W(Workflow):
    failures = 0
    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.failures += 1
        if self.failures < 3:
            raise LookupError
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent>
        begin running 0 StartEvent | begin not_running 0 <StartEvent>
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <StopEvent> | StopEvent
        """,
    ),
    "an error handler": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        raise LookupError
    @catch_error
    async def mend(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent>
        mend running 0 StepFailedEvent | mend not_running 0 <StepFailedEvent> <StopEvent>
        StopEvent
        """,
    ),
    "work that waits for a worker": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(3):
            ctx.send_event(A(n=n))
        await asyncio.sleep(1)
        return None
    @step(num_workers=2)
    async def work(self, ev: A) -> StopEvent | None:
        await asyncio.sleep(5 + ev.n)
        return StopEvent() if ev.n == 2 else None
""",
        """
        begin running 0 StartEvent | work running 0 A | work running 1 A
        work preparing <enqueued> A
        begin not_running 0 <StartEvent> <NoneType>
        work not_running 0 <A> <NoneType> | work running 0 A | work not_running 1 <A> <NoneType>
        work not_running 0 <A> <StopEvent> | StopEvent
        """,
    ),
    "what nobody takes, while it works and while it is idle": (
        """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ask:
        ctx.send_event(C())
        await asyncio.sleep(1)
        return Ask()
    @step
    async def end(self, ev: Answer) -> StopEvent:
        return StopEvent()
SENDS = [C(), Answer()]
""",
        """
        begin running 0 StartEvent | UnhandledEvent C None False
        begin not_running 0 <StartEvent> <Ask> | Ask0 | WorkflowIdleEvent
        UnhandledEvent C None True | WorkflowIdleEvent
        end running 0 Answer | end not_running 0 <Answer> <StopEvent> | StopEvent
        """,
    ),
    "a question that a step takes": (
        """
class W(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Ask:
        return Ask()
    @step
    async def end(self, ev: Ask) -> StopEvent:
        return StopEvent()
""",
        """
        begin running 0 StartEvent | begin not_running 0 <StartEvent> <Ask> | Ask0
        end running 0 Ask | end not_running 0 <Ask> <StopEvent> | StopEvent
        """,
    ),
}


def written(line: Any) -> str:
    """A line of what a run tells; `<X>` where it says `<class 'module.X'>`."""
    if isinstance(line, str):
        return line
    state = isinstance(line[-1], str) or line[-1] is None
    words = [str(word) for word in (line[:-1] if state and line[-1] is None else line)]
    return re.sub(r"<class '[^']*?(\w+)'>", r"<\1>", " ".join(words))


def per_step(lines: list[str]) -> dict[str, list[str]]:
    """Steps side by side may be told of in any order: what is told of each one, in order."""
    told: dict[str, list[str]] = {}
    for line in lines:
        told.setdefault(line.split()[0], []).append(line)
    return told


@pytest.mark.parametrize("case", PROGRAMS)
@pytest.mark.parametrize("engine", BOTH)
def test_a_run_tells_of(engine: str, case: str) -> None:
    program, expected = PROGRAMS[case]
    found = [written(line) for line in outcome(engine, TOLD + program)]
    lines = [part.strip() for line in expected.strip().splitlines() for part in line.split("|")]
    if "preparing" in expected:
        assert per_step(found) == per_step(lines)
    else:
        assert found == lines


class Waits(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        found = [await ctx.wait_for_event(Event, waiter_id=str(n)) for n in range(2)]
        return StopEvent(result=len(found))


async def test_a_step_that_waits_is_told_of_as_not_running_and_the_run_as_idle() -> None:
    handler = Waits().run()
    lines: list[str] = []
    async for event in handler.stream_events(expose_internal=True):
        changed = isinstance(event, StepStateChanged)
        lines.append(event.step_state.value if changed else type(event).__name__)
        if lines[-1] == "WorkflowIdleEvent":
            await handler.send_event(Event())
    one_wait = ["running", "not_running", "WorkflowIdleEvent"]
    assert lines == [*one_wait, *one_wait, "running", "not_running", "StopEvent"]


async def test_what_a_run_tells_of_itself_is_nothing_to_other_readers() -> None:
    handler = Waits().run()
    inside = handler.stream_events(expose_internal=True)
    await anext(inside)
    for _ in range(2):
        await handler.send_event(Event())
    assert [type(event) async for event in handler.stream_events()] == [StopEvent]
    assert [type(event) async for event in inside][-1] is StopEvent


# --- the end is the end ---


class Races(Workflow):
    """Its last step wakes the others in the very turn in which it ends the run."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns = turns
        self.wake = asyncio.Event()
        self.all_wait = asyncio.Event()
        self.waiting: list[int] = []

    @step
    async def begin(self, ev: StartEvent) -> list[Round]:
        return [Round(n=n) for n in range(4)]

    @step
    async def race(self, ctx: Context, ev: Round) -> StopEvent:
        if ev.n == 3:
            await self.all_wait.wait()
            self.wake.set()
            return StopEvent(result="first")
        self.waiting.append(ev.n)
        if len(self.waiting) == 3:
            self.all_wait.set()
        await self.wake.wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        ctx.write_event_to_stream(ev)
        return StopEvent(result="late")


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_step_that_is_woken_as_the_run_ends_gets_nothing_into_its_stream(
    turns: int,
) -> None:
    handler = Races(turns).run()
    assert [str(event) async for event in handler.stream_events()] == ["first"]


async def test_what_a_step_sent_comes_before_what_it_returns_even_in_the_same_turn() -> None:
    class InOrder(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Round:
            ctx.send_event(Round(n=1))
            ctx.send_event(Round(n=2))
            return Round(n=3)

        @step(num_workers=1)
        async def turn(self, ctx: Context, ev: Round) -> StopEvent | None:
            ctx.write_event_to_stream(ev)
            return StopEvent() if ev.n == 3 else None

    events = [event async for event in InOrder().run().stream_events()]
    assert events[:-1] == [Round(n=1), Round(n=2), Round(n=3)]


async def test_a_stop_event_that_is_sent_ends_the_run_too() -> None:
    class Sends(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(StopEvent(result="sent"))
            await asyncio.Event().wait()
            return StopEvent()

    assert await Sends().run() == "sent"


class Deaf(Workflow):
    """Its first run does not care that it was cancelled."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if ev.n == 1:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                await asyncio.sleep(10)
        else:
            await asyncio.sleep(20)
        return StopEvent(result=ev.n)


def test_a_step_that_outlives_its_run_takes_no_part_in_the_next_run_of_the_context() -> None:
    async def main() -> list[Any]:
        workflow = Deaf()
        handler = workflow.run(n=1)
        await asyncio.sleep(1)
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        again = workflow.run(ctx=handler.ctx, n=2)
        stream = [type(event) async for event in again.stream_events(expose_internal=True)]
        return [await again, len(stream)]

    assert run_with_jumping_clock(main()) == [2, 3]


# --- memory ---


class Loops(Workflow):
    """Goes round and round, and remembers what memory it had at some rounds."""

    def __init__(self, marks: list[int]) -> None:
        super().__init__()
        self.marks = marks
        self.sizes: list[int] = []

    @step
    async def begin(self, ev: StartEvent) -> Round:
        return Round(n=0)

    @step
    async def turn(self, ctx: Context, ev: Round) -> Round | StopEvent:
        await ctx.store.set("n", ev.n)
        if ev.n in self.marks:
            gc.collect()
            self.sizes.append(tracemalloc.get_traced_memory()[0])
        return StopEvent() if ev.n == self.marks[-1] else Round(n=ev.n + 1)


async def test_a_run_does_not_grow_with_its_steps() -> None:
    workflow = Loops([5_000, 20_000])
    tracemalloc.start()
    try:
        await workflow.run()
    finally:
        tracemalloc.stop()
    first, last = workflow.sizes
    assert last - first < 100_000


class Writes(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(1_000):
            ctx.write_event_to_stream(Round(n=n))
        return StopEvent()


async def test_the_events_of_a_stream_go_with_the_handler() -> None:
    handler = Writes().run()
    events = [event async for event in handler.stream_events()]
    assert len(events) == 1_001
    gone = [weakref.ref(event) for event in events]
    del events
    gc.collect()
    assert all(one() is not None for one in gone)
    del handler
    gc.collect()
    assert [one for one in gone if one() is not None] == []
