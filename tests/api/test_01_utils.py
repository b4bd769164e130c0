"""Section 1, `utils`: what it tells of the same functions on both engines."""

import inspect
import itertools
import sys
from types import ModuleType
from typing import Annotated, Any, get_type_hints

import pytest
import workflows.utils as _peer

import stepwell.utils as _ours
from stepwell.context import Context
from stepwell.decorators import step
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.utils import (
    BUSY_WAIT_DELAY,
    StepSignatureSpec,
    get_steps_from_class,
    get_steps_from_instance,
    inspect_signature,
    is_free_function,
    validate_step_signature,
)
from stepwell.workflow import Workflow

ours: Any = _ours
peer: Any = _peer

HEAD = """
from typing import Annotated, Any, AsyncIterator, Optional, Union
from pydantic import BaseModel
from {engine} import Context, Workflow, step
from {engine}.collect import Collect, Take
from {engine}.events import Event, StartEvent, StopEvent
from {engine}.resource import Resource

class A(Event): ...
class B(Event): ...
class State(BaseModel): ...

def number() -> int: return 1

"""

STEPS = {
    "one event": "(ev: StartEvent) -> StopEvent",
    "a method": "(self, ev: StartEvent) -> StopEvent",
    "strings": "(ev: 'A') -> 'Optional[B]'",
    "a union, a context and its state": "(ev: A | B, ctx: Context[State]) -> StopEvent | A | None",
    "an optional event": "(a: Optional[A], n, b=5) -> Union[A, None]",
    "a list": "(evs: list[A]) -> list[A] | B",
    "some of a list": "(e: Annotated[list[A | B], Collect(Take(2))], c: Context) -> None",
    "several events": "(a: A, b: B) -> StopEvent",
    "a resource": "(a: A, r: Annotated[int, Resource(number)]) -> StopEvent",
    "a noted return": "(a: A) -> Annotated[StopEvent, 5]",
    "lists in a union": "(a: A) -> list[A | B] | list[StopEvent] | None",
    "an optional list": "(a: A) -> Optional[list[A]]",
}

UNRESOLVED = "(a: 'Nope') -> StopEvent"

NO_STEPS = {
    "no event": "(x: int) -> StopEvent",
    "no parameter": "() -> StopEvent",
    "no return": "(a: A)",
    "an unknown name": UNRESOLVED,
    "an iterator": "(a: A) -> AsyncIterator[A]",
    "any": "(a: Any) -> StopEvent",
    "an event or not": "(a: A | int) -> StopEvent",
    "two lists": "(a: list[A], b: list[B]) -> StopEvent",
    "a list and one": "(a: list[A], b: B) -> StopEvent",
    "a union and one": "(a: A | B, b: B) -> StopEvent",
    "a mark on one": "(a: Annotated[A, Collect()]) -> StopEvent",
    "anything": "(*a, **k) -> StopEvent",
}

RETURNING = [one for one in [*STEPS.values(), *NO_STEPS.values()] if one != UNRESOLVED]

numbers = itertools.count()


def loaded(engine: str, program: str) -> ModuleType:
    """The program as a module: signatures look up names there."""
    module = ModuleType(f"signatures_{next(numbers)}")
    sys.modules[module.__name__] = module
    exec(HEAD.replace("{engine}", engine) + program, vars(module))  # noqa: S102  the programs above
    return module


def function(engine: str, signature: str) -> Any:
    return loaded(engine, f"def func{signature}: ...").func


