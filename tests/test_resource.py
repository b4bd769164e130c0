"""Resources: made once or anew, closed at the end of their scope, never lost to a failure."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Annotated, Any

import anyio
import pytest

from stepwell.errors import ResourceError, WorkflowValidationError
from stepwell.resource import (
    Resource,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceManager,
    RunResources,
)


def asks(**resources: ResourceDescriptor) -> list[ResourceDefinition]:
    """The parameters of a step that asks for these resources."""
    return [ResourceDefinition(name, resource, object) for name, resource in resources.items()]


class Journal:
    """Factories that write down what happens to them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def opening(self, name: str) -> Callable[[], AsyncIterator[str]]:
        """An async generator factory."""

        async def opened() -> AsyncIterator[str]:
            self.lines.append(f"open {name}")
            yield name
            self.lines.append(f"close {name}")

        return opened


class Counter:
    """A factory that counts its calls, and takes a failure or a delay."""

    def __init__(self) -> None:
        self.calls = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failure: Exception | None = None

    async def make(self) -> int:
        self.calls += 1
        self.entered.set()
        await self.go_on.wait()
        if self.failure:
            raise self.failure
        return self.calls


async def once(run: RunResources, **resources: ResourceDescriptor) -> dict[str, Any]:
    """What one call of a step gets."""
    async with run.call(asks(**resources)) as values:
        return values


# --- declaring ---


def plain() -> object:
    return object()


async def coroutine() -> object:
    return object()


def generator() -> Iterator[object]:
    yield object()


async def async_generator() -> AsyncIterator[object]:
    yield object()


@pytest.mark.parametrize(
    ("resource", "scope"),
    [
        (Resource(plain), "worker"),
        (Resource(coroutine), "worker"),
        (Resource(generator), "run"),
        (Resource(async_generator), "run"),
        (Resource(partial(generator)), "run"),
        (Resource(plain, cache=False), "call"),
        (Resource(generator, cache=False), "call"),
        (Resource(plain, scope="run"), "run"),
        (Resource(generator, scope="worker"), "worker"),
    ],
)
def test_the_scope_follows_from_the_factory_unless_it_is_named(
    resource: ResourceDescriptor, scope: str
) -> None:
    assert resource.scope == scope


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Resource(None), r"Resource\(None\).*Give a function"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]  the point
        (lambda: Resource(plain, scope="day"), r"Resource\(plain\).*'day'.*Choose"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the point
        (lambda: Resource(plain, False, scope="run"), r"Resource\(plain\).*'run'.*Leave one"),
    ],
)
def test_a_declaration_without_sense_is_refused(
    declare: Callable[[], ResourceDescriptor], message: str
) -> None:
    with pytest.raises(WorkflowValidationError, match=message):
        declare()


# --- making ---


@pytest.mark.parametrize(
    "factory",
    [
        plain,
        coroutine,
        generator,
        async_generator,
        partial(coroutine),
        lambda: coroutine(),  # noqa: PLW0108 - a plain function that returns a coroutine
    ],
)
async def test_every_kind_of_factory_gives_its_value(factory: Callable[..., Any]) -> None:
    manager = ResourceManager()
    run = manager.open_run()
    values = await once(run, it=Resource(factory))
    assert type(values["it"]) is object
    await run.aclose()


async def test_an_awaitable_that_is_no_coroutine_is_the_value_itself() -> None:
    client = asyncio.get_running_loop().create_future()
    assert await ResourceManager().get(Resource(lambda: client)) is client


async def test_a_cached_resource_is_made_once_for_all_runs() -> None:
    manager = ResourceManager()
    values = [await once(manager.open_run(), it=Resource(plain)) for _ in range(2)]
    assert values[0]["it"] is values[1]["it"]
    assert await manager.get(Resource(plain)) is values[0]["it"]


async def test_a_run_scoped_resource_is_made_once_for_each_run() -> None:
    manager, resource = ResourceManager(), Resource(plain, scope="run")
    first, second = manager.open_run(), manager.open_run()
    values = [(await once(run, it=resource))["it"] for run in (first, first, second)]
    assert values[0] is values[1]
    assert values[0] is not values[2]


