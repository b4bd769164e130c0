"""What a workflow class is checked for: when it is written, when it is made, when it is validated.

Each program is the same text for Stepwell and for LlamaIndex Workflows, and has the same fate in
both.
"""

from typing import Any

import pytest

from support.twins import execute, flow

pytest.importorskip("workflows")

SOUND = "validate() is False"
HUMAN = "validate() is True"
UNSOUND = "validate() raises WorkflowValidationError"
REFUSED = "the decorator raises WorkflowValidationError"
UNMADE = "the constructor raises WorkflowConfigurationError"


def fate(package: str, text: str) -> str:
    """Tell how far a workflow class gets."""
    try:
        made = execute(package, text)["Flow"]
    except Exception as error:  # noqa: BLE001 - whatever it is goes into the comparison
        return f"the decorator raises {type(error).__name__}"
    try:
        workflow = made()
    except Exception as error:  # noqa: BLE001 - as above
        return f"the constructor raises {type(error).__name__}"
    try:
        return f"validate() is {workflow.validate()}"
    except Exception as error:  # noqa: BLE001 - as above
        return f"validate() raises {type(error).__name__}"


BEGIN = "f(ev: StartEvent) -> StopEvent"
FAILS = "(ev: StepFailedEvent) -> StopEvent"
ANY = "@step(accept_event_subclasses=True); "
ALONE = "@step(skip_graph_checks=['reachability', 'dead_end']); "