def plain(value: Any) -> Any:
    """A value in which the classes of both engines look the same."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType]  any dict
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  any list
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str | None):
        return value
    return getattr(value, "name", repr(value).partition("[")[0])


def told(utils: Any, func: Any) -> dict[str, Any]:
    """What is told of a step."""
    spec = utils.inspect_signature(func)
    utils.validate_step_signature(spec)
    assert isinstance(spec, utils.StepSignatureSpec)
    return {name: plain(getattr(spec, name)) for name in peer.StepSignatureSpec.model_fields}


@pytest.mark.parametrize("name", STEPS)
def test_the_signature_of_a_step_is_told_as_on_the_peer(name: str) -> None:
    funcs = [function(engine, STEPS[name]) for engine in ("stepwell", "workflows")]
    assert told(ours, funcs[0]) == told(peer, funcs[1])


@pytest.mark.parametrize("name", NO_STEPS)
def test_what_is_no_step_is_refused_at_the_latest_by_the_validation(name: str) -> None:
    for engine, utils in (("stepwell", ours), ("workflows", peer)):
        func = function(engine, NO_STEPS[name])
        refusal = sys.modules[f"{engine}.errors"].WorkflowValidationError
        with pytest.raises(refusal):
            utils.validate_step_signature(utils.inspect_signature(func))


@pytest.mark.parametrize("signature", RETURNING)
def test_return_types_are_told_as_on_the_peer(signature: str) -> None:
    mine = ours._get_return_types(function("stepwell", signature))
    theirs = peer._get_return_types(function("workflows", signature))
    assert [type(one) for one in mine] == [type(one) for one in theirs]
    assert plain(mine) == plain(theirs)


def test_an_unresolved_return_type_is_refused() -> None:
    with pytest.raises(WorkflowValidationError, match=r"func.*return value.*'Nope'"):
        ours._get_return_types(function("stepwell", "(a: A) -> 'Nope'"))


def sample(
    a: "int",
    b: int | None,
    c: int | str | None,
    d,  # type: ignore[no-untyped-def]  # noqa: ANN001  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]  the point
    e: list[int],
    f: Any,
) -> None: ...


SAMPLE: Any = sample  # pyright: ignore[reportUnknownVariableType]  a parameter has no type


@pytest.mark.parametrize("hints", [get_type_hints(SAMPLE), {}])
def test_parameter_types_are_told_as_on_the_peer(hints: dict[str, Any]) -> None:
    for parameter in inspect.signature(SAMPLE).parameters.values():
        assert ours._get_param_types(parameter, hints) == peer._get_param_types(parameter, hints)


def test_local_names_can_be_given() -> None:
    def func(ev: "Hidden") -> "Hidden": ...  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  the point

    spec = inspect_signature(func, localns={"Hidden": StartEvent})  # pyright: ignore[reportUnknownArgumentType]  as above
    assert spec.accepted_events == {"ev": [StartEvent]}
    assert ours._get_return_types(func, {"Hidden": StartEvent}) == [StartEvent]


@pytest.mark.parametrize("thing", [5, None, "func"])
@pytest.mark.parametrize("utils", [ours, peer], ids=["stepwell", "workflows"])
def test_what_can_t_be_called_has_no_signature(utils: Any, thing: Any) -> None:
    with pytest.raises(TypeError):
        utils.inspect_signature(thing)


# --- descriptions written by hand ---


class Left(Event):
    pass


class Right(Event):
    pass


REFUSED: dict[str, dict[str, Any]] = {
    "no event": {"accepted_events": {}},
    "no return": {"return_types": []},
    "a union beside another": {"accepted_events": {"a": [Left, Right], "b": [Left]}},
    "a list beside another": {
        "accepted_events": {"a": [Left], "b": [Left]},
        "collection_param": ("a", (Left,)),
    },
}


def described(**changed: Any) -> StepSignatureSpec:
    fields: dict[str, Any] = {
        "accepted_events": {"ev": [Left]},
        "return_types": [StopEvent],
        "context_parameter": None,
        "context_state_type": None,
        "resources": [],
    }
    return StepSignatureSpec(**{**fields, **changed})


@pytest.mark.parametrize("name", REFUSED)
def test_a_description_that_no_step_can_have_is_refused(name: str) -> None:
    with pytest.raises(WorkflowValidationError):
        validate_step_signature(described(**REFUSED[name]))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"accepted_events": {"a": [Left], "b": [Right]}},
        {"accepted_events": {"ev": [Left, Right]}},
        {"collection_param": ("ev", (Left,))},
    ],
)
def test_a_description_that_a_step_can_have_is_valid(changed: dict[str, Any]) -> None:
    validate_step_signature(described(**changed))


def test_a_description_has_the_fields_and_defaults_of_the_peer() -> None:
    fields = peer.StepSignatureSpec.model_fields
    mine = StepSignatureSpec.model_fields
    assert list(mine) == list(fields)
    assert [one.get_default() for one in mine.values()] == [
        one.get_default() for one in fields.values()
    ]


# --- the steps of a workflow ---


CLASSES = """
class W(Workflow):
    other = 5
    @step
    async def first(self, ev: StartEvent) -> A: ...
    @step
    async def second(self, ev: A) -> StopEvent: ...
    def plain(self): ...

@step(workflow=W)
async def free(ev: B) -> A: ...

class Derived(W):
    @step
    async def third(self, ev: A) -> B: ...
"""


def test_the_steps_of_a_class_and_of_an_instance_are_those_of_the_peer() -> None:
    found: list[Any] = []
    for engine, utils in (("stepwell", ours), ("workflows", peer)):
        module = loaded(engine, CLASSES)
        things = [module.W, module.Derived, module.W(), module.Derived(), int, 5, None]
        getters = utils.get_steps_from_class, utils.get_steps_from_instance
        found.append([sorted(get(thing)) for thing in things for get in getters])
    assert found[0] == found[1]


class Two(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Left:
        return Left()

    @step
    async def second(self, ctx: Context, ev: Left) -> StopEvent:
        return StopEvent(result=self)


def test_a_class_has_functions_and_an_instance_has_methods() -> None:
    assert get_steps_from_class(Two) == {"first": Two.first, "second": Two.second}
    two = Two()
    steps: dict[str, Any] = dict(get_steps_from_instance(two))
    assert steps == {"first": two.first, "second": two.second}


@pytest.mark.parametrize(
    "qualname",
    [
        "f",
        "A.f",
        "A.B.f",
        "<lambda>",
        "f.<locals>.g",
        "f.<locals>.A.g",
        "f.<locals>.g.<locals>.h",
        "a.<locals>",
    ],
)
def test_a_free_function_is_one_that_stands_in_no_class(qualname: str) -> None:
    assert is_free_function(qualname) == peer.is_free_function(qualname)


@pytest.mark.parametrize("utils", [ours, peer], ids=["stepwell", "workflows"])
def test_an_empty_name_is_no_name(utils: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        utils.is_free_function("")


def test_the_constant_is_that_of_the_peer() -> None:
    assert BUSY_WAIT_DELAY == peer.BUSY_WAIT_DELAY


def test_the_spec_is_kept_apart_from_the_one_of_another_function() -> None:
    def func(ev: Annotated[Left, "a note"]) -> StopEvent: ...  # pyright: ignore[reportReturnType]  never called

    first, second = inspect_signature(func), inspect_signature(func)
    first.return_types.append(Right)
    assert second.return_types == [StopEvent]
