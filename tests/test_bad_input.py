"""Each mistake that a user can make, and the error that tells of it.

A row is a program of which all statements but the last succeed: the last one is the earliest
moment at which the mistake can be told. To read all the messages: `python tests/test_bad_input.py`.
"""

import ast
import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import pytest

import stepwell
from stepwell.errors import (
    ContextSerdeError,
    ContextStateError,
    EncodingError,
    ResourceError,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.handler import WorkflowHandler
from stepwell.redis import RedisCheckpointer
from support.servers import RedisServer
from support.twins import execute, flow

INVALID, INCOMPLETE = WorkflowValidationError, WorkflowConfigurationError
RUNTIME, PHASE = WorkflowRuntimeError, ContextStateError
UNREADABLE, UNSTORABLE = ContextSerdeError, EncodingError

PRELUDE = """
import asyncio, dataclasses, functools, json, math, threading
from pydantic import BaseModel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from stepwell.context.serializers import *
from stepwell.context.state_store import *
from stepwell.redis import RedisCheckpointer
from stepwell.testing import WorkflowTestRunner
class Needs(StartEvent):
    n: int
class Strict(StartEvent):
    model_config = {"extra": "forbid"}
class State(BaseModel):
    count: int = 0
class OtherState(BaseModel):
    name: str = ""
class BareState(BaseModel):
    count: int
class Good(Workflow):
    @step
    async def f(self, ev: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(result="fine")
class Takes(Workflow):
    @step
    async def f(self, ev: Needs) -> StopEvent:
        return StopEvent()
class Human(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Ask:
        return Ask()
    @step
    async def take(self, ev: Answer) -> StopEvent:
        return StopEvent()
def make(): return 1
async def helper(): return StopEvent()
"""


@dataclass(frozen=True)
class Mistake:
    """A program, and what its last statement raises.

    Attributes:
        says: what the message names: the culprit first, the remedy last.
    """

    name: str
    program: str
    error: type[Exception]
    says: tuple[str, ...]


def case(name: str, program: str, error: type[Exception], *says: str) -> Mistake:
    return Mistake(name, program, error, says)


# --- programs ---

RUN = "await Flow().run()"
TYPED = "ev: StartEvent, ctx: Context[State]"


def method(signature: str, decorator: str = "@step", start: str = "async def f") -> str:
    """A class with one method."""
    return f"class Flow(Workflow):\n    {decorator}\n    {start}{signature}: ..."


def wired(*steps: str) -> str:
    """A class whose graph is checked."""
    return flow(*steps) + "\nFlow().validate()"


def inside(
    line: str, returns: str = "StopEvent", parameters: str = "ev: StartEvent, ctx: Context"
) -> str:
    """A run whose step has a line in it."""
    return (
        f"class Flow(Workflow):\n    @step\n    async def f(self, {parameters}) -> {returns}:\n"
        f"        {line}\n        return StopEvent()\n{RUN}"
    )


def ret(value: str, returns: str = "StopEvent") -> str:
    """A run whose step returns something."""
    return inside(f"return {value}", returns)


def fan(value: str) -> str:
    """A run whose step returns something, where a list of events is expected."""
    taker = "class More(Flow):\n    @step\n    async def g(self, ev: A) -> None: ..."
    return ret(value, "list[A] | StopEvent").replace(RUN, f"{taker}\nawait More().run()")


def res(marker: str, kind: str = "int") -> str:
    """A class whose step asks for a resource."""
    return method(f"(self, ev: StartEvent, r: Annotated[{kind}, {marker}]) -> StopEvent")


def pending(program: str) -> str:
    """A program in which `pending` is a coroutine that nobody awaits."""
    return program.replace(RUN, f"pending = helper()\n{RUN}")


# --- the table: a row to a line, so that it reads as one ---

# ruff: noqa: E501  the rows
# fmt: off

SIGNATURES = [
    case("no self", method("(ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: its first parameter is 'ev', but a", "a method is given self there. Write `self, ev`."),
    case("no parameter at all", method("() -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("no event parameter", method("(self) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event parameter without annotation", method("(self, ev) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event parameter no event", method("(self, ev: int) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("union with no event", method("(self, ev: StartEvent | int) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event in *args", method("(self, *ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event in **kwargs", method("(self, **ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("positional only", method("(self, ev: StartEvent, /) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is positional-only,", "keywords. Take the `/` out of the signature."),
    case("parameter nobody fills", method("(self, ev: StartEvent, limit: int) -> StopEvent"), INVALID, "Flow.f: nobody fills its parameter 'limit'.", "it out; the input of a run is in its StartEvent."),
    case("parameter nobody fills and un-annotated", method("(self, ev: StartEvent, limit) -> StopEvent"), INVALID, "Flow.f: nobody fills its parameter 'limit'.", "it out; the input of a run is in its StartEvent."),
    case("no return annotation", method("(self, ev: StartEvent)"), INVALID, "Flow.f: its return value is not annotated.", "None`; a step that returns nothing is `-> None`."),
    case("return int", wired("f(ev: StartEvent) -> StopEvent | int"), INVALID, "Flow': steps return what is no event: int", "derived from Event, lists of these, and None."),
    case("return tuple", wired("f(ev: StartEvent) -> StopEvent | tuple[A, B]"), INVALID, "Flow': steps return what is no event: tuple", "derived from Event, lists of these, and None."),
    case("return dict", wired("f(ev: StartEvent) -> StopEvent | dict"), INVALID, "Flow': steps return what is no event: dict", "derived from Event, lists of these, and None."),
    case("return bare list", wired("f(ev: StartEvent) -> StopEvent | list"), INVALID, "Flow': steps return what is no event: list", "derived from Event, lists of these, and None."),
    case("return list of int", wired("f(ev: StartEvent) -> StopEvent | list[int]"), INVALID, "Flow': steps return what is no event: int", "derived from Event, lists of these, and None."),
    case("return Any", wired("f(ev: StartEvent) -> StopEvent | Any"), INVALID, "Flow': steps return what is no event: Any", "derived from Event, lists of these, and None."),
    case("return set", wired("f(ev: StartEvent) -> StopEvent | set[A]"), INVALID, "Flow': steps return what is no event: set", "derived from Event, lists of these, and None."),
    case("return nested list", wired("f(ev: StartEvent) -> StopEvent | list[list[A]]"), INVALID, "Flow': steps return what is no event: list", "derived from Event, lists of these, and None."),
    case("return class of event", wired("f(ev: StartEvent) -> StopEvent | type[StopEvent]"), INVALID, "Flow': steps return what is no event: type", "derived from Event, lists of these, and None."),
    case("return Sequence", wired("f(ev: StartEvent) -> StopEvent | Sequence[A]"), INVALID, "Flow': steps return what is no event:", "derived from Event, lists of these, and None."),
    case("param Sequence", method("(self, ev: Sequence[A]) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("param bare list", method("(self, ev: list) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("param list of int", method("(self, ev: list[int]) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("param tuple", method("(self, ev: tuple[A, ...]) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("param class of event", method("(self, ev: type[A]) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("param list or event", method("(self, ev: list[A] | B) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event instance as annotation", method("(self, ev: StartEvent()) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("event instance as return", method("(self, ev: StartEvent) -> StopEvent()"), INVALID, "Flow.f: its return value is annotated with", "is no class. Annotate it with the class itself."),
    case("typo in string", method("(self, ev: 'StratEvent') -> StopEvent"), INVALID, "Flow.f: the annotation of its parameter", "is decorated, and not under `if TYPE_CHECKING`."),
    case("typo in return string", method("(self, ev: StartEvent) -> 'StoppEvent'"), INVALID, "Flow.f: the annotation of its return value,", "is decorated, and not under `if TYPE_CHECKING`."),
    case("syntax in string", method("(self, ev: 'StartEvent |') -> StopEvent"), INVALID, "Flow.f: the annotation of its parameter", "is decorated, and not under `if TYPE_CHECKING`."),
    case("async generator", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent) -> StopEvent:\n        yield StopEvent()", INVALID, "Flow.f: its return value is an iterator, but", "or send each event with ctx.send_event()."),
    case("generator", "class Flow(Workflow):\n    @step\n    def f(self, ev: StartEvent) -> StopEvent:\n        yield StopEvent()", INVALID, "Flow.f: its return value is an iterator, but", "or send each event with ctx.send_event()."),
    case("return AsyncIterator", method("(self, ev: StartEvent) -> AsyncIterator[A]"), INVALID, "Flow.f: its return value is an iterator, but", "or send each event with ctx.send_event()."),
    case("return Generator", method("(self, ev: StartEvent) -> Generator[A, None, None]"), INVALID, "Flow.f: its return value is an iterator, but", "or send each event with ctx.send_event()."),
    case("return Iterator", method("(self, ev: StartEvent) -> Iterator[A]"), INVALID, "Flow.f: its return value is an iterator, but", "or send each event with ctx.send_event()."),
    case("return Awaitable", wired("f(ev: StartEvent) -> StopEvent | Awaitable[A]"), INVALID, "Flow': steps return what is no event:", "derived from Event, lists of these, and None."),
    case("two contexts", method("(self, a: Context, ev: StartEvent, b: Context) -> StopEvent"), INVALID, "Flow.f: the parameters 'a', 'b' are all", "all annotated with Context. Keep one of them."),
    case("context instance param", method("(self, ctx: Context[list], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context of int", method("(self, ctx: Context[int], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context of instance", method("(self, ctx: Context[State()], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context typeddict", "class T(TypedDict):\n    n: int\n" + method("(self, ctx: Context[T], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context dataclass", "@dataclasses.dataclass\nclass T:\n    n: int = 0\n" + method("(self, ctx: Context[T], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context pydantic dataclass", "@pydantic_dataclass\nclass T:\n    n: int = 0\n" + method("(self, ctx: Context[T], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context of union", method("(self, ctx: Context[State | OtherState], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
    case("context union int", method("(self, ctx: Context | int, ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: nobody fills its parameter 'ctx'.", "it out; the input of a run is in its StartEvent."),
    case("two lists", method("(self, a: list[A], b: list[B]) -> StopEvent"), INVALID, "Flow.f: the parameters 'a', 'b' all take", "Annotate a single parameter as `list[A | B]`."),
    case("list and event", method("(self, a: list[A], b: B) -> StopEvent"), INVALID, "Flow.f: parameter 'a' takes a list of", "B]`, or write a step of its own for the others."),
    case("several with union", method("(self, a: A | B, b: C) -> StopEvent"), INVALID, "Flow.f: a step with several event parameters", "one parameter to take whichever event comes."),
    case("collect on no list", method("(self, ev: Annotated[A, Collect()]) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is marked with", "Collect(...)]`, or take the mark away."),
    case("collect class", method("(self, ev: Annotated[list[A], Collect]) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is marked with <class", "with one of Collect(All()) and Collect(Take(n))."),
    case("take class in collect", method("(self, ev: Annotated[list[A], Collect(Take)]) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is marked with", "with one of Collect(All()) and Collect(Take(n))."),
    case("take without collect", method("(self, ev: Annotated[list[A], Take(2)]) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is marked with", "with one of Collect(All()) and Collect(Take(n))."),
    case("collect of int", method("(self, ev: Annotated[list[A], Collect(2)]) -> StopEvent"), INVALID, "Flow.f: parameter 'ev' is marked with", "with one of Collect(All()) and Collect(Take(n))."),
    case("take 0", "Take(0)", ValueError, "Take(n) needs a whole number of at least 1,", "needs a whole number of at least 1, not 0."),
    case("take str", "Take('2')", ValueError, "Take(n) needs a whole number of at least 1,", "needs a whole number of at least 1, not '2'."),
]

DECORATED = [
    case("property over step", "class Flow(Workflow):\n    @property\n    @step\n    async def f(self, ev: StartEvent) -> StopEvent: ...", INVALID, "Flow.f: a step can't be a static method, a", "free function under @step(workflow=MyWorkflow)."),
    case("step over property", "class Flow(Workflow):\n    @step\n    @property\n    def f(self) -> StopEvent: ...", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("staticmethod over step", "class Flow(Workflow):\n    @staticmethod\n    @step\n    async def f(ev: StartEvent) -> StopEvent: ...", INVALID, "Flow.f: a step can't be a static method, a", "free function under @step(workflow=MyWorkflow)."),
    case("classmethod over step", "class Flow(Workflow):\n    @classmethod\n    @step\n    async def f(cls, ev: StartEvent) -> StopEvent: ...", INVALID, "Flow.f: a step can't be a static method, a", "free function under @step(workflow=MyWorkflow)."),
    case("step over staticmethod", "class Flow(Workflow):\n    @step\n    @staticmethod\n    async def f(ev: StartEvent) -> StopEvent: ...", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step over classmethod", "class Flow(Workflow):\n    @step\n    @classmethod\n    async def f(cls, ev: StartEvent) -> StopEvent: ...", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step on class", "class Flow(Workflow):\n    @step\n    class f: ...", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step on workflow class", "@step\nclass Flow(Workflow): ...", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("lambda", "class Flow(Workflow):\n    f = step(lambda self, ev: StopEvent())", INVALID, "Flow.<lambda>: no parameter is annotated", "a union of such classes only, or a list of them."),
    case("partial", "step(functools.partial(make))", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step of string", "step('f')", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step of None positional workflow", "step(Good)", INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("step on __init__", method("(self, ev: StartEvent) -> StopEvent", start="def __init__"), INVALID, "Flow: a step can't be named '__init__',", "of that name. Give the step another name."),
    case("step named run", method("(self, ev: StartEvent) -> StopEvent", start="async def run"), INVALID, "Flow: a step can't be named 'run', because", "of that name. Give the step another name."),
    case("step named validate", method("(self, ev: StartEvent) -> StopEvent", start="async def validate"), INVALID, "Flow: a step can't be named 'validate',", "of that name. Give the step another name."),
    case("step named workflow_name", method("(self, ev: StartEvent) -> StopEvent", start="async def workflow_name"), INVALID, "Flow: a step can't be named 'workflow_name',", "of that name. Give the step another name."),
    case("step named events", method("(self, ev: StartEvent) -> StopEvent", start="async def events"), INVALID, "Flow: a step can't be named 'events',", "of that name. Give the step another name."),
    case("step named _timeout", method("(self, ev: StartEvent) -> StopEvent", start="async def _timeout"), INVALID, "Flow: a step can't be named '_timeout',", "of that name. Give the step another name."),
    case("free step named run", "@step(workflow=Good)\nasync def run(ev: StartEvent) -> StopEvent: ...", INVALID, "Good: a step can't be named 'run', because", "of that name. Give the step another name."),
    case("free without workflow", "@step\nasync def f(ev: StartEvent) -> StopEvent: ...", INVALID, "f: a free function must say which workflow", "it of a method, let that use functools.wraps."),
    case("free with parens without workflow", "@step()\nasync def f(ev: StartEvent) -> StopEvent: ...", INVALID, "f: a free function must say which workflow", "it of a method, let that use functools.wraps."),
    case("free name taken", "@step(workflow=Good)\nasync def f(ev: StartEvent) -> StopEvent: ...", INVALID, "Good has a step 'f' already: give the", "step 'f' already: give the function another name"),
    case("free with self", "@step(workflow=Good)\nasync def g(self, ev: StartEvent) -> StopEvent: ...", INVALID, "g: nobody fills its parameter 'self'.", "it out; the input of a run is in its StartEvent."),
    case("workflow not a workflow", "@step(workflow=int)\nasync def g(ev: StartEvent) -> StopEvent: ...", INVALID, "g: workflow is <class 'int'>. Give a class", "'int'>. Give a class derived from Workflow."),
    case("workflow str", "@step(workflow='Good')\nasync def g(ev: StartEvent) -> StopEvent: ...", INVALID, "g: workflow is 'Good'. Give a class derived", "is 'Good'. Give a class derived from Workflow."),
    case("add_step undecorated", "Good.add_step(make)", INVALID, "Good.add_step(): make is no step: decorate", "make is no step: decorate it with @step first"),
    case("add_step no function", "Good.add_step(3)", INVALID, "Good.add_step(): 3 is no step: decorate it", "3 is no step: decorate it with @step first"),
    case("add_step taken", "Good.add_step(Good.f)", INVALID, "Good.f: nobody fills its parameter 'self'.", "it out; the input of a run is in its StartEvent."),
    case("step and catch_error", "class Flow(Workflow):\n    @step\n    @catch_error\n    async def f(self, ev: StepFailedEvent) -> StopEvent: ...", INVALID, "Flow.f: it is under both @step and", "it a step that handles the failures of others."),
    case("wrapper over step", "def logged(g):\n    async def wrapper(*args, **kwargs):\n        return await g(*args, **kwargs)\n    return wrapper\nclass Flow(Workflow):\n    @logged\n    @step\n    async def f(self, ev: StartEvent) -> StopEvent: ...\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (it has no", "with StartEvent or a class derived from it."),
    case("same name twice", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent) -> A: ...\n    @step\n    async def f(self, ev: A) -> StopEvent: ...\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (its", "with StartEvent or a class derived from it."),
    case("overridden with plain", "class Flow(Good):\n    async def f(self, ev: StartEvent) -> StopEvent: ...", INVALID, "Flow.f replaces a step of the same name and", "name, or write f = None to drop the step."),
    case("overridden with attribute", "class Flow(Good):\n    f = None\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (it has no", "with StartEvent or a class derived from it."),
]

OPTIONS = [
    *(case(f"num_workers={v}", method("(self, ev: StartEvent) -> StopEvent", f"@step(num_workers={v})"), INVALID, "Flow.f: num_workers is", "Give a whole number of at least 1.") for v in ("0", "-1", "'2'", "True", "1.5", "None")),
    case("positional number", method("(self, ev: StartEvent) -> StopEvent", "@step(2)"), INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    *(case(f"retry_policy={v}", method("(self, ev: StartEvent) -> StopEvent", f"@step(retry_policy={v})"), INVALID, "Flow.f: retry_policy is", "that has `next(elapsed_time, attempts, error)`.") for v in ("3", "True", "retry_policy", "ConstantDelayRetryPolicy", "wait_fixed(1)", "stop_after_attempt(3)", "'always'")),
    case("skip unknown", method("(self, ev: StartEvent) -> StopEvent", "@step(skip_graph_checks=['reach'])"), INVALID, "Flow.f: skip_graph_checks has ['reach']; a", "a step can skip ('reachability', 'dead_end')."),
    case("skip str", method("(self, ev: StartEvent) -> StopEvent", "@step(skip_graph_checks='reachability')"), INVALID, "Flow.f: skip_graph_checks is 'reachability'.", "list of the names ('reachability', 'dead_end')."),
    case("skip int", method("(self, ev: StartEvent) -> StopEvent", "@step(skip_graph_checks=1)"), INVALID, "Flow.f: skip_graph_checks is 1. Give a list", "list of the names ('reachability', 'dead_end')."),
    case("skip list of list", method("(self, ev: StartEvent) -> StopEvent", "@step(skip_graph_checks=[[1]])"), INVALID, "Flow.f: skip_graph_checks has [[1]]; a step", "a step can skip ('reachability', 'dead_end')."),
    case("skip true", method("(self, ev: StartEvent) -> StopEvent", "@step(skip_graph_checks=True)"), INVALID, "Flow.f: skip_graph_checks is True. Give a", "list of the names ('reachability', 'dead_end')."),
    case("accept str", method("(self, ev: StartEvent) -> StopEvent", "@step(accept_event_subclasses='yes')"), INVALID, "Flow.f: accept_event_subclasses is 'yes'.", "is 'yes'. Give True or False."),
    *(case(f"max_recoveries={v}", method("(self, ev: StepFailedEvent) -> StopEvent", f"@catch_error(max_recoveries={v})"), INVALID, "Flow.f: max_recoveries is", "Give a whole number of at least 1.") for v in ("0", "'1'", "True")),
    case("for_steps str", method("(self, ev: StepFailedEvent) -> StopEvent", "@catch_error(for_steps='f')"), INVALID, "Flow.f: for_steps is 'f'. Give a list of", "of all steps that no other handler names."),
    case("for_steps functions", method("(self, ev: StepFailedEvent) -> StopEvent", "@catch_error(for_steps=[make])"), INVALID, "Flow.f: for_steps is [<function make at", "of all steps that no other handler names."),
    case("catch_error class", method("(self, ev: StepFailedEvent) -> StopEvent", "@catch_error(ValueError)"), INVALID, "a step is made of a function or method, not", "free function under @step(workflow=MyWorkflow)."),
    case("handler wrong event", method("(self, ev: StartEvent) -> StopEvent", "@catch_error"), INVALID, "Flow.f: a handler takes one StepFailedEvent,", "and no other parameter with an event class."),
    case("handler exception", method("(self, error: Exception) -> StopEvent", "@catch_error"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("handler list", method("(self, ev: list[StepFailedEvent]) -> StopEvent", "@catch_error"), INVALID, "Flow.f: a handler takes one StepFailedEvent,", "and no other parameter with an event class."),
    case("handler free", "@catch_error\nasync def f(ev: StepFailedEvent) -> StopEvent: ...", INVALID, "f: a free function must say which workflow", "it of a method, let that use functools.wraps."),
    case("retry_policy(retry=3)", "retry_policy(retry=3)", TypeError, "retry_policy(retry=3,", "give as retry what can be called with (error)."),
    case("retry_policy(retry=ValueError)", "retry_policy(retry=ValueError)", TypeError, "retry_policy(retry=<class 'ValueError'>,", "give as retry what can be called with (error)."),
    case("retry_policy(wait=5)", "retry_policy(wait=5)", TypeError, "retry_policy(retry=None, wait=5,", "what can be called with (attempts, *, seed)."),
    case("retry_policy(stop=3)", "retry_policy(stop=3)", TypeError, "retry_policy(retry=None,", "(attempts, elapsed_time, *, upcoming_sleep)."),
    case("retry_policy(stop=class)", "retry_policy(stop=stop_never)", TypeError, "retry_policy(retry=None,", "(attempts, elapsed_time, *, upcoming_sleep)."),
    case("swapped", "retry_policy(wait=stop_after_attempt(3), stop=wait_fixed(3))", TypeError, "retry_policy(retry=None,", "what can be called with (attempts, *, seed)."),
    case("type str", "retry_if_exception_type('ValueError')", TypeError, "retry_if_exception_type(exception_types='ValueError'):", "give a class of exceptions, or a tuple of them."),
    case("type instance", "retry_if_exception_type(ValueError())", TypeError, "retry_if_exception_type(exception_types=ValueError()):", "give a class of exceptions, or a tuple of them."),
    case("type list", "retry_if_exception_type([ValueError])", TypeError, "retry_if_exception_type(exception_types=[<class", "give a class of exceptions, or a tuple of them."),
    case("type int", "retry_if_exception_type(int)", TypeError, "retry_if_exception_type(exception_types=<class", "give a class of exceptions, or a tuple of them."),
    case("message both", "retry_if_exception_message(message='a', match='b')", TypeError, "retry_if_exception_message(message='a',", "match='b'): give either message or match."),
    case("message none", "retry_if_exception_message()", TypeError, "retry_if_exception_message(message=None,", "match=None): give either message or match."),
    case("fixed negative", "wait_fixed(-1)", ValueError, "wait_fixed(wait=-1): give wait between 0 and", "give wait between 0 and 1.79769e+308."),
    case("fixed nan", "wait_fixed(math.nan)", ValueError, "wait_fixed(wait=nan): give wait between 0", "give wait between 0 and 1.79769e+308."),
    case("fixed str", "wait_fixed('5')", TypeError, "wait_fixed(wait='5'): give wait as a number", "give wait as a number or a timedelta."),
    case("random reversed", "wait_random(5, 1)", ValueError, "wait_random(min=5, max=1): give max between", "max=1): give max between 5 and 1.79769e+308."),
    case("attempt 0", "stop_after_attempt(0)", ValueError, "stop_after_attempt(max_attempt_number=0):", "give a whole number of at least 1."),
    case("attempt float", "stop_after_attempt(2.5)", ValueError, "stop_after_attempt(max_attempt_number=2.5):", "give a whole number of at least 1."),
    case("attempt str", "stop_after_attempt('3')", ValueError, "stop_after_attempt(max_attempt_number='3'):", "give a whole number of at least 1."),
    case("delay neg", "stop_after_delay(-1)", ValueError, "stop_after_delay(max_delay=-1): give", "give max_delay between 0 and inf."),
    case("empty chain", "wait_chain()", ValueError, "wait_chain() has nothing to wait by: give it", "to wait by: give it one strategy at least."),
    case("predicate none", "retry_if_exception(None)", TypeError, "retry_if_exception(predicate=None): give a", "give a function of one argument, the exception."),
    case("policy answers text", "class P:\n    def next(self, elapsed_time, attempts, error): return 'soon'\nclass Flow(Workflow):\n    @step(retry_policy=P())\n    async def f(self, ev: StartEvent) -> StopEvent: raise ValueError('x')\nawait Flow().run()", RUNTIME, "Retry policy <app.P object at", "a finite number of seconds, or None to give up."),
    case("policy next wrong parameters", "class P:\n    def next(self): return 1\nclass Flow(Workflow):\n    @step(retry_policy=P())\n    async def f(self, ev: StartEvent) -> StopEvent: raise ValueError('x')", INVALID, "Flow.f: retry_policy is <app.P object at", "that has `next(elapsed_time, attempts, error)`."),
]

GRAPHS = [
    case("no steps", "class Flow(Workflow): ...\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (it has no", "with StartEvent or a class derived from it."),
    case("no start", flow("f(ev: A) -> StopEvent") + "\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (its", "with StartEvent or a class derived from it."),
    case("Event base as start", flow("f(ev: Event) -> StopEvent") + "\nFlow()", INCOMPLETE, "Flow': no step takes a StartEvent (its", "with StartEvent or a class derived from it."),
    case("no stop", flow("f(ev: StartEvent) -> None") + "\nFlow()", INCOMPLETE, "Flow': no step returns a StopEvent (its", "steps with StopEvent or a class derived from it."),
    case("two starts", flow("f(ev: StartEvent) -> A", "g(ev: MyStart) -> StopEvent") + "\nFlow()", INCOMPLETE, "Flow': its steps name several classes of", "StartEvent, MyStart. Keep one of them."),
    case("two stops", flow("f(ev: StartEvent) -> StopEvent | MyStop") + "\nFlow()", INCOMPLETE, "Flow': its steps name several classes of", "StopEvent: StopEvent, MyStop. Keep one of them."),
    case("base class", "Workflow()", INCOMPLETE, "Workflow 'stepwell.workflow.Workflow': no", "with StartEvent or a class derived from it."),
    case("never produced", wired("f(ev: StartEvent) -> StopEvent", "g(ev: A) -> StopEvent"), INVALID, "Flow': events are consumed but never", "event use @step(accept_event_subclasses=True)."),
    case("never consumed", wired("f(ev: StartEvent) -> StopEvent | A"), INVALID, "Flow': events are produced but never", "event, or take it out of the return annotation."),
    case("takes stop", wired("f(ev: StartEvent) -> StopEvent", "g(ev: StopEvent) -> None"), INVALID, "Flow': step 'g' takes StopEvent in its", "and reaches no step. Use another event class."),
    case("list without producer", wired("f(ev: StartEvent) -> A", "g(ev: list[A]) -> StopEvent"), INVALID, "Flow': step 'g' collects A in its parameter", "gather single events with ctx.collect_events()."),
    case("join never meets", wired("f(ev: StartEvent) -> list[A] | None", "h(ev: StartEvent) -> B", "g(a: A, b: B) -> StopEvent"), INVALID, "Flow': step 'g' waits for one event in each", "in a step with a `list[MyEvent]` parameter."),
    case("two wildcards", wired("f(ev: StartEvent) -> StopEvent", "@catch_error; g(ev: StepFailedEvent) -> StopEvent", "@catch_error; h(ev: StepFailedEvent) -> StopEvent"), INVALID, "Flow': the handlers 'g', 'h' all handle the", "Keep one, and give the others for_steps=[...]."),
    case("handler unknown", wired("f(ev: StartEvent) -> StopEvent", "@catch_error(for_steps=['ff']); g(ev: StepFailedEvent) -> StopEvent"), INVALID, "Flow': handler 'g' has 'ff' in for_steps,", "but there is no such step. There are 'f', 'g'."),
    case("handler of handler", wired("f(ev: StartEvent) -> StopEvent", "@catch_error(for_steps=['g']); g(ev: StepFailedEvent) -> StopEvent"), INVALID, "Flow': handler 'g' has 'g' in for_steps,", "handler fails the run. Take it out of for_steps."),
    case("claimed twice", wired("f(ev: StartEvent) -> StopEvent", "@catch_error(for_steps=['f']); g(ev: StepFailedEvent) -> StopEvent", "@catch_error(for_steps=['f']); h(ev: StepFailedEvent) -> StopEvent"), INVALID, "Flow': step 'f' is in for_steps of the", "of the handlers 'g' and 'h'. Name it once."),
    case("unreachable", wired("f(ev: StartEvent) -> StopEvent", "g(ev: A) -> B", "h(ev: B) -> A"), INVALID, "Graph validation failed for workflow", "steps, or name the check in skip_graph_checks."),
    case("dead end", wired("f(ev: StartEvent) -> StopEvent | A", "g(ev: A) -> B", "h(ev: B) -> A"), INVALID, "Graph validation failed for workflow", "steps, or name the check in skip_graph_checks."),
    case("returns no event", wired("f(ev: StartEvent) -> StopEvent | int"), INVALID, "Flow': steps return what is no event: int", "derived from Event, lists of these, and None."),
    case("mistake at run", flow("f(ev: StartEvent) -> StopEvent | A") + "\nFlow().run()", INVALID, "Flow': events are produced but never", "event, or take it out of the return annotation."),
]

STATES = [
    case("unrelated", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent, ctx: Context[State]) -> A: ...\n    @step\n    async def g(self, ev: A, ctx: Context[OtherState]) -> StopEvent: ...\nFlow().run()", ValueError, "The steps' state classes State, OtherState", "hierarchy: let one of them extend the others"),
    case("no defaults", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent, ctx: Context[BareState]) -> StopEvent: ...\nFlow().run()", pydantic.ValidationError, "1 validation error for BareState count Field", "give each field of BareState a default."),
    case("state Workflow", method("(self, ctx: Context[Workflow], ev: StartEvent) -> StopEvent"), INVALID, "Flow.f: parameter 'ctx' is annotated with", "pydantic's BaseModel, or leave the brackets out."),
]

STORE = [
    case("get missing", inside("await ctx.store.get('nothing')"), ValueError, "Path 'nothing' not found in state: set it", "found in state: set it first, or give a default"),
    case("get through number", inside("await ctx.store.set('n', 1); await ctx.store.get('n.m')"), ValueError, "Path 'n.m' not found in state: set it first,", "found in state: set it first, or give a default"),
    case("get int", inside("await ctx.store.get(1)"), TypeError, "the path 1 is no text: give a str, with dots", "no text: give a str, with dots between the keys"),
    case("get tuple", inside("await ctx.store.get(('a', 'b'))"), TypeError, "the path ('a', 'b') is no text: give a str,", "no text: give a str, with dots between the keys"),
    case("set int key", inside("await ctx.store.set(1, 2)"), TypeError, "the path 1 is no text: give a str, with dots", "no text: give a str, with dots between the keys"),
    case("set none", inside("await ctx.store.set(None, 2)"), TypeError, "the path None is no text: give a str, with", "no text: give a str, with dots between the keys"),
    case("set empty", inside("await ctx.store.set('', 2)"), ValueError, "the path to set is empty: name a key, or use", "to set is empty: name a key, or use set_state()"),
    case("set list index", inside("await ctx.store.set('a', [1]); await ctx.store.set('a.3', 2)"), AttributeError, "a list of 1 has no element '3' to set:", "'3' to set: append to it first"),
    case("set in number", inside("await ctx.store.set('a', 1); await ctx.store.set('a.b', 2)"), AttributeError, "'b' can't be set in a value of type int", "dict, a list or an object with such an attribute"),
    case("set in str", inside("await ctx.store.set('a', 'x'); await ctx.store.set('a.b.c', 2)"), AttributeError, "'b' can't be set in a value of type str", "dict, a list or an object with such an attribute"),
    case("set in tuple", inside("await ctx.store.set('a', (1, 2)); await ctx.store.set('a.0', 2)"), AttributeError, "'0' can't be set in a value of type tuple", "dict, a list or an object with such an attribute"),
    case("set unknown field", inside("await ctx.store.set('cuont', 2)", parameters=TYPED), ValueError, "State has no field 'cuont': declare it, or", "field 'cuont': declare it, or set one of count"),
    case("get unknown field", inside("await ctx.store.get('cuont')", parameters=TYPED), ValueError, "Path 'cuont' not found in state: set it", "found in state: set it first, or give a default"),
    case("set deep", inside("await ctx.store.set('.'.join('a' * 1001), 2)"), ValueError, "a path has at most 1000 segments, not 1001:", "has at most 1000 segments, not 1001: nest less"),
    case("set in edit", inside("async with ctx.store.edit_state() as s: await ctx.store.set('a', 1)"), RuntimeError, "set() was called inside this step's own", "the state that the block was given instead"),
    case("edit in edit", inside("async with ctx.store.edit_state() as s: await ctx.store.edit_state().__aenter__()"), RuntimeError, "edit_state() was called inside this step's", "the state that the block was given instead"),
    case("clear in edit", inside("async with ctx.store.edit_state() as s: await ctx.store.clear()"), RuntimeError, "clear() was called inside this step's own", "the state that the block was given instead"),
    case("increment in edit", inside("async with ctx.store.edit_state() as s: await ctx.store.increment('a')"), RuntimeError, "increment() was called inside this step's", "the state that the block was given instead"),
    case("set_state dict", inside("await ctx.store.set_state({'a': 1})"), ValueError, "The state must be of type DictState or a", "it, not dict: give set_state() an instance of it"),
    case("set_state unrelated", inside("await ctx.store.set_state(OtherState())", parameters=TYPED), ValueError, "The state must be of type State or a parent", "OtherState: give set_state() an instance of it"),
    case("set_state class", inside("await ctx.store.set_state(State)", parameters=TYPED), ValueError, "The state must be of type State or a parent", "class State: give set_state() an instance of it"),
    case("set_state none", inside("await ctx.store.set_state(None)", parameters=TYPED), ValueError, "The state must be of type State or a parent", "not NoneType: give set_state() an instance of it"),
    case("increment text", inside("await ctx.store.set('a', 'x'); await ctx.store.increment('a')"), TypeError, "state key 'a' holds str, not a number to add", "a number to add to: set() it to a number first"),
    case("increment by text", inside("await ctx.store.increment('a', '2')"), TypeError, "increment('a') by '2': give a number"),
    case("increment path", inside("await ctx.store.increment('a.b')"), ValueError, "increment('a.b'): this works on a key at the", "dots. Use edit_state() for what is inside of it."),
    case("increment int key", inside("await ctx.store.increment(1)"), TypeError, "increment(1): the key is no text. Give a", "increment(1): the key is no text. Give a str."),
    case("append to dict", inside("await ctx.store.set('a', {}); await ctx.store.append('a', 1)"), TypeError, "state key 'a' holds dict, not a list to add", "not a list to add to: set() it to a list first"),
    case("append int key", inside("await ctx.store.append(1, 1)"), TypeError, "append(1): the key is no text. Give a str."),
    case("add to list", inside("await ctx.store.set('a', []); await ctx.store.add('a', 1)"), TypeError, "state key 'a' holds list, not a set to add", "not a set to add to: set() it to a set first"),
    case("add unhashable", inside("await ctx.store.add('a', [])"), TypeError, "add('a') of list, which has no hash: a set", "it. Use append(), or a value that can't change"),
    case("store of dict", "InMemoryStateStore({})", TypeError, "a state is an instance of a pydantic model,", "or an instance of a class derived from BaseModel"),
    case("store of class", "InMemoryStateStore(State)", TypeError, "a state is an instance of a pydantic model,", "or an instance of a class derived from BaseModel"),
]

RESOURCES = [
    case("not callable", "Resource(3)", INVALID, "Resource(3): the factory can't be called, or", "be called, or has no hash. Give a function."),
    case("called factory", "Resource(make())", INVALID, "Resource(1): the factory can't be called, or", "be called, or has no hash. Give a function."),
    case("none", "Resource(None)", INVALID, "Resource(None): the factory can't be called,", "be called, or has no hash. Give a function."),
    case("cache str", "Resource(make, cache='yes')", INVALID, "Resource(make): cache is 'yes'. Give True or", "cache is 'yes'. Give True or False."),
    case("scope typo", "Resource(make, scope='process')", INVALID, "Resource(make): unknown scope 'process'.", "Choose one of ('worker', 'run', 'call')."),
    case("scope unhashable", "Resource(make, scope=[])", INVALID, "Resource(make): unknown scope []. Choose one", "[]. Choose one of ('worker', 'run', 'call')."),
    case("cache scope", "Resource(make, cache=False, scope='run')", INVALID, "Resource(make): cache=False means a new one", "the scope is 'run'. Leave one of the two out."),
    case("as class", res("Resource"), INVALID, "Flow.f: parameter 'r' is marked with", "itself. Call it: Annotated[T, Resource(...)]."),
    case("factory itself", res("make"), INVALID, "Flow.f: nobody fills its parameter 'r'.", "it out; the input of a run is in its StartEvent."),
    case("as default", method("(self, ev: StartEvent, r: int = Resource(make)) -> StopEvent"), INVALID, "Flow.f: parameter 'r' has a resource as its", "beside the type: r: Annotated[T, Resource(...)]."),
    case("as type", method("(self, ev: StartEvent, r: Resource(make)) -> StopEvent"), INVALID, "Flow.f: parameter 'r' has a resource as its", "beside the type: r: Annotated[T, Resource(...)]."),
    case("two", res("Resource(make), Resource(make)"), INVALID, "Flow.f: parameter 'r' is marked with 2", "is marked with 2 resources. Leave one of them."),
    case("star", method("(self, ev: StartEvent, *r: Annotated[int, Resource(make)]) -> StopEvent"), INVALID, "Flow.f: parameter 'r' is variadic", "Make it a plain parameter, without `/` and `*`."),
    case("on event", method("(self, ev: Annotated[StartEvent, Resource(make)]) -> StopEvent"), INVALID, "Flow.f: no parameter is annotated with an", "a union of such classes only, or a list of them."),
    case("factory parameter", "def g(path: str): ...\n" + res("Resource(g)") + "\nFlow().validate()", INVALID, "Flow: step 'f': Resource factory g: nobody", "it with a resource, or give it a default."),
    case("factory annotation typo", "def g(path: 'Nope'): ...\n" + res("Resource(g)") + "\nFlow().validate()", INVALID, "Flow: step 'f': g: the annotation of its", "is decorated, and not under `if TYPE_CHECKING`."),
    case("circle", "def g(x: 'Annotated[int, Resource(g)]'): ...\n" + res("Resource(g)") + "\nFlow().validate()", INVALID, "Flow: step 'f': Circular resource", "out of the parameters of the one before it."),
    case("outlives", "def a(): yield 1\ndef g(x: Annotated[int, Resource(a)]): ...\n" + res("Resource(g)") + "\nFlow().validate()", INVALID, "Flow: step 'f': Resource 'g' of scope", "it. Give 'g' scope='run', or 'a' scope='worker'."),
    case("config missing file", "class C(BaseModel):\n    n: int\n" + res("ResourceConfig('nowhere.json')", "C") .replace("...", "return StopEvent()") + "\nFlow().run()", INVALID, "Flow: step 'f': Config file 'nowhere.json':", "program in the folder that the path begins at."),
    case("config yaml", "ResourceConfig('a.yaml')", ValueError, "ResourceConfig('a.yaml'): only JSON files", 'only JSON files are read. Name it "*.json".'),
    case("config none", "ResourceConfig(None)", INVALID, "ResourceConfig(None): this is no path. Give", "this is no path. Give a str or a pathlib.Path."),
    case("config path selector int", "ResourceConfig('a.json', 3)", INVALID, "ResourceConfig('a.json'): path_selector is", "path_selector is 3. Give a str, or leave it out."),
    case("config no model", res("ResourceConfig('a.json')", "dict"), INVALID, "Flow.f: parameter 'r':", "Annotate with a class derived from BaseModel."),
    case("factory yields twice", "def g():\n    yield 1\n    yield 2\n" + res("Resource(g)").replace("...", "return StopEvent()") + "\nawait Flow().run()", ResourceError, "Resource factory 'g' failed after its yield:", 'didn\'t stop"). Correct what it does there.'),
    case("factory yields never", "def g():\n    return\n    yield 2\n" + res("Resource(g)").replace("...", "return StopEvent()") + "\nawait Flow().run()", ResourceError, "Resource factory 'g' ended without a yield.", "it. While resource factory 'g' was called."),
    case("manager get", "await (__import__('stepwell.resource').resource.ResourceManager()).get('x')", INVALID, "ResourceManager.get('x'): this is no", "Resource(...) or ResourceConfig(...) returned."),
]

EVENTS = [
    case("_data", "A(_data=3)", TypeError, "A(_data=3): this name is taken, for the dict", "undeclared values. Give the value another name."),
    case("result field on StopEvent", "import warnings\nwarnings.simplefilter('ignore')\nclass S(StopEvent):\n    result: int", TypeError, "S: a StopEvent has a result already, so that", "another name, or return StopEvent(result=...)."),
    case("send class", inside("ctx.send_event(A)"), RUNTIME, "send_event(<class 'typing.A'>) was given the", "A: give it an Event, as in send_event(MyEvent())"),
    case("send str", inside("ctx.send_event('A')"), RUNTIME, "send_event('A') was given str: give it an", "give it an Event, as in send_event(MyEvent())"),
    case("send list", inside("ctx.send_event([A()])"), RUNTIME, "send_event([A()]) was given list: give it an", "give it an Event, as in send_event(MyEvent())"),
    case("send dict", inside("ctx.send_event({'a': 1})"), RUNTIME, "send_event({'a': 1}) was given dict: give it", "give it an Event, as in send_event(MyEvent())"),
    case("send unknown step", inside("ctx.send_event(A(), step='g')"), RUNTIME, "Flow' has no step 'g' to send A to. Its", "has no step 'g' to send A to. Its steps are: f."),
    case("send wrong step", inside("ctx.send_event(A(), step='f')"), RUNTIME, "Step 'f' does not take A: it takes", "Step 'f' does not take A: it takes StartEvent."),
    case("stream class", inside("ctx.write_event_to_stream(A)"), RUNTIME, "write_event_to_stream(<class 'typing.A'>)", "an Event, as in write_event_to_stream(MyEvent())"),
    case("stream str", inside("ctx.write_event_to_stream('A')"), RUNTIME, "write_event_to_stream('A') was given str:", "an Event, as in write_event_to_stream(MyEvent())"),
    case("collect class", inside("ctx.collect_events(A, [A])"), RUNTIME, "collect_events(<class 'typing.A'>) was given", "it an Event, as in collect_events(MyEvent())"),
    case("collect class as expected", inside("ctx.collect_events(ev, A)"), RUNTIME, "collect_events() expects <class 'typing.A'>:", "classes, with each as often as it is to come"),
    case("collect instances", inside("ctx.collect_events(ev, [A()])"), RUNTIME, "collect_events() expects [A()]: give it a", "classes, with each as often as it is to come"),
    case("collect names", inside("ctx.collect_events(ev, ['A'])"), RUNTIME, "collect_events() expects ['A']: give it a", "classes, with each as often as it is to come"),
    case("collect non event class", inside("ctx.collect_events(ev, [int])"), RUNTIME, "collect_events() expects [<class 'int'>]:", "classes, with each as often as it is to come"),
    case("collect none expected", inside("ctx.collect_events(ev, None)"), RUNTIME, "collect_events() expects None: give it a", "classes, with each as often as it is to come"),
    case("collect buffer int", inside("ctx.collect_events(ev, [A], 3)"), TypeError, "the buffer_id of collect_events is 3: give a", "buffer_id of collect_events is 3: give a text"),
    case("wait instance", inside("await ctx.wait_for_event(A())"), RUNTIME, "wait_for_event() waits for events of a", "derived from Event. Give it one such class."),
    case("wait str", inside("await ctx.wait_for_event('A')"), RUNTIME, "wait_for_event() waits for events of a", "derived from Event. Give it one such class."),
    case("wait int", inside("await ctx.wait_for_event(int)"), RUNTIME, "wait_for_event() waits for events of a", "derived from Event. Give it one such class."),
    case("wait tuple", inside("await ctx.wait_for_event((A, B))"), RUNTIME, "wait_for_event() waits for events of a", "derived from Event. Give it one such class."),
    case("wait union", inside("await ctx.wait_for_event(A | B)"), RUNTIME, "wait_for_event() waits for events of a", "derived from Event. Give it one such class."),
    case("wait question class", inside("await ctx.wait_for_event(A, waiter_event=Ask)"), RUNTIME, "wait_for_event(waiter_event=<class", "must be an Event. Give an instance, or None."),
    case("wait question str", inside("await ctx.wait_for_event(A, waiter_event='?')"), RUNTIME, "wait_for_event(waiter_event='?'): the event", "must be an Event. Give an instance, or None."),
    case("wait id int", inside("await ctx.wait_for_event(A, waiter_id=3)"), TypeError, "the waiter_id of wait_for_event is 3: give a", "waiter_id of wait_for_event is 3: give a text"),
    case("wait requirements list", inside("await ctx.wait_for_event(A, requirements=['n'])"), RUNTIME, "wait_for_event(requirements=['n']): give a", "names and the values that the event must have"),
    case("wait requirements non-str", inside("await ctx.wait_for_event(A, requirements={1: 2})"), RUNTIME, "wait_for_event(requirements={1: 2}): give a", "names and the values that the event must have"),
    case("wait timeout str", inside("await ctx.wait_for_event(A, timeout='5')"), RUNTIME, "wait_for_event(timeout='5'): give seconds,", "give seconds, or None to wait for ever"),
    case("wait timeout neg", inside("await ctx.wait_for_event(A, timeout=-1)"), RUNTIME, "wait_for_event(timeout=-1): give seconds, or", "give seconds, or None to wait for ever"),
    case("wait timeout nan", inside("await ctx.wait_for_event(A, timeout=math.nan)"), RUNTIME, "wait_for_event(timeout=nan): give seconds,", "give seconds, or None to wait for ever"),
    case("wait stop event", inside("await ctx.wait_for_event(StopEvent)"), RUNTIME, "wait_for_event(StopEvent) would wait for", "no step. Wait for an event of another class."),
    case("wait in edit", inside("async with ctx.store.edit_state(): await ctx.wait_for_event(A)"), RuntimeError, "ctx.wait_for_event() was called inside", "first, so that what it changed is committed too"),
    case("once no function", inside("await ctx.once('k', 3)"), TypeError, "ctx.once: its function is int, which can't", "Give the function itself, without parentheses."),
    case("once coroutine", pending(inside("await ctx.once('k', pending)")), TypeError, "ctx.once: its function is coroutine, which", "Give the function itself, without parentheses."),
    case("once sync function", inside("await ctx.once('k', make)"), TypeError, "make returned int, which can't be awaited.", "which can't be awaited. Write it as `async def`."),
    case("once key int", inside("await ctx.once(3, helper)"), TypeError, "the key of ctx.once is 3: give a text"),
    case("each not iterable", inside("[x async for x in ctx.each(3)]"), TypeError, "ctx.each loops over items, and int has none.", "what comes from an `async for` into one first."),
    case("each async iterable", inside("[x async for x in ctx.each(ctx.each([]))]"), TypeError, "ctx.each loops over items, and Loop has", "what comes from an `async for` into one first."),
    case("each every 0", inside("[x async for x in ctx.each([1], every=0)]"), ValueError, "ctx.each(every=0): give at least 1"),
    case("each every str", inside("[x async for x in ctx.each([1], every='2')]"), TypeError, "ctx.each(every='2'): give a whole number"),
    case("each name int", inside("[x async for x in ctx.each([1], name=2)]"), TypeError, "the name of ctx.each is 2: give a text"),
    case("each key no function", inside("[x async for x in ctx.each([1], key=2)]"), TypeError, "ctx.each: its key is int, which can't be", "Give the function itself, without parentheses."),
    case("map concurrency 0", inside("await ctx.map(helper, [1], concurrency=0)"), ValueError, "ctx.map(concurrency=0): give at least 1"),
    case("map concurrency str", inside("await ctx.map(helper, [1], concurrency='2')"), TypeError, "ctx.map(concurrency='2'): give a whole", "ctx.map(concurrency='2'): give a whole number"),
    case("map no function", inside("await ctx.map(3, [1])"), TypeError, "ctx.map: its function is int, which can't be", "Give the function itself, without parentheses."),
    case("map no items", inside("await ctx.map(helper, 3)"), TypeError, "ctx.map loops over items, and int has none.", "what comes from an `async for` into one first."),
]

RETURNS = [
    case("int", ret("3"), RUNTIME, "Step 'f' returned int (3): a step returns an", "to end the run with a value."),
    case("str", ret("'done'"), RUNTIME, "Step 'f' returned str ('done'): a step", "to end the run with a value."),
    case("tuple", ret("(StopEvent(), 1)"), RUNTIME, "Step 'f' returned tuple ((StopEvent(), 1)):", "the step with list[...], and return a list."),
    case("dict", ret("{'result': 1}"), RUNTIME, "Step 'f' returned dict ({'result': 1}): a", "to end the run with a value."),
    case("set", ret("{1}"), RUNTIME, "Step 'f' returned set ({1}): a step returns", "the step with list[...], and return a list."),
    case("generator", ret("(StopEvent() for _ in 'a')"), RUNTIME, "Step 'f' returned generator (<generator", "the step with list[...], and return a list."),
    case("class", ret("StopEvent"), RUNTIME, "Step 'f' returned the class StopEvent", "or None. Return an instance: StopEvent(...)."),
    case("coroutine", pending(ret("pending")), RUNTIME, "Step 'f' returned coroutine (<coroutine", "step returns an event, or None. Await it first."),
    case("list without", ret("[StopEvent()]"), RUNTIME, "Step 'f' returned list, but its annotation", "annotate the return as list[...] to fan out."),
    case("list with None", fan("[A(), None]"), RUNTIME, "Step 'f' returned a list with NoneType", "must be an event. Leave out what is none."),
    case("list with list", fan("[[A()]]"), RUNTIME, "Step 'f' returned a list with list ([A()])", "must be an event. Leave out what is none."),
    case("list with class", fan("[A]"), RUNTIME, "Step 'f' returned a list with the class A", "must be an event. Leave out what is none."),
    case("tuple for list", fan("(A(),)"), RUNTIME, "Step 'f' returned tuple ((A(),)): a step", "the step with list[...], and return a list."),
    case("bare in fan out", fan("A()"), RUNTIME, "Step 'f' returned a bare A, but its", "a list, or add the class to the annotation."),
    case("false", ret("False"), RUNTIME, "Step 'f' returned bool (False): a step", "to end the run with a value."),
    case("context", ret("ctx"), RUNTIME, "Step 'f' returned Context", "to end the run with a value."),
    case("base model", ret("State()"), RUNTIME, "Step 'f' returned State (State(count=0)): a", "to end the run with a value."),
    case("exception", ret("ValueError('x')"), RUNTIME, "Step 'f' returned ValueError", "to end the run with a value."),
    case("sync step int", inside("return 3").replace("async def", "def"), RUNTIME, "Step 'f' returned int (3): a step returns an", "to end the run with a value."),
    case("sync returns coroutine", "pending = helper()\nclass Flow(Workflow):\n    @step\n    def f(self, ev: StartEvent) -> StopEvent: return pending\nawait Flow().run()", RUNTIME, "Step 'f' returned coroutine (<coroutine", "step returns an event, or None. Await it first."),
    case("awaits nothing: handler", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent) -> StopEvent: return Good().run()\nawait Flow().run()", RUNTIME, "Step 'f' returned WorkflowHandler", "step returns an event, or None. Await it first."),
]

RUNS = [
    case("positional event", "Good().run(StartEvent())", RUNTIME, "run() was given StartEvent as its ctx, which", "is read with Context.from_dict(workflow, map)."),
    case("positional str", "Good().run('topic')", RUNTIME, "run() was given str as its ctx, which must", "is read with Context.from_dict(workflow, map)."),
    case("positional 0", "Good().run(0)", RUNTIME, "run() was given int as its ctx, which must", "is read with Context.from_dict(workflow, map)."),
    case("ctx class", "Good().run(ctx=Context)", RUNTIME, "run() was given the class Context as its", "is read with Context.from_dict(workflow, map)."),
    case("ctx dict", "Good().run(ctx=Context(Good()).to_dict())", RUNTIME, "run() was given dict as its ctx, which must", "is read with Context.from_dict(workflow, map)."),
    case("ctx workflow", "Good().run(ctx=Good())", RUNTIME, "run() was given Good as its ctx, which must", "is read with Context.from_dict(workflow, map)."),
    case("ctx handler", "h = Good().run()\nawait h\nGood().run(ctx=h)", RUNTIME, "run() was given WorkflowHandler as its ctx,", "is read with Context.from_dict(workflow, map)."),
    case("ctx is live", "w = Human()\nh = w.run()\nw.run(ctx=h.ctx)", PHASE, "a run of 'app.Human' is going on with this", "or start the other run with a context of its own"),
    case("ctx with other state", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent, ctx: Context[State]) -> StopEvent: ...\nc = Context(Good())\nFlow().run(ctx=c)", PHASE, "the context holds a DictState, but the steps", "and set what it takes over with ctx.store.set()"),
    case("ctx typed to other typed", "class Flow(Workflow):\n    @step\n    async def f(self, ev: StartEvent, ctx: Context[State]) -> StopEvent: ...\nclass Flow2(Workflow):\n    @step\n    async def f(self, ev: StartEvent, ctx: Context[OtherState]) -> StopEvent: ...\nc = Context(Flow())\nFlow2().run(ctx=c)", PHASE, "the context holds a State, but the steps of", "and set what it takes over with ctx.store.set()"),
    case("run_id int", "Good().run(run_id=3)", ValueError, "run id 3 can't be used: take 1 to 200", "or leave it out"),
    case("run_id empty", "Good().run(run_id='')", ValueError, "run id '' can't be used: take 1 to 200", "or leave it out"),
    case("run_id bytes", "Good().run(run_id=b'a')", ValueError, "run id b'a' can't be used: take 1 to 200", "or leave it out"),
    case("run_id twice", "w = Human()\nh = w.run(run_id='x')\nw.run(run_id='x')", RuntimeError, "a run named 'x' is going on in this process:", "handler first, or give this run another run_id"),
    case("start_event dict", "Good().run(start_event={'a': 1})", ValueError, "start_event must be a StartEvent, not dict:", "not dict: give an instance of StartEvent"),
    case("start_event class", "Good().run(start_event=StartEvent)", ValueError, "start_event must be a StartEvent, not the", "class StartEvent: give an instance of StartEvent"),
    case("start_event other event", "Good().run(start_event=A())", ValueError, "start_event must be a StartEvent, not A:", "not A: give an instance of StartEvent"),
    case("start_event base for own", "Takes().run(start_event=StartEvent(n=1))", ValueError, "Takes: no step takes StartEvent, so that the", "run would never begin: give start_event an Needs"),
    case("start_event other subclass", "Good().run(start_event=MyStart())", ValueError, "Good: no step takes MyStart, so that the run", "never begin: give start_event an StartEvent"),
    case("missing fields", "Takes().run()", RUNTIME, "Takes: run() can't make its Needs of the", "Field required. Correct these keywords of run()."),
    case("wrong fields", "Takes().run(n='x')", RUNTIME, "Takes: run() can't make its Needs of the", "as an integer. Correct these keywords of run()."),
    case("forbidden extra", flow("f(ev: Strict) -> StopEvent") + "\nFlow().run(foo=1)", RUNTIME, "Flow: run() can't make its Strict of the", "not permitted. Correct these keywords of run()."),
    case("no loop", "in_thread(lambda: Good().run())", RuntimeError, "Good: run() found no running event loop.", "async function, and that with asyncio.run(...)."),
    case("validate resources in loop", "def g(): return 1\n" + res("Resource(g)") + "\nFlow().validate(validate_resources=True)", INVALID, "Flow: validate(validate_resources=True)", "is running here. Call it before asyncio.run()."),
]

CONSTRUCTOR = [
    *(case(f"timeout={v}", f"Good(timeout={v})", INVALID, "timeout is", "give seconds, or None for no limit") for v in ("-1", "'5'", "math.nan", "True", "[]", "StartEvent")),
    *(case(f"num_concurrent_runs={v}", f"Good(num_concurrent_runs={v})", INVALID, "num_concurrent_runs is", "whole number of at least 1, or None for no limit") for v in ("0", "-1", "'2'", "True", "1.5")),
    case("verbose", "Good(verbose='yes')", INVALID, "verbose is 'yes': give True or False"),
    case("disable_validation", "Good(disable_validation='no')", INVALID, "disable_validation is 'no': give True or", "disable_validation is 'no': give True or False"),
    case("resource_manager", "Good(resource_manager={})", INVALID, "resource_manager is dict: give a", "dict: give a ResourceManager(), or leave it out"),
    case("resource_manager class", "Good(resource_manager=ResourceManager)", INVALID, "resource_manager is the class", "give a ResourceManager(), or leave it out"),
    case("runtime", "Good(runtime='dbos')", INVALID, "runtime is 'dbos': give a BasicRuntime of", "out. To make runs durable give checkpointer=..."),
    case("runtime falsy", "Good(runtime=0)", INVALID, "runtime is 0: give a BasicRuntime of", "out. To make runs durable give checkpointer=..."),
    case("workflow_name int", "Good(workflow_name=3)", INVALID, "workflow_name is 3: give a text, or leave it", "workflow_name is 3: give a text, or leave it out"),
    case("workflow_name empty", "Good(workflow_name='')", INVALID, "workflow_name is '': give a text, or leave", "is '': give a text, or leave it out"),
    case("skip unknown", "Good(skip_graph_checks={'reach'})", INVALID, "skip_graph_checks has 'reach': choose from", "from reachability, terminal_event, dead_end"),
    case("skip str", "Good(skip_graph_checks='reachability')", INVALID, "skip_graph_checks is 'reachability': give a", "names: reachability, terminal_event, dead_end"),
    case("skip mixed", "Good(skip_graph_checks=[1, 'x'])", INVALID, "skip_graph_checks has 1, 'x': choose from", "from reachability, terminal_event, dead_end"),
    case("skip int", "Good(skip_graph_checks=3)", INVALID, "skip_graph_checks is 3: give a set of these", "names: reachability, terminal_event, dead_end"),
    case("serializer class", "Good(serializer=JsonSerializer)", INVALID, "serializer is the class JsonSerializer: give", "and deserialize, such as JsonSerializer()"),
    case("serializer str", "Good(serializer='json')", INVALID, "serializer is str: give an object with the", "and deserialize, such as JsonSerializer()"),
    case("checkpointer scheme", "Good(checkpointer='rdis://localhost')", INVALID, "checkpointer='rdis:...': no store is known", "rediss+sentinel, unix. Write it as in 'redis://host:6379'"),
    case("checkpointer http", "Good(checkpointer='http://localhost')", INVALID, "checkpointer='http:...': no store is known", "rediss+sentinel, unix. Write it as in 'redis://host:6379'"),
    case("checkpointer no scheme", "Good(checkpointer='localhost:6379')", INVALID, "checkpointer='localhost:...': no store is", "rediss+sentinel, unix. Write it as in 'redis://host:6379'"),
    case("checkpointer empty", "Good(checkpointer='')", INVALID, "checkpointer=':...': no store is known for", "rediss+sentinel, unix. Write it as in 'redis://host:6379'"),
    case("checkpointer int", "Good(checkpointer=6379)", INVALID, "checkpointer= takes a checkpointer or a URL,", "RedisCheckpointer(...) or 'redis://host:6379'"),
    case("checkpointer class", "Good(checkpointer=RedisCheckpointer)", INVALID, "checkpointer= takes a checkpointer or a URL,", "RedisCheckpointer(...) or 'redis://host:6379'"),
    case("checkpointer port", "Good(checkpointer='redis://localhost:port')", ValueError, "the URL of the store can't be read: Port", "as 'port'. Write it as in redis://host:6379/0"),
    case("checkpointer db", "Good(checkpointer='redis://localhost/zero')", ValueError, "the URL of the store names database 'zero',", "have numbers. Write it as in redis://host:6379/0"),
    case("checkpointer bad option", "Good(checkpointer='redis://localhost/0?foo=1')", ValueError, "redis-py knows no option foo in a URL: take", "knows no option foo in a URL: take it out"),
    case("embedded bad", "Good(checkpointer='embedded://host/x')", ValueError, "'embedded://host/x' is no embedded server:", "(with '?' and '#' in a name as %3F and %23)"),
    case("durability typo", "Good(checkpointer='redis://localhost', durability='synch')", ValueError, "durability='synch': choose one of 'sync',", "choose one of 'sync', 'async', 'exit'"),
    case("durability alone", "Good(durability='sync')", INVALID, "durability='sync' means nothing without a", "Give one with checkpointer=..., or leave it out."),
    case("durability not str", "Good(checkpointer='redis://localhost', durability=True)", ValueError, "durability=True: choose one of 'sync',", "choose one of 'sync', 'async', 'exit'"),
    case("durability empty", "Good(checkpointer='redis://localhost', durability='')", ValueError, "durability='': choose one of 'sync',", "choose one of 'sync', 'async', 'exit'"),
    case("cp durability", "RedisCheckpointer('redis://localhost', durability='synch')", ValueError, "durability='synch': choose one of 'sync',", "choose one of 'sync', 'async', 'exit'"),
    case("cp reuse", "RedisCheckpointer('redis://localhost', reuse='always')", ValueError, "reuse='always': choose one of 'interrupted',", "choose one of 'interrupted', 'never'"),
    case("cp on_lost", "RedisCheckpointer('redis://localhost', on_lost='ignore')", ValueError, "on_lost='ignore': choose one of 'follow',", "choose one of 'follow', 'raise'"),
    case("cp lease 0", "RedisCheckpointer('redis://localhost', lease=0)", ValueError, "lease=0: a lease lasts at least one second,", "lasts at least one second, and not for ever"),
    case("cp lease str", "RedisCheckpointer('redis://localhost', lease='15')", TypeError, "lease='15': give seconds, as a number"),
    case("cp lease nan", "RedisCheckpointer('redis://localhost', lease=math.nan)", ValueError, "lease=nan: a lease lasts at least one", "lasts at least one second, and not for ever"),
    case("cp namespace int", "RedisCheckpointer('redis://localhost', namespace=3)", ValueError, "namespace 3 can't be used: take 1 to 64 of", "be used: take 1 to 64 of A-Z a-z 0-9 _ . : -"),
    case("cp namespace empty", "RedisCheckpointer('redis://localhost', namespace='')", ValueError, "namespace '' can't be used: take 1 to 64 of", "be used: take 1 to 64 of A-Z a-z 0-9 _ . : -"),
    case("cp namespace brace", "RedisCheckpointer('redis://localhost', namespace='a}b')", ValueError, "namespace 'a}b' can't be used: take 1 to 64", "be used: take 1 to 64 of A-Z a-z 0-9 _ . : -"),
    case("cp source none", "RedisCheckpointer(None)", TypeError, "NoneType is no redis-py client: pass a", "a RedisCluster of either, or a URL"),
    case("attach class", "RedisCheckpointer('redis://localhost').attach(Good)", INVALID, "attach() was given the class Good: give it", "Good: give it an instance of a workflow class"),
    case("attach str", "RedisCheckpointer('redis://localhost').attach('Good')", INVALID, "attach() was given str: give it an instance", "str: give it an instance of a workflow class"),
    case("attach durability", "RedisCheckpointer('redis://localhost').attach(Good(), durability='x')", ValueError, "durability='x': choose one of 'sync',", "choose one of 'sync', 'async', 'exit'"),
    case("snapshot elsewhere", inside("await RedisCheckpointer('redis://localhost').snapshot(ctx)"), PHASE, "snapshot(ctx): the run of this context does", "Annotated[RedisCheckpointer, Resource(factory)]."),
    case("snapshot dict", "await RedisCheckpointer('redis://localhost').snapshot({})", TypeError, "snapshot() was given dict: give it the", "give it the context that the step was given"),
]

HANDLERS = [
    case("send after end", "h = Good().run(run_id='r')\nawait h\nawait h.send_event(StartEvent())", RUNTIME, "StartEvent was sent to run 'r'", "which is over: no step can take it any more"),
    case("ctx send after end", "h = Good().run(run_id='r')\nawait h\nh.ctx.send_event(StartEvent())", RUNTIME, "StartEvent was sent to run 'r'", "which is over: no step can take it any more"),
    case("send class", "h = Human().run()\nawait h.send_event(Answer)", RUNTIME, "send_event(<class 'typing.Answer'>) was", "give it an Event, as in send_event(MyEvent())"),
    case("send str", "h = Human().run()\nawait h.send_event('yes')", RUNTIME, "send_event('yes') was given str: give it an", "give it an Event, as in send_event(MyEvent())"),
    case("send unknown step", "h = Human().run()\nawait h.send_event(Answer(), step='tke')", RUNTIME, "Human' has no step 'tke' to send Answer to.", "to send Answer to. Its steps are: ask, take."),
    case("send wrong step", "h = Human().run()\nawait h.send_event(Answer(), step='ask')", RUNTIME, "Step 'ask' does not take Answer: it takes", "'ask' does not take Answer: it takes StartEvent."),
    case("get_result early", "import warnings\nh = Human().run()\nwarnings.simplefilter('ignore')\nh.ctx.get_result()", RUNTIME, "is not complete: await its handler"),
    case("ctx collect outside", "h = Human().run()\nh.ctx.collect_events(A(), [A])", PHASE, "collect_events is not available outside of a", "a step, on the context that the step was given"),
    case("ctx wait outside", "h = Human().run()\nawait h.ctx.wait_for_event(A)", PHASE, "wait_for_event is not available outside of a", "a step, on the context that the step was given"),
    case("ctx write outside", "h = Human().run()\nh.ctx.write_event_to_stream(A())", PHASE, "write_event_to_stream is not available", "a step, on the context that the step was given"),
    case("step context outside", "Context.get_step_context()", RUNTIME, "get_step_context() was called outside of a", "outside of a step: there is no step to speak of"),
    case("retry_info outside", "Context(Good()).retry_info()", PHASE, "retry_info is not available before the run", "a step, on the context that the step was given"),
    case("send before", "Context(Good()).send_event(A())", PHASE, "send_event is not available before the run", "it on handler.ctx, while the run is going on"),
    case("stream before", "Context(Good()).stream_events()", PHASE, "stream_events is not available before the", "it on handler.ctx, while the run is going on"),
    case("stream in step", inside("ctx.stream_events()"), PHASE, "stream_events is not available inside a", "it on handler.ctx, while the run is going on"),
    case("runner class", "WorkflowTestRunner(Good)", INVALID, "WorkflowTestRunner(<class 'app.Good'>): give", "give an instance of a workflow class."),
    case("runner exclude", "await WorkflowTestRunner(Good()).run(exclude_events=[A()])", INVALID, "exclude_events is [A()]. Give a list of", "Give a list of classes derived from Event."),
    case("runner exclude class", "await WorkflowTestRunner(Good()).run(exclude_events=A)", INVALID, "exclude_events is <class 'typing.A'>. Give a", "Give a list of classes derived from Event."),
]

CONTEXTS = [
    case("Context of class", "Context(Good)", INVALID, "a Context belongs to a workflow, not to the", "give an instance, as in Context(MyWorkflow())"),
    case("Context of str", "Context('Good')", INVALID, "a Context belongs to a workflow, not to str:", "give an instance, as in Context(MyWorkflow())"),
    case("Context of none", "Context(None)", INVALID, "a Context belongs to a workflow, not to", "give an instance, as in Context(MyWorkflow())"),
    case("from_dict swapped", "Context.from_dict({}, Good())", INVALID, "a Context belongs to a workflow, not to", "give an instance, as in Context(MyWorkflow())"),
    case("from_dict str", "Context.from_dict(Good(), '{}')", UNREADABLE, "a context is rebuilt from a map of str or", "not from str: give what to_dict() returned"),
    case("from_dict None", "Context.from_dict(Good(), None)", UNREADABLE, "a context is rebuilt from a map of str or", "not from NoneType: give what to_dict() returned"),
    case("from_dict list", "Context.from_dict(Good(), [])", UNREADABLE, "a context is rebuilt from a map of str or", "not from list: give what to_dict() returned"),
    case("from_dict json of", "Context.from_dict(Good(), json.dumps(Context(Good()).to_dict()))", UNREADABLE, "a context is rebuilt from a map of str or", "not from str: give what to_dict() returned"),
    case("from_dict foreign", "Context.from_dict(Good(), {'a': 'b'})", UNREADABLE, "this map is no context: it has no field", "returned, or an empty map to begin anew."),
    case("from_dict upstream", "Context.from_dict(Good(), {'is_running': False, 'version': 2, 'workers': {}})", UNREADABLE, "this map is a snapshot of LlamaIndex", "ctx.store.set_state(await store.get_state())"),
    case("from_dict newer", "Context.from_dict(Good(), {**Context(Good()).to_dict(), 'format': '9'})", UNREADABLE, "this context has layout 9, and this Stepwell", "with the version that wrote it, or a newer one"),
    case("from_dict int value", "Context.from_dict(Good(), {**Context(Good()).to_dict(), 'x': 3})", UNREADABLE, "field 'x' in the map of a context is int,", "in the map of a context is int, not str or bytes"),
    case("from_dict missing field", "d = Context(Good()).to_dict()\ndel d[json.loads(d['fields'])[-1]]\nContext.from_dict(Good(), d)", UNREADABLE, "field 'status' of the context is missing", "from the map: give the whole of to_dict()"),
    case("to_dict unstorable", "c = Context(Good())\nawait c.store.set('lock', threading.Lock())\nc.to_dict()", UNSTORABLE, "state key 'lock': a value of type", "let a step take it from a Resource instead"),
    case("to_dict serializer class", "Context(Good()).to_dict(serializer=JsonSerializer)", INVALID, "serializer is the class JsonSerializer: give", "and deserialize, such as JsonSerializer()"),
    case("from_dict serializer class", "Context.from_dict(Good(), Context(Good()).to_dict(), JsonSerializer)", INVALID, "serializer is the class JsonSerializer: give", "and deserialize, such as JsonSerializer()"),
    case("Context serializer str", "Context(Good(), serializer='json')", INVALID, "serializer is str: give an object with the", "and deserialize, such as JsonSerializer()"),
    case("serializer lock", "JsonSerializer().serialize(threading.Lock())", ValueError, "a value of type _thread.lock can't be", "Object of type lock is not JSON serializable"),
    case("serializer allowed str", "JsonSerializer(allowed_types='a.B')", TypeError, "allowed_types is 'a.B': give a list of", "is 'a.B': give a list of classes and their names"),
    case("serializer allowed class", "JsonSerializer(allowed_types=State)", TypeError, "allowed_types is <class 'app.State'>:", "give a list of classes and their names"),
    case("serializer allowed int", "JsonSerializer(allowed_types=[1])", TypeError, "1 is no class and no name of one: give the", "class and no name of one: give the class itself"),
    case("serializer with_types instance", "JsonSerializer().with_types(State())", TypeError, "State(count=0) is no class and no name of", "class and no name of one: give the class itself"),
    case("deserialize no json", "JsonSerializer().deserialize('{')", ValueError, "'{' is no JSON (Expecting property name", "1)): give the text that serialize() returned"),
    case("deserialize dict", "JsonSerializer().deserialize({})", ValueError, "a dict can't be deserialized: give the text", "be deserialized: give the text of serialize()"),
    case("deserialize refused", "JsonSerializer(allowed_types=[]).deserialize('{\"__is_pydantic\": true, \"value\": {}, \"qualified_name\": \"a.B\"}')", ValueError, "class 'a.B' may not come back: if this text", "the class to JsonSerializer(allowed_types=[...])"),
    case("store from_dict type", "InMemoryStateStore.from_dict({'store_type': 'sql'}, JsonSerializer())", ValueError, "Cannot parse store_type 'sql' as that of an", "state: give the data to the store that wrote it"),
    case("store from_dict str", "InMemoryStateStore.from_dict('x', JsonSerializer())", ValueError, "the data of a state are a dict, not str"),
    case("store from_dict no serializer", "InMemoryStateStore.from_dict({'store_type': 'in_memory', 'state_data': {'_data': {'a': '1'}}}, None)", INVALID, "serializer is NoneType", "such as JsonSerializer()"),
]

# fmt: on
TABLE = {
    "signature": SIGNATURES,
    "decorator": DECORATED,
    "option": OPTIONS,
    "graph": GRAPHS,
    "state model": STATES,
    "state store": STORE,
    "resource": RESOURCES,
    "event": EVENTS,
    "return value": RETURNS,
    "run argument": RUNS,
    "workflow argument": CONSTRUCTOR,
    "handler": HANDLERS,
    "context": CONTEXTS,
}
MISTAKES = [
    pytest.param(mistake, id=f"{group}: {mistake.name}")
    for group, mistakes in TABLE.items()
    for mistake in mistakes
]
IN_RUNS = [
    pytest.param(mistake, id=f"{group}: {mistake.name}")
    for group, mistakes in TABLE.items()
    for mistake in mistakes
    if mistake.program.endswith("().run()") and "await" in mistake.program.splitlines()[-1]
]


# --- how a program is run ---


def in_thread(function: Callable[[], Any]) -> Any:
    """Call something where no event loop is running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


async def evaluate(statement: ast.stmt, names: dict[str, Any]) -> None:
    module = ast.Module([statement], [])
    code = compile(module, "<program>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, names)  # noqa: S307  the programs are the tests' own
    if inspect.iscoroutine(done):
        await done


async def raised_by(
    program: str, durably: AbstractAsyncContextManager[Any] | None = None
) -> Exception | None:
    """Run a program; return what its last statement raises."""
    names = execute("stepwell", "") | {"__name__": "app", "in_thread": in_thread}
    *before, last = [*ast.parse(PRELUDE).body, *ast.parse(program).body]
    for statement in before:
        await evaluate(statement, names)
    try:
        async with durably or nullcontext():
            await evaluate(last, names)
    except Exception as error:  # noqa: BLE001  it is what the test looks at
        return error
    finally:
        await _tidy(names)
    return None


async def _tidy(names: dict[str, Any]) -> None:
    for value in names.values():
        if inspect.iscoroutine(value):
            value.close()
        if isinstance(value, WorkflowHandler):
            await value.cancel_run()


def message_of(error: BaseException | None) -> str:
    return " ".join("\n".join([str(error), *getattr(error, "__notes__", [])]).split())


def is_meant(error: BaseException) -> bool:
    """Whether an error was raised on purpose, by us, by Pydantic or by a program."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = Path(stepwell.__file__).parent in Path(innermost.filename).parents
    return not is_ours or (innermost.line or "").startswith("raise")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that its traceback shows before it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _check_told(mistake: Mistake, error: Exception | None) -> None:
    assert type(error) is mistake.error, error
    missing = [part for part in mistake.says if part not in message_of(error)]
    assert not missing, message_of(error)


# --- the tests ---


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_told_at_once_with_culprit_and_remedy(mistake: Mistake) -> None:
    error = await raised_by(mistake.program)
    _check_told(mistake, error)
    unmeant = [one for one in _chain(error) if not is_meant(one)]
    assert not unmeant, "an error of our own code shows through"


@pytest.mark.parametrize("mistake", IN_RUNS)
async def test_a_durable_run_fails_with_the_same_error(
    mistake: Mistake, redis_server: RedisServer, namespace: str
) -> None:
    error = await raised_by(
        mistake.program, RedisCheckpointer(redis_server.url, namespace=namespace)
    )
    _check_told(mistake, error)


def print_all() -> None:
    """Print every message, to be read by eye."""
    for group, mistakes in TABLE.items():
        print(f"\n{group}\n")  # noqa: T201  what it is for
        for mistake in mistakes:
            error = asyncio.run(raised_by(mistake.program))
            assert error is not None
            print(f"{mistake.name}\n    {type(error).__name__}: {message_of(error)}")  # noqa: T201  as above


if __name__ == "__main__":
    print_all()
