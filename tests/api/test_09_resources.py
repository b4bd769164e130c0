"""Section 9: resources. The same program text on Stepwell and on LlamaIndex Workflows, then what
differs on purpose, and what a mistake is answered with.
"""

import asyncio
import inspect
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stepwell._annotations import resolved_parameters
from stepwell.decorators import config_of, step
from stepwell.errors import WorkflowValidationError
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.resource import (
    Resource,
    ResourceConfig,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceManager,
    resource_definitions,
    validate_configs,
    validate_resources,
)
from stepwell.workflow import Workflow

pytest.importorskip("workflows")

HEAD = """
import itertools
import json
from pathlib import Path
from typing import Annotated, Any, Optional
from pydantic import BaseModel
from {engine} import Workflow, step
from {engine}.events import Event, StartEvent, StopEvent, WorkflowFailedEvent
from {engine}.resource import (
    Resource, ResourceConfig, ResourceDefinition, ResourceDescriptor, ResourceManager,
)
from {engine}.retry_policy import (
    retry_if_exception_type, retry_policy, stop_after_attempt, wait_none,
)

count = itertools.count(1)

class Config(BaseModel):
    size: int
    name: str = "x"

class Name(BaseModel):
    name: str = "other"

class Next(Event):
    got: Any

def number() -> int:
    return next(count)

async def later() -> int:
    return next(count)

def fails() -> None:
    raise ConnectionError("no route")

async def tries(*actions):
    "What each action gives, or the class of its error."
    outcomes = []
    for action in actions:
        try:
            outcomes.append(await action)
        except Exception as error:
            outcomes.append(type(error).__name__)
    return outcomes

def configured(file, selector=None, model=Config):
    "A config that the manager can be asked for."
    config = ResourceConfig(file, selector)
    config.set_type_annotation(model)
    return config
"""

