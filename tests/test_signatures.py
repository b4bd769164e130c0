"""What `@step` reads from a signature, and how it refuses one."""

from collections.abc import AsyncIterator, Callable, Iterator
from types import NoneType
from typing import Annotated, Any, Generic, Optional, TypeVar, Union, cast

import pytest
from pydantic import BaseModel

from stepwell.collect import All, Collect, Take
from stepwell.decorators import (
    StepConfig,
    StepFunction,
    catch_error,
    config_of,
    make_step_function,
    step,
    steps_of,
)
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent
from stepwell.resource import Resource
from stepwell.retry_policy import RetryPolicy


class A(Event):
    pass


class B(Event):
    pass


class State(BaseModel):
    count: int = 0


StateT = TypeVar("StateT")


class Context(Generic[StateT]):
    """Known to `@step` by its name only."""


def make_client() -> str:
    return "client"


def make_event() -> B:
    return B()


def read(func: Callable[..., Any]) -> StepConfig:
    return config_of(cast("StepFunction", step(func)))


class Flow:
    """A workflow class as a decorator sees it."""

    _step_functions: dict[str, StepFunction]

    def __init_subclass__(cls) -> None:
        cls._step_functions = {}

    @classmethod
    def add_step(cls, func: StepFunction) -> None:
        cls._step_functions[func.__name__] = func


# --- what is read ---


class Readable:
    def one(self, ev: A) -> StopEvent | None: ...
    def union(self, ctx: Context[State], ev: A | B) -> None: ...
    def old_union(self, ev: Union[A, B]) -> Optional[B]: ...  # noqa: UP007, UP045 - also legal
    def optional(self, ev: A | None) -> B: ...
    def marked(self, ev: Annotated[A, "note"], ctx: Context[Any] | None = None) -> B: ...
    def others(self, ev: A, x, y: int = 3, *args: B, **kwargs: B) -> Any: ...  # noqa: ANN001  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]  the point
    def fan_out(self, ev: A) -> list[A | B] | StopEvent | None: ...
    def gather(self, evs: list[A | B] | None) -> B: ...
    def take(self, evs: Annotated[list[A], Collect(Take(2))]) -> list[B]: ...
    def join(self, b: B, ctx: Context[State], a: A | None, again: A) -> B: ...
    def resource_event(self, a: A, made: Annotated[B, Resource(make_event)]) -> B: ...
    def handler(self, ctx: Context[State], ev: StepFailedEvent) -> list[A] | None: ...


def test_the_event_parameter_gives_its_name_and_its_classes() -> None:
    config = read(Readable.one)
    assert (config.event_name, config.accepted_events) == ("ev", [A])
    assert config.num_workers == 4
    assert not config.is_fan_out


@pytest.mark.parametrize("func", [Readable.union, Readable.old_union])
def test_a_union_accepts_each_of_its_classes(func: Callable[..., Any]) -> None:
    assert read(func).accepted_events == [A, B]


@pytest.mark.parametrize("func", [Readable.optional, Readable.marked])
def test_none_and_markers_do_not_hide_an_event(func: Callable[..., Any]) -> None:
    assert read(func).accepted_events == [A]


def test_a_context_is_known_by_its_class_name_and_tells_the_state_type() -> None:
    config = read(Readable.union)
    assert (config.context_parameter, config.context_state_type) == ("ctx", State)
    untyped = read(Readable.marked)
    assert (untyped.context_parameter, untyped.context_state_type) == ("ctx", None)


def test_other_parameters_are_left_alone() -> None:
    config = read(vars(Readable)["others"])
    assert (config.event_name, config.accepted_events) == ("ev", [A])
    assert config.resources == []


def test_none_is_a_return_type_only_if_there_is_no_other() -> None:
    assert read(Readable.one).return_types == [StopEvent]
    assert read(Readable.union).return_types == [NoneType]
    assert read(Readable.union).bare_return_types == ()


def test_returns_in_and_not_in_lists_are_told_apart() -> None:
    config = read(Readable.fan_out)
    assert config.is_fan_out
    assert config.return_types == [A, B, StopEvent]
    assert config.bare_return_types == (StopEvent,)
    assert config.list_return_types == (A, B)


