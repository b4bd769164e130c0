"""Every kind of bad input has an error that names it and a remedy; what was durable stays."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import pytest
from pydantic import BaseModel

from stepwell import Context, Workflow, catch_error, step
from stepwell.durable.loader import outcome_of
from stepwell.errors import (
    EncodingError,
    RunBlocked,
    RunConflict,
    RunCorrupt,
    StoreRefused,
    StoreUnavailable,
)
from stepwell.events import Event, InputRequiredEvent, StartEvent, StepFailedEvent, StopEvent
from stepwell.redis import RedisCheckpointer
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_none
from support.runs import Part, Probe, Runs, Second, TwoSteps, interrupt
from support.servers import RedisServer

SECRET = "open-sesame"  # noqa: S105  it must not be seen
RESULT = [7, 2]


async def interrupted(runs: Runs, run_id: str | None = "the-run") -> str:
    """Leave a run in the middle of its second step."""
    probe = Probe(holds=["second"])
    return await interrupt(
        lambda: TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id=run_id, value=7), probe
    )


async def resumed(runs: Runs) -> Any:
    probe = Probe()
    result = await TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert probe.executed == ["second"]
    return result


# --- the server ---


async def test_an_address_without_server_is_named_without_its_password() -> None:
    nowhere = RedisCheckpointer(f"redis://somebody:{SECRET}@127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable, match=r"redis://127\.0\.0\.1:1/0.*Start the server") as no:
        await TwoSteps(checkpointer=nowhere).run(value=7)
    assert SECRET not in f"{no.value!r} {no.value.__cause__!r} {nowhere!r}"


async def test_a_server_that_is_down_loses_nothing(
    own_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_server()
    with Runs(server.unix_url, namespace) as runs:
        await interrupted(runs)
        server.stop()
        with pytest.raises(StoreUnavailable, match="what was committed stays"):
            await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
        server.start()
        assert await resumed(runs) == RESULT


async def test_a_wrong_password_is_told_without_being_shown(
    own_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_server(password="right")  # noqa: S106  of a test's server
    with Runs(server.url, namespace) as runs:
        await interrupted(runs)
        before = runs.dump("the-run")
        wrong = RedisCheckpointer(server.url.replace("right", SECRET), namespace=namespace)
        with pytest.raises(StoreRefused, match=r"Correct user and password") as refused:
            await TwoSteps(checkpointer=wrong).run(run_id="the-run", value=7)
        assert f"127.0.0.1:{server.port}" in str(refused.value)
        assert SECRET not in f"{refused.value!r} {refused.value.__cause__!r}"
        assert runs.dump("the-run") == before
        assert await resumed(runs) == RESULT


# --- the keys ---


async def test_a_stranger_under_the_name_of_a_new_run_is_left_alone(runs: Runs) -> None:
    key = runs.keys.run("the-run")
    runs.redis.set(key, "not ours")
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    with pytest.raises(RunCorrupt, match=r"run:the-run.*holds a.*hash.*rename or delete") as error:
        await workflow.run(run_id="the-run", value=7)
    assert "the-run" in str(error.value)
    assert runs.redis.get(key) == b"not ours"
    runs.redis.delete(key)
    assert await workflow.run(run_id="the-run", value=7) == RESULT


async def test_a_stranger_under_the_name_of_a_log_is_left_alone(runs: Runs) -> None:
    await interrupted(runs)
    key = runs.keys.log("the-run")
    runs.redis.rename(key, key + ".kept")
    runs.redis.set(key, "not ours")
    before = runs.dump("the-run")
    with pytest.raises(RunCorrupt, match=r"log:the-run holds a string.*list.*rename or delete"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert runs.dump("the-run") == before
    runs.redis.rename(key + ".kept", key)
    assert await resumed(runs) == RESULT


# --- the fields ---


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("format", "99"),
        ("status", "walking"),
        ("seq", "many"),
        ("token", "mine"),
        ("next", "soon"),
        ("input", '"a text"'),
        ("work:2", '{"step":"second","att'),
        ("work:2", '{"step":"second","attempt":1,"scope":[]}'),
        ("work:two", '{"step":"second","attempt":1,"scope":[]}'),
        ("state:count", "{"),
        ("state:count", b"\xff\xfe"),
        ("join:9:1", '{"step":"second","event":null}'),
    ],
)
async def test_a_corrupted_field_is_named_and_mending_it_is_enough(
    runs: Runs, field: str, text: str | bytes
) -> None:
    await interrupted(runs)
    key = runs.keys.run("the-run")
    right = runs.redis.hget(key, field)
    runs.redis.hset(key, field, text)
    before = runs.dump("the-run")
    with pytest.raises(RunCorrupt, match="the-run") as corrupt:
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    named = field.partition(":")[2] if field == "work:two" else field
    assert named in str(corrupt.value)
    assert any(word in str(corrupt.value) for word in ("mend", "Restore"))
    assert runs.dump("the-run") == before
    if right is None:
        runs.redis.hdel(key, field)
    else:
        runs.redis.hset(key, field, right)
    assert await resumed(runs) == RESULT


@pytest.mark.parametrize("field", ["format", "status", "seq", "token", "workflow"])
async def test_a_missing_field_is_named(runs: Runs, field: str) -> None:
    await interrupted(runs)
    runs.redis.hdel(runs.keys.run("the-run"), field)
    before = runs.dump("the-run")
    with pytest.raises(RunCorrupt, match=f"the-run.*'{field}'"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert runs.dump("the-run") == before


async def test_a_corrupted_run_of_the_same_input_does_not_become_a_second_run(runs: Runs) -> None:
    run_id = await interrupted(runs, run_id=None)
    runs.redis.hset(runs.keys.run(run_id), "work:2", "{")
    with pytest.raises(RunCorrupt, match=f"{run_id}.*work:2"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(value=7)
    assert runs.ids() == {run_id}


async def test_a_result_that_cannot_be_read_is_named(runs: Runs) -> None:
    workflow = TwoSteps(checkpointer=runs.checkpointer())
    assert await workflow.run(run_id="the-run", value=7) == RESULT
    runs.redis.hset(runs.keys.run("the-run"), "result", "{")
    before = runs.dump("the-run")
    with pytest.raises(RunCorrupt, match=r"'the-run'.*'result'"):
        await workflow.run(run_id="the-run", value=7)
    assert runs.dump("the-run") == before


@pytest.mark.parametrize("text", ["{", "[]", "7", "{}", '{"type":"ValueError"}'])
async def test_a_stored_error_that_cannot_be_read_does_not_hide_the_failure(
    runs: Runs, text: str
) -> None:
    probe = Probe(fails_at=["second"])
    with pytest.raises(ValueError, match="second failed"):
        await TwoSteps(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    runs.redis.hset(runs.keys.run("the-run"), "error", text)
    told = outcome_of(TwoSteps().__stepwell_plan__(), "the-run", runs.fields("the-run"))
    with pytest.raises(RunCorrupt, match=r"'the-run' did not complete.*'error'.*Start it again"):
        told.result()
    assert await resumed(runs) == RESULT


# --- values ---


class Holding(Event):
    """An event that takes anything."""

    value: Any


class Values(Workflow):
    """Writes a good value, then whatever `act` does."""

    def __init__(self, act: Callable[[Context[Any]], Any], **options: Any) -> None:
        super().__init__(**options)
        self._act = act

    @step
    async def good(self, ev: StartEvent, ctx: Context) -> Second:
        await ctx.store.set("good", {"inner": ["kept"]})
        return Second(value=ev.value)

    @step
    async def bad(self, ev: Second, ctx: Context) -> Holding | StopEvent:
        await ctx.store.set("more", ev.value)
        return await self._act(ctx)

    @step
    async def take(self, ev: Holding) -> StopEvent:
        return StopEvent(result=str(ev.value))


async def set_at_the_top(ctx: Context[Any]) -> Any:
    await ctx.store.set("lock", Lock())


async def set_deep_down(ctx: Context[Any]) -> Any:
    await ctx.store.set("lock", {"inner": [1, Lock()]})


async def change_in_place(ctx: Context[Any]) -> Any:
    (await ctx.store.get("good"))["lock"] = Lock()


async def edit(ctx: Context[Any]) -> Any:
    async with ctx.store.edit_state() as state:
        state.lock = Lock()


async def append(ctx: Context[Any]) -> Any:
    await ctx.store.append("lock", Lock())


async def return_it(_ctx: Context[Any]) -> Any:
    return Holding(value=Lock())


async def send_it(ctx: Context[Any]) -> Any:
    ctx.send_event(Holding(value=Lock()))


async def end_with_it(_ctx: Context[Any]) -> Any:
    return StopEvent(result={"lock": Lock()})


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (set_at_the_top, "lock"),
        (set_deep_down, "lock"),
        (change_in_place, "good"),
        (edit, "lock"),
        (append, "lock"),
        (return_it, "Holding"),
        (send_it, "Holding"),
        (end_with_it, "StopEvent"),
    ],
)
async def test_a_value_without_durable_form_fails_its_step_and_leaves_no_trace(
    runs: Runs, act: Callable[[Context[Any]], Any], named: str
) -> None:
    checkpointer = runs.checkpointer()
    with pytest.raises(EncodingError, match=f"{named}.*lock"):
        await Values(act, checkpointer=checkpointer).run(run_id="the-run", value=7)
    fields = runs.fields("the-run")
    assert fields["status"] == "failed"
    assert "state:lock" not in fields
    assert fields["state:good"] == '{"inner":["kept"]}'
    assert [step for _, step, _, _ in runs.log("the-run")][-1] == "bad"

    async def behave(_ctx: Context[Any]) -> Any:
        return Holding(value="well")

    again = Values(behave, checkpointer=checkpointer)
    assert await again.run(run_id="the-run", value=7) == "well"
    assert [entry[1] for entry in runs.log("the-run")].count("good") == 1


class Caught(Workflow):
    """Counts, does what `act` does, and tells what the state is when that has failed."""

    def __init__(self, act: Callable[[StartEvent, Context[Any]], Any], **options: Any) -> None:
        super().__init__(**options)
        self._act = act
        self.failed: StepFailedEvent | None = None

    @step
    async def bad(self, ev: StartEvent, ctx: Context) -> Holding | StopEvent:
        await ctx.store.set("box", {"inner": "committed"})
        await ctx.checkpoint()
        await ctx.store.increment("count")
        return await self._act(ev, ctx)

    @step
    async def take(self, ev: Holding) -> StopEvent:
        return StopEvent(result="not reached")

    @catch_error(for_steps=["bad"])
    async def catch(self, ev: StepFailedEvent, ctx: Context) -> StopEvent:
        self.failed = ev
        return StopEvent(result=(await ctx.store.get_state()).to_dict())


async def return_a_lock(_ev: StartEvent, _ctx: Context[Any]) -> Any:
    return Holding(value=Lock())


async def leave_a_lock_in_the_state(_ev: StartEvent, ctx: Context[Any]) -> Any:
    (await ctx.store.get("box"))["lock"] = Lock()


async def append_a_lock(_ev: StartEvent, ctx: Context[Any]) -> Any:
    await ctx.store.append("listed", Lock())


async def collect_a_lock(_ev: StartEvent, ctx: Context[Any]) -> Any:
    ctx.collect_events(Holding(value=Lock()), [Holding, Holding])


async def ask_a_lock(_ev: StartEvent, ctx: Context[Any]) -> Any:
    ctx.write_event_to_stream(InputRequiredEvent.model_validate({"lock": Lock()}))


async def put_a_lock_into_the_event(ev: StartEvent, _ctx: Context[Any]) -> Any:
    ev.lock = Lock()
    raise EncodingError("the step's own")


@pytest.mark.parametrize(
    "act",
    [
        return_a_lock,
        leave_a_lock_in_the_state,
        append_a_lock,
        collect_a_lock,
        ask_a_lock,
        put_a_lock_into_the_event,
    ],
)
async def test_what_else_an_attempt_wrote_is_durable_when_a_value_of_it_can_not_be(
    runs: Runs, act: Callable[[StartEvent, Context[Any]], Any]
) -> None:
    before = datetime.now(UTC)
    workflow = Caught(act, checkpointer=runs.checkpointer())
    live = await workflow.run(run_id="the-run", value=7)
    assert live == {"box": {"inner": "committed"}, "count": 1}
    fields = runs.fields("the-run")
    stored = {name: text for name, text in fields.items() if name.startswith("state:")}
    assert stored == {"state:box": '{"inner":"committed"}', "state:count": "1"}
    failed = workflow.failed
    assert failed is not None
    assert isinstance(failed.exception, EncodingError)
    assert before.timestamp() - 1 < failed.failed_at.timestamp()
    assert failed.input_event == StartEvent.model_validate({"value": 7})


class BadItem(Workflow):
    """Leaves a value without durable form in one item of a loop, the first time."""

    def __init__(self, every: int, **options: Any) -> None:
        super().__init__(**options)
        self._every = every
        self.handled: list[str] = []

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def loop(self, ev: StartEvent, ctx: Context) -> StopEvent:
        async for item in ctx.each(range(4), every=self._every):
            async for part in ctx.each("ab", every=self._every):
                await ctx.once(f"{item}{part}", self._once, f"{item}{part}")
                await ctx.store.set(f"box{item}", {})
                await ctx.store.increment("sum")
            await ctx.store.increment("items")
            if item == 1 and not ctx.retry_info().retry_number:
                (await ctx.store.get("box1"))["lock"] = Lock()
        return StopEvent(result=(await ctx.store.get_state()).to_dict())

    async def _once(self, item: str) -> None:
        self.handled.append(item)


@pytest.mark.parametrize("every", [1, 2])
async def test_an_item_that_could_not_be_committed_is_done_again(runs: Runs, every: int) -> None:
    checkpointer = runs.checkpointer()
    workflow = BadItem(every, checkpointer=checkpointer)
    live = await workflow.run(run_id="the-run")
    ctx = await checkpointer.load(workflow, "the-run")
    assert live == (await ctx.store.get_state()).to_dict()
    assert live.pop("sum") == 8  # the loop inside was committed
    assert live.pop("items") == 5  # what the failed attempt wrote stands
    assert live == {f"box{item}": {} for item in range(4)}
    assert workflow.handled == [f"{item}{part}" for item in range(4) for part in "ab"]


class Innocent(Workflow):
    """One step asks what can't be stored, another one commits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked = asyncio.Event()

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=0), Part(number=1)]

    @step
    async def part(self, ev: Part, ctx: Context) -> StopEvent | None:
        if ev.number:
            await self.asked.wait()
            await ctx.checkpoint()
            return StopEvent(result="fine")
        try:
            ctx.write_event_to_stream(InputRequiredEvent.model_validate({"lock": Lock()}))
        except EncodingError:
            self.asked.set()
        return None


