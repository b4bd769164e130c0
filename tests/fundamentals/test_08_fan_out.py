"""A step fans out by returning a list of events, and a step that takes a list brings them together.

Each event of the list goes its way on its own, several at a time. The step that takes
`list[Counted]` runs once, when all of these ways have ended, with the events that arrived. They are
in the order of arrival, and there are fewer of them if some ways ended without one. A step that
needs only the first few says `Collect(Take(n))`.
"""

import asyncio
from typing import Annotated

from stepwell import Workflow, step
from stepwell.collect import Collect, Take
from stepwell.events import Event, StartEvent, StopEvent


class Document(Event):
    text: str


class Counted(Event):
    words: int


class CountWords(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Document]:
        return [Document(text=text) for text in ev.texts]

    @step
    async def count(self, ev: Document) -> Counted | None:
        return Counted(words=len(ev.text.split())) if ev.text else None

    @step
    async def total(self, counts: list[Counted]) -> StopEvent:
        return StopEvent(result=sorted(one.words for one in counts))


async def test_the_results_of_all_branches_come_together() -> None:
    assert await CountWords().run(texts=["red pandas", "tea", "to be or not"]) == [1, 2, 4]


async def test_a_branch_that_returns_none_adds_nothing() -> None:
    assert await CountWords().run(texts=["red pandas", ""]) == [2]


async def test_an_empty_list_comes_together_too() -> None:
    assert await CountWords().run(texts=[]) == []


class CountSome(CountWords):
    @step
    async def count(self, ev: Document) -> Counted:
        if "endless" in ev.text:
            await asyncio.Event().wait()
        return Counted(words=len(ev.text.split()))

    @step
    async def total(self, counts: Annotated[list[Counted], Collect(Take(2))]) -> StopEvent:
        return StopEvent(result=sorted(one.words for one in counts))


async def test_take_goes_on_with_the_first_that_arrive() -> None:
    assert await CountSome().run(texts=["an endless story", "tea", "red pandas"]) == [1, 2]
