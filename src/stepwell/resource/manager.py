"""Who holds resources: a workflow instance, and each of its runs."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from stepwell.errors import WorkflowValidationError
from stepwell.resource._lives import Scope
from stepwell.resource.descriptors import ResourceDefinition, ResourceDescriptor

__all__ = ["ResourceManager", "RunResources", "validate_resources"]


class ResourceManager:
    """The resources of one workflow instance."""

    def __init__(self) -> None:
        self._scope = Scope("worker")

    async def get(self, resource: ResourceDescriptor) -> Any:
        """Return a resource that needs no run: one of scope "worker", or an uncached one.

        Raises:
            Exception: what the factory raised, with a note that names it.
            ValueError: its factories ask for each other in a circle.
            WorkflowValidationError: the resource lives in a run or in a call of a step, or it is
                no resource at all.
        """
        _check_descriptor(resource)
        if resource.scope != "worker" and not resource.is_transient:
            raise WorkflowValidationError(
                f"Resource {resource.name!r} has scope {resource.scope!r} and can't be had from "
                'the manager. Declare it with scope="worker", or ask for it in a step.'
            )
        wanted = ResourceDefinition(resource.name, resource)
        return await self._scope.value(wanted, Scope("call", self._scope))

    async def set(self, name: str, val: Any) -> None:
        """Use `val` wherever a factory of this name would be called, whatever its scope."""
        self._scope.given[name] = val

    def get_all(self) -> dict[str, Any]:
        """Return what was set, and the resources of scope "worker" that are made, by name.

        The name is that of the factory; of several factories with one name the last one counts.
        """
        lives = self._scope.lives.values()
        return {
            **{life.resource.name: life.made.result() for life in lives if _is_made(life.made)},
            **self._scope.given,
        }

    def without_resources(self) -> "ResourceManager":
        """Return a manager that has what was `set` in this one, and nothing that it made."""
        manager = ResourceManager()
        manager._scope.given = self._scope.given
        return manager

    def open_run(self) -> "RunResources":
        """Return the resources of a new run."""
        return RunResources(self._scope)

    async def aclose(self) -> None:
        """Close the resources of scope "worker", the last made first; what is asked later is new.

        Raises:
            ResourceError: a factory failed after its yield; the others are closed all the same.
        """
        await self._scope.aclose()


class RunResources:
    """The resources of one run; `ResourceManager.open_run()` makes them."""

    def __init__(self, worker: Scope) -> None:
        self._scope = Scope("run", worker)

    def call(
        self, definitions: Sequence[ResourceDefinition]
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Hold the resources of one call of a step.

        Args:
            definitions: the parameters of the step that are filled with resources.

        Returns:
            A context manager that gives values by parameter name. At its exit it closes what
            lives in this call.

        Raises:
            Exception: what a factory raised, with a note that names it.
            ResourceError: a factory failed after its yield; `__cause__` is its error.
            ValueError: factories ask for each other in a circle.
            WorkflowValidationError: a resource would outlive another that it uses.
        """
        return self._call(definitions)

    @asynccontextmanager
    async def _call(
        self, definitions: Sequence[ResourceDefinition]
    ) -> AsyncGenerator[dict[str, Any]]:
        scope = Scope("call", self._scope)
        try:
            yield {
                definition.name: await scope.value(definition, scope) for definition in definitions
            }
        finally:
            await scope.aclose()

    async def aclose(self) -> None:
        """Close the resources of scope "run", the last made first.

        Raises:
            ResourceError: a factory failed after its yield; the others are closed all the same.
        """
        await self._scope.aclose()


async def validate_resources(
    definitions: Sequence[ResourceDefinition], manager: ResourceManager
) -> None:
    """Make the resources of a step, to see whether it can be done, and close them again.

    The manager keeps none of them, since what a factory makes may belong to the event loop that
    it was made on; but what was `set` there is used here too.

    Args:
        definitions: the parameters of the step that are filled with resources.
        manager: that of the workflow instance.

    Raises:
        Exception: what a factory raised, with a note that names it.
        ResourceError: a factory failed after its yield; `__cause__` is its error.
        ValueError: factories ask for each other in a circle.
        WorkflowValidationError: a resource would outlive another that it uses.
    """
    async with AsyncExitStack() as opened:
        trial = manager.without_resources()
        opened.push_async_callback(trial.aclose)
        run = trial.open_run()
        opened.push_async_callback(run.aclose)
        await opened.enter_async_context(run.call(definitions))


def _check_descriptor(resource: Any) -> None:
    if not isinstance(resource, ResourceDescriptor):
        raise WorkflowValidationError(
            f"ResourceManager.get({resource!r}): this is no resource. Give what Resource(...) or "
            "ResourceConfig(...) returned."
        )


def _is_made(made: asyncio.Future[Any]) -> bool:
    return made.done() and not made.cancelled() and made.exception() is None
