"""A fleet of workers, a client with its load, and the judgement of what came of it."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false

import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stepwell.client import Client
from support.fleet import Fleet
from support.history import History
from support.laws import violations
from support.load import Load

Scene = Callable[..., AbstractAsyncContextManager[tuple[Fleet, Load]]]
Judge = Callable[..., Any]


@pytest.fixture
def rng() -> Random:
    """Chooses the instants and the victims; `NEMESIS_SEED=...` chooses the same ones again."""
    seed = int(os.environ.get("NEMESIS_SEED") or secrets.randbelow(1 << 32))
    print(f"NEMESIS_SEED={seed}")  # noqa: T201  shown when the test fails
    return Random(seed)  # noqa: S311  for chance, not for secrets


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """`async with scene(url, **options) as (fleet, load)`: workers, and a client."""

    @asynccontextmanager
    async def scene(
        url: str, workers: int = 3, **options: Any
    ) -> AsyncGenerator[tuple[Fleet, Load]]:
        fleet = Fleet(url, tmp_path / "journals", workers, **options)
        async with Client(url) as client, fleet:
            yield fleet, Load(client)

    return scene


@pytest.fixture
def judged() -> Judge:
    """`await judged(fleet, load, redis, within=30)`: the history, which broke no law."""

    async def judged(fleet: Fleet, load: Load, redis: Any, *, within: float) -> History:
        await load.end(within)
        history = await load.look(redis)
        history.bodies, history.faults = fleet.bodies(), fleet.faults
        broken = violations(history)
        assert not broken, "\n".join(map(str, broken[:20]))
        return history

    return judged
