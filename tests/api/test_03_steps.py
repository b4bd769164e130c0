"""Steps and handlers of failures: what the decorators refuse, what they read, what they do.

The programs are the same text for Stepwell and for LlamaIndex Workflows, and do the same in both.
"""

import asyncio
import contextlib
import inspect
from dataclasses import fields
from textwrap import dedent, indent
from typing import Any

import pytest

from stepwell import decorators
from support.twins import execute, flow

upstream = pytest.importorskip("workflows.decorators")

both = pytest.mark.parametrize("package", ["stepwell", "workflows"])


# --- the interface ---


@pytest.mark.parametrize("name", ["step", "catch_error", "make_step_function", "CatchErrorHandler"])
def test_parameters_and_defaults_are_those_of_upstream(name: str) -> None:
    def listed(module: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(getattr(module, name)).parameters.values()
        return [(one.name, one.kind, one.default) for one in parameters]

    assert listed(decorators) == listed(upstream)


def test_a_config_has_the_fields_of_upstream_and_takes_them_in_the_same_order() -> None:
    ours = [field.name for field in fields(decorators.StepConfig)]
    theirs = [field.name for field in fields(upstream.StepConfig)]
    assert [name for name in ours if name in theirs] == theirs


@pytest.mark.parametrize("name", ["StepGraphCheck", "WorkflowGraphCheck"])
def test_the_checks_have_the_same_names(name: str) -> None:
    assert getattr(decorators, name) == getattr(upstream, name)


# --- what is read ---

READ = {
    "one event": "f(ev: A) -> StopEvent",
    "union": "f(ev: A | B) -> None",
    "optional": "f(ev: Optional[A]) -> B | None",
    "old unions": "f(ev: Union[A, B]) -> Union[C, None]",
    "context first": "f(ctx: Context, ev: A) -> B",
    "context last, named at will": "f(ev: A, whatever: Context) -> B",
    "others ignored": "f(ev: A, x=1, y: int = 3) -> B",
    "not only events": "f(ev: A, x: B | int = 3) -> B",
    "several events": "f(b: B, ctx: Context, a: A) -> StopEvent",
    "the same event twice": "f(one: A, two: A) -> StopEvent",
    "several, one optional": "f(a: A, b: B | None) -> StopEvent",
    "list": "f(evs: list[A]) -> StopEvent",
    "list of a union": "f(evs: list[A | B]) -> StopEvent",
    "optional list": "f(evs: list[A] | None) -> StopEvent",
    "first two": "f(evs: Annotated[list[A], Collect(Take(2))]) -> StopEvent",
    "all, said so": "f(evs: Annotated[list[A], Collect()]) -> StopEvent",
    "fan-out": "f(ev: A) -> list[B]",
    "fan-out or not": "f(ev: A) -> list[A | B] | C | None",
    "strings": "f(ev: 'A | B', ctx: 'Context') -> 'list[C] | None'",
    "options": "@step(num_workers=2, skip_graph_checks=['dead_end']); f(ev: A) -> None",
    "subclasses": "@step(accept_event_subclasses=True); f(ev: A) -> None",
    "handler": "@catch_error; f(ev: StepFailedEvent) -> None",
    "handler with a context": "@catch_error; f(ctx: Context, ev: StepFailedEvent) -> list[A]",
    "handler of some": "@catch_error(for_steps=['a', 'b'], max_recoveries=3); "
    "f(ev: StepFailedEvent) -> A",
    "handler of none": "@catch_error(for_steps=[]); f(ev: StepFailedEvent) -> A",
}


def config_of(package: str, signature: str) -> dict[str, Any]:
    """What the decorators read, with names in place of classes."""
    config = execute(package, flow(signature))["Flow"].f._step_config
    found = {field.name: getattr(config, field.name) for field in fields(upstream.StepConfig)}
    found["collect_params"] = found["collect_params"] or []
    return {name: with_names(value) for name, value in found.items()}


def with_names(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [with_names(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]  any values
    return value.__name__ if isinstance(value, type) else repr(value)


@pytest.mark.parametrize("signature", READ.values(), ids=READ)
def test_a_config_says_the_same_as_upstream(signature: str) -> None:
    assert config_of("stepwell", signature) == config_of("workflows", signature)


# --- what is refused ---

REFUSED = {
    "no workers": "@step(num_workers=0); f(ev: A) -> None",
    "less than no workers": "@step(num_workers=-1); f(ev: A) -> None",
    "half workers": "@step(num_workers=1.5); f(ev: A) -> None",
    "workers in words": "@step(num_workers='4'); f(ev: A) -> None",
    "no parameter": "f() -> None",
    "no event": "f(ev: int) -> None",
    "anything": "f(ev: Any) -> None",
    "event or else": "f(ev: A | int) -> None",
    "event or list": "f(ev: A | list[B]) -> None",
    "list of others": "f(evs: list[int]) -> None",
    "list of events or others": "f(evs: list[A | int]) -> None",
    "event class": "f(ev: type[A]) -> None",
    "unknown name": "f(ev: 'Nowhere') -> None",
    "unknown name returned": "f(ev: A) -> 'Nowhere'",
    "async generator": "f(ev: A) -> AsyncGenerator[B, None]",
    "async iterator": "f(ev: A) -> AsyncIterator[B]",
    "two lists": "f(one: list[A], two: list[B]) -> None",
    "list and event": "f(evs: list[A], ev: B) -> None",
    "list and events": "f(a: A, b: B, evs: list[C]) -> None",
    "several, one a union": "f(a: A | B, c: C) -> None",
    "collect on an event": "f(ev: Annotated[A, Collect()]) -> None",
    "collect on another": "f(ev: A, x: Annotated[int, Collect()]) -> None",
    "collect three": "f(evs: Annotated[list[A], Collect(3)]) -> None",
    "handler of an event": "@catch_error; f(ev: A) -> None",
    "handler of every event": "@catch_error; f(ev: Event) -> None",
    "handler of a union": "@catch_error; f(ev: StepFailedEvent | A) -> None",
    "handler of more": "@catch_error; f(ev: StepFailedEvent, a: A) -> None",
    "handler of two": "@catch_error; f(ev: StepFailedEvent, two: StepFailedEvent) -> None",
    "handler of a derived event": "@catch_error; f(ev: MyFailure) -> None",
    "handler of nothing": "@catch_error; f() -> None",
    "no recovery": "@catch_error(max_recoveries=0); f(ev: StepFailedEvent) -> None",
    "half a recovery": "@catch_error(max_recoveries=1.5); f(ev: StepFailedEvent) -> None",
    "a recovery in words": "@catch_error(max_recoveries='1'); f(ev: StepFailedEvent) -> None",
    "for a step": "@catch_error(for_steps='f'); f(ev: StepFailedEvent) -> None",
    "for a tuple": "@catch_error(for_steps=('f',)); f(ev: StepFailedEvent) -> None",
    "for numbers": "@catch_error(for_steps=[1]); f(ev: StepFailedEvent) -> None",
}


@both
@pytest.mark.parametrize("signature", REFUSED.values(), ids=REFUSED)
def test_a_wrong_step_is_refused_at_the_decorator(package: str, signature: str) -> None:
    names = execute(package, "")
    with pytest.raises(names["WorkflowValidationError"]):
        execute(package, flow(signature))


# Upstream accepts these, and fails later or not at all.
STRICTER = {
    "a generator": "class Flow(Workflow):\n"
    "    @step\n"
    "    def f(self, ev: A) -> Iterator[B]: yield B()",
    "true workers": flow("@step(num_workers=True); f(ev: A) -> None"),
    "true recoveries": flow("@catch_error(max_recoveries=True); f(ev: StepFailedEvent) -> None"),
    "policy without next": flow("@step(retry_policy=3); f(ev: A) -> None"),
    "policy not called": flow("@step(retry_policy=RetryPolicy); f(ev: A) -> None"),
    "unknown check": flow("@step(skip_graph_checks=['terminal_event']); f(ev: A) -> None"),
    "handler of a list": flow("@catch_error; f(evs: list[StepFailedEvent]) -> None"),
    "positional only": flow("f(ev: A, /) -> None"),
    "optional iterator": flow("f(ev: A) -> AsyncIterator[B] | None"),
    "free handler": "@catch_error\nasync def f(ev: StepFailedEvent) -> None: ...",
}


@pytest.mark.parametrize("text", STRICTER.values(), ids=STRICTER)
def test_what_only_stepwell_refuses(text: str) -> None:
    names = execute("stepwell", "")
    with pytest.raises(names["WorkflowValidationError"], match=r"f: "):
        execute("stepwell", text)
    execute("workflows", text)


# --- what steps do ---

RUNS: dict[str, tuple[str, str]] = {
    "what is not annotated is not passed": (
        """
        @step
        async def f(self, ev: StartEvent, extra="default") -> StopEvent:
            return StopEvent(extra)
        """,
        "default",
    ),
    "a sync step runs in a thread, with the context variables": (
        """
        @step
        def f(self, ev: StartEvent) -> StopEvent:
            return StopEvent((threading.current_thread() is main_thread, variable.get()))
        """,
        "(False, 'set')",
    ),
    "None ends the branch": (
        """
        @step
        async def f(self, ctx: Context, ev: StartEvent) -> A | B:
            ctx.send_event(B())
            return A()
        @step
        async def g(self, ev: A) -> None: ...
        @step
        async def h(self, ev: B) -> StopEvent:
            return StopEvent("h")
        """,
        "h",
    ),
    "an object that is no event fails the run": (
        """
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            return 3
        """,
        "WorkflowRuntimeError",
    ),
    "a list needs a list in the annotation": (
        """
        @step
        async def f(self, ev: StartEvent) -> A | StopEvent:
            return [A()]
        @step
        async def g(self, ev: A) -> None: ...
        """,
        "WorkflowRuntimeError",
    ),
    "a handler is told of the failure": (
        """
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            raise KeyError("lost")
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent((ev.step_name, type(ev.input_event).__name__, repr(ev.exception)))
        """,
        "('f', 'StartEvent', \"KeyError('lost')\")",
    ),
    "a handler is told how often it was tried": (
        """
        @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(3)))
        async def f(self, ev: StartEvent) -> StopEvent:
            raise KeyError("lost")
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(ev.attempts)
        """,
        "3",
    ),
    "a wrong return value is a failure of the step": (
        """
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            return 3
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(("handled", type(ev.exception).__name__))
        """,
        "('handled', 'WorkflowRuntimeError')",
    ),
    "the handler that names the step wins": (
        """
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            raise KeyError("lost")
        @catch_error
        async def rest(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("rest")
        @catch_error(for_steps=["f"])
        async def named(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("named")
        """,
        "named",
    ),
    "a step that no handler covers fails the run": (
        """
        @step
        async def f(self, ev: StartEvent) -> A | StopEvent:
            raise KeyError("lost")
        @step
        async def g(self, ev: A) -> StopEvent: ...
        @catch_error(for_steps=["g"])
        async def named(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("named")
        """,
        "KeyError",
    ),
    "a handler that fails fails the run": (
        """
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            raise KeyError("lost")
        @catch_error(for_steps=["f"])
        async def named(self, ev: StepFailedEvent) -> StopEvent:
            raise ZeroDivisionError
        @catch_error
        async def rest(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("rest")
        """,
        "ZeroDivisionError",
    ),
    "one recovery in a line of events": (
        """
        @step
        async def f(self, ev: StartEvent | A) -> StopEvent:
            raise ZeroDivisionError if isinstance(ev, A) else KeyError
        @catch_error
        async def h(self, ev: StepFailedEvent) -> A:
            return A()
        """,
        "ZeroDivisionError",
    ),
    "as many recoveries as allowed": (
        """
        @step
        async def f(self, ev: StartEvent | A) -> StopEvent:
            self.tries = getattr(self, "tries", 0) + 1
            if self.tries < 4:
                raise KeyError
            return StopEvent(self.tries)
        @catch_error(max_recoveries=3)
        async def h(self, ev: StepFailedEvent) -> A:
            return A()
        """,
        "4",
    ),
    "a recovery is remembered further down the line": (
        """
        @step
        async def f(self, ev: StartEvent) -> A | StopEvent:
            raise KeyError
        @catch_error
        async def h(self, ev: StepFailedEvent) -> A:
            return A()
        @step
        async def m(self, ev: A) -> B:
            return B()
        @step
        async def g(self, ev: B) -> StopEvent:
            raise ZeroDivisionError
        """,
        "ZeroDivisionError",
    ),
    "each handler has its own recoveries": (
        """
        @step
        async def f(self, ev: StartEvent) -> A | StopEvent:
            raise KeyError
        @catch_error(for_steps=["f"])
        async def h(self, ev: StepFailedEvent) -> A:
            return A()
        @step
        async def g(self, ev: A) -> StopEvent:
            raise ZeroDivisionError
        @catch_error(for_steps=["g"])
        async def i(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("both")
        """,
        "both",
    ),
    "a run that takes too long is not handled": (
        """
        def __init__(self):
            super().__init__(timeout=0.01)
        @step
        async def f(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent("handled")
        """,
        "WorkflowTimeoutError",
    ),
    "each line of events has its own recoveries": (
        """
        @step
        async def f(self, ev: StartEvent) -> list[A]:
            return [A(), A(), A()]
        @step
        async def g(self, ev: A) -> B:
            raise KeyError
        @catch_error
        async def h(self, ev: StepFailedEvent) -> B:
            return B()
        @step
        async def end(self, evs: list[B]) -> StopEvent:
            return StopEvent(len(evs))
        """,
        "3",
    ),
    "a step that gathers fails with what it was given": (
        """
        @step
        async def f(self, ev: StartEvent) -> list[A]:
            return [A(), A()]
        @step
        async def g(self, evs: list[A]) -> StopEvent:
            raise KeyError
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent((type(ev.input_event).__name__, len(ev.input_event.events)))
        """,
        "('CollectionReleaseEvent', 2)",
    ),
    "a step that joins fails with the last event": (
        """
        @step
        async def f(self, ev: StartEvent) -> A:
            return A()
        @step
        async def m(self, ev: A) -> B:
            return B()
        @step
        async def g(self, b: B, a: A) -> StopEvent:
            raise KeyError
        @catch_error
        async def h(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(type(ev.input_event).__name__)
        """,
        "B",
    ),
}

HEAD = """
import asyncio
import threading
from contextvars import ContextVar
main_thread = threading.current_thread()
variable = ContextVar("variable", default="not set")
class Flow(Workflow):
"""


async def outcome(names: dict[str, Any], **fields: Any) -> str:
    """What a run of the program gives: its result, or the class of its error."""
    names["variable"].set("set")
    try:
        return str(await names["Flow"]().run(**fields))
    except Exception as error:  # noqa: BLE001 - whatever it is goes into the comparison
        return type(error).__name__


@both
@pytest.mark.parametrize(("body", "expected"), RUNS.values(), ids=RUNS)
async def test_what_a_step_does(package: str, body: str, expected: str) -> None:
    assert await outcome(execute(package, HEAD + indent(dedent(body), "    "))) == expected


@both
async def test_an_instance_that_exists_sees_a_step_added_to_its_class(package: str) -> None:
    names = execute(package, flow("f(ev: StartEvent) -> A | StopEvent"))
    workflow = names["Flow"]()
    with pytest.raises(names["WorkflowValidationError"], match="A"):
        workflow.validate()

    async def added(ev: object) -> None: ...

    added.__annotations__ = {"ev": names["A"], "return": None}
    assert names["step"](workflow=names["Flow"])(added) is added
    assert workflow.validate() is False


@both
async def test_a_free_step_is_called_without_self(package: str) -> None:
    text = (
        HEAD
        + "    ...\n@step(workflow=Flow)\n"
        + "def f(*, ev: StartEvent) -> StopEvent: return StopEvent(ev.n)"
    )
    assert await outcome(execute(package, text), n=5) == "5"


@both
async def test_a_step_made_by_hand_uses_the_names_that_it_is_given(package: str) -> None:
    text = HEAD + "    ...\nasync def f(ev: 'Mine') -> StopEvent: return StopEvent('made')"
    names = execute(package, text)
    made = names["make_step_function"](names["f"], localns={"Mine": names["StartEvent"]})
    assert made is names["f"]
    names["Flow"].add_step(made)
    assert await outcome(names) == "made"


HANDLED = """
    @step
    async def f(self, ev: StartEvent) -> StopEvent:
        raise KeyError
    @catch_error
    async def h(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent({result})
"""


@both
@pytest.mark.parametrize(
    ("result", "last"),
    [("3", ("StopEvent", None)), ("1 / 0", ("WorkflowFailedEvent", "h"))],
    ids=["a handler that returns", "a handler that fails"],
)
async def test_how_a_handled_run_ends_in_the_stream(
    package: str, result: str, last: tuple[str, str | None]
) -> None:
    names = execute(package, HEAD + HANDLED.format(result=result))
    handler = names["Flow"]().run()
    seen = [event async for event in handler.stream_events()]
    assert [(type(event).__name__, getattr(event, "step_name", None)) for event in seen] == [last]
    with contextlib.suppress(ZeroDivisionError):
        await handler


CANCELLED = """
    @step
    async def f(self, ev: StartEvent) -> StopEvent:
        started.set()
        await asyncio.Event().wait()
    @catch_error
    async def h(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent("handled")
"""


@both
async def test_a_run_that_is_cancelled_is_not_handled(package: str) -> None:
    names = execute(package, HEAD + CANCELLED)
    started = names["started"] = asyncio.Event()
    handler = names["Flow"]().run()
    await started.wait()
    await handler.cancel_run()
    with pytest.raises(names["WorkflowCancelledByUser"]):
        await handler
