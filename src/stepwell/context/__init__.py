"""The context of a run and the state in it."""

from stepwell.context.context import Context

__all__ = ["Context"]
