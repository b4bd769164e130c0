"""The state that steps share, and what reaches a run from outside: stored as it is, once."""

import asyncio
import json
import logging
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from stepwell import Context, Workflow, step
from stepwell.context.state_store import DictState
from stepwell.durable.checkpointer import Checkpointer
from stepwell.errors import (
    OutcomeUnknown,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from stepwell.events import HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from support.runs import Done, Part, Probe, Runs, TwoSteps, crash_after, interrupt, until

RESULT = [7, 2]


def working(runs: Runs) -> list[str]:
    """The steps that have work."""
    fields = runs.fields("the-run").items()
    return [json.loads(text)["step"] for name, text in fields if name.startswith("work:")]


# --- numbers that JSON does not have ---


class Scores(Workflow):
    """Appends to a list of numbers that is stored already."""

    def __init__(self, score: float, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._score = score
        self._probe = probe

    @step
    async def score(self, ev: StartEvent, ctx: Context) -> StopEvent:
        if await ctx.store.get("scores", None) is None:
            await ctx.store.set("scores", [0.5])
            await ctx.checkpoint()
            await ctx.store.append("scores", self._score)
            await ctx.checkpoint()
        await self._probe("scored")
        return StopEvent(result=await ctx.store.get("scores"))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
async def test_a_number_that_json_has_not_can_be_appended_to_a_list(
    runs: Runs, score: float
) -> None:
    probe = Probe(holds=["scored"])
    held = Scores(score, probe, checkpointer=runs.checkpointer())
    await interrupt(lambda: held.run(run_id="the-run"), probe)
    resumed = Scores(score, Probe(), checkpointer=runs.checkpointer())
    assert repr(await resumed.run(run_id="the-run")) == repr([0.5, score])


# --- several steps at a time ---


class Assigning(Workflow):
    """One step assigns to what others add to before it ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.all_added = asyncio.Event()
        self.go = asyncio.Event()

    @step
    async def assign(self, ev: StartEvent, ctx: Context) -> Part | None:
        await ctx.store.set("count", 0)
        await ctx.store.set("items", [])
        for number in range(3):
            ctx.send_event(Part(number=number))
        await self.all_added.wait()
        return None

    @step(num_workers=3)
    async def part(self, ev: Part, ctx: Context) -> StopEvent | None:
        await ctx.store.append("items", ev.number)
        if await ctx.store.increment("count") == 3:
            self.all_added.set()
        await self.go.wait()
        if await ctx.store.increment("ended") < 3:
            return None
        return StopEvent(result=[await ctx.store.get("count"), await ctx.store.get("items")])


async def test_what_others_add_to_a_value_that_a_step_assigned_is_stored_once(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    workflow = Assigning(checkpointer=checkpointer)
    handler = workflow.run(run_id="the-run")
    await until(lambda: working(runs) == ["part"] * 3)
    workflow.go.set()
    count, items = await handler
    assert (count, sorted(items)) == (3, [0, 1, 2])
    stored = (await checkpointer.load(workflow, "the-run")).store
    assert await stored.get("count") == count
    assert await stored.get("items") == items


async def test_it_is_stored_once_also_when_the_others_are_interrupted(runs: Runs) -> None:
    async def first_life() -> None:
        Assigning(checkpointer=runs.checkpointer()).run(run_id="the-run")
        await until(lambda: working(runs) == ["part"] * 3)

    await asyncio.to_thread(asyncio.run, first_life())
    fields = runs.fields("the-run")
    assert (fields["state:count"], fields["state:items"]) == ("0", "[]")
    resumed = Assigning(checkpointer=runs.checkpointer())
    resumed.go.set()
    count, items = await resumed.run(run_id="the-run")
    assert (count, sorted(items)) == (3, [0, 1, 2])


class Reading(Workflow):
    """One step reads what another one has written and not finished."""

    def __init__(self, probe: Probe, path: str, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe
        self._path = path

    @step
    async def write(self, ev: StartEvent, ctx: Context) -> Part | StopEvent:
        documents = await ctx.store.get("documents", [])
        documents.append("one")
        await ctx.store.set("documents", documents)
        ctx.send_event(Part(number=0))
        await self._probe("written")
        return StopEvent(result=await ctx.store.get("documents"))

    @step
    async def read(self, ev: Part, ctx: Context) -> None:
        await ctx.store.get(self._path)


@pytest.mark.parametrize("path", ["documents", ""])
async def test_a_step_that_reads_does_not_commit_what_its_sibling_has_not_finished(
    runs: Runs, path: str
) -> None:
    probe = Probe(holds=["written"])
    held = Reading(probe, path, checkpointer=runs.checkpointer())
    await crash_after(["read"], runs, lambda: held.run(run_id="the-run"), probe)
    assert "state:documents" not in runs.fields("the-run")
    resumed = Reading(Probe(), path, checkpointer=runs.checkpointer())
    assert await resumed.run(run_id="the-run") == ["one"]


# --- edit_state of a typed state ---


class Person(BaseModel):
    """A typed state."""

    count: int = 0
    name: str = ""


class Editing(Workflow):
    """One step edits the state while another one has counted, and not finished."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def split(self, ev: StartEvent, ctx: Context[Person]) -> list[Part]:
        return [Part(number=0), Part(number=1)]

    @step(num_workers=2)
    async def part(self, ev: Part, ctx: Context[Person]) -> Done:
        if ev.number == 0:
            await ctx.store.increment("count")
            await self._probe("counted")
        else:
            await self._probe.reached.wait()
            async with ctx.store.edit_state() as state:
                state.name = "edited"
        return Done(number=ev.number)

    @step
    async def join(self, ev: list[Done], ctx: Context[Person]) -> StopEvent:
        return StopEvent(result=await ctx.store.get_state())


async def test_an_edit_of_a_typed_state_commits_only_what_it_changed(runs: Runs) -> None:
    probe = Probe(holds=["counted"])
    held = Editing(probe, checkpointer=runs.checkpointer())
    await crash_after(["split", "part"], runs, lambda: held.run(run_id="the-run"), probe)
    fields = runs.fields("the-run")
    assert [fields["state:count"], fields["state:name"]] == ["0", '"edited"']
    resumed = Editing(Probe(), checkpointer=runs.checkpointer())
    assert await resumed.run(run_id="the-run") == Person(count=1, name="edited")


class Open(BaseModel):
    """A typed state that takes more than it declares."""

    model_config = ConfigDict(extra="allow")

    declared: int = 0


class Keyed(DictState):
    """A state with a field, and any key besides."""

    declared: int = 0


class DeletingExtra(Workflow):
    """Deletes what the state's class does not declare."""

    @step
    async def delete(self, ev: StartEvent, ctx: Context[Open]) -> StopEvent:
        await ctx.store.set("extra", 1)
        await ctx.checkpoint()
        async with ctx.store.edit_state() as state:
            del state.extra  # pyright: ignore[reportAttributeAccessIssue]  it is an extra one
        return StopEvent(result=await ctx.store.get("extra", "gone"))


class DeletingKey(Workflow):
    """Deletes a key that the state's class does not declare."""

    @step
    async def delete(self, ev: StartEvent, ctx: Context[Keyed]) -> StopEvent:
        await ctx.store.set("extra", 1)
        await ctx.checkpoint()
        async with ctx.store.edit_state() as state:
            state.to_dict().pop("extra")
        return StopEvent(result=await ctx.store.get("extra", "gone"))


@pytest.mark.parametrize("kind", [DeletingExtra, DeletingKey])
async def test_an_edit_deletes_what_the_class_of_the_state_does_not_declare(
    runs: Runs, kind: type[Workflow]
) -> None:
    checkpointer = runs.checkpointer()
    workflow = kind(checkpointer=checkpointer)
    assert await workflow.run(run_id="the-run") == "gone"
    assert "state:extra" not in runs.fields("the-run")
    assert "state:declared" in runs.fields("the-run")


# --- from outside ---


@pytest.mark.parametrize("state", ["new", "interrupted"])
async def test_writes_through_a_store_taken_before_the_run_opened_are_durable(
    runs: Runs, state: str
) -> None:
    if state == "interrupted":
        before = Probe(holds=["second"])
        left = TwoSteps(before, checkpointer=runs.checkpointer())
        await interrupt(lambda: left.run(run_id="the-run", value=7), before)
    probe = Probe(holds=["second"])
    handler = TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    store = handler.ctx.store
    await probe.reached.wait()
    await store.set("outside", "written")
    await handler.ctx.checkpoint()
    assert runs.fields("the-run")["state:outside"] == '"written"'
    probe.go.set()
    assert await handler == RESULT


@pytest.mark.parametrize("state", ["new", "interrupted"])
async def test_writes_from_outside_before_the_run_is_found_are_not_lost(
    runs: Runs, state: str
) -> None:
    if state == "interrupted":
        before = Probe(holds=["second"])
        left = TwoSteps(before, checkpointer=runs.checkpointer())
        await interrupt(lambda: left.run(run_id="the-run", value=7), before)
    held = Probe(holds=["second"])
    handler = TwoSteps(held, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    await handler.ctx.store.set("outside", "written")
    await handler.ctx.store.append("listed", 1)
    await handler.ctx.store.increment("count", 10)
    await handler.ctx.checkpoint()
    fields = runs.fields("the-run")
    assert fields["state:outside"] == '"written"'
    assert (await handler.ctx.store.get("outside"), fields["state:listed"]) == ("written", "[1]")
    held.go.set()
    assert await handler == [7, 12]
    assert runs.fields("the-run")["state:count"] == "12"
    assert runs.fields("the-run")["state:listed"] == "[1]"


async def test_writes_from_outside_to_a_run_that_had_completed_are_reported(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    await workflow.run(run_id="the-run", value=7)
    with caplog.at_level(logging.WARNING, "stepwell"):
        handler = workflow.run(run_id="the-run", value=7)
        await handler.ctx.store.set("outside", "written")
        assert await handler == [7, 2]
    assert "(outside) is lost: run 'the-run' had ended before" in caplog.text


class Listing(BaseModel):
    """A typed state with something to be changed in place."""

    listed: list[Any] = []


class Endless(Workflow):
    """Works until it is stopped."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(**options)
        self._probe = probe

    @step
    async def wait(self, ev: StartEvent, ctx: Context[Listing]) -> StopEvent:
        await self._probe("wait")
        return StopEvent()


async def with_a_bad_value_from_outside(runs: Runs, **options: Any) -> WorkflowHandler[Any]:
    """Start a run, and put into its state what has no durable form."""
    probe = Probe(holds=["wait"])
    workflow = Endless(probe, checkpointer=runs.checkpointer(), **options)
    handler = workflow.run(run_id="the-run")
    await probe.reached.wait()
    (await handler.ctx.store.get("listed")).append(object())
    return handler


async def test_a_bad_value_from_outside_does_not_disable_the_timeout(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "stepwell"):
        handler = await with_a_bad_value_from_outside(runs, timeout=0.2)
        with pytest.raises(WorkflowTimeoutError):
            await handler
    assert "the-run: what was written from outside is not durable" in caplog.text
    assert runs.fields("the-run")["status"] == "timed_out"


async def test_a_bad_value_from_outside_does_not_disable_cancelling(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "stepwell"):
        handler = await with_a_bad_value_from_outside(runs)
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
    assert "the-run: what was written from outside is not durable" in caplog.text
    assert runs.fields("the-run")["status"] == "cancelled"


class FailingTwice(Workflow):
    """Fails, and leaves a value without a durable form."""

    @step
    async def fail(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.set("list", [])
        (await ctx.store.get("list")).append(object())
        raise ValueError("the step's own error")


async def test_the_own_error_of_a_step_is_kept_when_it_also_left_a_bad_value(runs: Runs) -> None:
    with pytest.raises(ValueError, match="the step's own error") as caught:
        await FailingTwice(checkpointer=runs.checkpointer()).run(run_id="the-run")
    assert any("is not durable either" in note for note in caught.value.__notes__)
    assert "the step's own error" in runs.fields("the-run")["error"]


class Answer(HumanResponseEvent):
    """What a human says."""

    text: str


class Asking(Workflow):
    """Asks, and ends with the answer."""

    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent()

    @step
    async def answer(self, ev: Answer) -> StopEvent:
        return StopEvent(result=ev.text)


@pytest.mark.parametrize("when", ["at once", "when asked"])
async def test_an_event_that_was_sent_from_outside_is_durable(runs: Runs, when: str) -> None:
    async def main() -> dict[str, str]:
        handler = Asking(checkpointer=runs.checkpointer()).run(run_id="the-run")
        if when == "when asked":
            await anext(handler.stream_events())
        await handler.send_event(Answer(text="forty-two"))
        return runs.fields("the-run")

    fields = await asyncio.to_thread(asyncio.run, main())
    assert any("forty-two" in text for text in fields.values())
    assert await Asking(checkpointer=runs.checkpointer()).run(run_id="the-run") == "forty-two"


async def test_an_end_that_was_sent_from_outside_is_durable(runs: Runs) -> None:
    probe = Probe(holds=["wait"])
    handler = Endless(probe, checkpointer=runs.checkpointer()).run(run_id="the-run")
    await probe.reached.wait()
    await handler.send_event(StopEvent(result="enough"))
    assert runs.fields("the-run")["status"] == "completed"
    assert await handler == "enough"


async def test_an_event_from_another_thread_is_refused(runs: Runs) -> None:
    handler = Asking(checkpointer=runs.checkpointer()).run(run_id="the-run")
    await anext(handler.stream_events())
    answer = Answer(text="forty-two")
    with pytest.raises(WorkflowRuntimeError, match="run_coroutine_threadsafe"):
        await asyncio.to_thread(handler.ctx.send_event, answer)
    await handler.send_event(answer)
    assert await handler == "forty-two"


async def test_a_sender_that_gives_up_waiting_harms_neither_the_event_nor_the_run(
    runs: Runs,
) -> None:
    handler = Asking(checkpointer=runs.checkpointer()).run(run_id="the-run")
    sending = asyncio.create_task(handler.send_event(Answer(text="forty-two")))
    await asyncio.sleep(0)
    sending.cancel()
    assert await handler == "forty-two"
    assert sending.cancelled()


# --- sessions ---


async def test_blocks_of_one_checkpointer_may_overlap_in_two_tasks(runs: Runs) -> None:
    checkpointer = runs.checkpointer()
    both_inside, first_left = asyncio.Barrier(2), asyncio.Event()

    async def first() -> object:
        async with checkpointer, checkpointer.session() as session:
            await both_inside.wait()
        assert Checkpointer.current() is None
        first_left.set()
        return session

    async def second() -> object:
        async with checkpointer:
            await both_inside.wait()
            await first_left.wait()
            assert await TwoSteps().run(value=7) == RESULT
            async with checkpointer.session() as session:
                return session

    of_first, of_second = await asyncio.gather(first(), second())
    assert of_first is of_second
    async with checkpointer.session() as later:
        assert later is not of_first
    assert len(runs.ids()) == 1


@pytest.mark.parametrize("verb", ["create", "claim"])
async def test_a_lost_reply_does_not_strand_the_run_in_a_session_that_goes_on(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async with runs.checkpointer() as checkpointer, checkpointer.session() as session:
        if verb == "claim":
            failing = TwoSteps(Probe(fails_at=["second"]), checkpointer=checkpointer)
            with pytest.raises(ValueError, match="second failed"):
                await failing.run(run_id="the-run", value=7)
        carry_out = getattr(session.store, verb)

        async def lose_the_reply(*arguments: Any, **options: Any) -> None:
            await carry_out(*arguments, **options)
            raise OutcomeUnknown("the reply was lost")

        workflow = TwoSteps(checkpointer=checkpointer)
        with monkeypatch.context() as patch:
            patch.setattr(session.store, verb, lose_the_reply)
            with pytest.raises(OutcomeUnknown, match="the reply was lost"):
                await workflow.run(run_id="the-run", value=7)
        assert await workflow.run(run_id="the-run", value=7) == RESULT


# --- what is left behind ---


class LeavingBehind(Workflow):
    """A task outlives its step, and writes while the next step runs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.go = asyncio.Event()
        self.late: asyncio.Task[None] | None = None

    @step
    async def leave(self, ev: StartEvent, ctx: Context) -> Done:
        async def write() -> None:
            await self.go.wait()
            await ctx.store.increment("late")

        self.late = asyncio.create_task(write())
        return Done(number=1)

    @step
    async def go_on(self, ev: Done, ctx: Context) -> StopEvent:
        self.go.set()
        assert self.late is not None
        await self.late
        return StopEvent(result=await ctx.store.increment("late"))


async def test_what_a_task_writes_that_was_left_behind_is_durable(runs: Runs) -> None:
    workflow = LeavingBehind(checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run") == 2
    assert runs.fields("the-run")["state:late"] == "2"


class AskingLate(Workflow):
    """A task outlives the first run, and asks during the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.late: asyncio.Task[None] | None = None

    @step
    async def ask(self, ev: StartEvent, ctx: Context) -> StopEvent:
        async def ask() -> None:
            await self.go.wait()
            ctx.write_event_to_stream(InputRequiredEvent())

        if self.late is None:
            self.late = asyncio.create_task(ask())
        else:
            self.go.set()
            await self.late
        return StopEvent(result=len(ctx.internals.run.questions))


async def test_a_task_left_behind_by_one_run_asks_nothing_in_the_next() -> None:
    workflow = AskingLate()
    ctx = Context(workflow)
    await workflow.run(ctx=ctx)
    assert await workflow.run(ctx=ctx) == 0


class Replayed(Workflow):
    """Writes in every way, and waits."""

    @step
    async def wait(self, ev: StartEvent, ctx: Context) -> StopEvent:
        async for _ in ctx.each(range(2), every=5):
            await ctx.store.increment("count")
        await ctx.store.append("listed", 1)
        await ctx.store.add("members", 1)
        await ctx.store.set("total", await ctx.store.get("total", 0) + 1)
        async with ctx.store.edit_state() as state:
            state.edited = [*state.get("edited", []), 1]
        await ctx.wait_for_event(HumanResponseEvent)
        return StopEvent(result=(await ctx.store.get_state()).to_dict())


async def test_what_a_step_wrote_before_it_left_in_a_wait_is_written_once(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPWELL_REPLAY_WAITS", "1")
    checkpointer = runs.checkpointer()
    workflow = Replayed(checkpointer=checkpointer)
    handler = workflow.run(run_id="the-run")
    await until(lambda: any(line[3] == "StepSuspended" for line in runs.log("the-run")))
    await handler.send_event(HumanResponseEvent())
    live = await handler
    once = {"count": 2, "listed": [1], "members": {1}, "total": 1, "edited": [1]}
    assert live == once
    ctx = await checkpointer.load(workflow, "the-run")
    assert (await ctx.store.get_state()).to_dict() == once


class Meeting(Workflow):
    """A key is assigned from outside while a step adds to it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.added = asyncio.Event()
        self.go = asyncio.Event()

    @step
    async def add(self, ev: StartEvent, ctx: Context) -> StopEvent:
        await ctx.store.increment("count")
        self.added.set()
        await self.go.wait()
        return StopEvent(result=await ctx.store.get("count"))


async def test_what_a_step_adds_to_a_key_assigned_from_outside_is_stored_once(runs: Runs) -> None:
    workflow = Meeting(checkpointer=runs.checkpointer())
    handler = workflow.run(run_id="the-run")
    await workflow.added.wait()
    await handler.ctx.store.set("count", await handler.ctx.store.get("count") + 10)
    workflow.go.set()
    assert await handler == 11
    assert runs.fields("the-run")["state:count"] == "11"
