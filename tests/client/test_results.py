"""Results: whoever executes a run, and however it ends."""

import asyncio
import json
import re
from typing import Any

import pytest

from stepwell.client import Client, Run
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.messages import cancel_message
from stepwell.errors import (
    RunBlocked,
    RunCorrupt,
    RunFailed,
    RunNotFound,
    RunQuarantined,
    WorkflowCancelledByUser,
    WorkflowTimeoutError,
)
from stepwell.events import StopEvent
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Release
from support.clients import Greet, Greeting, claimed, commit, end
from support.runs import Probe, TwoSteps


def error(kind: str, message: str) -> str:
    return json.dumps({"type": kind, "message": message, "step": "second"})


@pytest.fixture
async def run(client: Client) -> Run:
    """A run that nobody has begun."""
    return await client.start("greeter", queue="slow")


@pytest.fixture
def seven() -> str:
    """The field of a result."""
    return Greet().__stepwell_plan__().codec.encode(StopEvent(result=7), "the result")


# --- how it ends ---


async def test_the_result_of_a_completed_run(store: RunStore, run: Run, seven: str) -> None:
    await end(store, run, "completed", result=seven)
    assert await run.result() == 7
    assert await run.result(timeout=0) == 7


async def test_a_run_that_a_handler_executes_has_its_result(
    client: Client, checkpointer: Checkpointer
) -> None:
    probe = Probe(holds=["second"])
    handler = TwoSteps(probe, checkpointer=checkpointer).run(run_id="the-run", value=7)
    await probe.reached.wait()
    waiting = asyncio.create_task(client.get("the-run").result())
    probe.go.set()
    assert await waiting == await handler == [7, 2]


async def test_a_result_of_a_class_of_its_own_needs_the_code(
    client: Client, checkpointer: Checkpointer
) -> None:
    await Greet(checkpointer=checkpointer).run(name="Ada", run_id="the-run")
    assert await client.get("the-run", workflow=Greet).result() == Greeting(text="Hello, Ada!")
    with pytest.raises(RunBlocked, match=r"client.get\('the-run', workflow=...\)"):
        await client.get("the-run").result()


async def test_a_damaged_result_is_told_as_such_where_the_code_is_known(
    client: Client, store: RunStore
) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    await end(store, run, "completed", result="{")
    with pytest.raises(RunCorrupt, match=run.run_id):
        await run.result()


ENDS: list[tuple[str, str, type[Exception], str]] = [
    ("failed", error("builtins.ValueError", "second failed"), ValueError, "second failed"),
    ("failed", error("nowhere.Odd", "told"), RunFailed, "second.*nowhere.Odd: told"),
    (
        "cancelled",
        error("stepwell.errors.WorkflowCancelledByUser", "stopped"),
        WorkflowCancelledByUser,
        "stopped",
    ),
    (
        "timed_out",
        error("stepwell.errors.WorkflowTimeoutError", "after 5 s"),
        WorkflowTimeoutError,
        "after 5 s",
    ),
    (
        "quarantined",
        error("stepwell.errors.RunQuarantined", "it killed 5 workers in step 'second'"),
        RunQuarantined,
        "it killed 5 workers in step 'second'",
    ),
]


@pytest.mark.parametrize(("status", "text", "kind", "words"), ENDS)
async def test_an_end_that_is_none_to_be_glad_of_is_raised(
    store: RunStore, run: Run, status: str, text: str, kind: type[Exception], words: str
) -> None:
    await end(store, run, status, error=text)
    with pytest.raises(kind, match=words):
        await run.result()


async def test_an_error_that_was_a_timeout_of_the_step_is_not_told_as_ours(
    store: RunStore, run: Run
) -> None:
    await end(store, run, "failed", error=error("builtins.TimeoutError", "no answer"))
    with pytest.raises(TimeoutError) as raised:
        await run.result(timeout=5)
    assert str(raised.value) == "no answer"


NOTES: list[tuple[str, str, str]] = [
    ("failed", error("builtins.ValueError", "no"), "failed in step second: run it again"),
    ("timed_out", error("nowhere.Odd", "after 5 s"), "timed out: run it again"),
    ("quarantined", error("nowhere.Odd", "5 times"), "was quarantined: run it again"),
]


@pytest.mark.parametrize(("status", "text", "words"), NOTES)
async def test_an_error_has_a_note_that_names_the_run_and_the_remedy(
    store: RunStore, run: Run, status: str, text: str, words: str
) -> None:
    await end(store, run, status, error=text)
    for _ in range(2):
        with pytest.raises(Exception) as raised:  # noqa: PT011  any
            await run.result()
        [note] = raised.value.__notes__
        assert note.startswith(f"run {run.run_id!r} of greeter {words}")
        assert f"workflow.run(run_id={run.run_id!r}" in note


async def test_a_cancelled_run_without_a_reason_is_told_by_its_name(
    store: RunStore, run: Run
) -> None:
    await end(store, run, "cancelled", error=error("nowhere.Odd", ""))
    with pytest.raises(WorkflowCancelledByUser) as raised:
        await run.result()
    assert str(raised.value) == f"run {run.run_id!r} of greeter was cancelled"


async def test_a_run_that_is_not_there_is_told(client: Client) -> None:
    with pytest.raises(RunNotFound, match="nothing-here"):
        await client.get("nothing-here").result()
    with pytest.raises(RunNotFound, match="nothing-here"):
        await client.get("nothing-here").info()
    with pytest.raises(RunNotFound, match=r"never was, .* another namespace"):
        await client.get("nothing-here").cancel()