async def test_managers_share_nothing() -> None:
    resource = Resource(plain)
    assert await ResourceManager().get(resource) is not await ResourceManager().get(resource)


async def test_a_resource_is_known_by_its_factory_and_not_by_its_name() -> None:
    def factory_of(value: int) -> Callable[[], int]:
        return lambda: value

    manager = ResourceManager()
    factories = [factory_of(1), factory_of(2)]
    assert [await manager.get(Resource(factory)) for factory in factories] == [1, 2]


async def test_an_uncached_resource_is_new_in_each_call_and_the_same_within_it() -> None:
    def left(base: Annotated[object, Resource(plain, cache=False)]) -> object:
        return base

    async def right(base: Annotated[object, Resource(plain, cache=False)]) -> object:
        return base

    run = ResourceManager().open_run()
    wanted = {
        "kept": Resource(left),
        "base": Resource(plain, cache=False),
        "new": Resource(right, cache=False),
    }
    first, second = await once(run, **wanted), await once(run, **wanted)
    assert first["kept"] is first["base"] is first["new"]
    assert second["new"] is second["base"] is not first["base"]
    assert second["kept"] is first["kept"]


async def test_a_factory_gets_its_resources_and_nothing_else() -> None:
    def tail() -> str:
        return "tail"

    def head(
        end: Annotated[str, Resource(tail)], size: int = 3, *args: str, **kwargs: str
    ) -> tuple[Any, ...]:
        return end, size, args, kwargs

    assert await ResourceManager().get(Resource(head)) == ("tail", 3, (), {})


async def test_a_class_is_a_factory() -> None:
    class Service:
        def __init__(self, part: Annotated[object, Resource(plain)]) -> None:
            self.part = part

    manager = ResourceManager()
    service = await manager.get(Resource(Service))
    assert service.part is await manager.get(Resource(plain))


async def test_string_annotations_of_a_factory_see_the_scope_of_its_declaration() -> None:
    def tail() -> str:
        return "tail"

    def head(end: "Annotated[str, Resource(tail)]") -> str:
        return f"head of {end}"

    def declare() -> ResourceDescriptor:
        return Resource(head)

    assert await ResourceManager().get(declare()) == "head of tail"


async def test_a_value_that_was_set_stands_in_for_a_factory_of_that_name() -> None:
    manager = ResourceManager()
    await manager.set("plain", "stand-in")
    assert await manager.get(Resource(plain)) == "stand-in"
    assert await once(manager.open_run(), it=Resource(plain, cache=False)) == {"it": "stand-in"}


async def test_all_that_is_made_or_set_is_told_by_name() -> None:
    manager = ResourceManager()
    made = await manager.get(Resource(plain))
    await manager.set("other", 1)
    assert manager.get_all() == {"plain": made, "other": 1}


async def test_the_manager_gives_nothing_that_lives_in_a_run() -> None:
    with pytest.raises(WorkflowValidationError, match=r"'generator'.*'run'.*ask for it in a step"):
        await ResourceManager().get(Resource(generator))


# --- together ---


async def test_concurrent_requests_make_a_resource_once() -> None:
    counter, manager = Counter(), ResourceManager()
    resource = Resource(counter.make)
    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(manager.get(resource)) for _ in range(3)]
        await counter.entered.wait()
        counter.go_on.set()
    assert [request.result() for request in requests] == [1, 1, 1]


async def test_a_failure_reaches_every_waiter_and_is_not_kept() -> None:
    counter, run = Counter(), ResourceManager().open_run()
    counter.failure = OSError("no route")
    counter.go_on.set()
    resource = Resource(counter.make)
    results = await asyncio.gather(
        *(once(run, client=resource) for _ in range(3)), return_exceptions=True
    )
    assert results == [counter.failure] * 3
    [note] = counter.failure.__notes__
    assert "Counter.make" in note
    assert counter.calls == 1

    counter.failure = None
    assert await once(run, client=resource) == {"client": 2}


