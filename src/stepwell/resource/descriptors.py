"""What a user declares: `Annotated[T, Resource(factory)]`, and the parameters found with it."""

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, Self, TypeAlias

from stepwell._annotations import lexical_names, resolved_parameters, split, title
from stepwell.errors import WorkflowValidationError

__all__ = [
    "WIDEST_FIRST",
    "Factory",
    "Resource",
    "ResourceDefinition",
    "ResourceDescriptor",
    "ResourceGetter",
    "ResourceScope",
    "resource_definitions",
]

ResourceScope: TypeAlias = Literal["worker", "run", "call"]
Factory: TypeAlias = Callable[..., Any]

WIDEST_FIRST: tuple[ResourceScope, ...] = ("worker", "run", "call")


class ResourceGetter(Protocol):
    """A manager of resources, as far as a resource knows it."""

    async def get(self, resource: "ResourceDescriptor", /) -> Any:
        """Return the value of a resource."""
        ...


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
        self.factory: Factory = factory
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
            WorkflowValidationError: an annotation of the factory can't be resolved, or one of its
                parameters can't be filled.
        """
        parameters = resolved_parameters(self.factory, self._names)
        definitions = resource_definitions(parameters, of=f"Resource factory {self.name}")
        _check_fillable(self, parameters, definitions)
        return definitions

    def get_dependencies(self) -> list[tuple[str, "ResourceDescriptor", Any]]:
        """Return name, resource and type of each parameter that the factory asks a resource for.

        Raises:
            WorkflowValidationError: as `dependencies`.
        """
        return [(one.name, one.resource, one.type_annotation) for one in self.dependencies]

    def of_type(self, _type_annotation: Any, _place: str, /) -> Self:
        """Return the resource as it fills a parameter of this type: mostly, as it is."""
        return self

    def set_type_annotation(self, _type_annotation: Any, /) -> None:
        """Say what type is asked for; that matters to a ResourceConfig only."""

    def set_localns(self, localns: Mapping[str, Any] | None) -> None:
        """Add local names that string annotations of the factory may mean."""
        self._names.update(localns or {})

    async def resolve(self, manager: ResourceGetter) -> Any:
        """Return the value, as `await manager.get(resource)`."""
        return await manager.get(self)


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """A parameter that is filled with a resource."""

    name: str
    resource: ResourceDescriptor
    type_annotation: Any = None


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
        WorkflowValidationError: the factory can't be called or hashed, `cache` is no bool, or
            `cache` and `scope` contradict each other.
    """
    return ResourceDescriptor(factory, cache, scope)


# --- the parameters of a step, or of a factory ---


def resource_definitions(
    parameters: Iterable[inspect.Parameter], *, of: str = "Step"
) -> list[ResourceDefinition]:
    """Pick those parameters, their annotations resolved, that are filled with a resource.

    Args:
        parameters: of a step or a factory.
        of: what they are parameters of, in messages.

    Raises:
        WorkflowValidationError: a resource is declared where it fills nothing, or not declared
            as it has to be.
    """
    definitions: list[ResourceDefinition] = []
    for parameter in parameters:
        place = f"{of}: parameter {parameter.name!r}"
        _check_not_beside(parameter, place)
        annotation, markers = split(parameter.annotation)
        match [marker for marker in markers if _is_resource(marker)]:
            case []:
                continue
            case [ResourceDescriptor() as resource]:
                _check_kind(parameter, place)
                bound = resource.of_type(annotation, place)
                definitions.append(ResourceDefinition(parameter.name, bound, annotation))
            case wrong:
                raise WorkflowValidationError(_misdeclared(place, wrong))
    return definitions


def _is_resource(thing: Any) -> bool:
    """Whether it is a resource, or was meant as one: a function such as `Resource` itself."""
    if inspect.isfunction(thing):
        return str(thing.__module__).startswith(f"{__package__}.")
    return isinstance(thing, ResourceDescriptor)


def _misdeclared(place: str, wrong: list[Any]) -> str:
    if len(wrong) > 1:
        return f"{place} is marked with {len(wrong)} resources. Leave one of them."
    maker = title(wrong[0])
    return f"{place} is marked with {maker} itself. Call it: Annotated[T, {maker}(...)]."


def _check_not_beside(parameter: inspect.Parameter, place: str) -> None:
    """Refuse a resource that stands where nobody looks for one."""
    for where, found in (("type", parameter.annotation), ("default", parameter.default)):
        if _is_resource(found):
            raise WorkflowValidationError(
                f"{place} has a resource as its {where}, which fills nothing. Write it beside the "
                f"type: {parameter.name}: Annotated[T, Resource(...)]."
            )


def _check_kind(parameter: inspect.Parameter, place: str) -> None:
    if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        raise WorkflowValidationError(
            f"{place} is {parameter.kind.description}, but resources are passed by keyword. "
            "Make it a plain parameter, without `/` and `*`."
        )


def _check_fillable(
    resource: ResourceDescriptor,
    parameters: Iterable[inspect.Parameter],
    definitions: Iterable[ResourceDefinition],
) -> None:
    filled = {definition.name for definition in definitions}
    for parameter in parameters:
        is_variadic = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        has_value = parameter.name in filled or parameter.default is not parameter.empty
        if not (is_variadic or has_value):
            raise WorkflowValidationError(
                f"Resource factory {resource.name}: nobody fills its parameter "
                f"{parameter.name!r}. Annotate it with a resource, or give it a default."
            )


# --- one declaration ---


def _check_declaration(factory: Any, *, cache: Any, scope: Any) -> None:
    if not (isinstance(factory, Hashable) and callable(factory)):
        raise WorkflowValidationError(
            f"Resource({factory!r}): the factory can't be called, or has no hash. Give a function."
        )
    subject = f"Resource({title(factory)})"
    if not isinstance(cache, bool):
        raise WorkflowValidationError(f"{subject}: cache is {cache!r}. Give True or False.")
    if scope not in (None, *WIDEST_FIRST):
        raise WorkflowValidationError(
            f"{subject}: unknown scope {scope!r}. Choose one of {WIDEST_FIRST}."
        )
    if not cache and scope not in {None, "call"}:
        raise WorkflowValidationError(
            f"{subject}: cache=False means a new one for each call of a step, "
            f"but the scope is {scope!r}. Leave one of the two out."
        )


def _is(kind: Callable[[Any], bool], factory: Factory) -> bool:
    return kind(factory) or (callable(factory) and kind(type(factory).__call__))


def _default_scope(resource: ResourceDescriptor) -> ResourceScope:
    if not resource.cache:
        return "call"
    return "run" if resource.is_generator else "worker"
