"""What comes to a run through its inbox, and what its commits say of it."""

import asyncio
import logging
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell._engine.ticks import CancelAsked, EventArrived
from stepwell._engine.waiting import KEPT_MAX
from stepwell._runtime.commits import Durability
from stepwell._runtime.port import ElsewherePort
from stepwell._runtime.stream import EventStream
from stepwell.errors import ContextStateError, WorkflowCancelledByUser, WorkflowRuntimeError
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from support.lives import Life, Shelf


class Answer(HumanResponseEvent):
    n: int = 0


class Other(Event):
    n: int = 0


class Nobody(Event):
    n: int = 0


class Waits(Workflow):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.began = 0

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> Other | StopEvent:
        self.began += 1
        answer = await ctx.wait_for_event(Answer, timeout=None)
        return StopEvent(result=answer.n)

    @step
    async def take(self, ev: Other) -> None:
        pass


def taken(shelf: Shelf) -> list[int]:
    """What each commit that took something took."""
    return [commit.taken for commit in shelf.commits if commit.taken]


def outcomes(shelf: Shelf) -> list[list[str]]:
    """What the log says of each commit."""
    return [[line.split(",")[3].strip('"') for line in commit.log] for commit in shelf.commits]


@pytest.mark.parametrize("durability", Durability)
async def test_the_commit_with_its_effect_consumes_a_message(durability: Durability) -> None:
    shelf = Shelf()
    life = Life(shelf, Waits(), durability)
    life.begin()
    await life.rest()
    assert life.runner.receive(7, EventArrived(Nobody()))
    await life.rest()
    assert taken(shelf) == [7]
    (kept,) = (name for name in shelf.commits[-1].patch if name.startswith("kept:"))
    assert kept in shelf.fields
    assert life.runner.receive(9, EventArrived(Answer(n=5)))
    assert (await life.end()).result() == 5
    assert taken(shelf) == [7, 9]


async def test_several_messages_at_once_are_one_commit() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin()
    await life.rest()
    number = len(shelf.commits)
    assert all(life.runner.receive(n, EventArrived(Nobody(n=n))) for n in range(1, 6))
    await life.rest()
    assert (len(shelf.commits), taken(shelf)) == (number + 1, [5])


async def test_a_message_that_ends_the_run_is_consumed_by_its_end() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin()
    await life.rest()
    assert life.runner.receive(3, CancelAsked())
    with pytest.raises(WorkflowCancelledByUser):
        (await life.end()).result()
    assert (shelf.commits[-1].ended, shelf.commits[-1].taken) == ("cancelled", 3)
    assert not life.runner.receive(4, EventArrived(Answer()))


async def test_an_event_for_no_step_is_consumed_and_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin()
    await life.rest()
    with caplog.at_level(logging.WARNING, "stepwell"):
        assert life.runner.receive(1, EventArrived(Answer(), "gone"))
    await life.rest()
    (record,) = caplog.records
    said = ("run the-run:", "has no step 'gone'", "Answer")
    assert all(part in record.getMessage() for part in said)
    assert taken(shelf) == [1]
    assert not any(name.startswith("kept:") for name in shelf.fields)
    life.crash()


async def test_an_event_for_a_step_that_may_come_to_wait_for_it_is_kept() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin(
        messages=[(1, EventArrived(Answer(n=4), "work")), (2, EventArrived(Nobody(), "take"))]
    )
    assert (await life.end()).result() == 4
    assert shelf.commits[0].taken == 2


async def test_an_event_for_a_step_that_does_not_take_it_needs_room_as_any() -> None:
    life = Life(Shelf(), Waits())
    life.begin(messages=[(n, EventArrived(Nobody(n=n))) for n in range(1, KEPT_MAX + 1)])
    await life.rest()
    number = KEPT_MAX + 1
    assert not life.runner.receive(number, EventArrived(Other(), "work"))
    assert life.runner.receive(number, EventArrived(Other(), "take"))
    assert life.runner.receive(number + 1, EventArrived(Nobody(), "gone"))
    assert life.runner.receive(number + 2, EventArrived(Answer(), "work"))
    await life.end()


async def test_events_for_which_there_is_no_room_stay_in_the_inbox() -> None:
    life = Life(Shelf(), Waits())
    messages = [(n, EventArrived(Nobody(n=n))) for n in range(1, KEPT_MAX + 3)]
    refused = life.begin(messages=[*messages, (2000, EventArrived(Answer()))])
    assert [number for number, _ in refused] == [KEPT_MAX + 1, KEPT_MAX + 2, 2000]
    await life.rest()
    assert not life.runner.receive(KEPT_MAX + 1, EventArrived(Nobody()))
    assert life.runner.receive(KEPT_MAX + 1, EventArrived(Answer(n=1)))
    assert (await life.end()).result() == 1


async def test_a_full_run_can_be_cancelled() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    messages: list[Any] = [(n, EventArrived(Nobody(n=n))) for n in range(1, KEPT_MAX + 3)]
    life.begin(messages=[*messages, (2000, CancelAsked())])
    with pytest.raises(WorkflowCancelledByUser):
        (await life.end()).result()
    assert shelf.commits[-1].taken == 2000


