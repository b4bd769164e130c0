"""Sends signals: URL, name, runs and tokens as JSON, pause in seconds; prints what it was told."""

import asyncio
import dataclasses
import json
import sys

from stepwell.client import Client
from support.history import Answer
from support.load import PATIENCE, send


async def main(url: str, sender: str, signals: list[tuple[str, str]], pause: float) -> None:
    """Send them in order, each until somebody knows what became of it."""
    async with Client(url) as client:
        for run_id, token in signals:
            while True:
                sent = await send(client, run_id, token, sender)
                print(json.dumps(dataclasses.asdict(sent)), flush=True)  # noqa: T201  for the test
                if sent.answer is not Answer.UNKNOWN:
                    break
                await asyncio.sleep(PATIENCE)
            await asyncio.sleep(pause)


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4])))
