"""A step shows what it is doing by writing events to the stream of the run.

`run()` returns a handler at once. Awaiting it gives the result; `handler.stream_events()` gives
what the steps wrote meanwhile, such as progress or the words of an answer, and the StopEvent last.
The stream begins with the run, so nothing is missed by a reader that comes late.
"""

from stepwell import Context, Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Word(Event):
    text: str


class Answer(Workflow):
    @step
    async def answer(self, ev: StartEvent, ctx: Context) -> StopEvent:
        for word in ev.question.split():
            ctx.write_event_to_stream(Word(text=word.upper()))
        return StopEvent(result="done")


async def test_a_reader_sees_what_the_steps_write() -> None:
    handler = Answer().run(question="what is new")
    words = [event.text async for event in handler.stream_events() if isinstance(event, Word)]
    assert words == ["WHAT", "IS", "NEW"]
    assert await handler == "done"


async def test_the_stop_event_is_the_last_one() -> None:
    handler = Answer().run(question="what is new")
    events = [event async for event in handler.stream_events()]
    assert events[-1] == StopEvent(result="done")


async def test_a_reader_that_comes_when_the_run_is_over_misses_nothing() -> None:
    handler = Answer().run(question="what is new")
    await handler
    assert len([event async for event in handler.stream_events()]) == 4
