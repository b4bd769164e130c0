"""The process that keeps one embedded server: it starts it, and stops it when nobody uses it.

It runs by path in a bare interpreter, so this file imports little, and nothing of Stepwell:

    python -I -S _supervisor.py DIRECTORY SERVER_BINARY IDLE_SECONDS

The process that is called only launches: it forks the supervisor, and exits as soon as the server
answers, or has failed to start. All of them work inside DIRECTORY and name its files relative to
it. So a directory that is deleted under a running server takes its socket along, and the next
server in a directory of that name has nothing to do with it.

Two locks (flock: the kernel drops them with their last holder) say who lives:

    supervisor.lock   held by the supervisor, from before the start until the server has stopped
    server.lock       held by the server, which inherits it: no second one opens the same files

A server does not outlive its supervisor: where the kernel can, it ends it with its parent; where it
can't, the next supervisor ends it.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import time
from types import FrameType, TracebackType

SOCKET = "redis.sock"
CLOSED_SOCKET = "redis.off"
SUPERVISOR_LOCK = "supervisor.lock"
SERVER_LOCK = "server.lock"
LOG = "server.log"
OLD_LOG = "server.old.log"

_SETTINGS = {
    "port": "0",
    "unixsocket": SOCKET,
    "unixsocketperm": "600",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
}
_POLL_SECONDS = 0.005
_PING_SECONDS = 1.0
_LOOK_SECONDS_MAX = 0.5
_LOG_TAIL_BYTES = 2000
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Connection:
    """A blocking connection that speaks just enough RESP for PING, INFO and SHUTDOWN.

    Args:
        path: the Unix socket.
        timeout: seconds to wait for the server; None waits as long as it lives.

    Raises:
        OSError: nobody listens there, or the connection broke.
    """

    def __init__(self, path: str, timeout: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._replies = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":  # noqa: PYI034 - `typing` would be slow to import
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._replies.close()
        self._socket.close()

    def call(self, command: str) -> str:
        """Send one inline command; answer its reply, errors included, as text."""
        self._socket.sendall(f"{command}\r\n".encode())
        reply = self._replies.readline()
        if reply.startswith(b"$"):
            reply = self._replies.read(int(reply[1:]))
            self._replies.readline()
        if not reply:
            raise ConnectionResetError("the server closed the connection")
        return reply.decode()

    def broke_within(self, seconds: float) -> bool:
        """Wait; True as soon as the server closed its end (it never speaks unasked)."""
        return bool(select.select([self._socket], [], [], seconds)[0])


def answers(path: str) -> bool:
    """Whether a server at this socket is up and has loaded its data."""
    try:
        with Connection(path, _PING_SECONDS) as connection:
            return connection.call("PING").startswith("+PONG")
    except OSError:
        return False


def is_locked(path: str) -> bool:
    """Whether some process holds this lock."""
    lock = try_lock(path, fcntl.LOCK_SH)
    if lock is None:
        return True
    os.close(lock)
    return False


def try_lock(path: str, mode: int = fcntl.LOCK_EX) -> int | None:
    """Take a lock, if it is free: its file descriptor, or None."""
    lock = _open_lock(path)
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def launch(directory: str, binary: str, idle_seconds: float) -> int:
    """Bring a supervised server up, or wait for the one that another process is bringing up.

    Returns:
        An exit status: 0 when a server answers, else 1 (stderr got the end of its log).
    """
    os.chdir(directory)
    os.umask(0o077)
    while (lock := try_lock(SUPERVISOR_LOCK)) is None:
        if answers(SOCKET):
            return 0
        time.sleep(_POLL_SECONDS)
    seat = _vacant_seat()
    supervisor = os.fork()
    if supervisor == 0:
        return supervise(binary, idle_seconds, seat)
    os.close(lock)  # the supervisor has both
    os.close(seat)
    return _await_answer(supervisor)


def _await_answer(supervisor: int) -> int:
    while not answers(SOCKET):
        if os.waitpid(supervisor, os.WNOHANG)[0]:
            sys.stderr.write(_log_tail())
            return 1
        time.sleep(_POLL_SECONDS)
    return 0


def supervise(binary: str, idle_seconds: float, seat: int) -> int:
    """Start the server, keep it while it is used, stop it. Returns an exit status."""
    _detach()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    server = start_server(binary, seat)
    try:
        control = _connect_to_started()
        if control is None:
            return 1
        _wait_until_idle(control, idle_seconds)
    finally:
        os.kill(server, signal.SIGTERM)  # it writes and syncs its file, then exits
        os.waitpid(server, 0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(CLOSED_SOCKET)  # noqa: PTH108 - as below
    return 0


def start_server(binary: str, seat: int) -> int:
    """Fork a server that holds the lock `seat`, which is closed here. Returns its process id."""
    supervisor = os.getpid()
    server = os.fork()
    if server == 0:
        _end_with_parent(supervisor)
        _become_server(binary, seat)
    os.close(seat)
    return server


def _become_server(binary: str, seat: int) -> None:
    os.set_inheritable(seat, True)
    options = [part for name, value in _SETTINGS.items() for part in (f"--{name}", value)]
    os.execv(binary, [binary, *options])  # noqa: S606 - no shell is the point


def _vacant_seat() -> int:
    """The server's lock; a server whose supervisor was killed is told to stop, and waited for.

    First its socket goes out of the way: nobody is to take its answer for that of the next one.
    """
    with contextlib.suppress(FileNotFoundError):
        os.replace(SOCKET, CLOSED_SOCKET)  # noqa: PTH105 - pathlib would be slow to import
    # Mostly nobody listens there any more; whoever does, the lock below is waited for.
    with contextlib.suppress(OSError), Connection(CLOSED_SOCKET, _PING_SECONDS) as orphan:
        orphan.call("SHUTDOWN")
    seat = _open_lock(SERVER_LOCK)
    fcntl.flock(seat, fcntl.LOCK_EX)
    return seat


def _connect_to_started() -> Connection | None:
    while is_locked(SERVER_LOCK):
        if answers(SOCKET):
            return Connection(SOCKET)
        time.sleep(_POLL_SECONDS)
    return None


def _wait_until_idle(control: Connection, idle_seconds: float) -> None:
    """Return when nobody was connected for so long and nobody can connect any more, or on a crash.

    Visits are counted, since one may begin and end between two looks.
    """
    look_seconds = min(_LOOK_SECONDS_MAX, idle_seconds / 4)
    visits, quiet_since = 0, time.monotonic()
    while time.monotonic() - quiet_since < idle_seconds or not close_door(visits):
        if control.broke_within(look_seconds):
            return
        clients, visits_now = census(control)
        if clients > 1 or visits_now != visits:
            visits, quiet_since = visits_now, time.monotonic()


def close_door(visits: int) -> bool:
    """Take the socket out of the way; put it back if somebody came in before that.

    Connections are accepted in the order in which they were made. So ours, made through the new
    name, is counted after every one that was made through the old name.
    """
    os.rename(SOCKET, CLOSED_SOCKET)  # noqa: PTH104 - as above
    with Connection(CLOSED_SOCKET) as last:
        nobody_else = census(last) == (2, visits + 1)
    if not nobody_else:
        os.rename(CLOSED_SOCKET, SOCKET)  # noqa: PTH104 - as above
    return nobody_else


def census(connection: Connection) -> tuple[int, int]:
    """Clients connected now, ours included, and all connections ever made.

    A server that is too busy to tell (in a long script) has a client for sure.
    """
    info = connection.call("INFO")
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    try:
        return int(facts["connected_clients"]), int(facts["total_connections_received"])
    except KeyError:
        return sys.maxsize, 0


def _detach() -> None:
    """Hold no terminal, no pipe and no file of the process that needed a server first."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(LOG, OLD_LOG)  # noqa: PTH105 - as above
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def _exit_on_signal(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _end_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _open_lock(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _log_tail() -> str:
    with open(LOG, "rb") as log:  # noqa: PTH123 - as above
        log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace")


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1], sys.argv[2], float(sys.argv[3])))
