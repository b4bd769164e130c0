"""A step branches by returning one of several events.

Its annotation names all of them, as in `-> Sum | Search`; which one it returns decides what happens
next. Branches are ordinary `if` statements in ordinary code, and they can be read off the
signatures. A step that returns None ends its branch: nothing follows from it.
"""

import pytest

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Sum(Event):
    numbers: list[int]


class Search(Event):
    words: str


class Assistant(Workflow):
    @step
    async def understand(self, ev: StartEvent) -> Sum | Search:
        if "+" in ev.question:
            return Sum(numbers=[int(number) for number in ev.question.split("+")])
        return Search(words=ev.question)

    @step
    async def calculate(self, ev: Sum) -> StopEvent:
        return StopEvent(result=str(sum(ev.numbers)))

    @step
    async def search(self, ev: Search) -> StopEvent:
        return StopEvent(result=f"pages about {ev.words}")


@pytest.mark.parametrize(
    ("question", "answer"), [("2 + 3", "5"), ("red pandas", "pages about red pandas")]
)
async def test_the_class_of_the_returned_event_decides_which_step_is_next(
    question: str, answer: str
) -> None:
    assert await Assistant().run(question=question) == answer
