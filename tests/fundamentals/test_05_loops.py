"""A loop is a step that returns an event which an earlier step takes.

The step at its head takes two classes of events, as in `ev: StartEvent | Rejected`: one to begin
with, one to go round again. What a round must know of the one before travels in the event.
"""

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Draft(Event):
    text: str


class Rejected(Event):
    text: str


class Headline(Workflow):
    @step
    async def write(self, ev: StartEvent | Rejected) -> Draft:
        if isinstance(ev, Rejected):
            return Draft(text=ev.text.rpartition(" ")[0])
        return Draft(text=ev.topic)

    @step
    async def review(self, ev: Draft) -> Rejected | StopEvent:
        if len(ev.text) > 20:
            return Rejected(text=ev.text)
        return StopEvent(result=ev.text)


async def test_a_run_goes_round_until_a_step_ends_it() -> None:
    assert await Headline().run(topic="Red pandas move into the city") == "Red pandas move into"


async def test_a_run_that_needs_no_second_round_has_none() -> None:
    assert await Headline().run(topic="Red pandas") == "Red pandas"
