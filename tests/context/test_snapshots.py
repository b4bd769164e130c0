"""`ctx.to_dict()` and `Context.from_dict`: a run as one flat map, at any moment, and back."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from stepwell import Context, Workflow, step
from stepwell.errors import (
    ContextSerdeError,
    ContextStateError,
    DecodingError,
    EncodingError,
    RunBlocked,
    WorkflowCancelledByUser,
    WorkflowValidationError,
)
from stepwell.events import Event, StartEvent, StopEvent


class Input(StartEvent):
    topic: str = "wells"


class Drafted(Event):
    text: str


class Checked(Event):
    text: str


class Report(Workflow):
    """Three steps; each takes a snapshot in its middle, the way a hash in Redis would take it."""

    def __init__(self, hash_: dict[str, str]) -> None:
        super().__init__()
        self.hash = hash_
        self.finished: list[str] = []
        self.snapshots: list[dict[str, str]] = []

    async def _work(self, name: str, ctx: Context) -> None:
        await ctx.store.set(name, "begun")
        self._snapshot(ctx)
        await ctx.store.set(name, "done")
        self._snapshot(ctx)
        self.finished.append(name)

    def _snapshot(self, ctx: Context) -> None:
        self.hash.update(ctx.to_dict())
        self.snapshots.append(dict(self.hash))

    @step
    async def draft(self, ctx: Context, ev: Input) -> Drafted:
        await self._work("draft", ctx)
        return Drafted(text=ev.topic)

    @step
    async def check(self, ctx: Context, ev: Drafted) -> Checked:
        await self._work("check", ctx)
        return Checked(text=ev.text + "!")

    @step
    async def publish(self, ctx: Context, ev: Checked) -> StopEvent:
        await self._work("publish", ctx)
        return StopEvent(result=ev.text)


async def snapshots_of_a_report() -> list[dict[str, str]]:
    report = Report({})
    await report.run(topic="x")
    return report.snapshots


# --- a map ---


async def test_a_snapshot_is_flat_and_made_of_text() -> None:
    for snapshot in await snapshots_of_a_report():
        assert all(type(name) is str and type(text) is str for name, text in snapshot.items())
        assert snapshot["format"] == "1"
        assert snapshot["status"] == "running"
        assert "state:draft" in snapshot


async def test_a_snapshot_lists_its_fields() -> None:
    report = Report({})
    handler = report.run()
    await handler
    snapshot = handler.ctx.to_dict()
    assert set(json.loads(snapshot["fields"])) == snapshot.keys() - {"fields"}


async def test_a_restart_from_any_snapshot_repeats_no_finished_step() -> None:
    order = ["draft", "check", "publish"]
    for number, snapshot in enumerate(await snapshots_of_a_report()):
        report = Report(dict(snapshot))
        ctx = Context.from_dict(report, snapshot)
        assert ctx.is_running
        assert await report.run(ctx=ctx) == "x!"
        assert report.finished == order[number // 2 :]


async def test_a_restart_of_a_restart_goes_on_too() -> None:
    first = (await snapshots_of_a_report())[2]
    second = Report(dict(first))
    await second.run(ctx=Context.from_dict(second, first))
    third = Report({})
    assert await third.run(ctx=Context.from_dict(third, second.snapshots[3])) == "x!"
    assert third.finished == ["publish"]


async def test_the_first_start_finds_an_empty_map() -> None:
    report = Report({})
    ctx = Context.from_dict(report, {})
    assert not ctx.is_running
    assert await report.run(ctx=ctx, topic="first") == "first!"


async def test_input_of_a_start_that_goes_on_is_ignored() -> None:
    report = Report({})
    ctx = Context.from_dict(report, (await snapshots_of_a_report())[3])
    assert await report.run(ctx=ctx, topic="another") == "x!"


def as_bytes(snapshot: Mapping[str, str]) -> dict[Any, Any]:
    return {name.encode(): text.encode() for name, text in snapshot.items()}


def as_mixed(snapshot: Mapping[str, str]) -> dict[Any, Any]:
    return {name: text.encode() for name, text in snapshot.items()}


@pytest.mark.parametrize("read", [as_bytes, as_mixed])
async def test_a_map_of_bytes_is_read_as_well(read: Callable[[Any], dict[Any, Any]]) -> None:
    report = Report({})
    snapshot = (await snapshots_of_a_report())[4]
    assert await report.run(ctx=Context.from_dict(report, read(snapshot))) == "x!"
    assert report.finished == ["publish"]


async def test_what_older_snapshots_left_in_the_hash_is_not_read() -> None:
    report = Report({})
    ctx = Context(report)
    await ctx.store.set("old", [1])
    stored = {"not": "ours", **ctx.to_dict()}
    async with ctx.store.edit_state() as state:
        del state.to_dict()["old"]
        state.new = 2
    stored.update(ctx.to_dict())
    assert "state:old" in stored
    again = Context.from_dict(report, stored)
    assert (await again.store.get_state()).to_dict() == {"new": 2}


async def test_the_old_constructor_argument_does_the_same() -> None:
    report = Report({})
    ctx = Context(report, (await snapshots_of_a_report())[5])
    assert await ctx.store.get("publish") == "done"


# --- refused ---


REFUSED: list[tuple[Mapping[Any, Any], str]] = [
    ({"foo": "1"}, r"no context.*no field 'format'.*foo"),
    ({"format": "99"}, r"layout 99.*reads 1"),
    ({"format": "1", "fields": "{"}, "field 'fields'"),
    ({"format": "1", "fields": "3"}, "field 'fields'"),
    ({"format": "1", "fields": '[["a"]]'}, "field 'fields'"),
    ({"format": "1", "fields": "[" * 100_000}, "field 'fields'"),
    ({"format": "1", "fields": '["format","status"]'}, "field 'status'.*missing"),
    ({"format": "1", "status": 5}, "field 'status'.* int"),
    ({"format": "1", 7: "x"}, "name.* int"),
    ({"format": "1", b"\xff": "x"}, "name.*UTF-8"),
    ({"format": "1", "input": b"\xff"}, "field 'input'.*UTF-8"),
    ({"format": "1", "status": "sleeping"}, "field 'status'.*sleeping"),
    ({"format": "1", "input": "{"}, "field 'input'"),
    ({"format": "1", "next": "x"}, "field 'next'"),
    ({"format": "1", "state:x": "["}, "field 'state:x'"),
    ({"format": "1", "work:1": "[]"}, "field 'work:1'"),
    ({"format": "1", "state:x": '{"$type":"os:system","value":1}'}, "field 'state:x'"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_a_map_that_can_t_be_read_is_refused_with_its_field(
    data: Mapping[Any, Any], message: str
) -> None:
    with pytest.raises(ContextSerdeError, match=message):
        Context.from_dict(Report({}), data)


class Renamed(Workflow):
    @step
    async def write(self, ev: Input) -> StopEvent:
        return StopEvent()


async def test_work_for_a_step_that_is_gone_is_refused() -> None:
    snapshot = (await snapshots_of_a_report())[0]
    with pytest.raises(RunBlocked, match=r"step 'draft'.*it has: write"):
        Context.from_dict(Renamed(), snapshot)


class Keeping(Workflow):
    @step
    async def keep(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("held", ev.get("value"))
        return StopEvent()


async def test_a_value_without_durable_form_is_named() -> None:
    handler = Keeping().run()
    await handler
    await handler.ctx.store.set("held", {"deep": [object()]})
    with pytest.raises(EncodingError, match=r"state key 'held', at .*deep.*object"):
        handler.ctx.to_dict()


# --- other ends ---


class Waits(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    @step
    async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.begun.set()
        await ctx.store.set("seen", True)
        await self.go_on.wait()
        if ev.get("fails"):
            raise ValueError("no")
        return StopEvent(result="done")


async def test_a_cancelled_run_can_be_continued_from_its_snapshot() -> None:
    workflow = Waits()
    handler = workflow.run()
    await workflow.begun.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert not handler.ctx.is_running
    again = Waits()
    again.go_on.set()
    ctx = Context.from_dict(again, handler.ctx.to_dict())
    assert ctx.is_running
    assert await again.run(ctx=ctx) == "done"


@pytest.mark.parametrize("fails", [False, True])
async def test_after_the_end_a_snapshot_lends_its_state_to_a_new_run(fails: bool) -> None:
    workflow = Waits()
    workflow.go_on.set()
    handler = workflow.run(fails=fails)
    with suppress(ValueError):
        await handler
    ctx = Context.from_dict(workflow, handler.ctx.to_dict())
    assert not ctx.is_running
    assert await ctx.store.get("seen") is True
    assert await workflow.run(ctx=ctx) == "done"


async def test_a_run_that_was_set_aside_goes_on_from_its_map() -> None:
    for snapshot in await snapshots_of_a_report():
        report = Report({})
        ctx = Context.from_dict(report, {**snapshot, "status": "blocked"})
        assert ctx.is_running
        assert await report.run(ctx=ctx) == "x!"


@pytest.mark.parametrize("status", ["new", "pending", "quarantined", "failed", "timed_out"])
async def test_a_run_that_was_not_begun_or_has_ended_does_not_go_on(status: str) -> None:
    snapshot = (await snapshots_of_a_report())[0]
    assert not Context.from_dict(Report({}), {**snapshot, "status": status}).is_running


async def test_a_map_says_which_version_of_the_code_wrote_it() -> None:
    fields = Context(Keeping(version="2026-05")).to_dict()
    assert fields["version"] == "2026-05"
    assert "version" not in Context(Keeping()).to_dict()
    Context.from_dict(Keeping(version="2026-06"), fields)


@pytest.mark.parametrize("version", ["", 3, b"1"])
def test_a_version_is_a_text(version: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"version is .*: give a text, or leave it"):
        Keeping(version=version)


async def test_state_carries_over_to_another_workflow() -> None:
    workflow = Waits()
    workflow.go_on.set()
    handler = workflow.run()
    await handler
    other = Keeping()
    ctx = Context.from_dict(other, handler.ctx.to_dict())
    await other.run(ctx=ctx, value=5)
    assert (await ctx.store.get_state()).to_dict() == {"seen": True, "held": 5}


# --- typed states ---


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = Field(default=1, alias="N")
    client: Any = Field(default=None, exclude=True)


class Sealed(BaseModel):
    """Writes and reads itself in its own way."""

    parts: tuple[str, str] = ("", "")

    @model_serializer
    def _joined(self) -> dict[str, str]:
        return {"joined": "|".join(self.parts)}

    @model_validator(mode="before")
    @classmethod
    def _parted(cls, data: Any) -> Any:
        return {"parts": data["joined"].split("|")} if "joined" in data else data


class WithLoose(Workflow):
    @step
    async def work(self, ctx: Context[Loose], ev: StartEvent) -> StopEvent:
        await ctx.store.set("n", 5)
        await ctx.store.set("more", [1, 2])
        await ctx.store.set("client", object())
        return StopEvent()


class WithSealed(Workflow):
    @step
    async def work(self, ctx: Context[Sealed], ev: StartEvent) -> StopEvent:
        await ctx.store.set("parts", ("a", "b"))
        return StopEvent()


async def test_a_typed_state_comes_back_whatever_its_aliases_and_extras() -> None:
    handler = WithLoose().run()
    await handler
    snapshot = handler.ctx.to_dict()
    assert snapshot["state:n"] == "5"
    assert "state:client" not in snapshot
    state = await Context[Loose].from_dict(WithLoose(), snapshot).store.get_state()
    assert isinstance(state, Loose)
    assert (state.n, state.model_extra, state.client) == (5, {"more": [1, 2]}, None)


async def test_a_state_with_a_form_of_its_own_is_one_field() -> None:
    handler = WithSealed().run()
    await handler
    snapshot = handler.ctx.to_dict()
    assert [name for name in snapshot if name.startswith("state")] == ["state"]
    ctx = Context[Sealed].from_dict(WithSealed(), snapshot)
    assert await ctx.store.get_state() == Sealed(parts=("a", "b"))


async def test_a_stored_state_that_does_not_fit_its_class_is_refused() -> None:
    handler = WithLoose().run()
    await handler
    snapshot = {**handler.ctx.to_dict(), "state:n": '"many"'}
    with pytest.raises(DecodingError, match="no Loose any more"):
        Context.from_dict(WithLoose(), snapshot)


async def test_a_state_of_one_field_of_another_class_is_refused() -> None:
    handler = WithSealed().run()
    await handler
    snapshot = {**handler.ctx.to_dict(), "state": "[1]"}
    with pytest.raises(DecodingError, match="Sealed"):
        Context.from_dict(WithSealed(), snapshot)


# --- before a run ---


async def test_a_fresh_context_has_a_state_and_nothing_else() -> None:
    ctx = Context(Keeping())
    await ctx.store.set("seeded", 1)
    assert not ctx.is_running
    with pytest.raises(ContextStateError, match=r"send_event.*before the run"):
        ctx.send_event(Event())
    with pytest.raises(ContextStateError, match="inside a step"):
        ctx.write_event_to_stream(Event())
    with pytest.raises(ContextStateError, match="inside a step"):
        ctx.collect_events(Event(), [Event])
    with pytest.raises(ContextStateError):
        ctx.stream_events()
    with pytest.raises(ContextStateError):
        await ctx.running_steps()
    handler = Keeping().run(ctx=ctx, value=2)
    await handler
    assert (await ctx.store.get_state()).to_dict() == {"seeded": 1, "held": 2}


def test_a_context_needs_no_event_loop() -> None:
    assert Context.from_dict(Keeping(), Context(Keeping()).to_dict()).is_running is False


# --- types ---


async def test_types_of_a_step_that_was_added_later_are_known() -> None:
    class Grows(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent | None:
            return StopEvent() if ev.get("done") else None

    class Local(Event):
        n: int = 0

    Context(Grows()).to_dict()
    reached = asyncio.Event()

    @step(workflow=Grows)
    async def later(ctx: Context, ev: Local) -> StopEvent:
        await ctx.store.set("local", ev)
        ctx.to_dict()
        reached.set()
        return StopEvent()

    workflow = Grows(disable_validation=True)
    handler = workflow.run()
    await handler.send_event(Local(n=3))
    await handler
    assert reached.is_set()
    ctx = Context.from_dict(workflow, handler.ctx.to_dict())
    assert await ctx.store.get("local") == Local(n=3)
