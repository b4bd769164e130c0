"""The embedded server: shared by its users, survives them, and ends when nobody is left."""

# redis-py leaves its **kwargs untyped:
# pyright: reportUnknownMemberType=false

import asyncio
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from stepwell.errors import StoreUnavailable
from stepwell.redis import _supervisor
from stepwell.redis.embedded import ensure_server, find_server_binary, parse_embedded
from support.processes import Child
from support.servers import RedisServer

USER = """
import asyncio, pathlib, sys
from redis.asyncio import Redis
from stepwell.redis.embedded import ensure_server

async def main():
    url = await ensure_server(pathlib.Path(sys.argv[1]))
    async with Redis.from_url(url) as client:
        await client.incr("users")
        print("pid", (await client.info("server"))["process_id"])
        if sys.argv[2] == "stay":
            await asyncio.Event().wait()

asyncio.run(main())
"""

ORPHAN_MAKER = """
import os, redis, sys
from stepwell.redis import _supervisor

os.chdir(sys.argv[1])
seat = _supervisor.try_lock(_supervisor.SERVER_LOCK)
server = _supervisor.start_server(sys.argv[2], seat)
while not _supervisor.answers(_supervisor.SOCKET):
    pass
with redis.Redis(unix_socket_path=_supervisor.SOCKET) as client:
    client.set("key", "value")
print("up")
print("exit", os.waitpid(server, 0)[1])
"""


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_EMBEDDED_IDLE_SECONDS", "0.5")


@pytest.fixture
def home() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="sw"))
    yield parent / "store"
    for address in parent.rglob(_supervisor.SOCKET):
        end_server(address)
    shutil.rmtree(parent)


@pytest.fixture
def made_home(home: Path) -> Path:
    home.mkdir()
    home.chmod(0o755)
    return home


@asynccontextmanager
async def connected(home: Path) -> AsyncGenerator[Redis]:
    async with Redis.from_url(await ensure_server(home)) as client:
        yield client


async def server_pid(client: Redis) -> int:
    return (await client.info("server"))["process_id"]


async def stopped(home: Path) -> None:
    """Wait until neither a supervisor nor a server of this directory lives."""
    while is_used(home):  # noqa: ASYNC110 - a fact of other processes, nothing here can be awaited
        await anyio.sleep(0.01)


def is_used(home: Path) -> bool:
    locks = (home / _supervisor.SUPERVISOR_LOCK, home / _supervisor.SERVER_LOCK)
    return home.exists() and any(_supervisor.is_locked(str(lock)) for lock in locks)


def end_server(address: Path) -> None:
    with suppress(OSError), _supervisor.Connection(str(address)) as connection:
        connection.call("SHUTDOWN")
    while is_used(address.parent):
        time.sleep(0.01)


def target(address: str) -> Path:
    return Path(address).resolve()


async def ended(pid: int) -> None:
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            await anyio.sleep(0.01)


def modes(home: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (home, *home.rglob("*"))}


def supervisor_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


# addresses


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("embedded:", Path.cwd() / ".stepwell"),
        ("embedded:relative/dir", Path.cwd() / "relative/dir"),
        ("embedded:///abs/dir", Path("/abs/dir")),
        ("embedded:/abs/dir", Path("/abs/dir")),
        ("embedded:a%20b%3F", Path.cwd() / "a b?"),
    ],
)
def test_an_embedded_url_names_a_directory(url: str, directory: Path) -> None:
    assert parse_embedded(url) == directory


@pytest.mark.parametrize("url", ["", "redis://host", "embedded://host/dir", "embedded:a?b=c"])
def test_another_url_is_refused_with_the_forms_that_are_meant(url: str) -> None:
    with pytest.raises(ValueError, match="embedded:relative/dir"):
        parse_embedded(url)


# the program


def test_a_missing_program_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.redis.embedded.find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  setattr takes anything
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreUnavailable, match=r"stepwell\[embedded\].*on PATH"):
        find_server_binary()


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_program_on_path_serves_without_the_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch(0o700)
    monkeypatch.setattr("stepwell.redis.embedded.find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  setattr takes anything
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary() == tmp_path / name


# one server


async def test_a_server_is_started_with_the_settings_of_a_durable_store(home: Path) -> None:
    async with connected(home) as client:
        settings = await client.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["port"] == "0"
    assert settings["maxmemory-policy"] == "noeviction"


async def test_all_its_files_are_for_the_owner_only(made_home: Path) -> None:
    await ensure_server(made_home)
    assert {name: mode for name, mode in modes(made_home).items() if mode & 0o077} == {}


async def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    users = [Child(USER, str(home), "stay") for _ in range(4)]
    async with users[0] as a, users[1] as b, users[2] as c, users[3] as d:
        pids = {await child.line("pid") for child in (a, b, c, d)}
        async with connected(home) as client:
            assert await client.get("users") == b"4"
    assert len(pids) == 1


async def test_callers_in_one_process_share_one_server(home: Path) -> None:
    urls = await asyncio.gather(*(ensure_server(home) for _ in range(8)))
    assert urls == [f"unix://{home}/redis.sock"] * 8


@pytest.mark.parametrize("name", ["a" * 150, "with space, %41 and ?"])
async def test_any_directory_name_gives_a_url_that_connects(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home.parent))
    for _ in range(2):
        async with connected(home / name) as client:
            await client.incr("visits")
    async with connected(home / name) as client:
        assert await client.get("visits") == b"2"
        address = client.connection_pool.connection_kwargs["path"]
    assert len(address) < 104
    assert target(address) == home / name / "redis.sock"
    await stopped(home / name)


