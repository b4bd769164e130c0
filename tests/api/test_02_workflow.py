"""Section 2 of the reference, but for validation: making workflows, and starting their runs."""

import asyncio
import gc
import logging
import weakref
from contextlib import suppress
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowCancelledByUser, WorkflowTimeoutError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent, WorkflowCancelledEvent
from stepwell.retry_policy import retry_policy, wait_fixed
from support.clock import run_with_jumping_clock
from support.programs import BOTH, outcome
from support.runs import Runs, until
from support.servers import RedisServer

pytest.importorskip("workflows")

CLASSES = """
class Named(StartEvent):
    name: str

class Greets(Workflow):
    @step
    async def begin(self, ctx: Context, ev: Named) -> StopEvent:
        runs = await ctx.store.get("runs", default=0) + 1
        await ctx.store.set("runs", runs)
        return StopEvent(result=f"{ev.name} {runs}")

class Dangles(Workflow):
    @step
    async def begin(self, ev: Named) -> StopEvent | A:
        return StopEvent(result="ran")

class Needs(BaseModel):
    required: int

class Needy(Workflow):
    @step
    async def begin(self, ctx: Context[Needs], ev: Named) -> StopEvent:
        return StopEvent()

class Holds(Workflow):
    def __init__(self, **options):
        super().__init__(**options)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.log = []
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.log.append(["in", ev.get("n")])
        self.begun.set()
        await self.go_on.wait()
        self.log.append(["out", ev.get("n")])
        return StopEvent(result=ev.get("n"))

def sync_attempt(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__
"""

WITHOUT_A_LOOP = {
    "an invalid graph first": (
        "Dangles().run(start_event=5, run_id='x')",
        "WorkflowValidationError",
    ),
    "then what is no start event": ("Greets().run(start_event=5)", "ValueError"),
    "or the missing fields of one": ("Greets().run(other=5)", "WorkflowRuntimeError"),
    "or a state that can't be made": ("Needy().run(name='x')", "ValidationError"),
    "and the loop last": ("Greets().run(name='x')", "RuntimeError"),
    "also without validation": ("Dangles(disable_validation=True).run(name='x')", "RuntimeError"),
}


@pytest.mark.parametrize("case", WITHOUT_A_LOOP)
@pytest.mark.parametrize("engine", BOTH)
def test_run_looks_for_mistakes_in_this_order(engine: str, case: str) -> None:
    call, expected = WITHOUT_A_LOOP[case]

    def run(main: Any) -> Any:
        with pytest.raises(StopIteration) as returned:
            main.send(None)  # runs it although there is no loop
        return returned.value.value

    program = f"{CLASSES}\nasync def main():\n    return sync_attempt(lambda: {call})\n"
    assert outcome(engine, program, run) == expected