PROGRAMS = {
    "sync and async factories": """
class W(Workflow):
    @step
    async def only(
        self, ev: StartEvent,
        a: Annotated[int, Resource(number)],
        b: Annotated[int, Resource(later)],
    ) -> StopEvent:
        return StopEvent(result=(a, b))

async def main():
    return await W().run()
""",
    "factories that ask for resources, and get nothing else": """
async def inner(one: Annotated[int, Resource(number)]) -> str:
    return f"inner {one}"

def outer(a: Annotated[str, Resource(inner)], *rest: int, b: int = 3, **others: int) -> Any:
    return a, rest, b, others

class W(Workflow):
    @step
    async def only(self, ev: StartEvent, it: Annotated[Any, Resource(outer)]) -> StopEvent:
        return StopEvent(result=it)

async def main():
    return await W().run()
""",
    "cached for each workflow instance": """
class W(Workflow):
    @step
    async def first(self, ev: StartEvent, it: Annotated[int, Resource(number)]) -> Next:
        return Next(got=it)
    @step
    async def second(self, ev: Next, it: Annotated[int, Resource(number)]) -> StopEvent:
        return StopEvent(result=(ev.got, it))

async def main():
    workflow, other = W(), W()
    return [await workflow.run(), await workflow.run(), await other.run()]
""",
    "uncached ones, new for each call and shared within it": """
new = Resource(number, cache=False)

def left(base: Annotated[int, new]) -> int:
    return base

async def right(base: Annotated[int, Resource(number, False)]) -> int:
    return base

class W(Workflow):
    @step
    async def only(
        self, ev: StartEvent, base: Annotated[int, new],
        a: Annotated[int, Resource(left, cache=False)],
        b: Annotated[int, Resource(right, cache=False)],
    ) -> StopEvent:
        return StopEvent(result=(base, a, b))

async def main():
    workflow = W()
    return [await workflow.run(), await workflow.run()]
""",
    "a manager that is handed in": """
class W(Workflow):
    @step
    async def only(self, ev: StartEvent, it: Annotated[int, Resource(number)]) -> StopEvent:
        return StopEvent(result=it)

async def main():
    manager = ResourceManager()
    await manager.set("number", "given")
    return [await W(resource_manager=manager).run(), manager.get_all()]
""",
    "the manager's own methods": """
async def main():
    manager, resource = ResourceManager(), Resource(number)
    return [
        await manager.set("other", 5), dict(manager.get_all()),
        await manager.get(resource), await manager.get(Resource(number)),
        await manager.get(Resource(later, cache=False)),
        await manager.get(Resource(later, cache=False)),
        dict(manager.get_all()),
        await manager.set("fails", "given"), await manager.get(Resource(fails)),
    ]
""",
    "a config, whole or selected, for a step or a factory": """
def made(config: Annotated[Config, ResourceConfig("c.json", "deep.down")]) -> str:
    return f"made of {config.size}"

class W(Workflow):
    @step
    async def only(
        self, ev: StartEvent,
        whole: Annotated[Config, ResourceConfig("c.json")],
        part: Annotated[Config, ResourceConfig(config_file="c.json", path_selector="deep.down")],
        it: Annotated[str, Resource(made)],
        second: Annotated[Config, "a note", ResourceConfig("c.json")],
    ) -> StopEvent:
        return StopEvent(result=(whole, part, it, second))

async def main():
    result = await W().run()
    return [repr(one) for one in result], result[0] is result[3]
""",
    "a config, read at first use and kept": """
class W(Workflow):
    @step
    async def only(
        self, ev: StartEvent, it: Annotated[Config, ResourceConfig("kept.json")]
    ) -> StopEvent:
        return StopEvent(result=it.size)

async def main():
    workflow, file = W(), Path("kept.json")
    file.write_text('{"size": 1}')
    first = await workflow.run()
    file.write_text('{"size": 2}')
    return [first, await workflow.run()]
""",
    "what a config is known by": """
async def main():
    manager = ResourceManager()
    await manager.get(configured("c.json", "deep.down"))
    await manager.set("c.json", "given")
    config = ResourceConfig("c.json", "deep", label="L", description="D")
    return [
        {name: repr(one) for name, one in manager.get_all().items()},
        await manager.get(configured("c.json")),
        config.name, config.cache, config.path_selector, config.label, config.description,
        config.config_file, config.get_dependencies(), isinstance(config, ResourceDescriptor),
    ]
""",
    "configs that can't be read": """
async def main():
    manager = ResourceManager()
    return await tries(
        manager.get(configured("missing.json")),
        manager.get(configured("folder.json")),
        manager.get(configured("c.json", "nowhere")),
        manager.get(configured("c.json", "size")),
        manager.get(configured("c.json", "size.deeper")),
        manager.get(configured("c.json", "list")),
        manager.get(ResourceConfig("c.json")),
    )
""",
    "a config that is read again once its file is there": """
async def main():
    manager, file = ResourceManager(), Path("late.json")
    file.unlink(missing_ok=True)
    before = await tries(manager.get(configured("late.json")))
    file.write_text('{"size": 1}')
    return before, repr(await manager.get(configured("late.json")))
""",
    "what is no JSON file": """
async def main():
    async def declare(file):
        ResourceConfig(file)
    return await tries(declare("c.yaml"), declare("json"), declare("c.JSON"), declare("c.json5"))
""",
    "a circle": """
def ring_a(b: "Annotated[int, Resource(ring_b)]") -> int: return b
def ring_b(a: "Annotated[int, Resource(ring_a)]") -> int: return a
def itself(me: "Annotated[int, Resource(itself)]") -> int: return me

async def main():
    messages = []
    for factory in (ring_a, itself):
        try:
            await ResourceManager().get(Resource(factory))
        except ValueError as error:
            messages.append(str(error).split(" dependency")[0])
    return messages
""",
    "a factory that fails": """
class W(Workflow):
    @step
    async def only(self, ev: StartEvent, it: Annotated[None, Resource(fails)]) -> StopEvent:
        return StopEvent()

async def main():
    handler = W().run()
    seen = [ev async for ev in handler.stream_events()]
    failed = [(type(ev).__name__, ev.step_name, ev.attempts) for ev in seen]
    return failed, await tries(handler), await tries(ResourceManager().get(Resource(fails)))
""",
    "a factory that a retry policy calls again": """
def third_time() -> int:
    calls = next(count)
    if calls < 3:
        raise ConnectionError
    return calls

class W(Workflow):
    @step(retry_policy=retry_policy(
        retry=retry_if_exception_type(ConnectionError), wait=wait_none(), stop=stop_after_attempt(3)
    ))
    async def only(self, ev: StartEvent, it: Annotated[int, Resource(third_time)]) -> StopEvent:
        return StopEvent(result=it)

class Never(Workflow):
    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def only(self, ev: StartEvent, it: Annotated[int, Resource(fails)]) -> StopEvent:
        return StopEvent()

async def main():
    handler = Never().run()
    [failed] = [ev async for ev in handler.stream_events()]
    return await W().run(), failed.attempts, await tries(handler)
""",
    "a factory that fails once": """
class Flaky:
    calls = 0

async def flaky() -> int:
    Flaky.calls += 1
    if Flaky.calls == 1:
        raise ConnectionError
    return Flaky.calls

async def main():
    manager = ResourceManager()
    return await tries(manager.get(Resource(flaky)), manager.get(Resource(flaky)))
""",
    "what a resource tells of itself": """
def outer(
    config: Annotated[Config, ResourceConfig("c.json")], one: Annotated[int, Resource(number)]
) -> None: ...

async def main():
    resource, uncached = Resource(outer), Resource(factory=later, cache=False)
    parts = [(name, part.name, kind.__name__) for name, part, kind in resource.get_dependencies()]
    definition = ResourceDefinition(name="it", resource=resource)
    return [
        resource.name, resource.cache, uncached.cache, uncached.get_dependencies(), parts,
        isinstance(resource, ResourceDescriptor), isinstance(5, ResourceDescriptor),
        definition.name, definition.resource is resource, definition.type_annotation,
        await uncached.resolve(ResourceManager()),
    ]
""",
    "what a step knows of its resources": """
class W(Workflow):
    @step
    async def only(
        self, ev: StartEvent,
        a: Annotated[int, Resource(number)],
        b: Annotated[Config, ResourceConfig("c.json")],
    ) -> StopEvent:
        return StopEvent()

async def main():
    found = W.only._step_config.resources
    return [(one.name, one.resource.name, one.type_annotation.__name__) for one in found]
""",
}