async def test_a_question_without_durable_form_fails_nobody_but_who_asks(runs: Runs) -> None:
    assert await Innocent(checkpointer=runs.checkpointer()).run(run_id="the-run") == "fine"


async def test_an_input_without_durable_form_starts_nothing(runs: Runs) -> None:
    with pytest.raises(EncodingError, match=r"input.*lock"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=Lock())
    assert runs.ids() == set()


# --- another input, another code ---


async def test_another_input_under_the_same_name_is_a_conflict(runs: Runs) -> None:
    await interrupted(runs)
    before = runs.dump("the-run")
    with pytest.raises(RunConflict, match=r"'the-run'.*another input.*another run_id"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id="the-run", value=8)
    assert runs.dump("the-run") == before
    assert await resumed(runs) == RESULT


class Other(TwoSteps):
    """Another workflow with the same steps."""


async def test_another_workflow_under_the_same_name_is_a_conflict(runs: Runs) -> None:
    await interrupted(runs)
    before = runs.dump("the-run")
    with pytest.raises(RunConflict, match=r"'the-run'.*TwoSteps.*Other.*another run_id"):
        await Other(checkpointer=runs.checkpointer()).run(run_id="the-run", value=7)
    assert runs.dump("the-run") == before
    assert await resumed(runs) == RESULT