async def test_waiters_outlive_the_one_who_asked_first() -> None:
    counter, manager = Counter(), ResourceManager()

    async def built(base: Annotated[int, Resource(counter.make, cache=False)]) -> int:
        return base

    async def ask() -> int:
        async with manager.open_run().call(asks(it=Resource(built))) as values:
            return values["it"]

    first = asyncio.create_task(ask())
    await counter.entered.wait()
    second = asyncio.create_task(ask())
    first.cancel()
    await asyncio.wait([first])
    counter.go_on.set()
    assert await second == 1
    assert first.cancelled()


async def test_a_failure_below_names_the_whole_way_and_stays_what_it_is() -> None:
    failure = OSError("no route")

    def below() -> None:
        raise failure

    def above(part: Annotated[None, Resource(below)]) -> None:
        return part

    with pytest.raises(OSError, match="no route") as error:
        await once(ResourceManager().open_run(), top=Resource(above))
    assert error.value is failure
    assert [note.split("<locals>.")[1].partition("'")[0] for note in failure.__notes__] == [
        "below",
        "above",
    ]


async def test_a_factory_with_a_parameter_that_nobody_fills_is_refused() -> None:
    def lacking(size: int) -> int:
        return size

    with pytest.raises(WorkflowValidationError, match=r"lacking.*nobody fills.*'size'"):
        await once(ResourceManager().open_run(), it=Resource(lacking))


async def test_a_cancellation_inside_a_factory_is_not_taken_for_one_of_the_waiter() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ResourceError, match=r"'it'.*was cancelled"):
        await once(ResourceManager().open_run(), it=Resource(gives_up))


# --- rules between resources ---


def ring_a(b: "Annotated[object, Resource(ring_b)]") -> object:  # pyright: ignore[reportUndefinedVariable, reportUnknownArgumentType]  defined below
    return b


def ring_b(a: "Annotated[object, Resource(ring_a)]") -> object:
    return a


async def test_a_circle_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Circular resource dependency: ring_a -> ring_b -> ring_a"
    ):
        await ResourceManager().get(Resource(ring_a))


@pytest.mark.parametrize(
    ("upper", "lower", "refused"),
    [
        ("worker", "run", True),
        ("worker", "call", True),
        ("run", "call", True),
        ("run", "run", False),
        ("run", "worker", False),
        ("call", "worker", False),
        ("call", "run", False),
    ],
)
async def test_a_resource_uses_none_that_ends_before_it(
    upper: Any, lower: Any, *, refused: bool
) -> None:
    def above(part: Annotated[object, Resource(plain, scope=lower)]) -> object:
        return part

    run = ResourceManager().open_run()
    if not refused:
        assert await once(run, it=Resource(above, scope=upper))
        return
    with pytest.raises(WorkflowValidationError, match=rf"{upper}.*'plain'.*{lower}.*ends before"):
        await once(run, it=Resource(above, scope=upper))


async def test_an_uncached_resource_between_two_does_not_hide_the_rule() -> None:
    def between(part: Annotated[object, Resource(plain, scope="run")]) -> object:
        return part

    def above(part: Annotated[object, Resource(between, cache=False)]) -> object:
        return part

    run = ResourceManager().open_run()
    assert await once(run, it=Resource(between, cache=False))
    with pytest.raises(WorkflowValidationError, match=r"above.*'plain'.*'run'"):
        await once(run, it=Resource(above))


# --- closing ---


async def test_each_resource_is_closed_at_the_end_of_its_scope() -> None:
    journal, manager = Journal(), ResourceManager()
    run = manager.open_run()
    wanted = asks(
        worker=Resource(journal.opening("worker"), scope="worker"),
        run=Resource(journal.opening("run")),
        call=Resource(journal.opening("call"), cache=False),
    )
    async with run.call(wanted) as values:
        assert values == {"worker": "worker", "run": "run", "call": "call"}
    assert journal.lines == ["open worker", "open run", "open call", "close call"]
    await run.aclose()
    assert journal.lines[4:] == ["close run"]
    await manager.aclose()
    assert journal.lines[5:] == ["close worker"]


