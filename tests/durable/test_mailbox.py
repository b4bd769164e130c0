"""Messages to a run that is executed: in order, once, also when their news get lost."""

import asyncio
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.durable.mailbox import Mailbox
from stepwell.durable.outage import Outage
from stepwell.errors import InboxFull, StoreUnavailable
from stepwell.events import Event, HumanResponseEvent, StartEvent, StopEvent
from stepwell.storage.limits import INBOX_MAX
from stepwell.storage.records import Message, NewRun, Topic
from support.clients import Answer
from support.places import Asks, Place, serving, until_true

OWNER = "me"
FIELDS = {"format": "1", "workflow": "w", "status": "running"}


class Numbered(HumanResponseEvent):
    """One of many."""

    number: int


class Reads(Workflow):
    """Takes so many, in whatever order they come."""

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        taken = [
            (await ctx.wait_for_event(Numbered, waiter_id=str(turn), timeout=None)).number
            for turn in range(ev.get("many"))
        ]
        return StopEvent(result=taken)


class Opened(Event):
    """The step may go on."""


class ReadsLate(Reads):
    """Waits only when all is there."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.reached = asyncio.Event(), asyncio.Event()

    @step
    async def only(self, ev: StartEvent, ctx: Context) -> StopEvent:
        self.reached.set()
        await self.go.wait()
        return await super().only(ev, ctx)


# --- the mailbox alone ---


class Reader:
    """Reads the mail of a run; says that it read all, or not."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.times = 0
        self._answers = list(answers)
        self.read_all = asyncio.Event()

    async def __call__(self) -> bool:
        self.times += 1
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.read_all.set()
        return answer


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.durable.mailbox.LOOK_EVERY", 0.05)


@pytest.mark.parametrize("answers", [(), (False,), (StoreUnavailable("no answer"), False)])
async def test_a_run_reads_its_mail_until_it_has_read_all(
    answers: tuple[bool | Exception, ...],
) -> None:
    place, reader = Place(1), Reader(*answers)
    async with place.store() as store:
        await store.create(NewRun("run", "d", OWNER, FIELDS))
        mailbox = Mailbox(store, OWNER, {"run"}, Outage())
        mailbox.open("run", reader)
        await store.deliver(Message("run", "text", "key"))
        await reader.read_all.wait()
        await mailbox.close()
        assert reader.times == len(answers) + 1


async def test_mail_for_a_run_that_does_not_read_yet_is_kept_for_it() -> None:
    place, first, late = Place(1), Reader(), Reader()
    async with place.store() as store:
        for name in ("first", "late", "strange"):
            await store.create(NewRun(name, "d", OWNER, FIELDS))
        mailbox = Mailbox(store, OWNER, {"first", "late"}, Outage())
        mailbox.open("first", first)
        for name in ("late", "strange"):
            await store.deliver(Message(name, "text", "key"))
        await until_true(lambda: not any(place.server.mail.values()))
        mailbox.open("late", late)
        await late.read_all.wait()
        await mailbox.close()
        assert (first.times, late.times) == (0, 1)


async def test_a_reader_that_leaves_late_does_not_close_the_box_of_the_next_one() -> None:
    place, former, present = Place(1), Reader(), Reader()
    async with place.store() as store:
        await store.create(NewRun("run", "d", OWNER, FIELDS))
        mailbox = Mailbox(store, OWNER, {"run"}, Outage())
        leave = mailbox.open("run", former)
        mailbox.open("run", present)
        leave()
        await store.deliver(Message("run", "text", "key"))
        await present.read_all.wait()
        await mailbox.close()
        assert former.times == 0


