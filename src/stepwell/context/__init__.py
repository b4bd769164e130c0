"""The context of a run, the state in it, and the serializers that can write it."""

from stepwell.context.context import Context
from stepwell.context.serializers import BaseSerializer, JsonSerializer, PickleSerializer

__all__ = ["BaseSerializer", "Context", "JsonSerializer", "PickleSerializer"]
