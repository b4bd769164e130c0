"""`stepwell worker`: how it finds workflows, who may ask how it is, and that it serves."""

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from stepwell.cli.app import app
from stepwell.cli.worker import command
from stepwell.cli.worker.health import serve_health
from stepwell.cli.worker.targets import find_workflow
from stepwell.client import Client
from stepwell.errors import WorkflowConfigurationError
from stepwell.worker import Health
from support.processes import Child
from support.servers import RedisServer

FLOWS = """
import asyncio
import gc
from stepwell import Workflow, step
from stepwell.events import StartEvent, StopEvent

class Greet(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")

class Collected(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=[gc.get_threshold()[0], gc.get_freeze_count()])

class Sized(Workflow):
    def __init__(self, size):
        super().__init__(workflow_name=f"sized-{size}")

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()

sized = Sized(5)
number = 7

def make():
    return Sized(6)

def needs(size):
    return Sized(size)

def makes_none():
    return None

async def late():
    return Sized(7)
"""

READY = Health("")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current directory."""
    name = f"flows_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield name
    sys.modules.pop(name, None)


# --- finding workflows ---


@pytest.mark.parametrize(
    ("name", "found"), [("Greet", "Greet"), ("sized", "sized-5"), ("make", "sized-6")]
)
def test_an_instance_a_class_or_a_factory_is_a_workflow(module: str, name: str, found: str) -> None:
    assert find_workflow(f"{module}:{name}").workflow_name.endswith(found)


@pytest.mark.parametrize("target", ["flows", "flows:", ":flow", "flows.Greet", ""])
def test_a_target_without_module_and_name_is_refused(target: str) -> None:
    with pytest.raises(WorkflowConfigurationError, match=r"write it as my\.module:name"):
        find_workflow(target)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Great", "has no 'Great'. Its workflows are: Greet, Collected, Sized, sized"),
        ("number", "is int: name a workflow"),
        ("asyncio", "is module"),
        ("Sized", "can't be called without arguments .*'size'"),
        ("needs", "can't be called without arguments .*'size'"),
        ("makes_none", "made NoneType"),
        ("late", "is an async function"),
        ("StopEvent", "is the class StopEvent"),
    ],
)
def test_what_is_no_workflow_is_refused(module: str, name: str, words: str) -> None:
    with pytest.raises(WorkflowConfigurationError, match=words):
        find_workflow(f"{module}:{name}")


@pytest.mark.parametrize("missing", ["nowhere_at_all", "json.nowhere"])
def test_a_module_that_is_not_there_is_told_with_the_directory(module: str, missing: str) -> None:
    with pytest.raises(WorkflowConfigurationError) as refused:
        find_workflow(f"{missing}:flow")
    assert missing in str(refused.value)
    assert str(Path.cwd()) in str(refused.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\nimport nowhere_at_all", "ModuleNotFoundError: .*'nowhere_at_all', .*_broken.py:2$"),
        ("\n\nx = (", "SyntaxError: .*, .*_broken.py:3$"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero, .*_broken.py:1$"),
    ],
)
def test_a_module_that_fails_is_told_with_the_place(
    module: str, tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / f"{module}_broken.py").write_text(source)
    with pytest.raises(WorkflowConfigurationError, match=f"^importing '{module}_broken' .*{words}"):
        find_workflow(f"{module}_broken:flow")


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("./flows:Greet", "'flows:Greet'"),
        ("flows.py:Greet", "'flows:Greet'"),
        ("app/flows.py:Greet", "'app.flows:Greet'"),
    ],
)
def test_a_file_is_refused_with_the_name_of_its_module(target: str, hint: str) -> None:
    with pytest.raises(WorkflowConfigurationError, match=f"names a file: write {hint}"):
        find_workflow(target)


def test_a_module_without_workflows_says_so() -> None:
    with pytest.raises(WorkflowConfigurationError, match="There is no workflow in it"):
        find_workflow("json:flow")


# --- options ---


def run(*arguments: str) -> Result:
    env = {"NO_COLOR": "1", "COLUMNS": "200", "STEPWELL_URL": ""}
    return CliRunner().invoke(app, ["worker", *arguments], env=env)


def test_the_help_names_its_options() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for option in ("url", "namespace", "concurrency", "queue", "grace", "idle-timeout", "lease"):
        assert f"--{option}" in result.output
    assert "STEPWELL_URL" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "MODULE:NAME"),
        (("{module}:Greet",), 2, "--url"),
        (("{module}:Greet", "--url", "memory:"), 2, "memory of this process"),
        (("{module}:Greet", "--url", "redis://x", "--queue", "a b"), 2, "'a b'"),
        (("{module}:Greet", "--url", "redis://x", "--lease", "0"), 2, "lease=0"),
        (("{module}:Greet", "--url", "redis://x", "--concurrency", "0"), 2, "concurrency"),
        (("{module}:Greet", "--url", "redis://x", "--health-port", "70000"), 2, "health-port"),
        (("{module}:Greet", "--url", "redis://x", "--namespace", "a b"), 2, "'a b'"),
        (("{module}:Greet", "--url", "redis://x", "--claims-max", "0"), 2, "claims-max"),
        (("{module}:Greet", "--url", "localhost:7905"), 2, "write redis://localhost:7905"),
        (("{module}:Greet", "--url", "ftp://x"), 1, "'ftp:...'"),
        (("{module}:Great", "--url", "redis://x"), 1, "has no 'Great'"),
        (("{module}:Greet", "{module}:Greet", "--url", "redis://x"), 1, "two workflows named"),
    ],
)
def test_what_can_not_be_served_is_told_without_a_traceback(
    module: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run(*(argument.format(module=module) for argument in arguments))
    assert result.exit_code == code
    assert words in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_missing_package_for_the_health_port_is_named_with_its_extra(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "uvicorn" else ModuleSpec(name, None)

    monkeypatch.setattr(command, "find_spec", find_spec)
    result = run(f"{module}:Greet", "--url", "redis://x", "--health-port", "0")
    assert result.exit_code == 1
    assert "needs uvicorn, not installed here: pip install 'stepwell[worker]'" in result.output


# --- health ---


async def ask(port: int, path: str) -> tuple[int, Any]:
    """The status and the JSON of an answer."""

    def get() -> tuple[int, Any]:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    return await asyncio.to_thread(get)


async def test_a_worker_that_swept_and_renewed_is_ready() -> None:
    health = Health("", executing=3, last_sweep_seconds=0.5, last_renewal_seconds=1.5)
    async with serve_health(lambda: health, 0) as port:
        status, told = await ask(port, "/health/ready")
    assert status == 200
    assert told["ready"] is True
    assert (told["executing"], told["last_sweep_seconds"]) == (3, 0.5)


@pytest.mark.parametrize("draining", [True, False])
async def test_a_worker_that_is_not_ready_says_why_and_still_lives(draining: bool) -> None:
    async with serve_health(lambda: Health("it drains", draining=draining), 0) as port:
        status, told = await ask(port, "/health/ready")
        assert await ask(port, "/health/live") == (200, {"live": True})
    assert status == 503
    assert (told["ready"], told["reason"], told["draining"]) == (False, "it drains", draining)


async def test_the_health_endpoint_leaves_signals_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with serve_health(lambda: READY, 0) as port:
        await ask(port, "/health/live")
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert during == before


async def test_a_port_that_can_not_be_had_is_told() -> None:
    async with serve_health(lambda: READY, 0) as port:
        with pytest.raises(WorkflowConfigurationError, match=f"--health-port {port} can't be had"):
            async with serve_health(lambda: READY, port):
                pass


# --- serving ---

COMMAND = "from stepwell.cli import main; main()"


def worker(server: RedisServer, namespace: str, *arguments: str) -> Child:
    """The command, in a process of its own in the current directory."""
    url = {"STEPWELL_URL": server.unix_url}
    return Child(COMMAND, "worker", *arguments, "--namespace", namespace, env=url, cwd=Path.cwd())


async def test_a_worker_serves_what_clients_start_until_it_is_told_to_stop(
    module: str, redis_server: RedisServer, namespace: str
) -> None:
    flows = (f"{module}:Greet", f"{module}:sized")
    async with (
        Client(redis_server.unix_url, namespace=namespace) as client,
        worker(redis_server, namespace, *flows, "--queue", "a", "--queue", "b") as child,
    ):
        run = await client.start(f"{module}.Greet", {"name": "Ada"}, queue="b")
        line = await child.line("serving")
        assert f"serving {module}.Greet, sized-5 on " in line
        assert line.endswith("(queues a, b, concurrency 100)")
        assert await run.result() == "Hello, Ada!"
        child.signal(signal.SIGTERM)
        assert await child.exit() == 0
        assert child.lines == [line]


async def test_its_process_collects_garbage_seldom(
    module: str, redis_server: RedisServer, namespace: str
) -> None:
    async with (
        Client(redis_server.unix_url, namespace=namespace) as client,
        worker(redis_server, namespace, f"{module}:Collected"),
    ):
        every, frozen = await (await client.start(f"{module}.Collected")).result()
    assert every > gc.get_threshold()[0]
    assert frozen > 10_000


async def test_its_health_can_be_asked_for(
    module: str, redis_server: RedisServer, namespace: str
) -> None:
    async with worker(redis_server, namespace, f"{module}:Greet", "--health-port", "0") as child:
        line = await child.line("serving")
        port = int(line.rpartition("health on port ")[2].rstrip(")"))
        status, told = await ask(port, "/health/ready")
        assert (status, told["executing"]) == (200, 0)
        child.signal(signal.SIGINT)
        assert await child.exit() == 0