FATES: dict[str, tuple[str, str]] = {
    # 1: one start event class, one stop event class
    "no steps": ("class Flow(Workflow): ...", UNMADE),
    "one step": (flow(BEGIN), SOUND),
    "no start event": (flow("f(ev: A) -> StopEvent"), UNMADE),
    "no stop event": (flow("f(ev: StartEvent) -> A", "g(ev: A) -> None"), UNMADE),
    "only a question": (flow("f(ev: StartEvent) -> Ask"), UNMADE),
    "two start events": (flow(BEGIN, "g(ev: MyStart) -> StopEvent"), UNMADE),
    "two stop events": (flow("f(ev: StartEvent) -> StopEvent | MyStop"), UNMADE),
    "own start and stop": (flow("f(ev: MyStart) -> MyStop"), SOUND),
    "stop event in a list": (flow("f(ev: StartEvent) -> list[StopEvent]"), SOUND),
    "stop event of a handler": (
        flow("f(ev: StartEvent) -> None", f"@catch_error; h{FAILS}"),
        SOUND,
    ),
    # 2: list parameters
    "list gathered": (flow("f(ev: StartEvent) -> list[A]", "g(evs: list[A]) -> StopEvent"), SOUND),
    "optional lists": (
        flow("f(ev: StartEvent) -> list[A] | None", "g(evs: Optional[list[A]]) -> StopEvent"),
        SOUND,
    ),
    "two classes gathered": (
        flow("f(ev: StartEvent) -> list[A | B]", "g(evs: list[A | B]) -> StopEvent"),
        SOUND,
    ),
    "gathered twice": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "g(evs: list[A]) -> StopEvent",
            "h(evs: list[A]) -> None",
        ),
        SOUND,
    ),
    "first ones gathered": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "g(evs: Annotated[list[A], Collect(Take(2))]) -> StopEvent",
        ),
        SOUND,
    ),
    "nothing in lists": (flow("f(ev: StartEvent) -> A", "g(evs: list[A]) -> StopEvent"), UNSOUND),
    "start event gathered": (flow("f(evs: list[StartEvent]) -> StopEvent"), UNSOUND),
    "answers gathered": (
        flow("f(ev: StartEvent) -> list[Ask]", "g(evs: list[Answer]) -> StopEvent"),
        UNSOUND,
    ),
    "gathered after the join": (
        flow(
            "f(ev: StartEvent) -> list[A]", "g(evs: list[A]) -> B", "h(evs: list[B]) -> StopEvent"
        ),
        UNSOUND,
    ),
    "gathered level by level": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "m(ev: A) -> list[B]",
            "g(evs: list[B]) -> C",
            "h(evs: list[C]) -> StopEvent",
        ),
        SOUND,
    ),
    "a single that the list may hold too": (
        flow(
            "f(ev: StartEvent) -> list[A] | B", "g(ev: A) -> None", "h(evs: list[B]) -> StopEvent"
        ),
        SOUND,
    ),
    # 3: several event parameters
    "joined at the top": (
        flow("f(ev: StartEvent) -> A | B", "j(a: A, b: B) -> StopEvent"),
        SOUND,
    ),
    "joined with itself": (
        flow("f(ev: StartEvent) -> A", "j(a: A, b: A) -> StopEvent"),
        SOUND,
    ),
    "joined with the start event": (
        flow("f(ev: StartEvent) -> A", "j(a: A, s: StartEvent) -> StopEvent"),
        SOUND,
    ),
    "joined with an answer": (
        flow("f(ev: StartEvent) -> A | Ask", "j(a: A, b: Answer) -> StopEvent"),
        HUMAN,
    ),
    "joined in a stream": (
        flow(
            "f(ev: StartEvent) -> list[A | B]",
            "j(a: A, b: B) -> C",
            "g(evs: list[C]) -> StopEvent",
        ),
        SOUND,
    ),
    "joined with what it leads to": (
        flow("f(ev: StartEvent) -> list[A]", "m(ev: A) -> B", "j(a: A, b: B) -> StopEvent"),
        SOUND,
    ),
    "joined after both were gathered": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "m(ev: StartEvent) -> list[B]",
            "g(evs: list[A]) -> C",
            "h(evs: list[B]) -> D",
            "j(c: C, d: D) -> StopEvent",
        ),
        SOUND,
    ),
    "join of a join": (
        flow("f(ev: StartEvent) -> A | B", "j(a: A, b: B) -> C", "k(a: A, c: C) -> StopEvent"),
        SOUND,
    ),
    "join that opens a stream": (
        flow(
            "f(ev: StartEvent) -> A | B",
            "j(a: A, b: B) -> list[C]",
            "g(evs: list[C]) -> StopEvent",
        ),
        SOUND,
    ),
    "stream and the stream in it": (
        flow("f(ev: StartEvent) -> list[A]", "m(ev: A) -> list[B]", "j(a: A, b: B) -> StopEvent"),
        UNSOUND,
    ),
    "two streams": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "m(ev: StartEvent) -> list[B]",
            "j(a: A, b: B) -> StopEvent",
        ),
        UNSOUND,
    ),
    "one stream gathered, one not": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "m(ev: StartEvent) -> list[B]",
            "g(evs: list[A]) -> C",
            "j(c: C, b: B) -> StopEvent",
        ),
        UNSOUND,
    ),
    "stream and start event": (
        flow("f(ev: StartEvent) -> list[A]", "j(a: A, s: StartEvent) -> StopEvent"),
        UNSOUND,
    ),
    "stream and answer": (
        flow("f(ev: StartEvent) -> list[A | Ask]", "j(a: A, b: Answer) -> StopEvent"),
        UNSOUND,
    ),
    "joined with what nobody returns": (
        flow("f(ev: StartEvent) -> A | StopEvent", "j(a: A, b: B) -> StopEvent"),
        UNSOUND,
    ),
    "joined with what the join leads to": (
        flow(
            "f(ev: StartEvent) -> A | StopEvent",
            f"{ALONE}j(a: A, b: B) -> C",
            f"{ALONE}g(ev: C) -> B",
        ),
        SOUND,
    ),
    # 4: nobody takes a stop event
    "stop event taken": (flow(BEGIN, "g(ev: StopEvent) -> None"), UNSOUND),
    "derived stop event taken": (flow(BEGIN, "g(ev: MyStop) -> None"), UNSOUND),
    "stop events gathered": (
        flow("f(ev: StartEvent) -> list[StopEvent]", "g(evs: list[StopEvent]) -> None"),
        UNSOUND,
    ),
    "stop event joined": (
        flow("f(ev: StartEvent) -> A | StopEvent", "g(a: A, b: StopEvent) -> None"),
        UNSOUND,
    ),
    # 5: consumed, never produced
    "never produced": (flow(BEGIN, "g(ev: A) -> None"), UNSOUND),
    "subclass produced": (
        flow("f(ev: StartEvent) -> ASub | StopEvent", "g(ev: A) -> None"),
        UNSOUND,
    ),
    "subclass produced and wanted": (
        flow("f(ev: StartEvent) -> ASub | StopEvent", f"{ANY}g(ev: A) -> None"),
        SOUND,
    ),
    "everything wanted": (
        flow("f(ev: StartEvent) -> A | StopEvent", f"{ANY}g(ev: Event) -> None"),
        SOUND,
    ),
    "answer from outside": (flow(BEGIN, "g(ev: Answer) -> None"), HUMAN),
    "question and answer": (flow("f(ev: StartEvent) -> Ask", "g(ev: Answer) -> StopEvent"), HUMAN),
    "question taken": (flow("f(ev: StartEvent) -> Ask | StopEvent", "g(ev: Ask) -> None"), HUMAN),
    "questions in a list": (flow("f(ev: StartEvent) -> list[Ask] | StopEvent"), HUMAN),
    "question taken, nobody asks": (flow(BEGIN, "g(ev: Ask) -> None"), UNSOUND),
    # 6: produced, never consumed
    "never consumed": (flow("f(ev: StartEvent) -> A | StopEvent"), UNSOUND),
    "never consumed from a list": (flow("f(ev: StartEvent) -> list[A] | StopEvent"), UNSOUND),
    "any event produced": (flow("f(ev: StartEvent) -> Event | StopEvent"), UNSOUND),
    "a number produced": (flow("f(ev: StartEvent) -> int | StopEvent"), UNSOUND),
    "numbers in a list": (flow("f(ev: StartEvent) -> list[int] | StopEvent"), UNSOUND),
    "anything produced": (flow(BEGIN, "g(ev: StartEvent) -> Any"), UNSOUND),
    "failure produced": (flow("f(ev: StartEvent) -> StepFailedEvent | StopEvent"), UNSOUND),
    # 7: handlers
    "a handler": (flow(BEGIN, f"@catch_error; h{FAILS}"), SOUND),
    "a handler that ends the branch": (
        flow(BEGIN, "@catch_error; h(ev: StepFailedEvent) -> None"),
        SOUND,
    ),
    "a handler that goes on": (
        flow(BEGIN, "@catch_error; h(ev: StepFailedEvent) -> B", "g(ev: B) -> StopEvent"),
        SOUND,
    ),
    "a handler that opens a stream": (
        flow(
            BEGIN,
            "@catch_error; h(ev: StepFailedEvent) -> list[B]",
            "g(evs: list[B]) -> StopEvent",
        ),
        SOUND,
    ),
    "a handler of what the stream leads to": (
        flow(
            "f(ev: StartEvent) -> list[A]",
            "m(ev: A) -> B",
            "@catch_error; h(ev: StepFailedEvent) -> B",
            "g(evs: list[B]) -> StopEvent",
        ),
        SOUND,
    ),
    "a handler that nobody hears": (
        flow(BEGIN, "@catch_error; h(ev: StepFailedEvent) -> B"),
        UNSOUND,
    ),
    "a handler that leads nowhere": (
        flow(
            "f(ev: StartEvent) -> A | StopEvent",
            "g(ev: A) -> None",
            "@catch_error; h(ev: StepFailedEvent) -> A",
        ),
        UNSOUND,
    ),
    "one handler each, and one for the rest": (
        flow(
            BEGIN,
            f"@catch_error; rest{FAILS}",
            f"@catch_error(for_steps=['f']); h{FAILS}",
        ),
        SOUND,
    ),
    "a handler of nothing": (flow(BEGIN, f"@catch_error(for_steps=[]); h{FAILS}"), SOUND),
    "two handlers for the rest": (
        flow(BEGIN, f"@catch_error; h{FAILS}", f"@catch_error; i{FAILS}"),
        UNSOUND,
    ),
    "handler of an unknown step": (
        flow(BEGIN, f"@catch_error(for_steps=['x']); h{FAILS}"),
        UNSOUND,
    ),
    "handler of a handler": (
        flow(BEGIN, f"@catch_error(for_steps=['i']); h{FAILS}", f"@catch_error; i{FAILS}"),
        UNSOUND,
    ),
    "handler of itself": (flow(BEGIN, f"@catch_error(for_steps=['h']); h{FAILS}"), UNSOUND),
    "step claimed twice": (
        flow(
            BEGIN,
            f"@catch_error(for_steps=['f']); h{FAILS}",
            f"@catch_error(for_steps=['f']); i{FAILS}",
        ),
        UNSOUND,
    ),
    "step claimed twice by one": (
        flow(BEGIN, f"@catch_error(for_steps=['f', 'f']); h{FAILS}"),
        UNSOUND,
    ),
    "failures for a plain step": (flow(BEGIN, f"g{FAILS}"), UNSOUND),
    "derived failures for a plain step": (
        flow(BEGIN, "g(ev: MyFailure) -> StopEvent"),
        UNSOUND,
    ),
    "failure made by hand": (
        flow("f(ev: StartEvent) -> StepFailedEvent | StopEvent", f"g{FAILS}"),
        SOUND,
    ),
    # 8: reachability, terminal events, dead ends
    "unreachable circle": (
        flow(BEGIN, "g(ev: A) -> B", "h(ev: B) -> A | StopEvent"),
        UNSOUND,
    ),
    "unreachable circle allowed": (
        flow(BEGIN, f"{ALONE}g(ev: A) -> B", f"{ALONE}h(ev: B) -> A | StopEvent"),
        SOUND,
    ),
    "answer produced, not taken": (flow("f(ev: StartEvent) -> Answer | StopEvent"), UNSOUND),
    "circle without a way out": (
        flow("f(ev: StartEvent) -> A | StopEvent", "g(ev: A) -> B", "h(ev: B) -> A"),
        UNSOUND,
    ),
    "circle with a way out": (
        flow("f(ev: StartEvent) -> A", "g(ev: A) -> B", "h(ev: B) -> A | StopEvent"),
        SOUND,
    ),
    "way to nothing": (
        flow("f(ev: StartEvent) -> A | StopEvent", "g(ev: A) -> B", "h(ev: B) -> None"),
        UNSOUND,
    ),
    "way to nothing allowed": (
        flow("f(ev: StartEvent) -> A | StopEvent", f"{ALONE}g(ev: A) -> B", "h(ev: B) -> None"),
        SOUND,
    ),
    "only a handler ends": (
        flow("f(ev: StartEvent) -> A", "g(ev: A) -> None", f"@catch_error; h{FAILS}"),
        UNSOUND,
    ),
    # the decorator comes first
    "no event taken": (flow("f(ev: int) -> StopEvent"), REFUSED),
    "no return type": (
        "class Flow(Workflow):\n    @step\n    async def f(self, ev: A): ...",
        REFUSED,
    ),
    "free function of no workflow": (
        "@step\nasync def f(ev: StartEvent) -> StopEvent: ...",
        REFUSED,
    ),
    "free function of a taken name": (
        f"{flow(BEGIN)}\n@step(workflow=Flow)\nasync def f(ev: StartEvent) -> StopEvent: ...",
        REFUSED,
    ),
    "free function": (
        "class Flow(Workflow): ...\n"
        "@step(workflow=Flow)\nasync def f(ev: StartEvent) -> StopEvent: ...",
        SOUND,
    ),
}


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
@pytest.mark.parametrize(("text", "expected"), FATES.values(), ids=FATES)
def test_a_workflow_class_gets_equally_far_in_both(package: str, text: str, expected: str) -> None:
    assert fate(package, text) == expected