@pytest.mark.parametrize("broken", ["watch", "mail"])
async def test_mail_comes_late_while_the_store_fails_and_comes(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, reader, failures = Place(1), Reader(), 0
    async with place.store() as store:
        works = getattr(store, broken)

        async def fail(*given: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures < 4:
                raise StoreUnavailable("no answer")
            return await works(*given)

        monkeypatch.setattr(store, broken, fail)
        await store.create(NewRun("run", "d", OWNER, FIELDS))
        mailbox = Mailbox(store, OWNER, {"run"}, Outage())
        mailbox.open("run", reader)
        await store.deliver(Message("run", "text", "key"))
        await reader.read_all.wait()
        await mailbox.close()


async def test_runs_may_come_and_go_while_the_store_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    place, reader, expected = Place(1), Reader(), {"run": 1, "other": 2}
    async with place.store() as store:

        async def fail(*_: Any) -> Any:
            monkeypatch.undo()
            del expected["other"]
            raise StoreUnavailable("no answer")

        await store.create(NewRun("run", "d", OWNER, FIELDS))
        monkeypatch.setattr(store, "mail", fail)
        mailbox = Mailbox(store, OWNER, expected, Outage())
        mailbox.open("run", reader)
        await reader.read_all.wait()
        await mailbox.close()


async def test_nobody_listens_after_the_end() -> None:
    place = Place(1)
    async with place.store() as store:
        mailbox = Mailbox(store, OWNER, {"run"}, Outage())
        mailbox.open("run", Reader())
        topic = Topic("mail", 0, OWNER)
        await until_true(lambda: place.server.is_watched(topic))
        await mailbox.close()
        assert not place.server.is_watched(topic)


# --- with a worker ---


async def test_messages_arrive_in_order_and_once() -> None:
    place, many = Place(), 50
    async with place.client() as client, serving(place.checkpointer(), Reads()):
        run = await client.start(Reads, {"many": many})
        for number in range(many):
            await run.send_event(Numbered(number=number), key=str(number))
            await run.send_event(Numbered(number=number), key=str(number))
        assert await run.result() == list(range(many))


@pytest.mark.parametrize("idle_timeout", [0.0, 60.0])
async def test_messages_whose_news_get_lost_are_found(
    idle_timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()

    def lose(topic: Topic) -> None:
        """Nobody hears of it."""

    monkeypatch.setattr(place.server, "publish", lose)
    monkeypatch.setattr("stepwell.worker.claiming.LOOK_EVERY", 0.05)
    async with (
        place.client() as client,
        serving(place.checkpointer(), Asks(), idle_timeout=idle_timeout),
    ):
        run = await client.start(Asks)
        for value in (1, 2):
            await run.send_event(Answer(value=value))
        await until_true(lambda: place.run(run.run_id).ended_at is not None)


async def test_an_inbox_that_is_full_refuses_and_has_room_later() -> None:
    place, late = Place(), ReadsLate()
    many = INBOX_MAX + 1
    async with place.client() as client:
        run = await client.start(late, {"many": many}, delay=60)
        for number in range(INBOX_MAX):
            await run.send_event(Numbered(number=number))
        with pytest.raises(InboxFull):
            await run.send_event(Numbered(number=INBOX_MAX))
        async with serving(place.checkpointer(), late):
            place.pass_time(60)
            await late.reached.wait()
            await until_true(lambda: len(place.run(run.run_id).inbox) < INBOX_MAX)
            await run.send_event(Numbered(number=INBOX_MAX))
            late.go.set()
            assert await run.result() == list(range(many))


async def test_more_messages_than_a_run_may_keep_wait_in_its_inbox_and_lose_nothing() -> None:
    place, late = Place(), ReadsLate()
    many = INBOX_MAX + 300
    async with place.client() as client:
        run = await client.start(late, {"many": many}, delay=60)
        for number in range(INBOX_MAX):
            await run.send_event(Numbered(number=number))
        async with serving(place.checkpointer(), late):
            place.pass_time(60)
            await late.reached.wait()
            await until_true(lambda: not place.run(run.run_id).inbox)
            for number in range(INBOX_MAX, many):
                await run.send_event(Numbered(number=number))
            late.go.set()
            assert await run.result() == list(range(many))
