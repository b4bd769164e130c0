"""The steps of a workflow form a graph, which is checked before the first run and can be drawn.

The annotations say which event leads where, so a forgotten step is found before anything runs. The
message names the step and the event, and what to do. `validate()` checks at any time, in a test of
yours for example, and tells whether a run may wait for a human.
"""

import pytest

from stepwell import Workflow, step
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from stepwell.representation import draw, get_workflow_representation


class Draft(Event):
    text: str


class Reviewed(Event):
    text: str


class Forgetful(Workflow):
    @step
    async def write(self, ev: StartEvent) -> Draft:
        return Draft(text=ev.topic)

    @step
    async def publish(self, ev: Reviewed) -> StopEvent:
        return StopEvent(result=ev.text)


def test_a_forgotten_step_is_found_before_the_run_begins() -> None:
    with pytest.raises(WorkflowValidationError, match="Reviewed"):
        Forgetful().run(topic="red pandas")


class Complete(Forgetful):
    @step
    async def ask(self, ev: Draft) -> InputRequiredEvent:
        return InputRequiredEvent(text=ev.text)

    @step
    async def review(self, ev: HumanResponseEvent) -> Reviewed:
        return Reviewed(text=ev.text)


def test_validate_tells_whether_a_run_may_wait_for_a_human() -> None:
    assert Complete().validate() is True


def test_the_graph_can_be_looked_at() -> None:
    graph = get_workflow_representation(Complete)
    names = [node.label for node in graph.nodes if node.node_type == "step"]
    assert sorted(names) == ["ask", "publish", "review", "write"]


def test_a_workflow_is_drawn_without_running_it() -> None:
    assert 'title: "Complete"' in draw(Complete)
    assert draw(Complete, format="svg").startswith("<svg")