# Programs that work here, and that upstream refuses: text, fate here, fate there.
LENIENT: dict[str, tuple[str, str]] = {
    # Its check does not look at accept_event_subclasses, which its joins honour.
    "joined by a subclass": (
        flow("f(ev: StartEvent) -> ASub | B", f"{ANY}j(a: A, b: B) -> StopEvent"),
        UNSOUND,
    ),
    # Its check does not know at which level a handler runs: that of the step that failed.
    "joined with what a handler returns": (
        flow(
            "f(ev: StartEvent) -> A",
            "m(ev: A) -> None",
            "@catch_error; h(ev: StepFailedEvent) -> B",
            "j(a: A, b: B) -> StopEvent",
        ),
        UNSOUND,
    ),
    # What no step leads to, and need not be reached, comes from outside: all of it to the top.
    "joined from outside": (
        flow(
            BEGIN,
            f"{ALONE}g(ev: C) -> A | B",
            f"{ALONE}h(ev: D) -> C",
            f"{ALONE}j(a: A, b: B) -> D | StopEvent",
        ),
        UNSOUND,
    ),
    "union of lists": (
        flow("f(ev: StartEvent) -> list[A] | list[B]", "g(evs: list[A] | list[B]) -> StopEvent"),
        REFUSED,
    ),
    # Unbound steps are inherited.
    "steps added to the base": (
        "class Base(Workflow): ...\n"
        "@step(workflow=Base)\nasync def f(ev: StartEvent) -> StopEvent: ...\n"
        "class Flow(Base): ...",
        UNMADE,
    ),
}


