"""A step with several event parameters joins: it runs when one event of each has arrived.

Here two steps take the same StartEvent, for an event goes to every step that takes its class. They
work side by side, and the third step waits for both. Use it for a fixed set of different parts; for
any number of equal parts there is the fan-out of the chapter before.
"""

from stepwell import Workflow, step
from stepwell.events import Event, StartEvent, StopEvent


class Application(StartEvent):
    name: str
    income: int


class IncomeChecked(Event):
    enough: bool


class HistoryChecked(Event):
    clean: bool


class Loan(Workflow):
    @step
    async def check_income(self, ev: Application) -> IncomeChecked:
        return IncomeChecked(enough=ev.income > 1000)

    @step
    async def check_history(self, ev: Application) -> HistoryChecked:
        return HistoryChecked(clean=ev.name != "Mallory")

    @step
    async def decide(self, income: IncomeChecked, history: HistoryChecked) -> StopEvent:
        return StopEvent(result=income.enough and history.clean)


async def test_the_step_runs_with_one_event_of_each_class() -> None:
    assert await Loan().run(name="Ada", income=2000) is True


async def test_each_part_has_its_say() -> None:
    assert await Loan().run(name="Mallory", income=2000) is False
