"""`ctx.once` and `ctx.map`: effects whose results outlive a crash of the step that had them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from typing import Any, Protocol

from stepwell._engine.state import Effect
from stepwell._runtime.arguments import awaitable, check_function, check_items, check_number
from stepwell._runtime.progress import StepProgress

__all__ = ["Effecting", "map_items", "once"]


class Effecting(Protocol):
    """The call that the effects belong to."""

    @property
    def progress(self) -> StepProgress:
        """What it did before."""
        ...

    async def record(self, key: str, effect: Effect) -> None:
        """Make it durable."""
        ...

    def encode(self, value: Any, where: str) -> str:
        """The text of a value."""
        ...


async def once(
    call: Effecting,
    key: str,
    function: Callable[..., Awaitable[Any]],
    arguments: tuple[Any, ...],
    verify: Callable[..., Awaitable[Any]] | None = None,
) -> Any:
    """Return the remembered result, or do it and remember."""
    check_function("ctx.once", "function", function)
    if verify is not None:
        check_function("ctx.once", "verify", verify)
    async with call.progress.alone(key):
        known = call.progress.effect(key)
        if known is not None and known.done:
            return known.result
        result = None
        if known is not None and verify is not None:
            result = await awaitable(verify, verify(*arguments))
        elif verify is not None:
            await call.record(key, Effect(done=False))
        if result is None:
            result = await awaitable(function, function(*arguments))
        await call.record(key, Effect(done=True, result=result))
        return result


async def map_items(
    call: Effecting,
    function: Callable[[Any], Awaitable[Any]],
    items: Iterable[Any],
    concurrency: int,
    name: str | None,
) -> list[Any]:
    """Do every item once, at most `concurrency` of them at a time."""
    check_number("ctx.map", "concurrency", concurrency)
    check_function("ctx.map", "function", function)
    check_items("ctx.map", items)
    place = call.progress.place.name(name)
    places = asyncio.Semaphore(concurrency)

    async def do(number: int, item: Any) -> Any:
        text = call.encode(item, f"item {number} of ctx.map")
        key = f"{place}:{number}:{sha256(text.encode()).hexdigest()[:8]}"
        async with places:
            return await once(call, key, function, (item,))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(do(number, item)) for number, item in enumerate(items)]
    return [task.result() for task in tasks]