@pytest.mark.parametrize(("text", "there"), LENIENT.values(), ids=LENIENT)
def test_what_only_stepwell_accepts(text: str, there: str) -> None:
    assert (fate("stepwell", text), fate("workflows", text)) == (SOUND, there)


# --- the constructor ---


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
@pytest.mark.parametrize("limit", [0, -1, True, False, 1.5, "2"])
def test_the_number_of_concurrent_runs_is_none_or_a_whole_number_from_one(
    package: str, limit: Any
) -> None:
    names = execute(package, flow(BEGIN))
    with pytest.raises(names["WorkflowValidationError"], match="num_concurrent_runs"):
        names["Flow"](num_concurrent_runs=limit)
    assert names["Flow"](num_concurrent_runs=3)
    assert names["Flow"](num_concurrent_runs=None)


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
def test_an_unknown_check_cant_be_skipped(package: str) -> None:
    names = execute(package, flow(BEGIN))
    with pytest.raises(names["WorkflowValidationError"], match=r"reachable.*terminal_event"):
        names["Flow"](skip_graph_checks={"reachable"})


UNSOUND_FLOW = {
    "reachability": flow(BEGIN, "g(ev: A) -> B", "h(ev: B) -> A | StopEvent"),
    "terminal_event": flow("f(ev: StartEvent) -> Answer | StopEvent"),
    "dead_end": flow("f(ev: StartEvent) -> A | StopEvent", "g(ev: A) -> B", "h(ev: B) -> A"),
}


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
@pytest.mark.parametrize(("check", "text"), UNSOUND_FLOW.items(), ids=UNSOUND_FLOW)
def test_a_failed_check_names_itself_and_can_be_skipped(
    package: str, check: str, text: str
) -> None:
    names = execute(package, text)
    with pytest.raises(names["WorkflowValidationError"]) as refusal:
        names["Flow"]().validate()
    assert str(refusal.value).startswith("Graph validation failed")
    assert f"[{check}]" in str(refusal.value)
    assert names["Flow"](skip_graph_checks={check}).validate() is False


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
def test_a_class_without_steps_can_get_them_before_it_is_made(package: str) -> None:
    names = execute(package, "class Flow(Workflow): ...")
    with pytest.raises(names["WorkflowConfigurationError"], match="StartEvent"):
        names["Flow"]()

    async def added(ev: object) -> None: ...

    added.__annotations__ = {"ev": names["StartEvent"], "return": names["StopEvent"]}
    names["step"](workflow=names["Flow"])(added)
    assert names["Flow"]().validate() is False


# --- disable_validation ---


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
def test_validate_checks_even_where_runs_do_not(package: str) -> None:
    names = execute(package, flow(BEGIN, "g(ev: A) -> None"))
    workflow = names["Flow"](disable_validation=True)
    with pytest.raises(names["WorkflowValidationError"]):
        workflow.validate()


@pytest.mark.parametrize("package", ["stepwell", "workflows"])
async def test_the_handler_of_a_step_is_unambiguous_even_without_validation(package: str) -> None:
    text = flow(BEGIN, f"@catch_error; h{FAILS}", f"@catch_error; i{FAILS}")
    names = execute(package, text)
    workflow = names["Flow"](disable_validation=True)
    with pytest.raises(names["WorkflowValidationError"], match=r"h.*i"):
        workflow.run()
