"""What a list return led to is stored once, event by event, however long the list is."""

import asyncio
from collections import Counter

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent
from support.lives import Life, Shelf

SIZE = 50


class Item(Event):
    number: int


class Done(Event):
    number: int


class Fan(Workflow):
    """Its join fails as often as it is told to, and then holds until it may go."""

    def __init__(self, *, fails: int = 0, holds: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        if not holds:
            self.go.set()

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [Item(number=number) for number in range(SIZE)]

    @step
    async def work(self, ev: Item) -> Done:
        return Done(number=ev.number)

    @step
    async def join(self, evs: list[Done]) -> StopEvent:
        self.reached.set()
        await self.go.wait()
        if self.fails:
            self.fails -= 1
            raise ValueError("failed")
        return StopEvent(result=[ev.number for ev in evs])


def gathered(fields: dict[str, str]) -> list[str]:
    return [name for name in fields if name.startswith("join:")]


async def held() -> Shelf:
    """A run whose join was in the middle when its process was killed."""
    shelf, workflow = Shelf(), Fan(holds=True)
    life = Life(shelf, workflow)
    life.begin()
    await workflow.reached.wait()
    life.crash()
    return shelf


async def test_an_event_is_written_once_and_not_again_for_the_step_that_gets_the_list() -> None:
    shelf = await held()
    written = Counter(
        name
        for commit in shelf.commits
        for name, text in commit.patch.items()
        if name.count(":") > 1 and text is not None
    )
    assert set(written.values()) == {1}
    assert len(written) == len(gathered(shelf.fields)) == SIZE
    assert max(map(len, shelf.fields.values())) < 300


async def test_the_step_gets_the_whole_list_again_after_a_crash() -> None:
    shelf = await held()
    life = Life(shelf, Fan())
    life.resume()
    assert (await life.end()).result() == list(range(SIZE))
    assert not gathered(shelf.fields)


async def test_a_list_stays_when_its_step_fails() -> None:
    shelf = await held()
    life = Life(shelf, Fan(fails=1))
    life.resume()
    assert isinstance((await life.end()).error, ValueError)
    assert len(gathered(shelf.fields)) == SIZE
    again = Life(shelf, Fan())
    again.resume()
    assert (await again.end()).result() == list(range(SIZE))