def test_a_list_parameter_collects_all_unless_it_says_otherwise() -> None:
    config = read(Readable.gather)
    assert config.accepted_events == [A, B]
    assert config.collection_param == ("evs", (A, B))
    assert config.collection_policy == Collect(All())
    assert read(Readable.take).collection_policy == Collect(Take(2))
    assert read(Readable.one).collection_param is None
    assert read(Readable.one).collection_policy is None


def test_several_event_parameters_are_read_in_order() -> None:
    config = read(Readable.join)
    assert config.collect_params == [("b", B), ("a", A), ("again", A)]
    assert (config.event_name, config.accepted_events) == ("b", [B, A, A])
    assert config.context_parameter == "ctx"
    assert config.collection_param is None
    assert read(Readable.one).collect_params == []
    assert read(Readable.gather).collect_params == []


def test_a_resource_is_no_event_parameter_whatever_its_type() -> None:
    config = read(Readable.resource_event)
    assert (config.accepted_events, config.collect_params) == ([A], [])
    assert [one.name for one in config.resources] == ["made"]


def test_a_handler_knows_its_steps_and_its_recoveries() -> None:
    class Local:
        @catch_error
        def rest(self, ev: StepFailedEvent) -> None: ...

        @catch_error(for_steps=["f"], max_recoveries=2)
        def named(self, ev: StepFailedEvent) -> None: ...

    rest, named = map(config_of, steps_of(Local).values())
    assert (rest.role, rest.catch_error_for_steps, rest.catch_error_max_recoveries) == (
        "catch_error",
        None,
        1,
    )
    assert (named.catch_error_for_steps, named.catch_error_max_recoveries) == (["f"], 2)
    assert (named.num_workers, named.accepted_events) == (1, [StepFailedEvent])


def test_a_step_made_by_hand_may_be_free_and_use_names_that_it_is_given() -> None:
    def free(ev: "Given | B") -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  given below

    body = cast("Callable[..., Any]", free)
    made = make_step_function(body, localns={"Given": A}, num_workers=2)
    assert made is free
    assert config_of(made).accepted_events == [A, B]
    assert config_of(made).num_workers == 2


def test_resources_are_found_with_their_type() -> None:
    class Local:
        def asks(self, ev: A, client: Annotated[str, Resource(make_client)]) -> None: ...

    [definition] = read(Local.asks).resources
    assert (definition.name, definition.type_annotation) == ("client", str)
    assert definition.resource.factory is make_client


def test_the_options_of_step_are_kept() -> None:
    class Local:
        @step(num_workers=1, skip_graph_checks=["dead_end"], accept_event_subclasses=True)
        def tuned(self, ev: A) -> None: ...

    config = config_of(steps_of(Local)["tuned"])
    assert config.num_workers == 1
    assert config.skip_graph_checks == ["dead_end"]
    assert config.accept_event_subclasses


def test_string_annotations_see_the_scopes_around_the_step() -> None:
    class Mine(Event):
        pass

    class Local:
        class Inner(Event):
            pass

        def f(self, ev: "Mine | Inner") -> "list[A] | None": ...

        f = step(f)

    config = config_of(steps_of(Local)["f"])
    assert config.accepted_events == [Mine, Local.Inner]
    assert config.list_return_types == (A,)


def test_a_string_means_the_class_of_the_scope_not_one_of_a_caller() -> None:
    def define() -> StepConfig:
        class Local:
            @step
            def f(self, ev: "A") -> None: ...

        return config_of(steps_of(Local)["f"])

    def call_with_another_a() -> StepConfig:
        A = B  # noqa: F841, N806 - a name that must not be seen  # pyright: ignore[reportUnusedVariable]
        return define()

    assert call_with_another_a().accepted_events == [A]


def test_a_decorated_function_stays_the_same_object() -> None:
    def body(self: object, ev: A) -> None: ...

    body.__qualname__ = "Flow.body"
    assert step(body) is body


# --- what is refused ---


