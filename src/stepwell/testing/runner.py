"""Run a workflow in a test, and look at all that it said."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from stepwell.context.context import Context
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StartEvent
from stepwell.workflow import Workflow

__all__ = ["WorkflowTestResult", "WorkflowTestRunner"]


@dataclass
class WorkflowTestResult:
    """What was seen of a run.

    Attributes:
        collected: the events of its stream, in their order.
        event_types: how many there were of each class.
        result: what the run returned.
        ctx: its context.
    """

    collected: list[Event]
    event_types: dict[type[Event], int]
    result: Any
    ctx: Context[Any]


class WorkflowTestRunner:
    """Runs a workflow to its end and collects its stream.

    Args:
        workflow: the instance.

    Raises:
        WorkflowValidationError: it is no instance of a workflow class.
    """

    def __init__(self, workflow: Workflow) -> None:
        if not isinstance(workflow, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise WorkflowValidationError(
                f"WorkflowTestRunner({workflow!r}): give an instance of a workflow class."
            )
        self._workflow = workflow

    async def run(
        self,
        start_event: StartEvent | None = None,
        ctx: Context[Any] | None = None,
        expose_internal: bool = True,
        exclude_events: Collection[type[Event]] | None = None,
    ) -> WorkflowTestResult:
        """Run the workflow once.

        Args:
            start_event: the first event; by default one without fields, of the class that the
                workflow begins with.
            ctx: a context to go on with.
            expose_internal: also collect the events by which the run tells what it does.
            exclude_events: classes whose events are not collected; those derived from them are.

        Raises:
            WorkflowValidationError: `exclude_events` has something else than event classes.
            BaseException: what `await handler` raises, if the run does not complete.
        """
        excluded = _checked_classes(exclude_events or ())
        handler = self._workflow.run(ctx=ctx, start_event=start_event)
        stream = handler.stream_events(expose_internal=expose_internal)
        collected = [event async for event in stream if type(event) not in excluded]
        counts = Counter(type(event) for event in collected)
        return WorkflowTestResult(collected, dict(counts), await handler, handler.ctx)


def _checked_classes(classes: Any) -> frozenset[type[Event]]:
    if not (
        isinstance(classes, Collection) and _are_event_classes(cast("Collection[Any]", classes))
    ):
        raise WorkflowValidationError(
            f"exclude_events is {classes!r}. Give a list of classes derived from Event."
        )
    return frozenset(cast("Collection[type[Event]]", classes))


def _are_event_classes(things: Collection[Any]) -> bool:
    return all(isinstance(thing, type) and issubclass(thing, Event) for thing in things)
