"""Waits of durable runs: whatever happens in between, no answer is lost and nobody is asked twice.

All of it holds for steps that go on where they stood, and for steps that are run again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
)
from stepwell.handler import WorkflowHandler
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_none
from support.runs import Part, Probe, Runs, interrupt, until

Body = Callable[[Context[Any], Probe], Awaitable[Any]]


class Question(InputRequiredEvent):
    n: int = 0


class Answer(HumanResponseEvent):
    n: int = 0


class News(Event):
    n: int = 0


@pytest.fixture(autouse=True, params=["0", "1"], ids=["live", "run again"])
def replay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("STEPWELL_REPLAY_WAITS", request.param)
    return request.param == "1"


class Waiting(Workflow):
    """Its only step does what a test says, and is tried again if that fails."""

    def __init__(self, body: Body, probe: Probe | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._body = body
        self._probe = probe or Probe()

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(3)))
    async def work(self, ev: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(result=await self._body(ctx, self._probe))


def waits_of(runs: Runs) -> list[str]:
    return [name for name in runs.fields("the-run") if name.startswith("wait:")]


def waits_are(runs: Runs, number: int) -> Callable[[], bool]:
    return lambda: len(waits_of(runs)) == number


async def stopped_in_a_wait(runs: Runs, workflow: Workflow, waits: int = 1, *sent: Event) -> None:
    """Run until so many waits are stored, send what is told, and stop with the event loop."""

    async def main() -> None:
        handler = workflow.run(run_id="the-run")
        await until(waits_are(runs, waits))
        for event in sent:
            await handler.send_event(event)

    await asyncio.to_thread(asyncio.run, main())


def start(runs: Runs, body: Body, probe: Probe | None = None) -> WorkflowHandler[Any]:
    return Waiting(body, probe, checkpointer=runs.checkpointer()).run(run_id="the-run")


async def asked(handler: WorkflowHandler[Any]) -> list[int]:
    return [event.n async for event in handler.stream_events() if isinstance(event, Question)]


async def ask(ctx: Context[Any], probe: Probe) -> int:
    answer = await ctx.wait_for_event(Answer, waiter_event=Question(n=7), timeout=None)
    await probe("after")
    return answer.n


# --- one wait ---


async def test_a_wait_is_stored_before_its_question_is_asked(runs: Runs) -> None:
    handler = start(runs, ask)
    async for event in handler.stream_events():
        if isinstance(event, Question):
            assert len(waits_of(runs)) == 1
            await handler.send_event(Answer(n=5))
    assert await handler == 5
    assert waits_of(runs) == []


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_wait_is_committed_whatever_the_mode(runs: Runs, durability: str) -> None:
    workflow = Waiting(ask, checkpointer=runs.checkpointer(durability=durability))
    await stopped_in_a_wait(runs, workflow)
    handler = start(runs, ask)
    await handler.send_event(Answer(n=5))
    assert await handler == 5


async def test_the_answer_may_come_in_another_life_which_asks_again(runs: Runs) -> None:
    await stopped_in_a_wait(runs, Waiting(ask, checkpointer=runs.checkpointer()))
    assert len(waits_of(runs)) == 1
    handler = start(runs, ask)
    questions = asyncio.create_task(asked(handler))
    await handler.send_event(Answer(n=5))
    assert await handler == 5
    assert await questions == [7]


async def test_an_answer_for_one_step_may_come_before_the_run_is_found(runs: Runs) -> None:
    await stopped_in_a_wait(runs, Waiting(ask, checkpointer=runs.checkpointer()))
    handler = start(runs, ask)
    await handler.send_event(Answer(n=5), step="work")
    assert await handler == 5


async def test_an_event_that_its_target_does_not_take_is_refused_once_the_run_is_found(
    runs: Runs,
) -> None:
    await stopped_in_a_wait(runs, Waiting(ask, checkpointer=runs.checkpointer()))
    handler = start(runs, ask)
    with pytest.raises(WorkflowRuntimeError, match="'work' does not take News"):
        await handler.send_event(News(), step="work")
    with pytest.raises(WorkflowRuntimeError, match="has no step 'nowhere'"):
        await start(runs, ask).send_event(Answer(), step="nowhere")
    await handler.send_event(Answer(n=5))
    assert await handler == 5


async def test_an_answer_that_was_acknowledged_is_not_lost(runs: Runs) -> None:
    """Its step had not gone on when the process was stopped."""
    held = Probe(holds=["after"])
    workflow = Waiting(ask, held, checkpointer=runs.checkpointer())
    await stopped_in_a_wait(runs, workflow, 1, Answer(n=5))
    again = Probe()
    handler = start(runs, ask, again)
    assert await handler == 5
    assert again.executed == ["after"]


async def test_a_human_is_asked_once_however_often_the_step_is_tried(runs: Runs) -> None:
    attempts: list[int] = []

    async def fails_twice(ctx: Context[Any], probe: Probe) -> int:
        answer = await ask(ctx, probe)
        attempts.append(answer)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return answer

    handler = start(runs, fails_twice)
    questions = asyncio.create_task(asked(handler))
    await until(waits_are(runs, 1))
    await handler.send_event(Answer(n=5))
    assert await handler == 5
    assert attempts == [5, 5, 5]
    assert await questions == [7]


async def test_a_restart_does_not_extend_a_time_out(runs: Runs) -> None:
    async def patient(ctx: Context[Any], probe: Probe) -> int:
        return (await ctx.wait_for_event(Answer, timeout=1000)).n

    def stored() -> str:
        (name,) = waits_of(runs)
        return runs.fields("the-run")[name].partition('"deadline":')[2].partition(",")[0]

    workflow = Waiting(patient, checkpointer=runs.checkpointer())
    await stopped_in_a_wait(runs, workflow)
    before = stored()
    handler = start(runs, patient)
    await until(lambda: [line[3] for line in runs.log("the-run")].count("WaitBegun") == 2)
    assert stored() == before
    await handler.send_event(Answer(n=5))
    assert await handler == 5


async def test_a_wait_that_takes_too_long_raises_in_this_life_or_in_the_next(runs: Runs) -> None:
    ends = time.time() + 0.2

    async def impatient(ctx: Context[Any], probe: Probe) -> str:
        try:
            await ctx.wait_for_event(Answer, timeout=max(0.0, ends - time.time()))
        except TimeoutError as error:
            return str(error)
        return "answered"

    await stopped_in_a_wait(runs, Waiting(impatient, checkpointer=runs.checkpointer()))
    assert "'work' waited for Answer, and it did not come" in await start(runs, impatient)
    assert time.time() >= ends


async def test_requirements_without_a_durable_form_are_known_in_the_next_life(runs: Runs) -> None:
    class Equal:
        """Equal to 5."""

        __hash__ = None  # pyright: ignore[reportAssignmentType]  it can not be looked up

        def __eq__(self, other: object) -> bool:
            return other == 5

    async def choosy(ctx: Context[Any], probe: Probe) -> int:
        return (await ctx.wait_for_event(Answer, requirements={"n": Equal()}, timeout=None)).n

    await stopped_in_a_wait(runs, Waiting(choosy, checkpointer=runs.checkpointer()))
    handler = start(runs, choosy)
    await handler.send_event(Answer(n=4))
    await handler.send_event(Answer(n=5))
    assert await handler == 5


# --- events that come before their wait ---


async def test_an_event_that_came_before_its_wait_is_there_in_another_life(runs: Runs) -> None:
    async def slow(ctx: Context[Any], probe: Probe) -> int:
        await probe("before")
        return (await ctx.wait_for_event(News, timeout=None)).n

    probe = Probe(holds=["before"])

    async def main() -> None:
        handler = start(runs, slow, probe)
        await probe.reached.wait()
        await handler.send_event(News(n=5))

    await asyncio.to_thread(asyncio.run, main())
    assert await start(runs, slow) == 5


# --- a wait inside of something else ---


async def test_waits_in_a_loop_go_on_at_the_item_that_waits(runs: Runs) -> None:
    async def each(ctx: Context[Any], probe: Probe) -> list[int]:
        async for item in ctx.each([1, 2, 3]):
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(n=item), timeout=None)
            await ctx.store.append("got", answer.n * 10 + item)
        return await ctx.store.get("got")

    async def main() -> None:
        handler = start(runs, each)
        async for event in handler.stream_events():
            if isinstance(event, Question):
                if event.n == 2:
                    return
                await handler.send_event(Answer(n=event.n))

    await asyncio.to_thread(asyncio.run, main())
    handler = start(runs, each)
    questions: list[int] = []
    async for event in handler.stream_events():
        if isinstance(event, Question):
            questions.append(event.n)
            await handler.send_event(Answer(n=event.n))
    assert await handler == [11, 22, 33]
    assert questions == [2, 3]


async def both(ctx: Context[Any], probe: Probe) -> list[int]:
    answers = await asyncio.gather(
        ctx.wait_for_event(Answer, timeout=None), ctx.wait_for_event(News, timeout=None)
    )
    return [answer.n for answer in answers]


async def test_two_waits_at_once_may_be_answered_in_different_lives(
    runs: Runs, replay: bool
) -> None:
    waits = 2
    workflow = Waiting(both, checkpointer=runs.checkpointer())
    await stopped_in_a_wait(runs, workflow, waits, Answer(n=1))
    handler = start(runs, both)
    await handler.send_event(News(n=2))
    assert await handler == [1, 2]


async def test_a_step_may_fail_beside_its_wait(runs: Runs, replay: bool) -> None:
    if replay:
        pytest.skip("the wait leaves the step before the other branch begins")
    tried: list[int] = []

    async def broken() -> None:
        tried.append(1)
        if len(tried) < 3:
            raise ValueError("the other branch")

    async def fails(ctx: Context[Any], probe: Probe) -> int:
        answer, _ = await asyncio.gather(ctx.wait_for_event(Answer, timeout=None), broken())
        return answer.n

    handler = start(runs, fails)
    await until(lambda: len(tried) == 3)
    await handler.send_event(Answer(n=5))
    assert await handler == 5


async def test_a_step_may_end_beside_its_wait(runs: Runs, replay: bool) -> None:
    if replay:
        pytest.skip("a task of the step can't leave it")
    left: list[asyncio.Task[Any]] = []

    async def ends(ctx: Context[Any], probe: Probe) -> str:
        left.append(asyncio.create_task(ctx.wait_for_event(Answer, timeout=None)))
        await until(waits_are(runs, 1))
        return "done"

    assert await start(runs, ends) == "done"
    await asyncio.wait(left)
    assert left[0].cancelled()


async def test_a_wait_that_its_step_gave_up_is_over(runs: Runs, replay: bool) -> None:
    if replay:
        pytest.skip("the time of asyncio.wait_for begins again whenever the step is run again")

    async def gives_up(ctx: Context[Any], probe: Probe) -> str:
        try:
            await asyncio.wait_for(ctx.wait_for_event(Answer, timeout=None), 0.01)
        except TimeoutError:
            await probe("gave up")
            return "gave up"
        return "answered"

    probe = Probe(holds=["gave up"])
    await interrupt(lambda: start(runs, gives_up, probe), probe)
    assert await start(runs, gives_up) == "gave up"


async def test_a_step_that_works_beside_its_wait_goes_on_after_a_crash(
    runs: Runs, replay: bool
) -> None:
    if replay:
        pytest.skip("the wait leaves the step before the work begins")

    async def works(ctx: Context[Any], probe: Probe) -> str:
        listening = asyncio.create_task(ctx.wait_for_event(Answer, timeout=None))
        await until(waits_are(runs, 1))
        await probe("works")
        listening.cancel()
        return "done"

    probe = Probe(holds=["works"])
    await interrupt(lambda: start(runs, works, probe), probe)
    assert await start(runs, works) == "done"


# --- many waits ---


class Branches(Workflow):
    """Each branch waits for the answer with its own number."""

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=number) for number in range(ev.number)]

    @step(num_workers=2)
    async def branch(self, ev: Part, ctx: Context) -> Answer:
        return await ctx.wait_for_event(Answer, requirements={"n": ev.number}, timeout=None)

    @step
    async def join(self, ev: list[Answer]) -> StopEvent:
        return StopEvent(result=sorted(one.n for one in ev))


async def test_300_branches_with_two_workers_wait_at_once_and_in_the_next_life(runs: Runs) -> None:
    number = 300

    async def main() -> None:
        handler = Branches(checkpointer=runs.checkpointer()).run(run_id="the-run", number=number)
        await until(waits_are(runs, number))
        for n in range(0, number, 2):
            handler.ctx.send_event(Answer(n=n))
        await handler.send_event(Answer(n=-1))

    await asyncio.to_thread(asyncio.run, main())
    handler = Branches(checkpointer=runs.checkpointer()).run(run_id="the-run", number=number)
    for n in reversed(range(1, number, 2)):
        await handler.send_event(Answer(n=n))
    assert await handler == list(range(number))