class Wrong:
    """Each member is not yet decorated; the table says what is wrong with it."""

    def no_event(self, x: int) -> B: ...
    def half_event(self, ev: A | int) -> B: ...
    def list_of_others(self, evs: list[int]) -> B: ...
    def no_return(self, ev: A): ...  # noqa: ANN201
    def unknown(self, ev: "Nowhere") -> B: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  the point
    def unknown_return(self, ev: A) -> "Nowhere": ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  the point
    def unknown_inside(self, ev: list["Nowhere"]) -> B: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  the point
    async def iterator(self, ev: A) -> AsyncIterator[A]:
        yield ev

    def annotated_iterator(self, ev: A) -> AsyncIterator[B] | None: ...
    def generator(self, ev: A) -> Iterator[A]:
        yield ev

    def two_unions(self, first: A | B, second: B) -> None: ...
    def two_lists(self, first: list[A], second: list[B]) -> None: ...
    def list_and_event(self, many: list[A], single: B) -> None: ...
    def collect_one(self, ev: Annotated[A, Collect()]) -> None: ...
    def collect_three(self, evs: Annotated[list[A], Collect(cast("Any", 3))]) -> None: ...
    def bare_take(self, evs: Annotated[list[A], Take(3)]) -> None: ...
    def two_policies(self, evs: Annotated[list[A], Collect(), Collect(Take(1))]) -> None: ...
    def two_contexts(self, one: Context[Any], two: Context[Any], ev: A) -> None: ...
    def positional(self, ev: A, /) -> None: ...


REFUSED = {
    "no_event": ["x: int", "derived from Event"],
    "half_event": ["ev:", "union of such classes only"],
    "list_of_others": ["evs:", "a list of them"],
    "no_return": ["return value is not annotated", "-> None"],
    "unknown": ["'ev'", "Nowhere", "module level"],
    "unknown_return": ["return value", "Nowhere", "module level"],
    "unknown_inside": ["'ev'", "Nowhere", "module level"],
    "iterator": ["return value", "list[MyEvent]", "ctx.send_event()"],
    "annotated_iterator": ["return value", "list[MyEvent]", "ctx.send_event()"],
    "generator": ["return value", "list[MyEvent]", "ctx.send_event()"],
    "two_unions": ["'first' take a union", "with a single class"],
    "two_lists": ["'first'", "'second'", "`list[A | B]`"],
    "list_and_event": ["'many'", "'single'", "Keep the list alone", "step of its own"],
    "collect_one": ["'ev'", "Annotated[list[MyEvent], Collect(...)]"],
    "collect_three": ["'evs'", "cardinality=3", "Collect(Take(n))"],
    "bare_take": ["'evs'", "Take(n=3)", "Collect(Take(n))"],
    "two_policies": ["'evs'", "Mark it with one of"],
    "two_contexts": ["'one'", "'two'", "Keep one"],
    "positional": ["'ev'", "positional-only", "Take the `/` out"],
}


