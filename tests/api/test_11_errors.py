"""Section 11: errors, and who raises them. The rest of who does is in the sections of those."""

import asyncio
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, Workflow, errors, step
from stepwell.errors import (
    ContextSerdeError,
    StepwellError,
    UnreconstructedException,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from stepwell.events import Event, StartEvent, StopEvent
from support.clock import run_with_jumping_clock

NAMES = [
    "ContextSerdeError",
    "ContextStateError",
    "WorkflowCancelledByUser",
    "WorkflowConfigurationError",
    "WorkflowDone",
    "WorkflowRuntimeError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
]
"""The errors of LlamaIndex Workflows."""

OWN = [cls for name, cls in inspect.getmembers(errors, inspect.isclass) if name in errors.__all__]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_made_of_a_message_or_of_nothing(name: str) -> None:
    cls = getattr(errors, name)
    assert str(cls("why")) == "why"
    assert str(cls()) == ""


@pytest.mark.parametrize("name", NAMES)
def test_no_error_is_caught_as_another(name: str) -> None:
    cls = getattr(errors, name)
    assert cls.__bases__ == (StepwellError,)


def test_the_original_has_no_other_errors() -> None:
    original = pytest.importorskip("workflows.errors")
    raised = [
        name
        for name, cls in inspect.getmembers(original, inspect.isclass)
        if cls.__module__ == original.__name__
    ]
    assert raised == NAMES


@pytest.mark.parametrize("cls", OWN)
def test_all_of_them_are_caught_by_one_name(cls: type[Exception]) -> None:
    assert issubclass(cls, StepwellError)


@pytest.mark.parametrize("cls", OWN)
def test_an_error_survives_a_pickle(cls: type[Exception]) -> None:
    again = pickle.loads(pickle.dumps(cls("why")))  # noqa: S301  our own bytes
    assert (type(again), str(again)) == (cls, "why")


def test_the_tree_in_the_documentation_shows_each_error() -> None:
    tree = inspect.getdoc(errors) or ""
    assert [cls.__name__ for cls in OWN if cls.__name__ not in tree] == []


@pytest.mark.parametrize("origin", [None, "a.LostError"])
def test_a_stand_in_says_what_it_stands_for(origin: str | None) -> None:
    error = UnreconstructedException("why", original_type=origin)
    assert (str(error), error.original_type) == ("why", origin)


# --- who raises them ---


class Two(Event):
    """Starts the second step."""


class Slow(Workflow):
    """Two steps that never end."""

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Two | None:
        ctx.send_event(Two())
        await asyncio.Event().wait()

    @step
    async def second(self, ctx: Context, ev: Two) -> StopEvent:
        ctx.write_event_to_stream(Two())
        await asyncio.Event().wait()
        return StopEvent()


def test_a_timeout_names_the_steps_that_run() -> None:
    async def run() -> None:
        await Slow(timeout=5).run()

    with pytest.raises(WorkflowTimeoutError) as raised:
        run_with_jumping_clock(run())
    assert str(raised.value) == (
        "Operation timed out after 5 seconds. Currently active steps: first, second"
    )


async def test_awaiting_a_cancelled_run_raises_an_empty_error() -> None:
    handler = Slow().run()
    await anext(handler.stream_events())
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser) as raised:
        await handler
    assert str(raised.value) == ""


class Typed(StartEvent):
    """A start event that wants a number."""

    number: int


class Acting(Workflow):
    """Does what it is told."""

    @step
    async def act(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return ev.action(ctx)


class Counting(Workflow):
    """Wants a number."""

    @step
    async def count(self, ev: Typed) -> StopEvent:
        return StopEvent(ev.number)


async def test_the_error_of_a_step_is_raised_itself() -> None:
    error = LookupError("mine")

    def fail(ctx: Context) -> StopEvent:
        raise error

    with pytest.raises(LookupError) as raised:
        await Acting().run(action=fail)
    assert raised.value is error


def return_a_number(ctx: Context) -> Any:
    return 5


def send_to_nobody(ctx: Context) -> Any:
    ctx.send_event(Two(), step="nobody")


@pytest.mark.parametrize("action", [return_a_number, send_to_nobody])
async def test_a_run_that_is_misused_says_so(action: Callable[[Context], Any]) -> None:
    with pytest.raises(WorkflowRuntimeError):
        await Acting().run(action=action)


@pytest.mark.parametrize("keywords", [{}, {"number": "many"}])
async def test_a_run_that_is_started_with_the_wrong_keywords_says_so(
    keywords: dict[str, Any],
) -> None:
    with pytest.raises(WorkflowRuntimeError, match="Typed"):
        Counting().run(**keywords)


@pytest.mark.parametrize("fields", [{"format": "99"}, {"foo": "1"}])
def test_a_context_that_cannot_be_read_says_so(fields: dict[str, str]) -> None:
    with pytest.raises(ContextSerdeError):
        Context.from_dict(Acting(), fields)
