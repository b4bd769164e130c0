"""A worker for the workload: URL, and options as JSON."""

import asyncio
import json
import sys
from typing import Any

from stepwell.redis import RedisCheckpointer
from stepwell.worker import Worker
from support.workload import FLOWS


async def main(url: str, lease: float, **options: Any) -> None:
    """Work until a signal ends it."""
    worker = Worker(RedisCheckpointer(url, lease=lease), workflows=list(FLOWS), **options)
    print("ready", flush=True)  # noqa: T201  whoever started it waits for that
    await worker.run()


asyncio.run(main(sys.argv[1], **json.loads(sys.argv[2])))
