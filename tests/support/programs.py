"""Programs as text, to be run with the names of Stepwell or with those of LlamaIndex Workflows."""

import gc
import itertools
import sys
import warnings
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

from support.clock import run_with_jumping_clock

__all__ = ["BOTH", "outcome"]

BOTH = ("stepwell", "workflows")
"""The packages that offer the interface."""

HEAD = """
import asyncio
import gc
import weakref
from typing import Annotated, Any, Optional, Union
from pydantic import BaseModel, Field
from {engine} import Context, Workflow, catch_error, step
from {engine}.context import JsonSerializer
from {engine}.decorators import step
from {engine}.errors import *
from {engine}.events import *
from {engine}.retry_policy import retry_policy, stop_after_attempt, wait_fixed

ENGINE = "{engine}"

class A(Event):
    n: int = 0

class ASub(A):
    pass

class B(Event):
    n: int = 0

class C(Event):
    n: int = 0

class Ask(InputRequiredEvent):
    n: int = 0

class Answer(HumanResponseEvent):
    n: int = 0

def told(event):
    "An event in short."
    n = getattr(event, "n", None)
    return type(event).__name__ + ("" if n is None else str(n))

async def rest(handler, **options):
    "What the stream of a run has from here on."
    return [told(event) async for event in handler.stream_events(**options)]

async def attempt(action):
    "What an action gives, or the class of its error."
    try:
        result = action()
        if hasattr(result, "__await__"):
            result = await result
        return result
    except BaseException as error:
        return type(error).__name__

async def until(fact):
    "Let the others go on until something is true."
    while not fact():
        await asyncio.sleep(0.01)
"""

_numbers = itertools.count()


def _loaded(engine: str, program: str) -> ModuleType:
    """The program as a module: step signatures look up names there."""
    module = ModuleType(f"program{next(_numbers)}")
    sys.modules[module.__name__] = module
    exec(HEAD.replace("{engine}", engine) + program, vars(module))  # noqa: S102  the tests' own
    return module


def outcome(
    engine: str,
    program: str,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = run_with_jumping_clock,
) -> Any:
    """What `main()` of a program returns; timers cost it no time, and warnings are not told.

    The time-outs of LlamaIndex Workflows look at the wall clock: give `asyncio.run` for those.
    """
    with warnings.catch_warnings(action="ignore"):
        module = _loaded(engine, program)
        try:
            return run(module.main())
        finally:
            del sys.modules[module.__name__]
            gc.collect()  # here, where warnings of what is left behind are not told