@pytest.mark.parametrize("durability", Durability)
async def test_what_comes_before_the_run_goes_on_is_in_the_first_commit(
    durability: Durability,
) -> None:
    shelf = Shelf()
    first = Life(shelf, Waits(), durability)
    first.begin()
    await first.rest()
    first.crash()
    number = len(shelf.commits)
    second = Life(shelf, Waits(), durability)
    assert second.resume(messages=[(1, EventArrived(Answer(n=6)))]) == []
    assert (await second.end()).result() == 6
    assert shelf.commits[number].taken == 1
    assert outcomes(shelf)[number][:2] == ["Resumed", "EventArrived"]


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("interrupted", [True, False])
async def test_a_run_that_is_cancelled_before_it_goes_on_starts_no_step(
    durability: Durability, interrupted: bool
) -> None:
    shelf = Shelf()
    first = Life(shelf, Waits(), durability)
    first.begin()
    await first.rest()
    first.crash()
    number, workflow = len(shelf.commits), Waits()
    second = Life(shelf, workflow, durability)
    second.resume(interrupted, messages=[(1, CancelAsked()), (2, EventArrived(Answer()))])
    with pytest.raises(WorkflowCancelledByUser):
        (await second.end()).result()
    assert workflow.began == 0
    (commit,) = shelf.commits[number:]
    assert (commit.ended, commit.taken) == ("cancelled", 1)


async def test_nothing_is_taken_before_the_run_goes_or_from_when_it_is_given_back() -> None:
    life = Life(Shelf(), Waits())
    assert not life.runner.receive(1, EventArrived(Answer()))
    life.begin()
    await life.rest()
    drained = life.runner.drain()
    assert not life.runner.receive(1, EventArrived(Answer()))
    assert not life.runner.receive(2, CancelAsked())
    await drained
    life.crash()


# --- a run that was only asked for ---


async def test_a_run_that_was_only_asked_for_begins_with_a_commit_of_its_work() -> None:
    shelf = Shelf()
    life = Life(shelf, Waits())
    life.begin(messages=[(1, EventArrived(Nobody()))])
    await life.rest()
    first = shelf.commits[0]
    assert outcomes(shelf)[0] == ["Begun", "EventArrived"]
    assert any(name.startswith("work:") for name in first.patch)
    assert (first.patch["next"], first.taken, first.progress) == ("3", 1, False)
    life.crash()
    second = Life(shelf, Waits())
    second.resume(messages=[(2, EventArrived(Answer(n=2)))])
    assert (await second.end()).result() == 2


# --- progress ---


class ThreeSteps(Workflow):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.holds = asyncio.Event()

    @step
    async def work(self, ev: StartEvent, ctx: Context) -> Other | StopEvent | None:
        match self.kind:
            case "returns":
                return StopEvent()
            case "checkpoints":
                await ctx.store.set("a", 1)
                await ctx.checkpoint()
            case "sends":
                ctx.send_event(Other())
            case "waits":
                await ctx.wait_for_event(Answer)
            case "sleeps":
                await ctx.sleep(1000)
            case "fails":
                raise ValueError("no")
            case _:
                pass
        await self.holds.wait()
        return None

    @step
    async def take(self, ev: Other) -> None:
        await self.holds.wait()


@pytest.mark.parametrize("kind", ["returns", "checkpoints", "sends", "waits", "sleeps", "fails"])
async def test_the_first_commit_in_which_a_step_got_further_says_so(kind: str) -> None:
    shelf = Shelf()
    life = Life(shelf, ThreeSteps(kind))
    life.begin()
    while len(shelf.commits) < 2:  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0)
    assert [commit.progress for commit in shelf.commits[:2]] == [False, True]
    assert not any(commit.progress for commit in shelf.commits[2:])
    life.crash()


async def test_neither_messages_nor_going_on_are_progress() -> None:
    shelf = Shelf()
    first = Life(shelf, ThreeSteps("holds"))
    first.begin()
    first.runner.receive(1, EventArrived(Nobody()))
    await first.runner.flush()
    first.crash()
    second = Life(shelf, ThreeSteps("holds"))
    second.resume(messages=[(2, EventArrived(Nobody()))])
    await second.runner.flush()
    second.crash()
    assert not any(commit.progress for commit in shelf.commits)


async def test_standing_in_the_same_wait_again_is_no_progress() -> None:
    shelf = Shelf()
    for life in (Life(shelf, ThreeSteps("waits")), Life(shelf, ThreeSteps("waits"))):
        if not shelf.commits:
            life.begin()
        else:
            life.resume()
        await life.rest()
        life.crash()
    assert [commit.progress for commit in shelf.commits] == [False, True, False, False]


# --- a run that another process executes ---


class Mailbox:
    def __init__(self) -> None:
        self.sent: list[tuple[Event, str | None]] = []

    async def deliver(self, event: Event, step: str | None) -> None:
        self.sent.append((event, step))


async def test_an_event_reaches_a_run_elsewhere_through_its_mailbox() -> None:
    mailbox = Mailbox()
    port = ElsewherePort("the-run", EventStream(), mailbox)
    await port.deliver(Answer(n=1), "work")
    assert mailbox.sent == [(Answer(n=1), "work")]
    with pytest.raises(WorkflowRuntimeError, match="give it an Event"):
        await port.deliver("no event", None)  # type: ignore[arg-type]


def test_a_run_elsewhere_can_t_be_sent_to_at_once() -> None:
    port = ElsewherePort("the-run", EventStream(), Mailbox())
    with pytest.raises(ContextStateError, match=r"'the-run'.*await handler\.send_event"):
        port.send_event(Answer(), None)