# its users come and go


async def test_it_stops_when_nobody_is_connected_and_keeps_its_data(home: Path) -> None:
    async with connected(home) as client:
        await client.set("key", "value")
        first = await server_pid(client)
    await stopped(home)
    async with connected(home) as client:
        assert await client.get("key") == b"value"
        assert await server_pid(client) != first


async def test_a_connected_client_keeps_it_running(home: Path) -> None:
    async with connected(home) as client:
        first = await server_pid(client)
        with anyio.move_on_after(1.5):  # three times its patience
            await stopped(home)
        assert await server_pid(client) == first


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
async def test_it_survives_the_process_that_started_it(home: Path, number: signal.Signals) -> None:
    async with Child(USER, str(home), "stay") as child:
        line = await child.line("pid")
        child.signal(number)
        await child.exit()  # returns at the end of stdout too: nobody else holds it open
        async with connected(home) as client:
            assert line == f"pid {await server_pid(client)}"


async def test_who_is_told_the_address_can_connect_however_close_the_end_is(home: Path) -> None:
    """Arrive around the moment of the stop, again and again: the address is always good."""

    async def visit(home: Path, pause: float) -> None:
        for visits in range(4):
            async with connected(home) as client:
                assert await client.incr("visits") == visits + 1
            await anyio.sleep(pause)  # the pause is what is tested

    await asyncio.gather(*(visit(home / str(n), 0.45 + n * 0.05) for n in range(8)))


@pytest.fixture
def served(own_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a supervisor, with a server that answers at its socket."""
    server = own_server()
    monkeypatch.chdir(server.directory)
    Path(_supervisor.SOCKET).symlink_to(server.socket_path)
    return Path(_supervisor.SOCKET)


@pytest.mark.usefixtures("served")
def test_a_server_without_visitors_is_closed_to_new_ones() -> None:
    with _supervisor.Connection(_supervisor.SOCKET) as control:
        _, visits = _supervisor.census(control)
        assert _supervisor.close_door(visits)
    assert not _supervisor.answers(_supervisor.SOCKET)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("stays", [True, False])
def test_a_visitor_who_comes_just_before_the_end_keeps_the_server_open(stays: bool) -> None:
    with _supervisor.Connection(_supervisor.SOCKET) as control:
        _, visits = _supervisor.census(control)
        with _supervisor.Connection(_supervisor.SOCKET) as visitor:
            assert not (stays and _supervisor.close_door(visits))
            visitor.call("PING")
        assert not _supervisor.close_door(visits)
    assert _supervisor.answers(_supervisor.SOCKET)


# failures


async def test_after_a_crash_of_the_server_the_next_one_has_the_data(home: Path) -> None:
    async with connected(home) as client:
        await client.set("key", "value")
        os.kill(await server_pid(client), signal.SIGKILL)
    async with connected(home) as client:
        assert await client.get("key") == b"value"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads parents from /proc")
async def test_a_server_does_not_outlive_its_supervisor(home: Path) -> None:
    async with connected(home) as client:
        await client.set("key", "value")
        os.kill(supervisor_of(await server_pid(client)), signal.SIGKILL)
    await stopped(home)
    async with connected(home) as client:
        assert await client.get("key") == b"value"


async def test_a_server_without_a_supervisor_is_replaced_by_one_that_has_one(
    made_home: Path,
) -> None:
    async with Child(ORPHAN_MAKER, str(made_home), str(find_server_binary())) as child:
        await child.line("up")
        async with connected(made_home) as client:
            assert await client.get("key") == b"value"
        assert await child.line("exit") == "exit 0"
    await stopped(made_home)


async def test_a_directory_deleted_under_its_server_starts_empty(home: Path) -> None:
    async with connected(home) as client:
        await client.set("key", "value")
        pid = await server_pid(client)
    shutil.rmtree(home)
    async with connected(home) as client:
        assert await client.get("key") is None
        await ended(pid)  # the old one stops, and does not touch the new one
        assert await client.ping()
    async with connected(home) as client:
        assert await client.ping()


async def test_data_that_can_not_be_loaded_are_an_error_with_the_end_of_the_log(home: Path) -> None:
    async with connected(home) as client:
        await client.set("key", "value")
    await stopped(home)
    (log,) = (home / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"!" * 100 + log.read_bytes())
    with pytest.raises(StoreUnavailable, match="Bad file format"):
        await ensure_server(home)


async def test_a_directory_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await ensure_server(tmp_path / "file" / "store")


@pytest.mark.parametrize("patience", ["soon", "0", "inf"])
async def test_a_wrong_patience_is_an_error(
    home: Path, patience: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPWELL_EMBEDDED_IDLE_SECONDS", patience)
    with pytest.raises(StoreUnavailable, match="seconds above 0"):
        await ensure_server(home)
