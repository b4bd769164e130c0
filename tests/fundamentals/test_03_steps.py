"""Several steps are connected by the events that they take and return.

Each kind of event is a class, and an event goes to the steps that take its class. So a step knows
the events next to it and nothing of the other steps: it can be tested, replaced and reused alone.
"""

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Fetched(Event):
    text: str


class Counted(Event):
    words: int


class ReadingTime(Workflow):
    @step
    async def fetch(self, ev: StartEvent) -> Fetched:
        return Fetched(text=f"the text of {ev.document} " * 100)

    @step
    async def count(self, ev: Fetched) -> Counted:
        return Counted(words=len(ev.text.split()))

    @step
    async def estimate(self, ev: Counted) -> StopEvent:
        return StopEvent(result=f"{ev.words // 200} minutes")


async def test_an_event_goes_to_the_step_that_takes_its_class() -> None:
    assert await ReadingTime().run(document="report") == "2 minutes"


class SlowReadingTime(ReadingTime):
    @step
    async def estimate(self, ev: Counted) -> StopEvent:
        return StopEvent(result=f"{ev.words // 100} minutes")


async def test_a_derived_workflow_inherits_the_steps_and_may_replace_some() -> None:
    assert await SlowReadingTime().run(document="report") == "4 minutes"
