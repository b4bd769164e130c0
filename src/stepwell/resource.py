"""Resources: what a step asks for beside its event, made by a factory.

    async def get_client() -> AsyncIterator[Client]:
        async with Client() as client:
            yield client

    @step
    async def fetch(self, ev: Fetch, client: Annotated[Client, Resource(get_client)]) -> Done: ...

A resource lives as long as its scope: one call of a step, one run, or the workflow instance (the
*worker*). A narrow scope may use what a wider one holds, never the other way round.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from stepwell._annotations import lexical_names, resolved_parameters, split, title
from stepwell.errors import ResourceError, WorkflowValidationError

__all__ = [
    "Resource",
    "ResourceDefinition",
    "ResourceDescriptor",
    "ResourceManager",
    "ResourceScope",
    "RunResources",
    "resource_definitions",
]

ResourceScope: TypeAlias = Literal["worker", "run", "call"]
Factory: TypeAlias = Callable[..., Any]

_WIDEST_FIRST: tuple[ResourceScope, ...] = ("worker", "run", "call")


# --- what a user declares ---


class ResourceDescriptor:
    """How to make a resource, and how long it lives.

    Attributes:
        factory: the function that makes it; the resource is known by this object, not its name.
        cache: whether it is made once for its scope.
        scope: "worker", "run" or "call".
        is_generator: whether the factory goes on after its `yield` when the scope ends.
        is_transient: made anew in each resolution, with nothing to close: any scope may use it.
    """

    def __init__(self, factory: Factory, cache: bool, scope: ResourceScope | None) -> None:
        _check_declaration(factory, cache=cache, scope=scope)
        self.factory = factory
        self.cache = cache
        self.is_async_generator = _is(inspect.isasyncgenfunction, factory)
        self.is_generator = self.is_async_generator or _is(inspect.isgeneratorfunction, factory)
        self.is_transient = not (cache or scope or self.is_generator)
        self.scope: ResourceScope = scope or _default_scope(self)
        self._names = lexical_names(factory)

    @property
    def name(self) -> str:
        """The name of the factory."""
        return title(self.factory)

    @cached_property
    def dependencies(self) -> list["ResourceDefinition"]:
        """The resources that the factory itself asks for.

        Raises:
            WorkflowValidationError: an annotation of the factory can't be resolved.
        """
        return resource_definitions(resolved_parameters(self.factory, self._names))


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """A parameter that is filled with a resource."""

    name: str
    resource: ResourceDescriptor
    type_annotation: Any


def Resource(  # noqa: N802 - reads as a type in annotations, and is called so in LlamaIndex Workflows
    factory: Factory,
    cache: bool = True,
    *,
    scope: ResourceScope | None = None,
) -> ResourceDescriptor:
    """Declare what fills a parameter: `Annotated` has it beside the type.

    Args:
        factory: makes it; a plain or an async function, or a plain or async generator function
            with one `yield`, whose rest runs when the scope ends. It runs on the event loop, so
            it must not block. Its own parameters may be annotated with resources; all others get
            nothing.
        cache: made once for its scope, however many ask for it; if false, made anew for each
            call of a step, once in it.
        scope: how long it lives. Left out: "call" if it is not cached, "run" if the factory is a
            generator function, else "worker", as long as the workflow instance.

    Raises:
        WorkflowValidationError: the factory can't be called or hashed, or `cache` and `scope`
            contradict each other.
    """
    return ResourceDescriptor(factory, cache, scope)


def resource_definitions(parameters: Iterable[inspect.Parameter]) -> list[ResourceDefinition]:
    """Pick those parameters, their annotations resolved, that are filled with a resource."""
    definitions: list[ResourceDefinition] = []
    for parameter in parameters:
        annotation, markers = split(parameter.annotation)
        for marker in markers:
            if isinstance(marker, ResourceDescriptor):
                definitions.append(ResourceDefinition(parameter.name, marker, annotation))
                break
    return definitions


def _check_declaration(factory: Any, *, cache: bool, scope: Any) -> None:
    if not (isinstance(factory, Hashable) and callable(factory)):
        raise WorkflowValidationError(
            f"Resource({factory!r}): the factory can't be called, or has no hash. Give a function."
        )
    if scope not in {None, *_WIDEST_FIRST}:
        raise WorkflowValidationError(
            f"Resource({title(factory)}): unknown scope {scope!r}. Choose one of {_WIDEST_FIRST}."
        )
    if not cache and scope not in {None, "call"}:
        raise WorkflowValidationError(
            f"Resource({title(factory)}): cache=False means a new one for each call of a step, "
            f"but the scope is {scope!r}. Leave one of the two out."
        )


def _is(kind: Callable[[Any], bool], factory: Factory) -> bool:
    return kind(factory) or (callable(factory) and kind(type(factory).__call__))


def _default_scope(resource: ResourceDescriptor) -> ResourceScope:
    if not resource.cache:
        return "call"
    return "run" if resource.is_generator else "worker"


# --- rules between resources ---


def _check_tree(resource: ResourceDescriptor) -> None:
    """Refuse circles, and what would outlive something that it uses."""
    _check_branch(resource, resource, ())


def _check_branch(
    resource: ResourceDescriptor, holder: ResourceDescriptor, path: tuple[ResourceDescriptor, ...]
) -> None:
    extended = (*path, resource)
    if any(resource.factory == above.factory for above in path):
        raise ValueError(
            f"Circular resource dependency: {' -> '.join(step.name for step in extended)}. "
            "Take one of these out of the parameters of the one before it."
        )
    if _outlives(holder, resource):
        raise WorkflowValidationError(
            f"Resource {holder.name!r} of scope {holder.scope!r} uses {resource.name!r} of scope "
            f"{resource.scope!r}, which ends before it. Give {holder.name!r} "
            f"scope={resource.scope!r}, or {resource.name!r} scope={holder.scope!r}."
        )
    for definition in resource.dependencies:
        below = holder if resource.is_transient else resource
        _check_branch(definition.resource, below, extended)


def _outlives(holder: ResourceDescriptor, used: ResourceDescriptor) -> bool:
    if used.is_transient or holder.is_transient:
        return False
    return _WIDEST_FIRST.index(holder.scope) < _WIDEST_FIRST.index(used.scope)


# --- what lives ---


class _Life:
    """A resource from its making to its end.

    All of it happens in one task, because a cancel scope or task group that a generator factory
    opens has to be closed by the task that opened it. The task belongs to nobody who waits for
    the resource, so that a cancelled waiter takes nothing from the others.
    """

    def __init__(self, resource: ResourceDescriptor, home: "_Scope", resolution: "_Scope") -> None:
        self.resource = resource
        self.made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._home = home
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._live(resolution), name=f"resource {resource.name}")

    async def _live(self, resolution: "_Scope") -> None:
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


async def _call_factory(
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


class _Scope:
    """The resources that end together."""

    def __init__(self, name: ResourceScope, outer: "_Scope | None" = None) -> None:
        self.name = name
        self.outer = outer
        self.given: dict[str, Any] = outer.given if outer else {}
        self.lives: dict[Factory, _Life] = {}
        self._opened = AsyncExitStack()

    async def value(self, wanted: ResourceDefinition, resolution: "_Scope") -> Any:
        """Return the value for a parameter, and make it if need be.

        Args:
            wanted: the parameter.
            resolution: where transient resources are shared: the scope of one call.

        Raises:
            ResourceError: the factory failed.
        """
        resource = wanted.resource
        if resource.name in self.given:
            return self.given[resource.name]
        home = resolution if resource.is_transient else self._enclosing(resource.scope)
        life = home.lives.get(resource.factory) or home.begin(resource, resolution)
        if not life.made.done():
            await asyncio.wait([life.made])
        return _made_value(wanted, life.made)

    def begin(self, resource: ResourceDescriptor, resolution: "_Scope") -> _Life:
        """Start to make a resource that lives here."""
        _check_tree(resource)
        life = self.lives[resource.factory] = _Life(resource, self, resolution)
        return life

    def to_close(self, life: _Life) -> None:
        """Close a resource with the scope, before those that were there when it was made."""
        self._opened.push_async_callback(life.close)

    def forget(self, life: _Life) -> None:
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

    def _enclosing(self, name: ResourceScope) -> "_Scope":
        scope = self
        while scope.name != name and scope.outer is not None:
            scope = scope.outer
        return scope


def _made_value(wanted: ResourceDefinition, made: asyncio.Future[Any]) -> Any:
    subject = f"Resource {wanted.name!r} (factory {wanted.resource.name!r})"
    if made.cancelled():
        raise ResourceError(f"{subject} was cancelled while it was made. Ask for it again.")
    match made.exception():
        case None:
            return made.result()
        case ResourceError() as below:
            raise ResourceError(f"{subject} lacks what it is made of. {below}") from (
                below.__cause__ or below
            )
        case error:
            raise ResourceError(
                f"{subject} could not be made: {error!r}. Correct the factory or what it needs; "
                "the next attempt calls it again."
            ) from error


# --- who holds them ---


class ResourceManager:
    """The resources of one workflow instance."""

    def __init__(self) -> None:
        self._scope = _Scope("worker")

    async def get(self, resource: ResourceDescriptor) -> Any:
        """Return a resource that needs no run: one of scope "worker", or an uncached one.

        Raises:
            ResourceError: the factory failed.
            ValueError: its factories ask for each other in a circle.
            WorkflowValidationError: the resource lives in a run or in a call of a step.
        """
        if resource.scope != "worker" and not resource.is_transient:
            raise WorkflowValidationError(
                f"Resource {resource.name!r} has scope {resource.scope!r} and can't be had from "
                'the manager. Declare it with scope="worker", or ask for it in a step.'
            )
        wanted = ResourceDefinition(resource.name, resource, type_annotation=None)
        return await self._scope.value(wanted, _Scope("call", self._scope))

    async def set(self, name: str, value: Any) -> None:
        """Use `value` wherever a factory of this name would be called, whatever its scope."""
        self._scope.given[name] = value

    def get_all(self) -> dict[str, Any]:
        """Return what was set, and the resources of scope "worker" that are made, by name.

        The name is that of the factory; of several factories with one name the last one counts.
        """
        lives = self._scope.lives.values()
        return {
            **{life.resource.name: life.made.result() for life in lives if _is_made(life.made)},
            **self._scope.given,
        }

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

    def __init__(self, worker: _Scope) -> None:
        self._scope = _Scope("run", worker)

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
            ResourceError: a factory failed, before or after its yield; `__cause__` is its error.
            ValueError: factories ask for each other in a circle.
            WorkflowValidationError: a resource would outlive another that it uses.
        """
        return self._call(definitions)

    @asynccontextmanager
    async def _call(
        self, definitions: Sequence[ResourceDefinition]
    ) -> AsyncGenerator[dict[str, Any]]:
        scope = _Scope("call", self._scope)
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


def _is_made(made: asyncio.Future[Any]) -> bool:
    return made.done() and not made.cancelled() and made.exception() is None
