"""A commit costs what changed: the bytes of a long loop grow with its length, no faster."""

from math import log
from typing import Any

import pytest
import redis.asyncio

from document_loops import Each, InPlace, SetEach
from stepwell import Workflow
from stepwell.redis import RedisCheckpointer
from support.servers import RedisServer

SIZES = (1_000, 2_000, 5_000, 10_000)
BYTES_MAX = 8_000_000


@pytest.mark.parametrize("cls", [SetEach, InPlace, Each])
async def test_bytes_of_a_commit_per_document_are_linear(
    cls: type[Workflow], redis_server: RedisServer, namespace: str
) -> None:
    sizes = [await run(cls, count, redis_server, f"{namespace}-{count}") for count in SIZES]
    exponent = log(sizes[-1] / sizes[0]) / log(SIZES[-1] / SIZES[0])
    assert exponent < 1.1
    assert sizes[-1] <= BYTES_MAX


async def run(cls: type[Workflow], count: int, server: RedisServer, namespace: str) -> int:
    """Bytes that one run sent; its state is whole afterwards, and of few fields."""
    documents = [f"document-{number:05}.md" for number in range(count)]
    checkpointer = RedisCheckpointer(server.unix_url, namespace=namespace)
    workflow = cls(checkpointer=checkpointer)
    assert await workflow.run(documents=documents, run_id="run") == count
    assert checkpointer.stats.commits >= count
    assert await stored_list(checkpointer, workflow) == documents
    fields = [name for name in await field_names(server, namespace) if "+" in name]
    assert len(fields) <= 16 * 4
    return checkpointer.stats.bytes_sent


async def stored_list(checkpointer: RedisCheckpointer, workflow: Workflow) -> Any:
    ctx = await checkpointer.load(workflow, "run")
    return await ctx.store.get("converted")


async def field_names(server: RedisServer, namespace: str) -> list[str]:
    client: Any = redis.asyncio.Redis(
        unix_socket_path=str(server.socket_path), decode_responses=True
    )
    async with client:
        keys = [key async for key in client.scan_iter(f"stepwell:{{{namespace}/*}}:run:run")]
        return [name for key in keys for name in await client.hkeys(key)]