numbers = itertools.count()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file to be configured from."""
    content = {"size": 1, "deep": {"down": {"size": 5}}, "list": [1], "null": None}
    (tmp_path / "c.json").write_text(json.dumps(content))
    (tmp_path / "folder.json").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(engine: str, program: str) -> ModuleType:
    """The program as a module: signatures look up names there."""
    module = ModuleType(f"resources_{next(numbers)}")
    sys.modules[module.__name__] = module
    exec(HEAD.replace("{engine}", engine) + program, vars(module))  # noqa: S102  the programs above
    return module


def outcome(engine: str, program: str) -> Any:
    module = loaded(engine, program)
    try:
        return asyncio.run(module.main())
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same_on_both(name: str) -> None:
    assert outcome("stepwell", PROGRAMS[name]) == outcome("workflows", PROGRAMS[name])


# --- what differs on purpose ---


class Config(BaseModel):
    size: int


class Label(BaseModel):
    size: str | int


class Doubled(Config):
    deep: dict[str, Config]


def plain() -> object:
    return object()


def asks(resource: ResourceDescriptor, kind: Any = Config) -> list[ResourceDefinition]:
    """The parameter `it` of a step, annotated with a resource."""
    return resource_definitions(
        [
            inspect.Parameter(
                "it", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, resource]
            )
        ]
    )


async def filled(resource: ResourceDescriptor, kind: Any = Config) -> Any:
    """What a step gets for its parameter `it`."""
    async with ResourceManager().open_run().call(asks(resource, kind)) as values:
        return values["it"]


async def test_two_factories_of_one_name_are_two_resources() -> None:
    manager = ResourceManager()

    def factory_of(value: int) -> Callable[[], int]:
        return lambda: value

    assert [await manager.get(Resource(factory_of(value))) for value in range(2)] == [0, 1]


async def test_one_config_fills_parameters_of_different_models() -> None:
    config, manager = ResourceConfig("c.json"), ResourceManager()
    wanted = [*asks(config, Config), *asks(config, Label)]
    values = [await manager.get(one.resource) for one in wanted]
    assert values == [Config(size=1), Label(size=1)]


async def test_an_optional_config_is_one_of_its_model() -> None:
    assert await filled(ResourceConfig("c.json"), Config | None) == Config(size=1)


async def test_a_value_that_was_set_stands_in_for_an_uncached_resource_too() -> None:
    manager = ResourceManager()
    await manager.set("plain", "stand-in")
    assert await manager.get(Resource(plain, cache=False)) == "stand-in"


class Fetch(StartEvent):
    pass


def refused() -> None:
    raise ConnectionError("no route")


class Fetching(Workflow):
    @step
    async def fetch(self, ev: Fetch, client: Annotated[None, Resource(refused)]) -> StopEvent:
        return StopEvent()


async def test_what_a_factory_raises_is_the_step_s_failure_with_a_note_that_names_it() -> None:
    with pytest.raises(ConnectionError, match="no route") as failure:
        await Fetching().run()
    assert failure.value.__notes__ == ["While resource factory 'refused' was called."]


# --- before a run ---


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        (ResourceConfig("missing.json"), FileNotFoundError),
        (ResourceConfig("c.json", "deep"), ValueError),
        (ResourceConfig("c.json", "size"), ValueError),
    ],
)
def test_configs_are_checked_by_reading_them(
    resource: ResourceDescriptor, error: type[Exception]
) -> None:
    def below(config: Annotated[Config, resource]) -> Config:
        return config

    def above(part: Annotated[Config, Resource(below)]) -> Config:
        return part

    for wanted in (resource, Resource(below), Resource(above)):
        with pytest.raises(error):
            validate_configs(asks(wanted))


def test_configs_that_can_be_read_are_valid_and_no_factory_is_called() -> None:
    def maker(config: Annotated[Config, ResourceConfig("c.json", "deep.down")]) -> Config:
        pytest.fail(f"called with {config}")

    validate_configs([*asks(Resource(maker)), *asks(ResourceConfig("c.json"), Doubled)])


async def test_resources_are_checked_by_making_them_and_closed_again() -> None:
    lines: list[str] = []

    async def opened() -> Any:
        lines.append("open")
        yield 1
        lines.append("close")

    manager = ResourceManager()
    for scope in ("worker", "run", "call"):
        await validate_resources(asks(Resource(opened, scope=scope)), manager)
    assert lines == ["open", "close"] * 3
    assert manager.get_all() == {}


async def test_a_check_of_resources_fails_as_their_use_would() -> None:
    manager = ResourceManager()
    with pytest.raises(ConnectionError, match="no route"):
        await validate_resources(asks(Resource(refused)), manager)
    await manager.set("refused", "stand-in")
    await validate_resources(asks(Resource(refused)), manager)


# --- bad input: an error at the earliest moment, with the name of what is wrong ---


DECLARATIONS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no factory": (lambda: Resource(unchecked(None)), WorkflowValidationError, r"None.*function"),
    "a value for a factory": (lambda: Resource(unchecked(5)), WorkflowValidationError, r"\(5\)"),
    "no hash": (lambda: Resource(unchecked([])), WorkflowValidationError, "no hash"),
    "no truth": (
        lambda: Resource(plain, unchecked("no")),
        WorkflowValidationError,
        "cache is 'no'",
    ),
    "a scope": (lambda: Resource(plain, scope=unchecked("day")), WorkflowValidationError, "'day'"),
    "no path": (lambda: ResourceConfig(unchecked(None)), WorkflowValidationError, "no path"),
    "bytes": (lambda: ResourceConfig(unchecked(b"c.json")), WorkflowValidationError, "no path"),
    "no JSON": (lambda: ResourceConfig("c.toml"), ValueError, r"'c.toml'.*JSON"),
    "no file name": (lambda: ResourceConfig(""), ValueError, "JSON"),
    "an empty selector": (lambda: ResourceConfig("c.json", ""), ValueError, "empty part"),
    "a gap": (lambda: ResourceConfig("c.json", "a..b"), ValueError, r"'a\.\.b'.*empty part"),
    "a number": (
        lambda: ResourceConfig("c.json", unchecked(5)),
        WorkflowValidationError,
        "path_selector is 5",
    ),
    "a label": (
        lambda: ResourceConfig("c.json", label=unchecked(5)),
        WorkflowValidationError,
        "label is 5",
    ),
}


def unchecked(value: Any) -> Any:
    """A value that the type checker knows nothing of."""
    return value


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_wrong_declaration_is_refused_where_it_stands(name: str) -> None:
    declare, error, message = DECLARATIONS[name]
    with pytest.raises(error, match=message):
        declare()


Parameter = inspect.Parameter
KEYWORD = Parameter.KEYWORD_ONLY

PARAMETERS: dict[str, tuple[Parameter, str]] = {
    "Resource is not called": (
        Parameter("it", KEYWORD, annotation=Annotated[int, Resource]),
        r"'it'.*Resource itself.*Call it",
    ),
    "ResourceConfig is not called": (
        Parameter("it", KEYWORD, annotation=Annotated[Config, ResourceConfig]),
        r"'it'.*ResourceConfig itself.*Call it",
    ),
    "no type": (
        Parameter("it", KEYWORD, annotation=Resource(plain)),
        r"'it' has a resource as its type.*Annotated\[T",
    ),
    "a default": (
        Parameter("it", KEYWORD, annotation=int, default=Resource(plain)),
        r"'it' has a resource as its default.*Annotated\[T",
    ),
    "two": (
        Parameter("it", KEYWORD, annotation=Annotated[int, Resource(plain), Resource(refused)]),
        r"'it' is marked with 2 resources",
    ),
    "a positional-only parameter": (
        Parameter("it", Parameter.POSITIONAL_ONLY, annotation=Annotated[int, Resource(plain)]),
        r"'it' is positional-only",
    ),
    "all arguments": (
        Parameter("it", Parameter.VAR_KEYWORD, annotation=Annotated[int, Resource(plain)]),
        r"'it' is variadic keyword",
    ),
    "a config that is no model": (
        Parameter("it", KEYWORD, annotation=Annotated[dict[str, int], ResourceConfig("c.json")]),
        r"'it'.*'c.json'.*dict.*BaseModel",
    ),
    "a config of two models": (
        Parameter("it", KEYWORD, annotation=Annotated[Config | Label, ResourceConfig("c.json")]),
        r"'it'.*'c.json'.*BaseModel",
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_would_not_be_filled_is_refused_before_any_call(name: str) -> None:
    parameter, message = PARAMETERS[name]
    with pytest.raises(WorkflowValidationError, match=f"Step fetch: parameter {message}"):
        resource_definitions([parameter], of="Step fetch")


def test_a_step_with_such_a_parameter_is_refused_by_its_decorator() -> None:
    with pytest.raises(WorkflowValidationError, match=r"'it'.*Call it"):

        class Wrong(Workflow):  # pyright: ignore[reportUnusedClass]  it is refused
            @step
            async def only(self, ev: StartEvent, it: Annotated[int, Resource]) -> StopEvent:
                return StopEvent()


def test_a_plain_parameter_may_have_any_default() -> None:
    def quiet(ev: Event, number: int = 5, func: Callable[[], object] = plain) -> None: ...

    assert resource_definitions(resolved_parameters(quiet, {})) == []


FACTORIES: dict[str, tuple[Any, str]] = {}


def _broken(name: str, message: str) -> Callable[[Any], Any]:
    def keep(factory: Any) -> Any:
        FACTORIES[name] = factory, message
        return factory

    return keep


@_broken("an unknown name", r"'part'.*can't be resolved.*Unknown")
def asks_unknown(part: "Annotated[int, Unknown]") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  the point


@_broken("a parameter for nobody", r"asks_for_more: nobody fills its parameter 'size'")
def asks_for_more(part: Annotated[object, Resource(plain)], size: int) -> None: ...


@_broken("a resource that was not called", r"asks_itself: parameter 'part'.*Call it")
def asks_itself(part: Annotated[int, Resource]) -> None: ...


@pytest.mark.parametrize("name", FACTORIES)
async def test_a_factory_that_can_t_be_called_is_refused_before_a_run_and_at_its_use(
    name: str,
) -> None:
    factory, message = FACTORIES[name]
    with pytest.raises(WorkflowValidationError, match=message):
        validate_configs(asks(Resource(factory)))
    with pytest.raises(WorkflowValidationError, match=message):
        await ResourceManager().get(Resource(factory))


FILES: dict[str, tuple[bytes, str | None, str]] = {
    "no JSON": (b"{", None, r"'broken.json' is no valid JSON: Expecting"),
    "an empty file": (b"", "a", r"'broken.json' at 'a' is no valid JSON"),
    "no text": (b"\xff\xfe{\xff", None, "'broken.json' is no valid JSON"),
    "no object": (b"[1]", None, "'broken.json' is no Config.*valid dictionary"),
    "a field is missing": (b"{}", None, r"'broken.json' is no Config.*size.*Field required"),
    "a field is wrong": (b'{"a": {"size": "x"}}', "a", r"at 'a' is no Config.*size"),
    "nothing selected": (b'{"b": {}}', "a", r"'a': there is no 'a' at its top.*\['b'\]"),
    "nothing in it": (b'{"a": {"b": 1}}', "a.c", r"'a.c': there is no 'c' at 'a'.*\['b'\]"),
    "a list on the way": (b'{"a": [1]}', "a.0", r"there is no '0' at 'a'.*a list"),
    "a text selected": (b'{"a": "x"}', "a", r"at 'a' has a string"),
    "a number selected": (b'{"a": 1}', "a", r"at 'a' has the value 1"),
    "null selected": (b'{"a": null}', "a", r"at 'a' has null"),
}


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_does_not_fit_is_an_error_that_names_file_and_place(
    name: str, folder: Path
) -> None:
    content, selector, message = FILES[name]
    (folder / "broken.json").write_bytes(content)
    config = ResourceConfig("broken.json", selector)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        validate_configs(asks(config))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        await filled(config)


async def test_a_missing_file_is_named_as_it_was_given_and_as_it_was_looked_for(
    folder: Path,
) -> None:
    with pytest.raises(FileNotFoundError, match=r"'no.json' at 'a'") as missing:
        validate_configs(asks(ResourceConfig("no.json", "a")))
    assert str(folder / "no.json") in str(missing.value)


@pytest.mark.parametrize("thing", [None, 5, "name", plain, Resource])
async def test_the_manager_gives_resources_only(thing: Any) -> None:
    with pytest.raises(WorkflowValidationError, match="is no resource"):
        await ResourceManager().get(thing)


def test_a_step_keeps_what_its_resources_were_declared_with() -> None:
    resource = Resource(plain)

    class Plain(Workflow):
        @step
        async def only(self, ev: StartEvent, it: Annotated[object, resource]) -> StopEvent:
            return StopEvent(result=it)

    [definition] = config_of(unchecked(Plain.only)).resources
    assert definition.resource is resource