@pytest.mark.parametrize(("name", "parts"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_signature_is_refused_with_step_place_and_remedy(
    name: str, parts: list[str]
) -> None:
    with pytest.raises(WorkflowValidationError) as refusal:
        step(vars(Wrong)[name])
    message = str(refusal.value)
    assert all(part in message for part in [f"Wrong.{name}", *parts]), message


def test_every_wrong_signature_is_in_the_table() -> None:
    assert REFUSED.keys() == {name for name in vars(Wrong) if not name.startswith("__")}


@pytest.mark.parametrize("num_workers", [0, -1, True, 1.5, "4", None])
def test_num_workers_has_to_be_a_whole_number_from_one(num_workers: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"Readable\.one: num_workers.*at least 1"):
        step(num_workers=num_workers)(Readable.one)


class NoPolicy:
    next = 3


@pytest.mark.parametrize("policy", [3, NoPolicy(), RetryPolicy, lambda: None])
def test_a_retry_policy_is_an_object_with_a_method_next(policy: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"Readable\.one: retry_policy .*`next`"):
        step(retry_policy=policy)(Readable.one)


class Once:
    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None: ...


def test_any_object_with_a_method_next_is_a_retry_policy() -> None:
    class Local:
        policy = Once()

        @step(retry_policy=policy)
        def retried(self, ev: A) -> None: ...

    assert config_of(steps_of(Local)["retried"]).retry_policy is Local.policy


@pytest.mark.parametrize("recoveries", [0, -1, True, 1.5, "4", None])
def test_max_recoveries_has_to_be_a_whole_number_from_one(recoveries: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"handler: max_recoveries.*at least 1"):
        catch_error(max_recoveries=recoveries)(Readable.handler)


@pytest.mark.parametrize("names", ["f", ("f",), {"f"}, [1], 3])
def test_for_steps_has_to_be_a_list_of_names(names: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"handler: for_steps.*list of step names"):
        catch_error(for_steps=names)(Readable.handler)


class WrongHandler:
    def other(self, ev: A) -> None: ...
    def more(self, ev: StepFailedEvent, a: A) -> None: ...
    def many(self, evs: list[StepFailedEvent]) -> None: ...


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("other", "takes A. Annotate 'ev'"),
        ("more", "takes StepFailedEvent, A. Annotate 'ev'"),
        ("many", "takes a list of StepFailedEvent. Annotate 'evs'"),
    ],
)
def test_a_handler_takes_one_failure_and_nothing_else(name: str, takes: str) -> None:
    with pytest.raises(WorkflowValidationError, match=rf"WrongHandler\.{name}: .*{takes}"):
        catch_error(vars(WrongHandler)[name])


def test_a_handler_is_written_in_its_class() -> None:
    def free(ev: StepFailedEvent) -> None: ...

    with pytest.raises(WorkflowValidationError, match=r"free: .*Move it into the class"):
        catch_error(free)


@pytest.mark.parametrize("name", ["terminal_event", "reachabilty"])
def test_a_check_that_no_step_can_skip_is_refused(name: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=rf"Readable\.one: .*{name}.*'dead_end'"):
        step(skip_graph_checks=[name])(Readable.one)


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_a_static_or_class_method_is_refused(wrapper: Any) -> None:
    with pytest.raises(WorkflowValidationError, match="takes self"):
        step(wrapper(Readable.one))


@pytest.mark.parametrize("number", [0, -1, True, 1.0, "2"])
def test_take_needs_a_whole_number_from_one(number: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Take(number)


# --- steps of a class ---


def test_a_free_function_needs_a_workflow() -> None:
    def free(ev: A) -> None: ...

    with pytest.raises(WorkflowValidationError, match=r"free: .*@step\(workflow=MyWorkflow\)"):
        step(free)


def test_a_free_function_is_a_step_of_its_workflow_and_of_derived_ones() -> None:
    class Base(Flow):
        @step
        def begin(self, ev: StartEvent) -> A: ...

    class Derived(Base):
        @step
        def middle(self, ev: A) -> B: ...

    @step(workflow=Base)
    def end(ev: B) -> StopEvent: ...

    assert list(steps_of(Base)) == ["begin", "end"]
    assert list(steps_of(Derived)) == ["begin", "end", "middle"]
    assert steps_of(Derived)["end"] is end
    assert "end" not in steps_of(Flow)


def test_a_derived_class_replaces_and_removes_steps() -> None:
    class Base(Flow):
        @step
        def replaced(self, ev: A) -> None: ...
        @step
        def removed(self, ev: A) -> None: ...
        @step
        def kept(self, ev: A) -> None: ...

    class Derived(Base):
        removed = None  # pyright: ignore[reportAssignmentType]  the point

        @step
        def replaced(self, ev: A | B) -> None: ...

    assert list(steps_of(Derived)) == ["replaced", "kept"]
    assert config_of(steps_of(Derived)["replaced"]).accepted_events == [A, B]


def test_finding_steps_reads_no_property() -> None:
    class Local:
        @property
        def costly(self) -> int:
            raise AssertionError

        @step
        def only(self, ev: A) -> None: ...

    assert list(steps_of(Local)) == ["only"]


def test_a_step_under_staticmethod_is_refused_when_the_steps_are_listed() -> None:
    class Local:
        @staticmethod
        @step
        def f(ev: A) -> None: ...

    with pytest.raises(WorkflowValidationError, match=r"Local\.f: .*static method"):
        steps_of(Local)
