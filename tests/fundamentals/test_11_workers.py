"""`num_workers` says how many events a step works on at a time.

It is 4 unless said otherwise; further events wait for their turn, in the order in which they came.
Choose it by what the step uses: many for slow network calls, few for a service with a limit, one
where order matters.
"""

import asyncio

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Page(Event):
    number: int


class Done(Event):
    number: int


class Translate(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self.most_busy = 0
        self.pair = asyncio.Barrier(2)

    @step
    async def split(self, ev: StartEvent) -> list[Page]:
        return [Page(number=number) for number in range(ev.pages)]

    @step(num_workers=2)
    async def translate(self, ev: Page) -> Done:
        self.busy += 1
        await self.pair.wait()
        self.most_busy = max(self.busy, self.most_busy)  # here two are busy
        await self.pair.wait()
        self.busy -= 1
        return Done(number=ev.number)

    @step
    async def bind(self, pages: list[Done]) -> StopEvent:
        return StopEvent(result=len(pages))


async def test_no_more_than_num_workers_events_are_worked_on_at_a_time() -> None:
    workflow = Translate()
    assert await workflow.run(pages=6) == 6
    assert workflow.most_busy == 2


class Print(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Page]:
        return [Page(number=number) for number in range(ev.pages)]

    @step(num_workers=1)
    async def print(self, ev: Page) -> Done:
        await asyncio.sleep(0.01 * (3 - ev.number))  # the first page takes longest
        return Done(number=ev.number)

    @step
    async def bind(self, pages: list[Done]) -> StopEvent:
        return StopEvent(result=[page.number for page in pages])


async def test_one_worker_takes_the_events_in_the_order_in_which_they_came() -> None:
    assert await Print().run(pages=3) == [0, 1, 2]
