"""Resources: what a step asks for beside its event, made by a factory.

    async def get_client() -> AsyncIterator[Client]:
        async with Client() as client:
            yield client

    @step
    async def fetch(self, ev: Fetch, client: Annotated[Client, Resource(get_client)]) -> Done: ...

A resource lives as long as its scope: one call of a step, one run, or the workflow instance (the
*worker*). A narrow scope may use what a wider one holds, never the other way round. A
`ResourceConfig` is a resource that is read from a JSON file.
"""

from stepwell.resource.config import ConfigDescriptor, ResourceConfig, validate_configs
from stepwell.resource.descriptors import (
    Resource,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceScope,
    resource_definitions,
)
from stepwell.resource.manager import ResourceManager, RunResources, validate_resources

__all__ = [
    "ConfigDescriptor",
    "Resource",
    "ResourceConfig",
    "ResourceDefinition",
    "ResourceDescriptor",
    "ResourceManager",
    "ResourceScope",
    "RunResources",
    "resource_definitions",
    "validate_configs",
    "validate_resources",
]
