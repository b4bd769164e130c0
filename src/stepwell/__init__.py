"""Durable execution for event-driven async Python, on plain Redis.

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent

class Hello(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")

await Hello(checkpointer="redis://localhost").run(name="Ada")
"""

from stepwell._serialization import register, register_codec
from stepwell.context import Context
from stepwell.decorators import step
from stepwell.workflow import Workflow

__version__ = "0.1.0"

__all__ = ["Context", "Workflow", "__version__", "register", "register_codec", "step"]
