"""Sending events: they are in the inbox when this returns, or their sender is told why not."""

import asyncio
import json
from typing import Any

import pytest

from stepwell.client import Client, Run
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.durable.messages import cancel_message, event_message, read_message
from stepwell.errors import (
    EncodingError,
    InboxFull,
    RunNotFound,
    RunOver,
    WaitClosed,
    WorkflowRuntimeError,
)
from stepwell.events import Event, HumanResponseEvent
from stepwell.storage.limits import INBOX_MAX
from stepwell.storage.memory import MemoryServer
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Message, NewRun
from support.clients import Answer, Asking, Note, Sharper, claimed, commit, end

ASKING = Asking()
CODEC = ASKING.__stepwell_plan__().codec

Fields = dict[str, str]


class Unprepared(Event):
    """May hold what can not be written."""

    what: Any = None


@pytest.fixture
async def fields() -> Fields:
    """A run of Asking that waits for its first answer, and that nobody executes."""
    elsewhere = MemoryCheckpointer(MemoryServer())
    async with elsewhere, elsewhere.session() as session:
        handler = ASKING.run()
        while not _waits(found := await session.store.read(handler.run_id) or {}):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.005)
        await handler.cancel_run()
    return found


@pytest.fixture
async def run(client: Client, store: RunStore, fields: Fields) -> Run:
    """That run, here."""
    await store.enqueue(NewRun("the-run", "", "", fields), 0)
    return client.get("the-run")


@pytest.fixture
def knowing(client: Client, run: Run) -> Run:
    """The same run, for one who has its code."""
    return client.get(run.run_id, workflow=ASKING)


@pytest.fixture(params=["by its name", "with its code"])
def either(request: pytest.FixtureRequest, run: Run, knowing: Run) -> Run:
    """The same run, for both."""
    return run if request.param == "by its name" else knowing


def _waits(fields: Fields) -> list[str]:
    return [name for name in fields if name.startswith("wait:")]


async def received(store: RunStore, run: Run) -> list[tuple[Any, Any]]:
    """The events in the inbox of a run, and their receivers."""
    ticks = [read_message(CODEC, *one) for one in await store.inbox(run.run_id, 0)]
    return [(getattr(tick, "event", None), getattr(tick, "step", None)) for tick in ticks]


async def close_wait(store: RunStore, run: Run, answer: Event) -> None:
    """Let a worker close the wait of the run."""
    fields = await store.read(run.run_id) or {}
    (name,) = _waits(fields)
    told = {**json.loads(fields[name]), "answer": json.loads(CODEC.encode(answer, ""))}
    await commit(store, await claimed(store, run), **{name: json.dumps(told)})


# --- to all ---


async def test_an_event_is_in_the_inbox(store: RunStore, run: Run) -> None:
    await run.send_event(Answer(value=1))
    assert await received(store, run) == [(Answer(value=1), None)]


async def test_a_run_that_is_not_begun_keeps_it(client: Client, store: RunStore) -> None:
    run = await client.start(ASKING)
    await run.send_event(Answer(value=1))
    assert await received(store, run) == [(Answer(value=1), None)]


async def test_without_a_key_each_send_counts(store: RunStore, run: Run) -> None:
    await run.send_event(Answer(value=1))
    await run.send_event(Answer(value=1))
    assert len(await received(store, run)) == 2


async def test_under_one_key_it_counts_once(store: RunStore, run: Run) -> None:
    await run.send_event(Answer(value=1), key="k")
    await run.send_event(Answer(value=1), key="k")
    await run.send_event(Answer(value=1), step="ask", key="k")
    await run.send_event(Answer(value=1), key="other")
    assert len(await received(store, run)) == 2


async def test_a_completed_run_can_not_be_run_again_and_its_refusal_does_not_say_so(
    store: RunStore, run: Run
) -> None:
    await end(store, run, "completed", result="{}")
    with pytest.raises(RunOver, match="the-run is completed") as refused:
        await run.send_event(Answer(value=1))
    assert "again" not in str(refused.value)
    with pytest.raises(RunOver, match="'the-run' has ended already: there is nothing to cancel"):
        await run.cancel()


@pytest.mark.parametrize("step", [None, "ask"])
async def test_a_run_that_is_over_takes_nothing(
    store: RunStore, run: Run, step: str | None
) -> None:
    await end(store, run, "failed", error="{}")
    with pytest.raises(RunOver, match=r"the-run is failed.*workflow\.run\(run_id='the-run'"):
        await run.send_event(Answer(value=1), step=step)


@pytest.mark.parametrize("step", [None, "ask"])
async def test_a_run_that_is_not_there_takes_nothing(client: Client, step: str | None) -> None:
    with pytest.raises(RunNotFound, match="no-run"):
        await client.get("no-run").send_event(Answer(value=1), step=step)


async def test_a_full_inbox_takes_nothing(store: RunStore, run: Run) -> None:
    for number in range(INBOX_MAX):
        await store.deliver(event_message(CODEC, "the-run", Event(), key=str(number)))
    with pytest.raises(InboxFull, match="the-run"):
        await run.send_event(Answer(value=1))


