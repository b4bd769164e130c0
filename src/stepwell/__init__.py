"""Durable execution for event-driven async Python, on plain Redis.

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent

class Hello(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")

await Hello(checkpointer="redis://localhost").run(name="Ada")
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Context",
    "Worker",
    "Workflow",
    "__version__",
    "catch_error",
    "install_as_workflows",
    "register",
    "register_codec",
    "step",
]

# The front door imports nothing before it is used. Type checkers read the first half of this,
# Python runs the second; a test holds them together.
if TYPE_CHECKING:
    from stepwell._serialization import register, register_codec
    from stepwell.client import Client
    from stepwell.compat import install_as_workflows
    from stepwell.context import Context
    from stepwell.decorators import catch_error, step
    from stepwell.worker import Worker
    from stepwell.workflow import Workflow
else:
    _HOMES = {
        "Client": "stepwell.client",
        "Context": "stepwell.context",
        "Worker": "stepwell.worker",
        "Workflow": "stepwell.workflow",
        "catch_error": "stepwell.decorators",
        "install_as_workflows": "stepwell.compat",
        "register": "stepwell._serialization",
        "register_codec": "stepwell._serialization",
        "step": "stepwell.decorators",
    }

    def __getattr__(name: str) -> object:
        """Import what is asked for only now (PEP 562): a name from its home, or a module."""
        if name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
            globals()[name] = value
            return value
        if not name.startswith("_"):
            module = f"{__name__}.{name}"
            try:
                return import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
