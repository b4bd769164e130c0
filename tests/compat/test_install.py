"""`install_as_workflows()`: one package under another name, seen by code that does not know."""

import subprocess
from collections.abc import Callable
from importlib.metadata import version

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Printed = Callable[[str], list[str]]

INSTALL = "import stepwell; stepwell.install_as_workflows()"
MODULES = ["", ".errors", ".events", ".handler", ".context", ".context.context"]


# --- the same modules ---


@pytest.mark.parametrize("alias", ["workflows", "llama_agents.workflows"])
def test_an_alias_is_the_module_itself(printed: Printed, alias: str) -> None:
    program = f"""
import sys
from importlib import import_module
for path in {MODULES}:
    module = import_module({alias!r} + path)
    print(module is import_module("stepwell" + path), sys.modules[{alias!r} + path] is module)
"""
    assert printed(program) == ["True True"] * len(MODULES)


def test_the_order_of_imports_makes_no_difference(printed: Printed) -> None:
    program = """
import stepwell.events
from llama_agents.workflows.events import Event as third
from workflows.events import Event as second
print(second is third is stepwell.events.Event)
"""
    assert printed(program) == ["True"]


def test_every_form_of_import_works(printed: Printed) -> None:
    program = """
import workflows
import workflows.errors as errors
from workflows import Workflow, step, events, handler
from workflows.context import *
import llama_agents.workflows
print(workflows.events is events, errors is workflows.errors, Context is workflows.Context,
      llama_agents.workflows is workflows)
"""
    assert printed(program) == ["True True True True"]


def test_a_module_is_an_attribute_of_the_package_without_an_import_of_its_own(
    printed: Printed,
) -> None:
    assert printed("import workflows; print(workflows.errors.WorkflowDone.__name__)") == [
        "WorkflowDone"
    ]


def test_modules_and_classes_keep_their_own_names(printed: Printed) -> None:
    program = """
import pickle
import workflows.events
from workflows.events import StartEvent
print(workflows.__name__, workflows.__spec__.name, workflows.events.__spec__.name)
print(StartEvent.__module__, b"workflows" in pickle.dumps(StartEvent))
print(pickle.loads(b"cworkflows.events\\nStartEvent\\n.") is StartEvent)
"""
    assert printed(program) == [
        "stepwell stepwell stepwell.events",
        "stepwell.events False",
        "True",
    ]


def test_a_patched_attribute_is_patched_under_both_names(printed: Printed) -> None:
    program = """
from unittest.mock import patch
import stepwell.events
with patch("workflows.events.StartEvent", "patched"):
    print(stepwell.events.StartEvent)
"""
    assert printed(program) == ["patched"]


def test_a_reload_is_that_of_our_module(printed: Printed) -> None:
    program = """
import importlib, sys
import workflows.errors
print(importlib.reload(workflows.errors) is sys.modules["stepwell.errors"] is workflows.errors)
"""
    assert printed(program) == ["True"]


def test_threads_that_import_at_once_see_whole_modules(printed: Printed) -> None:
    program = """
from threading import Barrier, Thread
from importlib import import_module
barrier = Barrier(8)
def load(alias):
    barrier.wait()
    seen.append(import_module(alias + ".events").StopEvent)
seen = []
threads = [Thread(target=load, args=[alias]) for alias in ["workflows", "stepwell"] * 4]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(seen), len(set(seen)))
"""
    assert printed(program) == ["8 1"]


# --- lazily ---


def test_the_installation_imports_nothing(printed: Printed) -> None:
    program = """
import sys
print([name for name in sys.modules if name.partition(".")[0] in {"workflows", "llama_agents"}])
print({"stepwell.workflow", "stepwell.events", "pydantic", "redis"} & sys.modules.keys())
"""
    assert printed(program) == ["[]", "set()"]


def test_looking_for_a_module_does_not_import_it(printed: Printed) -> None:
    program = """
import sys
from importlib.util import find_spec
print(find_spec("workflows").name, find_spec("workflows.events").name)
print(find_spec("workflows").origin == stepwell.__file__)
print({"stepwell.events", "workflows.events"} & sys.modules.keys())
"""
    assert printed(program) == ["workflows workflows.events", "True", "set()"]


def test_a_walk_over_the_package_finds_our_modules(printed: Printed) -> None:
    program = """
import pkgutil
import workflows
names = [module.name for module in pkgutil.iter_modules(workflows.__path__, "workflows.")]
print("workflows.events" in names, pkgutil.resolve_name("workflows.events:Event").__module__)
"""
    assert printed(program) == ["True stepwell.events"]


def test_the_import_profile_shows_our_modules(python: Run) -> None:
    done = python("-X", "importtime", "-c", f"{INSTALL}; import workflows.errors")
    assert done.returncode == 0
    assert "stepwell.errors" in done.stderr


# --- what is not there ---