async def test_an_event_without_a_durable_form_is_refused(store: RunStore, run: Run) -> None:
    with pytest.raises(EncodingError, match="Unprepared for run 'the-run'"):
        await run.send_event(Unprepared(what=object()))
    assert await received(store, run) == []


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"event": "yes"}, TypeError, "was given str"),
    ({"event": Answer}, TypeError, "was given the class Answer"),
    ({"step": 5}, TypeError, "step=5"),
    ({"key": 5}, TypeError, "key=5"),
    ({"key": ""}, ValueError, "key=''"),
    ({"key": "k" * 201}, ValueError, "1 to 200"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG)
async def test_what_can_not_be_sent_is_named(
    store: RunStore, run: Run, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    options: dict[str, Any] = {"event": Answer(), **wrong}
    with pytest.raises(error, match=words):
        await run.send_event(**options)
    assert await received(store, run) == []


# --- to the wait of a step ---


async def test_an_answer_to_an_open_wait_is_taken(store: RunStore, either: Run) -> None:
    await either.send_event(Answer(value=1), step="ask")
    assert await received(store, either) == [(Answer(value=1), "ask")]


async def test_an_answer_to_a_closed_wait_is_refused(store: RunStore, either: Run) -> None:
    await close_wait(store, either, Answer(value=1))
    with pytest.raises(WaitClosed, match="the-run"):
        await either.send_event(Answer(value=1), step="ask")
    assert await received(store, either) == []


async def test_an_answer_sent_again_under_its_key_is_not_refused_after_it_closed_the_wait(
    store: RunStore, run: Run
) -> None:
    await run.send_event(Answer(value=1), step="ask", key="k")
    await close_wait(store, run, Answer(value=1))
    await run.send_event(Answer(value=1), step="ask", key="k")
    assert len(await received(store, run)) == 1


@pytest.mark.parametrize("event", [Answer(value=2), Sharper(value=1), HumanResponseEvent()])
async def test_an_event_that_fits_no_wait_yet_is_kept_for_one_that_comes(
    store: RunStore, event: Event, either: Run
) -> None:
    await either.send_event(event, step="ask")
    assert len(await store.inbox(either.run_id, 0)) == 1


async def test_a_run_whose_step_has_not_begun_keeps_an_early_answer(
    client: Client, store: RunStore
) -> None:
    run = await client.start(ASKING)
    await run.send_event(Answer(value=1), step="ask")
    assert await received(store, run) == [(Answer(value=1), "ask")]


async def test_an_answer_loses_against_one_that_closed_the_wait_first(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = type(store).deliver

    async def too_late(self: RunStore, message: Message) -> bool:
        monkeypatch.undo()
        await close_wait(store, run, Answer(value=1))
        return await deliver(self, message)

    monkeypatch.setattr(type(store), "deliver", too_late)
    with pytest.raises(WaitClosed):
        await run.send_event(Answer(value=1), step="ask")
    assert await received(store, run) == []


async def test_a_wait_that_was_only_written_anew_gets_its_answer(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = type(store).deliver

    async def after_a_commit(self: RunStore, message: Message) -> bool:
        monkeypatch.undo()
        fields = await store.read(run.run_id) or {}
        (name,) = _waits(fields)
        told = {**json.loads(fields[name]), "deadline": 1e12}
        await commit(store, await claimed(store, run), **{name: json.dumps(told)})
        return await deliver(self, message)

    monkeypatch.setattr(type(store), "deliver", after_a_commit)
    await run.send_event(Answer(value=1), step="ask")
    assert await received(store, run) == [(Answer(value=1), "ask")]


async def test_a_step_that_takes_such_events_gets_them_whatever_it_waits_for(
    store: RunStore, knowing: Run
) -> None:
    await knowing.send_event(Note(), step="never")
    assert await received(store, knowing) == [(Note(), "never")]


async def test_a_step_that_does_not_exist_is_refused_where_the_code_is_known(
    store: RunStore, knowing: Run
) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"no step 'answer' .* are: ask, never"):
        await knowing.send_event(Answer(value=1), step="answer")
    assert await received(store, knowing) == []


async def test_a_step_that_can_never_use_such_an_event_is_refused_where_the_code_is_known(
    store: RunStore, knowing: Run
) -> None:
    with pytest.raises(WorkflowRuntimeError, match="'never' does not take Answer: it takes Note"):
        await knowing.send_event(Answer(value=1), step="never")
    assert await received(store, knowing) == []


# --- cancelling ---


async def test_a_wish_to_cancel_is_in_the_inbox_of_whoever_has_the_run(
    store: RunStore, run: Run
) -> None:
    await claimed(store, run)
    await run.cancel()
    assert (await run.info()).status == "running"
    (message,) = await store.inbox(run.run_id, 0)
    assert message.text == cancel_message(run.run_id).text


async def test_a_run_that_is_over_can_not_be_cancelled(store: RunStore, run: Run) -> None:
    await end(store, run, "completed")
    with pytest.raises(RunOver):
        await run.cancel()
