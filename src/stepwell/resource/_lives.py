"""What lives: resources from their making to their end, and the scopes that end them together."""

import asyncio
import inspect
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any

from stepwell.errors import ResourceError
from stepwell.resource._rules import check_tree
from stepwell.resource.descriptors import (
    Factory,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceScope,
)

__all__ = ["Life", "Scope"]


class Life:
    """A resource from its making to its end.

    All of it happens in one task, because a cancel scope or task group that a generator factory
    opens has to be closed by the task that opened it. The task belongs to nobody who waits for
    the resource, so that a cancelled waiter takes nothing from the others.
    """

    def __init__(self, resource: ResourceDescriptor, home: "Scope", resolution: "Scope") -> None:
        self.resource = resource
        self.made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._home = home
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._live(resolution), name=f"resource {resource.name}")

    async def _live(self, resolution: "Scope") -> None:
        async with AsyncExitStack() as opened:
            try:
                arguments = {
                    definition.name: await self._home.value(definition, resolution)
                    for definition in self.resource.dependencies
                }
                value = await _call_factory(self.resource, arguments, opened)
            except BaseException as error:
                self._fail(error)
                if isinstance(error, Exception):
                    return
                raise
            self.made.set_result(value)
            if self.resource.is_generator:
                await self._until_ending()

    def _fail(self, error: BaseException) -> None:
        self._home.forget(self)
        if isinstance(error, Exception):
            error.add_note(f"While resource factory {self.resource.name!r} was called.")
            self.made.set_exception(error)
            self.made.exception()  # seen: nobody may be left who waits, and that is no leak
        else:
            self.made.cancel()

    async def _until_ending(self) -> None:
        self._home.to_close(self)
        try:
            await self._ending.wait()
        finally:
            self._home.forget(self)

    async def cancel(self) -> None:
        """Give up making it."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def close(self) -> None:
        """Let the factory go on after its `yield`, and wait until it is done."""
        self._ending.set()
        if not self._task.done():  # or its event loop ended before its scope
            await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()):
            raise ResourceError(
                f"Resource factory {self.resource.name!r} failed after its yield: {error!r}. "
                "Correct what it does there."
            ) from error


_NO_YIELD = "generator didn't yield"
"""What contextlib says."""


async def _call_factory(
    resource: ResourceDescriptor, arguments: dict[str, Any], opened: AsyncExitStack
) -> Any:
    try:
        return await _value(resource, arguments, opened)
    except RuntimeError as error:
        if str(error) != _NO_YIELD:
            raise
        raise ResourceError(
            f"Resource factory {resource.name!r} ended without a yield. Let it yield the resource "
            "once, on every way through it."
        ) from None


async def _value(
    resource: ResourceDescriptor, arguments: dict[str, Any], opened: AsyncExitStack
) -> Any:
    if resource.is_async_generator:
        entered = asynccontextmanager(resource.factory)(**arguments)
        return await opened.enter_async_context(entered)
    if resource.is_generator:
        return opened.enter_context(contextmanager(resource.factory)(**arguments))
    value = resource.factory(**arguments)
    # Not every awaitable: a client object may be one, and is meant as it is.
    return await value if inspect.iscoroutine(value) else value


class Scope:
    """The resources that end together."""

    def __init__(self, name: ResourceScope, outer: "Scope | None" = None) -> None:
        self.name = name
        self.outer = outer
        self.given: dict[str, Any] = outer.given if outer else {}
        self.lives: dict[Factory, Life] = {}

    @cached_property
    def _opened(self) -> AsyncExitStack:
        """What is to be closed; in most scopes nothing is."""
        return AsyncExitStack()

    async def value(self, wanted: ResourceDefinition, resolution: "Scope") -> Any:
        """Return the value for a parameter, and make it if need be.

        Args:
            wanted: the parameter.
            resolution: where transient resources are shared: the scope of one call.

        Raises:
            Exception: what the factory raised.
            ResourceError: it was cancelled.
        """
        resource = wanted.resource
        if resource.name in self.given:
            return self.given[resource.name]
        home = resolution if resource.is_transient else self._enclosing(resource.scope)
        life = home.lives.get(resource.factory) or home.begin(resource, resolution)
        if not life.made.done():
            await asyncio.wait([life.made])
        return _made_value(wanted, life.made)

    def begin(self, resource: ResourceDescriptor, resolution: "Scope") -> Life:
        """Start to make a resource that lives here."""
        check_tree(resource)
        life = self.lives[resource.factory] = Life(resource, self, resolution)
        return life

    def to_close(self, life: Life) -> None:
        """Close a resource with the scope, before those that were there when it was made."""
        self._opened.push_async_callback(life.close)

    def forget(self, life: Life) -> None:
        """Let the next one who asks make the resource again."""
        if self.lives.get(life.resource.factory) is life:
            del self.lives[life.resource.factory]

    async def aclose(self) -> None:
        """End all that lives here; the last failure is raised, the others are its context."""
        for life in list(self.lives.values()):
            # A transient one may be on its way into a resource of a wider scope.
            if not life.made.done() and not life.resource.is_transient:
                await life.cancel()
        try:
            await self._opened.aclose()
        finally:
            self.lives.clear()

    def _enclosing(self, name: ResourceScope) -> "Scope":
        scope = self
        while scope.name != name and scope.outer is not None:
            scope = scope.outer
        return scope


def _made_value(wanted: ResourceDefinition, made: asyncio.Future[Any]) -> Any:
    if made.cancelled():
        raise ResourceError(
            f"Resource {wanted.name!r} (factory {wanted.resource.name!r}) was cancelled while it "
            "was made. Ask for it again."
        )
    return made.result()