async def test_what_uses_another_is_closed_before_it() -> None:
    journal = Journal()
    connect = journal.opening("connection")

    async def session(_over: Annotated[str, Resource(connect)]) -> AsyncIterator[str]:
        journal.lines.append("open session")
        yield "session"
        journal.lines.append("close session")

    run = ResourceManager().open_run()
    await once(run, it=Resource(session))
    await run.aclose()
    assert journal.lines == [
        "open connection",
        "open session",
        "close session",
        "close connection",
    ]


async def test_a_call_that_fails_closes_its_resources_and_keeps_its_error() -> None:
    journal = Journal()
    wanted = asks(it=Resource(journal.opening("it"), cache=False))
    with pytest.raises(LookupError):
        async with ResourceManager().open_run().call(wanted):
            raise LookupError
    assert journal.lines == ["open it", "close it"]


async def test_a_call_whose_second_resource_fails_closes_the_first() -> None:
    def fail() -> None:
        raise OSError("no route")

    journal = Journal()
    wanted = asks(it=Resource(journal.opening("it"), cache=False), bad=Resource(fail))
    with pytest.raises(OSError, match="no route"):
        async with ResourceManager().open_run().call(wanted):
            pytest.fail("the step must not start")
    assert journal.lines == ["open it", "close it"]


async def test_a_failure_while_closing_is_raised_and_the_others_are_closed_all_the_same() -> None:
    journal, failure = Journal(), OSError("broken pipe")

    def breaks() -> Iterator[int]:
        yield 1
        raise failure

    run = ResourceManager().open_run()
    await once(run, first=Resource(journal.opening("first")), second=Resource(breaks))
    with pytest.raises(ResourceError, match=r"breaks.*after its yield.*broken pipe") as error:
        await run.aclose()
    assert error.value.__cause__ is failure
    assert journal.lines == ["open first", "close first"]


async def test_a_generator_yields_exactly_once() -> None:
    def never() -> Iterator[int]:
        yield from ()

    def twice() -> Iterator[int]:
        yield 1
        yield 2

    run = ResourceManager().open_run()
    with pytest.raises(ResourceError, match=r"never.*without a yield"):
        await once(run, it=Resource(never))
    await once(run, it=Resource(twice))
    with pytest.raises(ResourceError, match=r"twice.*didn't stop"):
        await run.aclose()


async def test_a_factory_may_hold_a_task_group_open() -> None:
    async def workers() -> AsyncIterator[anyio.abc.TaskGroup]:
        async with anyio.create_task_group() as group:
            yield group

    done = asyncio.Event()

    async def work() -> None:
        done.set()

    run = ResourceManager().open_run()
    values = await once(run, group=Resource(workers))
    values["group"].start_soon(work)
    await asyncio.create_task(run.aclose())
    assert done.is_set()


async def test_a_run_that_ends_gives_up_what_is_still_being_made() -> None:
    counter, run = Counter(), ResourceManager().open_run()
    resource = Resource(counter.make, scope="run")
    waiter = asyncio.create_task(once(run, it=resource))
    await counter.entered.wait()
    await run.aclose()
    with pytest.raises(ResourceError, match="was cancelled while it was made"):
        await waiter


def test_a_resource_that_its_event_loop_took_along_is_made_anew() -> None:
    journal, manager = Journal(), ResourceManager()
    resource = Resource(journal.opening("it"), scope="worker")
    for _ in range(2):
        asyncio.run(manager.get(resource))
    assert journal.lines == ["open it", "open it"]
    asyncio.run(manager.aclose())


async def test_a_closed_manager_makes_its_resources_anew() -> None:
    manager, resource = ResourceManager(), Resource(plain)
    before = await manager.get(resource)
    await manager.aclose()
    assert manager.get_all() == {}
    assert await manager.get(resource) is not before