CASES = {
    "the kind of its instances": (
        """
async def main():
    one, named = Greets(timeout=3), Greets(workflow_name="named")
    return [named.workflow_name, one.workflow_name == f"{__name__}.Greets",
            one.start_event_class is Named, one.stop_event_class is StopEvent,
            set(one.events) == {Named, StopEvent}, one.serializer]
""",
        ["named", True, True, True, True, None],
    ),
    "names that say where it is": (
        """
async def main():
    class Local(Greets):
        pass
    return Local().workflow_name == f"{__name__}.main.<locals>.Local"
""",
        True,
    ),
    "a start event of keywords, or whole": (
        """
class Takes(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=[ev.get("one"), ev.get("two")])

async def main():
    return [await Greets().run(name="x"), await Greets().run(start_event=Named(name="y"), name="z"),
            await Takes().run(one=1), await Takes().run(start_event=StartEvent(two=2), one=1)]
""",
        ["x 1", "y 1", [1, None], [None, 2]],
    ),
    "a message that names class and keywords": (
        """
async def main():
    try:
        Greets().run(other=5)
    except WorkflowRuntimeError as error:
        return [word in str(error) for word in ("Named", "other")]
""",
        [True, True],
    ),
    "run ids": (
        """
async def main():
    given, none, made = Greets(), Greets(), Greets()
    handlers = [
        given.run(name="a", run_id="r"), none.run(name="b", run_id=None), made.run(name="c")
    ]
    ids = [one.run_id for one in handlers]
    return [await asyncio.gather(*handlers), ids[0], [len(one) for one in ids[1:]],
            all(one.isalnum() for one in ids), len(set(ids))]
""",
        [["a 1", "b 1", "c 1"], "r", [10, 10], True, 3],
    ),
    "one run of a name at a time, whatever its class": (
        """
async def main():
    holds = Holds()
    handler = holds.run(run_id="twice")
    refused = await attempt(lambda: Greets().run(name="x", run_id="twice"))
    holds.go_on.set()
    await handler
    return refused
""",
        "RuntimeError",
    ),
    "one run of a context at a time": (
        """
async def main():
    holds = Holds()
    handler = holds.run(n=1)
    refused = [await attempt(lambda: holds.run(ctx=handler.ctx, n=2))]
    await holds.begun.wait()
    refused.append(await attempt(lambda: holds.run(ctx=handler.ctx, n=2)))
    holds.go_on.set()
    return refused, await handler, await holds.run(ctx=handler.ctx, n=3)
""",
        (["ContextStateError", "ContextStateError"], 1, 3),
    ),
    "a context for run after run": (
        """
async def main():
    workflow = Greets()
    ctx = Context(workflow)
    handlers = []
    for name in "abc":
        handlers.append(workflow.run(ctx=ctx, name=name))
        await handlers[-1]
    return [[one.ctx is ctx for one in handlers], [await one for one in handlers]]
""",
        [[True] * 3, ["a 1", "b 2", "c 3"]],
    ),
    "an interrupted run that goes on, and takes no input": (
        """
class Resumes(Holds):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        return A(n=ev.n)
    @step
    async def end(self, ctx: Context, ev: A) -> StopEvent:
        self.begun.set()
        await self.go_on.wait()
        return StopEvent(result=ev.n)

async def main():
    first, second = Resumes(), Resumes()
    handler = first.run(n=5)
    await first.begun.wait()
    data = handler.ctx.to_dict()
    await handler.cancel_run()
    ctx = Context.from_dict(second, data)
    was_running = ctx.is_running
    second.go_on.set()
    return was_running, await second.run(ctx=ctx, n=6, start_event=5), ctx.is_running
""",
        (True, 5, False),
    ),
    "validation that is done once, and again when a step was added": (
        """
async def main():
    workflow = Greets()
    first = await workflow.run(name="x")
    @step(workflow=Greets)
    async def added(ev: Named) -> A:
        return A()
    return first, await attempt(lambda: workflow.run(name="x"))
""",
        ("x 1", "WorkflowValidationError"),
    ),
    "no validation, if that is asked for": (
        """
async def main():
    workflow = Dangles(disable_validation=True)
    return await workflow.run(name="x"), await attempt(workflow.validate)
""",
        ("ran", "WorkflowValidationError"),
    ),
    "as many runs at once as it may, first come, first served": (
        """
async def main():
    holds = Holds(num_concurrent_runs=2)
    handlers = [holds.run(n=n) for n in range(5)]
    await asyncio.sleep(1)
    begun = list(holds.log)
    holds.go_on.set()
    results = await asyncio.gather(*handlers)
    return begun, results, [n for what, n in holds.log if what == "in"]
""",
        ([["in", 0], ["in", 1]], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    ),
    "no limit for the runs of other instances": (
        """
async def main():
    one, other = Holds(num_concurrent_runs=1), Holds(num_concurrent_runs=1)
    handlers = [one.run(n=1), other.run(n=2)]
    await asyncio.gather(one.begun.wait(), other.begun.wait())
    for each in (one, other):
        each.go_on.set()
    return await asyncio.gather(*handlers)
""",
        [1, 2],
    ),
    "a turn for the next when a run fails": (
        """
class Fails(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(1)
        raise LookupError

async def main():
    workflow = Fails(num_concurrent_runs=1)
    handlers = [workflow.run() for _ in range(3)]
    return [type(one).__name__ for one in await asyncio.gather(*handlers, return_exceptions=True)]
""",
        ["LookupError"] * 3,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", BOTH)
def test_a_workflow_has(engine: str, case: str) -> None:
    program, expected = CASES[case]
    assert outcome(engine, CLASSES + program) == expected


# --- what is left of a run that ended before its time, or could not be started ---


class Breaks(Workflow):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.holds = asyncio.Event()

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.append("log", ev.how)
        if ev.how == "fail":
            raise LookupError
        if ev.how == "hold":
            self.holds.set()
            await asyncio.sleep(10)
        return StopEvent(result=await ctx.store.get("log"))


def test_a_context_begins_anew_after_a_run_that_failed_timed_out_or_was_cancelled() -> None:
    async def main() -> list[str]:
        workflow = Breaks(timeout=5)
        ctx: Context[Any] = Context(workflow)
        with pytest.raises(LookupError):
            await workflow.run(ctx=ctx, how="fail")
        with pytest.raises(WorkflowTimeoutError):
            await workflow.run(ctx=ctx, how="hold")
        workflow.holds.clear()
        handler = workflow.run(ctx=ctx, how="hold")
        await workflow.holds.wait()
        await handler.cancel_run()
        assert not ctx.is_running
        return await workflow.run(ctx=ctx, how="end")

    assert run_with_jumping_clock(main()) == ["fail", "hold", "hold", "end"]


def test_a_map_of_a_run_that_timed_out_begins_anew_and_one_of_a_cancelled_run_goes_on() -> None:
    async def main() -> list[Any]:
        workflow = Breaks(timeout=5)
        timed_out = workflow.run(how="hold")
        with pytest.raises(WorkflowTimeoutError):
            await timed_out
        workflow.holds.clear()
        cancelled = workflow.run(how="hold")
        await workflow.holds.wait()
        await cancelled.cancel_run()
        patient = Breaks(timeout=11)
        copies = [Context.from_dict(patient, one.ctx.to_dict()) for one in (timed_out, cancelled)]
        running = [one.is_running for one in copies]
        return running + [await patient.run(ctx=ctx, how="end") for ctx in copies]

    assert run_with_jumping_clock(main()) == [False, True, ["hold", "end"], ["hold", "hold"]]


async def test_a_step_that_outlives_its_run_does_not_disturb_the_next_run_of_the_context() -> None:
    class Deaf(Workflow):
        go_on = asyncio.Event()
        begun = asyncio.Event()

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            self.begun.set()
            while not self.go_on.is_set():
                with suppress(asyncio.CancelledError):
                    await self.go_on.wait()
            return StopEvent(result=ev.n)

    workflow = Deaf()
    handler = workflow.run(n=1)
    await workflow.begun.wait()
    await handler.cancel_run(timeout=0)
    workflow.go_on.set()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    again = workflow.run(ctx=handler.ctx, n=2)
    assert await again == 2
    assert isinstance(handler.get_stop_event(), WorkflowCancelledEvent)


class Counts(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.store.increment("runs"))


def test_a_run_without_a_loop_changes_nothing_of_its_context() -> None:
    workflow = Counts()
    ctx: Context[Any] = Context(workflow)

    async def run() -> Any:
        return await workflow.run(ctx=ctx, run_id="again")

    assert asyncio.run(run()) == 1
    before = ctx.to_dict()
    with pytest.raises(RuntimeError, match="no running event loop"):
        workflow.run(ctx=ctx, run_id="again")
    assert ctx.to_dict() == before
    assert asyncio.run(run()) == 2


async def test_keywords_that_are_ignored_are_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "stepwell"):
        await Counts().run(start_event=StartEvent(), one=1, two=2)
    assert "one, two" in caplog.text


# --- num_concurrent_runs ---


class Holds(Workflow):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: list[int] = []
        self.go_on = asyncio.Event()

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.begun.append(ev.n)
        await self.go_on.wait()
        return StopEvent(result=ev.n)


async def test_a_run_that_is_cancelled_while_it_waits_for_its_turn_never_begins() -> None:
    workflow = Holds(num_concurrent_runs=1)
    handlers = [workflow.run(n=n) for n in range(4)]
    await handlers[1].cancel_run()
    assert [one.is_done() for one in handlers] == [False, True, False, False]
    assert not handlers[1].ctx.is_running
    workflow.go_on.set()
    ends = await asyncio.gather(*handlers, return_exceptions=True)
    assert [one if isinstance(one, int) else type(one) for one in ends] == [
        0,
        WorkflowCancelledByUser,
        2,
        3,
    ]
    assert workflow.begun == [0, 2, 3]


async def test_what_is_sent_to_a_run_that_waits_for_its_turn_is_there_when_it_begins() -> None:
    class Listens(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

        @step
        async def hear(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.n)

    workflow = Listens(num_concurrent_runs=1)
    first, second = workflow.run(), workflow.run()
    await second.send_event(HumanResponseEvent(n=2))
    await first.send_event(HumanResponseEvent(n=1))
    assert await asyncio.gather(first, second) == [1, 2]


def test_the_time_that_a_run_waits_for_its_turn_does_not_count() -> None:
    class Slow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(10)
            return StopEvent(result="in time")

    async def main() -> list[str]:
        workflow = Slow(num_concurrent_runs=1, timeout=11)
        return await asyncio.gather(*(workflow.run() for _ in range(3)))

    assert run_with_jumping_clock(main()) == ["in time"] * 3


def test_each_event_loop_counts_for_itself() -> None:
    workflow = Counts(num_concurrent_runs=1)

    async def main() -> list[int]:
        return list(await asyncio.gather(workflow.run(), workflow.run()))

    for _ in range(3):
        assert asyncio.run(main()) == [1, 1]


def test_a_loop_that_ended_with_its_runs_takes_no_turn_away() -> None:
    workflow = Holds(num_concurrent_runs=1)

    async def leave() -> None:
        workflow.go_on = asyncio.Event()
        handlers = [workflow.run(n=n) for n in range(2)]
        await until(lambda: workflow.begun)
        assert not handlers[0].is_done()

    async def main() -> int:
        workflow.go_on = asyncio.Event()
        workflow.go_on.set()
        return await workflow.run(n=7)

    asyncio.run(leave())
    assert asyncio.run(main()) == 7


class Doors(Workflow):
    """Lets one run at a time in, and counts who came in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(num_concurrent_runs=1, **options)
        self.inside: list[int] = []
        self.go_on = asyncio.Event()

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.inside.append(ev.n)
        await self.go_on.wait()
        return StopEvent(result=ev.n)


@pytest.mark.parametrize("waits_a_turn", [False, True])
async def test_a_durable_run_can_be_cancelled_while_it_waits_for_its_turn(
    redis_server: RedisServer, namespace: str, waits_a_turn: bool
) -> None:
    with Runs(redis_server.unix_url, namespace) as runs:
        workflow = Doors(checkpointer=runs.checkpointer())
        handlers = [workflow.run(n=n) for n in range(3)]
        if waits_a_turn:
            await asyncio.sleep(0)
        await handlers[1].cancel_run()
        await handlers[1].cancel_run()
        assert [one.is_done() for one in handlers] == [False, True, False]
        last = [type(event) async for event in handlers[1].stream_events()]
        assert last == [WorkflowCancelledEvent]
        workflow.go_on.set()
        assert [await handlers[0], await handlers[2]] == [0, 2]
        with pytest.raises(WorkflowCancelledByUser):
            await handlers[1]
        assert workflow.inside == [0, 2]
        assert runs.ids() == {handlers[0].run_id, handlers[2].run_id}


# --- verbose ---

VERBOSE = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(2):
            ctx.send_event(A(n=n))
        await asyncio.sleep(1)
        return A(n=2)
    @step(num_workers=2)
    async def work(self, ctx: Context, ev: A) -> B:
        await asyncio.sleep(10 - ev.n)
        return B(n=ev.n)
    @step
    async def end(self, ctx: Context, ev: B) -> StopEvent | None:
        return ctx.collect_events(ev, [B] * 3) and StopEvent(result="r")

async def main():
    return await W(verbose=True).run()
"""


@pytest.mark.parametrize("engine", BOTH)
def test_a_verbose_workflow_says_which_worker_takes_and_makes_what(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome(engine, VERBOSE)
    said: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        who, what = line.split("] ")
        if "Event" in what or what[-1] in "AB":
            said.setdefault(who[1:].split(":")[0], []).append(f"{who[1:]} {what}")
    assert {name: said[name] for name in ("begin", "work", "end")} == {
        "begin": ["begin:0 started from StartEvent", "begin:0 complete with A"],
        "work": [
            "work:0 started from A",
            "work:1 started from A",
            "work:1 complete with B",
            "work:1 started from A",
            "work:0 complete with B",
            "work:1 complete with B",
        ],
        "end": ["end:0 started from B"] * 3 + ["end:0 complete with StopEvent"],
    }


class Speaks(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        await ctx.wait_for_event(HumanResponseEvent)
        if ev.get("fails"):
            raise LookupError
        return StopEvent()


async def test_verbose_tells_of_waits_and_failures_too(capsys: pytest.CaptureFixture[str]) -> None:
    handler = Speaks(verbose=True).run(fails=True)
    await handler.send_event(HumanResponseEvent())
    with pytest.raises(LookupError):
        await handler
    assert capsys.readouterr().out.splitlines() == [
        "[begin:0] started from StartEvent",
        "[begin:0] waits for HumanResponseEvent",
        "[begin:0] started from StartEvent",
        "[begin:0] failed with LookupError",
    ]


async def test_verbose_speaks_to_the_log_where_that_is_listened_to(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "stepwell.verbose"):
        await Counts(verbose=True).run()
    assert [one.getMessage() for one in caplog.records if one.name == "stepwell.verbose"] == [
        "[begin:0] started from StartEvent",
        "[begin:0] complete with StopEvent",
    ]
    assert capsys.readouterr().out == ""


async def test_who_is_not_verbose_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    await Counts().run()
    assert capsys.readouterr().out == ""


# --- memory ---


class Go(Event):
    pass


class Leaves(Workflow):
    """Leaves a callback behind, whose context variables are those of the step."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Go:
        asyncio.get_running_loop().call_later(1_000, print)
        ctx.write_event_to_stream(ev)
        await ctx.store.set("a", 1)
        return Go()

    @step
    async def end(self, ctx: Context, ev: Go) -> StopEvent:
        return StopEvent()


class LeavesWaiting(Leaves):
    @step
    async def end(self, ctx: Context, ev: Go) -> StopEvent:
        asyncio.get_running_loop().call_later(1_000, print)
        await ctx.wait_for_event(HumanResponseEvent, ev)
        return StopEvent()


class LeavesRetrying(Leaves):
    @step(retry_policy=retry_policy(wait=wait_fixed(1_000)))
    async def end(self, ctx: Context, ev: Go) -> StopEvent:
        raise LookupError


class LeavesFailing(Leaves):
    @step
    async def end(self, ctx: Context, ev: Go) -> StopEvent:
        raise LookupError


@pytest.mark.parametrize("cls", [Leaves, LeavesWaiting, LeavesRetrying, LeavesFailing])
@pytest.mark.parametrize(
    "options", [{}, {"verbose": True}, {"timeout": 1_000.0}, {"num_concurrent_runs": 1}]
)
@pytest.mark.parametrize("internal", [False, True])
async def test_an_instance_is_collected_after_its_run(
    cls: type[Leaves], options: dict[str, Any], internal: bool
) -> None:
    workflow = cls(**options)
    handler = workflow.run()
    stream = handler.stream_events(expose_internal=internal)
    await anext(stream)
    for _ in range(5):  # until the last step stands where it will stay
        await asyncio.sleep(0)
    await handler.cancel_run()
    with suppress(WorkflowCancelledByUser, LookupError):
        await handler
    gone = weakref.ref(workflow)
    del workflow, handler, stream
    gc.collect()
    assert gone() is None


def test_an_instance_is_collected_after_a_time_out() -> None:
    async def main() -> None:
        workflow = LeavesRetrying(timeout=1)
        handler = workflow.run()
        with pytest.raises(WorkflowTimeoutError):
            await handler
        gone = weakref.ref(workflow)
        del workflow, handler
        gc.collect()
        assert gone() is None

    run_with_jumping_clock(main())