async def test_a_run_that_is_deleted_while_it_is_waited_for_is_told(
    store: RunStore, run: Run
) -> None:
    waiting = asyncio.create_task(run.result())
    await asyncio.sleep(0)
    await store.delete(run.run_id)
    with pytest.raises(RunNotFound):
        await waiting


# --- waiting ---


async def test_a_run_that_changes_hands_is_waited_for(
    store: RunStore, run: Run, seven: str
) -> None:
    waiting = asyncio.create_task(run.result())
    claim = await claimed(store, run)
    await store.block(claim, "old code", "step 'second' is not known")
    assert (await run.info()).status == "blocked"
    await end(store, run, "completed", result=seven)
    assert await waiting == 7


async def test_the_wait_is_woken_by_the_end(
    store: RunStore, run: Run, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.client.following.LOOK_AGAIN", 3600)
    waiting = asyncio.create_task(run.result())
    await end(store, run, "completed", result=seven)
    assert await waiting == 7


async def test_an_end_that_nobody_tells_of_is_found(
    store: RunStore, run: Run, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.client.following.LOOK_AGAIN", 0.01)

    async def deaf(*_: object) -> None:
        """No news are heard."""

    monkeypatch.setattr(type(store), "watch", deaf)
    waiting = asyncio.create_task(run.result())
    await asyncio.sleep(0)
    await end(store, run, "completed", result=seven)
    assert await waiting == 7


async def test_a_run_that_was_begun_again_between_two_looks_has_not_ended(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await end(store, run, "failed", error=error("builtins.ValueError", "once"))
    read = type(store).read

    async def begun_again(self: RunStore, run_id: str) -> dict[str, str] | None:
        monkeypatch.undo()
        await commit(store, await claimed(store, run))
        return await read(self, run_id)

    monkeypatch.setattr(type(store), "read", begun_again)
    with pytest.raises(TimeoutError):
        await run.result(timeout=0)
    assert (await run.info()).status == "running"


# --- not for ever ---


async def test_a_run_that_nobody_executes_names_its_queue(run: Run) -> None:
    with pytest.raises(TimeoutError) as late:
        await run.result(timeout=0)
    for words in (run.run_id, "pending", "serves greeter in queue 'slow'", "0.0 s"):
        assert words in str(late.value)


async def test_a_run_that_is_executed_names_its_owner(store: RunStore, run: Run) -> None:
    await claimed(store, run)
    with pytest.raises(TimeoutError, match=r"is running after .* executed by worker-1"):
        await run.result(timeout=0.01)


async def test_a_run_that_nobody_is_there_to_end_says_so(store: RunStore, run: Run) -> None:
    await store.deliver(cancel_message(run.run_id))  # its worker left before it heard of it
    with pytest.raises(TimeoutError) as late:
        await run.result(timeout=0)
    asked, needed = "was asked to end", "serves greeter in queue 'slow' has to be there"
    for words in (asked, needed, "or cancel it again"):
        assert words in str(late.value)


def a_wait(kind: str | None, deadline: float | None) -> str:
    """The field of an open wait."""
    wanted = None if kind is None else {"$type": "class", "value": kind}
    return json.dumps({"for": wanted, "deadline": deadline, "answer": None, "expired": False})


STANDING: list[tuple[str | None, float | None, str]] = [
    ("flows:Approval", None, "is running after 0.0 s: it waits for Approval in step ship"),
    ("flows:A.Yes", 4e9, "waits for A.Yes until 2096-10-02 07:06:40 UTC in step ship"),
    (None, 4e9, "it sleeps until 2096-10-02 07:06:40 UTC in step ship"),
    (None, 1.0, "nobody executes it now. Is a worker"),
]


@pytest.mark.parametrize(("kind", "deadline", "words"), STANDING)
async def test_a_run_that_rests_tells_what_it_waits_for(
    store: RunStore, run: Run, kind: str | None, deadline: float | None, words: str
) -> None:
    claim, info = await claimed(store, run), await run.info()
    fields = {"work:1": json.dumps({"step": "ship"}), "wait:1:/x#1": a_wait(kind, deadline)}
    await commit(store, claim, **fields)
    await store.release(Release(run.run_id, claim.token, info.lane, None, parked=True))
    with pytest.raises(TimeoutError, match=re.escape(words)):
        await run.result(timeout=0)


async def test_a_blocked_run_tells_why(store: RunStore, run: Run) -> None:
    text = error("stepwell.errors.RunBlocked", "step 'second' is not known")
    await store.block(await claimed(store, run), "old code", text)
    with pytest.raises(
        TimeoutError, match=r"is blocked .*: step 'second' is not known. Let a work"
    ):
        await run.result(timeout=0)


@pytest.mark.parametrize("seconds", [-1, "soon", True, float("nan")])
async def test_a_time_that_is_none_is_refused(run: Run, seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout="):
        await run.result(timeout=seconds)


async def test_several_wait_for_the_same_run(store: RunStore, run: Run, seven: str) -> None:
    waiting = [asyncio.create_task(run.result()) for _ in range(3)]
    await asyncio.sleep(0)
    await end(store, run, "completed", result=seven)
    assert await asyncio.gather(*waiting) == [7, 7, 7]


async def test_a_started_run_knows_its_workflow(client: Client, store: RunStore) -> None:
    run = await client.start(Greet, {"name": "Ada"})
    greeting = Greet().__stepwell_plan__().codec.encode(Greeting(text="Hello!"), "the result")
    await end(store, run, "completed", result=greeting)
    assert await run.result() == Greeting(text="Hello!")
