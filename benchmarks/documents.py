"""The seed's job: a long loop over documents in one step, with a commit after each.

    python benchmarks/documents.py [--url redis://...]

Bytes are what the server counted as received. Time is that of the loop with commits, less that of
the same loop without a checkpointer, divided by sequential round trips of a 1 KB HSET through the
same client library, in the same run.
"""

import argparse
import asyncio
import tempfile
import time
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio

from document_loops import Each, InPlace, SetEach
from machine import describe
from stepwell import Workflow
from stepwell.redis import RedisCheckpointer

SIZES = (1_000, 2_000, 5_000, 10_000)
ROUNDS = 3


async def received(client: Any) -> int:
    """Bytes that the server has received so far."""
    return (await client.info("stats"))["total_net_input_bytes"]


async def run_once(cls: type[Workflow], documents: list[str], url: str | None) -> float:
    """Seconds of one run."""
    checkpointer = RedisCheckpointer(url, reuse="never") if url else None
    began = time.perf_counter()
    converted = await cls(checkpointer=checkpointer).run(documents=documents)
    seconds = time.perf_counter() - began
    if converted != len(documents):
        raise RuntimeError(f"{converted} documents were converted, not {len(documents)}")
    return seconds


async def round_trips(client: Any, count: int) -> float:
    """Seconds of sequential 1 KB HSETs."""
    value = b"x" * 1024
    began = time.perf_counter()
    for _ in range(count):
        await client.hset("benchmark:round-trip", "field", value)
    return time.perf_counter() - began


async def measure(url: str) -> None:
    """Run everything, and print the tables."""
    client: Any = redis.asyncio.Redis.from_url(url)
    server = await client.info("server")
    name = "Valkey " + server["valkey_version"] if "valkey_version" in server else "Redis"
    print(describe("stepwell", "redis", "hiredis"), f"{name} ({server['redis_version']})", sep=", ")
    print(f"\nmedians of {ROUNDS} rounds\n")
    print("| loop | documents | MB received | seconds | without commits | HSET | times HSET |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for cls in (SetEach, InPlace, Each):
        sizes = [await measure_one(client, cls, count, url) for count in SIZES]
        exponent = log(sizes[-1] / sizes[0]) / log(SIZES[-1] / SIZES[0])
        print(f"| {cls.__name__} | | exponent {exponent:.3f} | | | | |")
    await client.aclose()


async def measure_one(client: Any, cls: type[Workflow], count: int, url: str) -> float:
    """Print one row; return the bytes."""
    documents = [f"document-{number:05}.md" for number in range(count)]
    rows: list[tuple[float, float, float, float]] = []
    for _ in range(ROUNDS):
        bare = await run_once(cls, documents, None)
        hset = await round_trips(client, count)
        before = await received(client)
        durable = await run_once(cls, documents, url)
        rows.append((await received(client) - before, durable, bare, hset))
    size, durable, bare, hset = (median(column) for column in zip(*rows, strict=True))
    ratio = median((durable - bare) / hset for _, durable, bare, hset in rows)
    print(
        f"| {cls.__name__} | {count:,} | {size / 1e6:.2f} | {durable:.2f} | {bare:.2f} "
        f"| {hset:.2f} | {ratio:.2f} |"
    )
    return size


def main() -> None:
    """Measure on a server of our own, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server to measure on; by default a private one")
    url: str | None = parser.parse_args().url
    with tempfile.TemporaryDirectory(prefix="sw") as directory:
        asyncio.run(measure(url or asyncio.run(private_server(Path(directory)))))


async def private_server(directory: Path) -> str:
    """The URL of a private server with AOF, in a directory that goes away."""
    from stepwell.redis.embedded import ensure_server  # noqa: PLC0415  only where it is wanted

    return await ensure_server(directory)


if __name__ == "__main__":
    main()
