"""A resource is what a step needs beside its event: a client, a database, a configuration.

A step asks for one by `Annotated[Database, Resource(open_database)]`, and the factory makes it. So
steps do not know where it comes from, and a factory may ask for resources itself. A resource is
made once for a workflow instance. If its factory has a `yield`, it is made for each run, and closed
when the run is over; what uses it must live as short, which `scope="run"` says. `ResourceConfig`
reads a Pydantic model from a JSON file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from stepwell import Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.resource import Resource, ResourceConfig


class Database:
    def __init__(self) -> None:
        self.is_open = True
        self.customers = {7: "Ada"}


def open_database() -> Iterator[Database]:
    database = Database()
    yield database
    database.is_open = False


class Customers:
    def __init__(self, database: Database) -> None:
        self.database = database

    def name(self, number: int) -> str:
        return self.database.customers[number]


def get_customers(database: Annotated[Database, Resource(open_database)]) -> Customers:
    return Customers(database)


class Greeter(Workflow):
    @step
    async def greet(
        self,
        ev: StartEvent,
        database: Annotated[Database, Resource(open_database)],
        customers: Annotated[Customers, Resource(get_customers, scope="run")],
    ) -> StopEvent:
        assert customers.database is database
        assert database.is_open
        return StopEvent(result=[f"Hello, {customers.name(ev.customer)}!", database])


async def test_a_factory_makes_what_a_step_asks_for_and_closes_it_after_the_run() -> None:
    greeting, database = await Greeter().run(customer=7)
    assert greeting == "Hello, Ada!"
    assert not database.is_open


async def test_a_configuration_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mail.json"
    file.write_text('{"sender": {"name": "The shop", "retries": 3}}')

    class Sender(BaseModel):
        name: str
        retries: int

    class Mail(Workflow):
        @step
        async def send(
            self,
            ev: StartEvent,
            sender: Annotated[Sender, ResourceConfig(str(file), path_selector="sender")],
        ) -> StopEvent:
            return StopEvent(result=f"{sender.name}, {sender.retries} times")

    assert await Mail().run() == "The shop, 3 times"