@pytest.mark.parametrize("run_id", ["the-run", None])
async def test_a_run_whose_step_is_gone_waits_for_its_return(
    runs: Runs, run_id: str | None
) -> None:
    name = await interrupted(runs, run_id)
    before = runs.dump(name)
    workflow = Renamed(workflow_name=TwoSteps().workflow_name, checkpointer=runs.checkpointer())
    with pytest.raises(RunBlocked, match=f"'{name}'.*step 'second'.*Bring the step back"):
        await workflow.run(run_id=run_id, value=7)
    assert runs.dump(name) == before
    probe = Probe()
    back = TwoSteps(probe, checkpointer=runs.checkpointer())
    assert await back.run(run_id=run_id, value=7) == RESULT
    assert probe.executed == ["second"]
    assert runs.ids() == {name}


class Renamed(Workflow):
    """TwoSteps, with another name for its second step."""

    @step
    async def first(self, ev: StartEvent) -> Second:
        return Second(value=ev.value)

    @step
    async def last(self, ev: Second) -> StopEvent:
        return StopEvent(result=ev.value)


class OldState(BaseModel):
    """What a run was started with."""

    count: int = 0


class NewState(BaseModel):
    """What the code has become."""

    count: list[int] = []


class Typed(Workflow):
    """A workflow of which two versions exist."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        super().__init__(workflow_name="typed", **options)
        self._probe = probe

    @step
    async def only(self, ev: StartEvent, ctx: Context[OldState]) -> StopEvent:
        async with ctx.store.edit_state() as state:
            state.count += ev.value
        await ctx.checkpoint()
        await self._probe("only")
        return StopEvent(result=(await ctx.store.get_state()).count)


class TypedAnew(Workflow):
    """The version whose state does not fit."""

    @step
    async def only(self, ev: StartEvent, ctx: Context[NewState]) -> StopEvent:
        return StopEvent(result=(await ctx.store.get_state()).count)


async def test_a_state_that_does_not_fit_the_code_is_left_for_code_that_it_fits(
    runs: Runs,
) -> None:
    probe = Probe(holds=["only"])
    await interrupt(
        lambda: Typed(probe, checkpointer=runs.checkpointer()).run(run_id="the-run", value=7), probe
    )
    before = runs.dump("the-run")
    anew = TypedAnew(workflow_name="typed", checkpointer=runs.checkpointer())
    with pytest.raises(RunCorrupt, match=r"(?s)'the-run'.*NewState.*count.*old definition"):
        await anew.run(run_id="the-run", value=7)
    assert runs.dump("the-run") == before
    again = Typed(Probe(), checkpointer=runs.checkpointer())
    assert await again.run(run_id="the-run", value=7) == 14


@pytest.mark.parametrize("run_id", ["", "with space", "x" * 201, "{tag}", "line\n"])
async def test_a_name_that_cannot_be_used_is_refused(runs: Runs, run_id: str) -> None:
    with pytest.raises(ValueError, match=r"run id .* can't be used: take 1 to 200 of"):
        await TwoSteps(checkpointer=runs.checkpointer()).run(run_id=run_id, value=7)
    assert runs.ids() == set()
