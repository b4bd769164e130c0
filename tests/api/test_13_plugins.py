"""Section 13: runtimes, the same on both engines but for the hooks of durability."""

import asyncio
import contextvars
from typing import Any

import pytest
import workflows.plugins as _peer

import stepwell.plugins as _ours
from stepwell.errors import WorkflowRuntimeError
from stepwell.plugins import BasicRuntime, basic_runtime, get_current_runtime

ours: Any = _ours
peer: Any = _peer


@pytest.fixture(params=[ours, peer], ids=["stepwell", "workflows"])
def plugins(request: pytest.FixtureRequest) -> Any:
    """The module of either engine."""
    return request.param


def test_the_names_of_the_peer_are_there() -> None:
    assert set(peer.__all__) <= set(ours.__all__)


def test_the_basic_runtime_is_the_current_one(plugins: Any) -> None:
    assert isinstance(plugins.basic_runtime, plugins.BasicRuntime)
    assert plugins.get_current_runtime() is plugins.basic_runtime


def test_registering_makes_a_runtime_the_current_one_for_as_long_as_it_lasts(plugins: Any) -> None:
    outer, inner = plugins.BasicRuntime(), plugins.BasicRuntime()
    with outer.registering() as registered:
        assert registered is outer is plugins.get_current_runtime()
        with inner.registering(), outer.registering():
            assert plugins.get_current_runtime() is outer
        assert plugins.get_current_runtime() is outer
    assert plugins.get_current_runtime() is plugins.basic_runtime


def test_registering_ends_with_an_exception_too(plugins: Any) -> None:
    with pytest.raises(LookupError), plugins.BasicRuntime().registering():
        raise LookupError
    assert plugins.get_current_runtime() is plugins.basic_runtime


async def test_tasks_and_threads_inside_see_the_runtime_and_others_do_not(plugins: Any) -> None:
    runtime = plugins.BasicRuntime()
    outside = contextvars.copy_context()

    async def current() -> Any:
        return plugins.get_current_runtime()

    with runtime.registering():
        assert await asyncio.create_task(current()) is runtime
        assert await asyncio.to_thread(plugins.get_current_runtime) is runtime
        assert outside.run(plugins.get_current_runtime) is plugins.basic_runtime


async def test_launching_and_destroying_change_nothing(plugins: Any) -> None:
    runtime = plugins.BasicRuntime()
    seen = [runtime.is_launched]
    for change in (runtime.launch, runtime.launch, runtime.destroy, runtime.destroy):
        assert await change() is None
        seen.append(runtime.is_launched)
    assert seen == [True] * 5


def test_launching_and_destroying_need_no_event_loop(plugins: Any) -> None:
    runtime = plugins.BasicRuntime()
    assert (runtime.launch_sync(), runtime.destroy_sync()) == (None, None)
    assert runtime.is_launched


# --- what differs on purpose ---


async def test_an_event_loop_that_runs_does_no_harm_to_the_plain_forms() -> None:
    basic_runtime.launch_sync()
    basic_runtime.destroy_sync()
    assert basic_runtime.is_launched


HOOKS: dict[str, list[Any]] = {
    "journal": ["run-1"],
    "state_checkpoint": ["run-1"],
    "restore": [object(), None, []],
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_of_durability_say_what_to_use_instead(hook: str) -> None:
    with pytest.raises(WorkflowRuntimeError, match=rf"BasicRuntime\.{hook}.*checkpointer="):
        getattr(BasicRuntime(), hook)(*HOOKS[hook])


def test_a_restore_names_the_workflow() -> None:
    class Orders:
        pass

    with pytest.raises(WorkflowRuntimeError, match=r"restore\(Orders"):
        get_current_runtime().restore(Orders(), snapshot=None, records=[], serializer=None)
