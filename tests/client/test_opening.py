"""What a client is made of, and when it can be used."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

import stepwell
from stepwell.client import Client
from stepwell.durable.checkpointer import Checkpointer
from stepwell.durable.memory import MemoryCheckpointer
from stepwell.errors import StoreUnavailable, WorkflowRuntimeError, WorkflowValidationError
from stepwell.events import Event
from stepwell.redis import RedisCheckpointer
from support.clients import Greet


def test_the_front_door_offers_it() -> None:
    assert stepwell.Client is Client


async def test_a_url_means_its_store() -> None:
    url = f"memory:{uuid4().hex}"
    async with Client(url) as client:
        run = await client.start(Greet, {"name": "Ada"})
    async with Client(MemoryCheckpointer(url)) as other:
        assert (await other.get(run.run_id).info()).status == "pending"


def test_options_go_to_the_checkpointer_of_the_url() -> None:
    made = Client("redis://localhost", namespace="shop")
    assert repr(made) == f"Client({RedisCheckpointer('redis://localhost', namespace='shop')!r})"


def test_a_checkpointer_has_its_options_already(checkpointer: Checkpointer) -> None:
    with pytest.raises(TypeError, match="namespace"):
        Client(checkpointer, namespace="shop")


@pytest.mark.parametrize("source", [5, None, "nowhere", "ftp://x"])
def test_what_is_no_store_is_refused(source: Any) -> None:
    with pytest.raises(WorkflowValidationError):
        Client(source)


async def test_a_client_that_is_not_open_says_so(checkpointer: Checkpointer) -> None:
    client = Client(checkpointer)
    run = client.get("the-run")
    uses = [
        lambda: client.start(Greet, {"name": "Ada"}),
        run.info,
        run.result,
        run.cancel,
        lambda: run.send_event(Event()),
    ]
    for use in uses:
        with pytest.raises(WorkflowRuntimeError, match="not open: use it in `async with`"):
            await use()


async def test_a_client_is_opened_once_at_a_time(client: Client) -> None:
    with pytest.raises(WorkflowRuntimeError, match="open already"):
        await client.__aenter__()


async def test_a_client_may_be_opened_again(checkpointer: Checkpointer) -> None:
    client = Client(checkpointer)
    async with client:
        run = await client.start(Greet, {"name": "Ada"})
    async with client:
        assert (await run.info()).status == "pending"


async def test_a_client_of_another_event_loop_is_refused(client: Client) -> None:
    run = client.get("the-run")
    with pytest.raises(WorkflowRuntimeError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(run.info()))


async def test_a_store_that_is_not_there_is_told_when_it_is_opened() -> None:
    with pytest.raises(StoreUnavailable):
        async with Client("redis://127.0.0.1:1"):
            pass


@pytest.mark.parametrize(("run_id", "workflow"), [("", None), (5, None), ("the-run", 5)])
def test_get_refuses_what_names_no_run(
    checkpointer: Checkpointer, run_id: Any, workflow: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        Client(checkpointer).get(run_id, workflow)
