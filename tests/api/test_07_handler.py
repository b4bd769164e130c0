"""Section 7 of the reference: the handler of a run."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, Workflow, _deprecations, step
from stepwell.errors import WorkflowCancelledByUser
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.handler import WorkflowHandler
from support.programs import BOTH, outcome
from support.runs import until

pytest.importorskip("workflows")

RUNS = """
class Mine(StopEvent):
    n: int

class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | StopEvent:
        for n in range(3):
            ctx.write_event_to_stream(A(n=n))
        await asyncio.sleep(1)
        if ev.get("error"):
            raise ev.error
        return StopEvent(result="said")
    @step
    async def hear(self, ev: A) -> StopEvent:
        return StopEvent(result=ev.n)

class Special(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Mine:
        return Mine(n=3)

async def ends(handler):
    "How a run ended, to all who ask."
    return [await attempt(lambda: handler), await attempt(lambda: handler),
            handler.is_done(), told(handler.get_stop_event())]
"""

CASES = {
    "a result, for all who ask and as often as they do": (
        """
async def main():
    handler = W().run(run_id="r1")
    results = await asyncio.gather(handler, handler, handler)
    return results + [await handler, await asyncio.wait_for(handler, 5), handler.run_id]
""",
        ["said"] * 5 + ["r1"],
    ),
    "its last event, for all who ask": (
        """
async def main():
    handler, failing = W().run(), W().run(error=LookupError())
    event = await handler.stop_event_result()
    again = await handler.stop_event_result() is handler.get_stop_event() is event
    return event.result, again, await attempt(failing.stop_event_result)
""",
        ("said", True, "LookupError"),
    ),
    "no end before the end": (
        """
async def main():
    handler = W().run()
    early = [handler.is_done(), handler.get_stop_event()]
    return early, await ends(handler), handler.get_stop_event().result
""",
        ([False, None], ["said", "said", True, "StopEvent"], "said"),
    ),
    "a stop event of its own class as the result": (
        """
async def main():
    handler = Special().run()
    result = await handler
    return type(result) is Mine, result.n, handler.get_stop_event() is result, await rest(handler)
""",
        (True, 3, True, ["Mine3"]),
    ),
    "the very exception of a step": (
        """
async def main():
    error = LookupError()
    handler = W().run(error=error)
    errors = []
    for _ in range(2):
        try:
            await handler
        except LookupError as caught:
            errors.append(caught)
    return [one is error for one in errors], handler.is_done(), await rest(handler)
""",
        ([True, True], True, ["A0", "A1", "A2", "WorkflowFailedEvent"]),
    ),
    "a cancelled run": (
        """
async def main():
    handler = W().run()
    stream = handler.stream_events()
    await anext(stream)
    results = [await handler.cancel_run(), await handler.cancel_run(timeout=0)]
    return results, await ends(handler), handler.ctx.is_running, [told(one) async for one in stream]
""",
        (
            [None, None],
            ["WorkflowCancelledByUser", "WorkflowCancelledByUser", True, "WorkflowCancelledEvent"],
            False,
            ["A1", "A2", "WorkflowCancelledEvent"],
        ),
    ),
    "several cancellations at once": (
        """
async def main():
    handler = W().run()
    await asyncio.gather(*(handler.cancel_run() for _ in range(5)))
    return await ends(handler)
""",
        ["WorkflowCancelledByUser", "WorkflowCancelledByUser", True, "WorkflowCancelledEvent"],
    ),
    "a cancellation after the end": (
        """
async def main():
    handler = W().run()
    await handler
    return await handler.cancel_run(), await ends(handler)
""",
        (None, ["said", "said", True, "StopEvent"]),
    ),
    "events from outside": (
        """
async def main():
    results = []
    for step in (None, "hear"):
        handler = W().run()
        await handler.send_event(A(n=7), step=step)
        results.append(await handler)
    return results
""",
        [7, 7],
    ),
    "a stream that waits for its reader": (
        """
async def main():
    handler = W().run()
    await handler
    return await rest(handler)
""",
        ["A0", "A1", "A2", "StopEvent"],
    ),
    "the rest of a stream whose reader left": (
        """
async def main():
    handler = W().run()
    first = []
    async for event in handler.stream_events():
        first.append(told(event))
        if len(first) == 2:
            break
    async for event in handler.stream_events():
        first.append(told(event))
        break
    return first, await rest(handler)
""",
        (["A0", "A1", "A2"], ["StopEvent"]),
    ),
    "a run that nobody awaits": (
        """
async def main():
    ctx = Context(W())
    W().run(ctx=ctx)
    gc.collect()
    await until(lambda: not ctx.is_running)
    return ctx.is_running
""",
        False,
    ),
    "its words": (
        """
async def main():
    handler = W(workflow_name="the-name").run(run_id="the-id")
    await handler
    return [word in str(handler) for word in ("the-name", "the-id", "said")]
""",
        [True, True, True],
    ),
    "the deprecated way to ask": (
        """
async def main():
    cancelled, failed, done = W().run(), W().run(error=LookupError()), W().run()
    early = [done.done(), await attempt(done.exception)]
    await cancelled.cancel_run()
    await asyncio.gather(failed, done, return_exceptions=True)
    ended = [[one.done(), one.cancelled(), type(one.exception()).__name__]
             for one in (cancelled, failed, done)]
    return early, ended
""",
        (
            [False, "InvalidStateError"],
            [
                [True, True, "WorkflowCancelledByUser"],
                [True, False, "LookupError"],
                [True, False, "NoneType"],
            ],
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", BOTH)
def test_a_handler_has(engine: str, case: str) -> None:
    program, expected = CASES[case]
    assert outcome(engine, RUNS + program) == expected


TIMES_OUT = """
class W(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(A(n=1))
        await asyncio.Event().wait()
        return StopEvent()

async def main():
    handler = W(timeout=0.05).run()
    return [await attempt(lambda: handler), handler.is_done(), await rest(handler)]
"""


@pytest.mark.parametrize("engine", BOTH)
def test_a_run_that_took_too_long_says_so_last(engine: str) -> None:
    expected = ["WorkflowTimeoutError", True, ["A1", "WorkflowTimedOutEvent"]]
    assert outcome(engine, TIMES_OUT, asyncio.run) == expected


# --- where the peer does otherwise, or can't be asked ---


class Token(Event):
    n: int


class Talks(Workflow):
    """Writes to the stream, then waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    @step
    async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(3):
            ctx.write_event_to_stream(Token(n=n))
        await self.go_on.wait()
        if ev.get("fails"):
            raise LookupError
        return StopEvent(result="said")


def number(event: Event) -> int | type[Event]:
    return event.n if isinstance(event, Token) else type(event)


async def test_a_reader_that_is_cancelled_hands_its_place_on() -> None:
    workflow = Talks()
    handler = workflow.run()
    seen: list[Any] = []

    async def read() -> None:
        seen.extend([number(event) async for event in handler.stream_events()])

    async def read_two() -> None:
        async for event in handler.stream_events():
            seen.append(number(event))
            if len(seen) == 2:
                await asyncio.Event().wait()

    reading = asyncio.ensure_future(read_two())
    await until(lambda: len(seen) == 2)
    reading.cancel()
    await asyncio.wait([reading])
    workflow.go_on.set()
    await read()
    assert seen == [0, 1, 2, StopEvent]


async def test_readers_side_by_side_see_all_and_so_does_one_after_their_end() -> None:
    workflow = Talks()
    workflow.go_on.set()
    handler = workflow.run()

    async def read() -> list[Any]:
        return [number(event) async for event in handler.stream_events()]

    assert await asyncio.gather(read(), read()) == [[0, 1, 2, StopEvent]] * 2
    assert await read() == [0, 1, 2, StopEvent]


async def test_a_reader_can_be_closed() -> None:
    workflow = Talks()
    workflow.go_on.set()
    handler = workflow.run()
    reader: Any = handler.stream_events()
    assert number(await anext(reader)) == 0
    await reader.aclose()
    assert [number(event) async for event in handler.stream_events()] == [1, 2, StopEvent]


async def test_the_streaming_queue_has_what_was_and_gets_what_comes() -> None:
    workflow = Talks()
    handler = workflow.run()
    await anext(handler.stream_events())
    with warnings.catch_warnings(action="ignore"):
        queue = handler.ctx.streaming_queue
    assert [number(queue.get_nowait()) for _ in range(3)] == [0, 1, 2]
    workflow.go_on.set()
    assert number(await queue.get()) is StopEvent
    assert queue.empty()


async def test_cancel_is_a_request() -> None:
    handler = Talks().run()
    with warnings.catch_warnings(action="ignore"):
        handler.cancel()
        handler.cancel()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


DEPRECATED: dict[str, Callable[[WorkflowHandler[Any]], object]] = {
    "done": lambda handler: handler.done(),
    "exception": lambda handler: handler.exception(),
    "cancelled": lambda handler: handler.cancelled(),
    "cancel": lambda handler: handler.cancel(),
    "get_result": lambda handler: handler.ctx.get_result(),
    "streaming_queue": lambda handler: handler.ctx.streaming_queue,
}


@pytest.mark.parametrize("name", DEPRECATED)
async def test_what_is_deprecated_says_so_once_and_where(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_deprecations, "_warned", set[str]())
    workflow = Talks()
    workflow.go_on.set()
    handler = workflow.run()
    await handler
    with pytest.warns(DeprecationWarning, match=rf"{name}.* is deprecated: ") as told:
        DEPRECATED[name](handler)
    assert [one.filename for one in told] == [__file__]
    DEPRECATED[name](handler)  # a second warning would be an error


async def test_nothing_is_said_of_the_error_of_a_run_that_nobody_awaits() -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    workflow = Talks()
    workflow.go_on.set()
    handler = workflow.run(fails=True)
    await until(handler.is_done)
    del handler, workflow
    gc.collect()
    await asyncio.sleep(0)
    assert noise == []


async def test_a_waiter_that_is_cancelled_leaves_the_run_and_the_others_alone() -> None:
    workflow = Talks()
    handler = workflow.run()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handler, 0)
    assert not handler.is_done()
    workflow.go_on.set()
    assert await handler == "said"
