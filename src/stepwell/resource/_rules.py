"""Rules between resources: no circles, and nothing outlives what it uses."""

from stepwell.errors import WorkflowValidationError
from stepwell.resource.descriptors import WIDEST_FIRST, ResourceDescriptor

__all__ = ["check_tree"]


def check_tree(resource: ResourceDescriptor) -> None:
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
    return WIDEST_FIRST.index(holder.scope) < WIDEST_FIRST.index(used.scope)
