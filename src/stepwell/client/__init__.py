"""The client: starts runs that workers execute, sends them events, and waits for their results."""

from stepwell.client.client import Client
from stepwell.client.run import Run
from stepwell.storage.records import RunInfo

__all__ = ["Client", "Run", "RunInfo"]