@pytest.mark.parametrize("alias", ["workflows", "llama_agents.workflows"])
def test_a_module_that_we_do_not_have_is_named_by_both_names(printed: Printed, alias: str) -> None:
    program = f"""
try:
    import {alias}.service
except ModuleNotFoundError as error:
    print(error, error.name)
"""
    (line,) = printed(program)
    assert "'workflows.service'" in line
    assert "'stepwell.service'" in line


def test_a_name_that_a_module_does_not_have_is_an_import_error(printed: Printed) -> None:
    program = """
try:
    from workflows.events import Nope
except ImportError as error:
    print(error)
"""
    (line,) = printed(program)
    assert "'Nope'" in line
    assert "stepwell.events" in line


def test_another_part_of_the_namespace_is_none_of_ours(printed: Printed) -> None:
    program = """
try:
    import llama_agents.nothing
except ModuleNotFoundError as error:
    print(error)
"""
    assert printed(program) == ["No module named 'llama_agents.nothing'"]


def test_the_namespace_is_there_without_any_package_in_it(printed: Printed) -> None:
    program = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
import llama_agents
import llama_agents.workflows.errors as errors
print(list(llama_agents.__path__), errors.__name__)
"""
    assert printed(f"import typing_extensions{program}") == ["[] stepwell.errors"]


# --- what moved to packages of its own ---

SHIMS = ["workflows.server", "workflows.client", "workflows.protocol"]


@pytest.mark.parametrize("shim", SHIMS)
def test_a_moved_module_that_is_not_installed_says_what_to_install(
    printed: Printed, shim: str
) -> None:
    program = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        import {shim}
    except ImportError as error:
        print(error)
print(caught[0].category.__name__, caught[0].filename)
"""
    message, warning = printed(program)
    assert shim in message
    assert "pip install llama-agents-" in message
    assert warning == "DeprecationWarning <string>"


def test_a_moved_module_that_is_installed_is_given_with_a_warning(printed: Printed) -> None:
    program = """
import pathlib, sys, warnings
folder = pathlib.Path("llama_agents/server")
folder.mkdir(parents=True)
folder.joinpath("__init__.py").write_text("from workflows import Workflow as Served")
folder.joinpath("app.py").write_text("")
sys.path.insert(0, "")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from workflows.server import Served
    import workflows.server.app
import llama_agents.server.app
print(Served is stepwell.Workflow, workflows.server.app is llama_agents.server.app)
print(caught[0].message)
"""
    assert printed(program) == [
        "True True",
        "workflows.server is deprecated: import llama_agents.server instead",
    ]


def test_an_error_in_a_moved_module_is_not_taken_for_its_absence(printed: Printed) -> None:
    program = """
import pathlib, sys
folder = pathlib.Path("llama_agents")
folder.mkdir()
folder.joinpath("client.py").write_text("import no_such_dependency")
sys.path.insert(0, "")
try:
    import workflows.client
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert printed(program) == ["no_such_dependency"]


# --- calling it ---


def test_a_second_call_changes_nothing(printed: Printed) -> None:
    program = """
import sys
import workflows
before = list(sys.meta_path)
stepwell.install_as_workflows()
workflows.install_as_workflows()
print(sys.meta_path == before)
"""
    assert printed(program) == ["True"]


@pytest.mark.parametrize("module", ["workflows", "llama_agents.workflows"])
def test_it_is_refused_after_the_other_package_was_imported(python: Run, module: str) -> None:
    done = python("-c", f"import {module}\n{INSTALL}")
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("stepwell.errors.WorkflowConfigurationError: ")
    assert "workflows" in error
    assert "before the first import" in error
    assert "python -m stepwell.compat" in error


def test_a_refused_call_leaves_the_other_package_alone(python: Run) -> None:
    program = f"""
import workflows.events
try:
    {INSTALL}
except stepwell.errors.WorkflowConfigurationError:
    import workflows.errors
    print(workflows.errors.WorkflowDone.__module__)
"""
    done = python("-c", program)
    assert done.stdout == "workflows.errors\n", done.stderr


def test_the_metadata_of_distributions_stays_true(printed: Printed) -> None:
    program = "from importlib.metadata import version; print(version('llama-index-workflows'))"
    assert printed(program) == [version("llama-index-workflows")]


# --- a program ---


def test_a_program_of_the_other_package_runs_on_our_engine(printed: Printed) -> None:
    program = """
import asyncio
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

class Half(Event):
    text: str

class Greet(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Half:
        return Half(text=f"Hello, {ev.name}")

    @step
    async def end(self, ctx: Context, ev: Half) -> StopEvent:
        await ctx.store.set("greeting", ev.text)
        return StopEvent(result=ev.text + "!")

async def main():
    print(await Greet().run(name="Ada"), Greet.__mro__[1].__module__)

asyncio.run(main())
"""
    assert printed(program) == ["Hello, Ada! stepwell.workflow"]
