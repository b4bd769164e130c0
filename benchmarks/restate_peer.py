"""What the same work costs on Restate, the fastest durable engine that was found for a fan-out.

    python benchmarks/restate_peer.py [--rounds 5] [--server PATH]

To be run by a Python that has `restate-sdk[serde]` and `hypercorn`, with `restate-server` on PATH:
`npm install @restatedev/restate-server` brings it. The counterpart of `--only many,fan` of
benchmarks/durable.py, to be run right before or after it. The service is a process of its own and
is called over HTTP, as Restate has it. What its SDK takes to gather a thousand at once grows with
their square, so the row that gathers some at a time is the one to compare with.

Restate syncs its log to the disk with every batch, unless it is told not to. A Redis with
`appendfsync everysec` does not wait for the disk, so the rows without fsync are the like for like.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from statistics import median
from typing import Any

from machine import describe

RUNS, STEPS = 200, 20
FAN = 1_000
WINDOW = 32
"""How many items the faster fan-out gathers at a time: 10 and 100 took longer."""
START_SECONDS, CALL_SECONDS = 30.0, 60.0
NO_FSYNC = {"RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "true"}

# --- the service ---


def application() -> Any:
    """The ASGI application that Restate calls."""
    restate = import_module("restate")
    service = restate.Service("Peer")
    options = restate.RunOptions(type_hint=int)  # else it looks at the signature every time

    async def nothing(number: int) -> int:
        return number

    @service.handler()
    async def chain(ctx: Any, steps: int) -> int:
        for number in range(steps):
            await ctx.run_typed("step", nothing, options, number=number)
        return steps

    @service.handler()
    async def fan(ctx: Any, given: Any) -> int:
        size, window = given
        items = [ctx.run_typed("item", nothing, options, number=n) for n in range(size)]
        for first in range(0, size, window):
            await restate.gather(*items[first : first + window])
        return len({await item for item in items})

    del chain, fan  # the service has them
    return restate.app([service])


async def serve(server: str) -> None:
    """Be the service, and keep its Restate, until standard input ends.

    It ends with the process that measures, however that goes; so nothing is left behind.
    """
    hypercorn = import_module("hypercorn")
    port, ingress, admin, node = free_ports(4)
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{port}", loglevel="ERROR")
    measured = asyncio.Event()
    serving = asyncio.create_task(
        import_module("hypercorn.asyncio").serve(
            application(), config, shutdown_trigger=measured.wait
        )
    )
    try:
        with restate_server(server, ingress=ingress, admin=admin, node=node):
            await asyncio.to_thread(register, admin, f"http://127.0.0.1:{port}")
            print(ingress, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
    finally:
        measured.set()
        await serving


@contextmanager
def restate_server(path: str, *, ingress: int, admin: int, node: int) -> Generator[None]:
    """A server on these ports, in a directory that goes away."""
    ports = {"RESTATE_INGRESS__BIND_PORT": str(ingress), "RESTATE_ADMIN__BIND_PORT": str(admin)}
    options = ["--listen-mode=tcp", "--bind-ip=127.0.0.1", f"--bind-port={node}"]
    logging = ["--no-logo", "--log-filter=error,octocrab=off"]  # which looks for a newer release
    with tempfile.TemporaryDirectory(prefix="rp", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(  # noqa: S603  the program that the caller names
            [path, *options, *logging, f"--base-dir={directory}"],
            env={**os.environ, **ports, "RESTATE_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # npm's launcher has the server as a child: a group of both
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # until both have closed it, so until the server is gone too


def register(admin: int, uri: str) -> None:
    """Tell the server, once it answers, where the service is.

    Raises:
        OSError, HTTPException: it did not take it within START_SECONDS.
    """
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            post(admin, "/deployments", {"uri": uri})
        except (OSError, HTTPException):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def post(port: int, path: str, given: Any) -> Any:
    """The answer to a request.

    Raises:
        OSError: nobody listens there, or the answer took more than CALL_SECONDS.
        HTTPException: the answer is that it did not work.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        connection.request(
            "POST", path, json.dumps(given), headers={"content-type": "application/json"}
        )
        response = connection.getresponse()
        text = response.read().decode()
        if response.status >= 300:
            raise HTTPException(f"{path}: {response.status} {text[:300]}")
        return json.loads(text)
    finally:
        connection.close()


# --- the measuring ---


@contextmanager
def peer(server: str, settings: dict[str, str]) -> Generator[int]:
    """The port under which the service can be called, in a process of its own."""
    process = subprocess.Popen(  # noqa: S603  this program
        [sys.executable, __file__, "--serve", "--server", server],
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours alone
    )
    try:
        port = process.stdout.readline() if process.stdout else ""
        if not port:
            raise RuntimeError("the service did not start")
        yield int(port)
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait()


def fan_out(port: int, window: int = FAN) -> float:
    """Seconds of one run that does much side by side."""
    began = time.perf_counter()
    expect(post(port, "/Peer/fan", [FAN, window]), FAN)
    return time.perf_counter() - began


def windowed(port: int) -> float:
    """The same, some at a time."""
    return fan_out(port, WINDOW)


def many(port: int) -> float:
    """Steps a second of many runs at once."""
    with ThreadPoolExecutor(RUNS) as threads:
        began = time.perf_counter()
        runs = [threads.submit(post, port, "/Peer/chain", STEPS) for _ in range(RUNS)]
        for run in runs:
            expect(run.result(), STEPS)
        return RUNS * STEPS / (time.perf_counter() - began)


def expect(found: Any, wanted: Any) -> None:
    """See that it did what is measured."""
    if found != wanted:
        raise RuntimeError(f"{found!r} was done instead of {wanted!r}")


def show(what: str, port: int, case: Callable[[int], float], rounds: int) -> None:
    """Print a row: the median of some rounds after one to warm up."""
    figure = median([case(port) for _ in range(rounds + 1)][1:])
    digits = 0 if figure >= 100 or figure == int(figure) else 2
    print(f"| {what} | {figure:,.{digits}f} |", flush=True)


def measure(server: str, rounds: int) -> None:
    """Run everything, and print the table."""
    release = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)  # noqa: S603  as above
    print(describe("restate-sdk", "hypercorn"), release.stdout.strip(), sep=", ")
    print(f"medians of {rounds} rounds, load average {os.getloadavg()[0]:.1f} before\n")
    print("| Restate | measured |\n| --- | ---: |", flush=True)
    for settings, kind in ({}, ""), (NO_FSYNC, " without fsync"):
        with peer(server, settings) as port:
            show(f"{RUNS} runs of {STEPS}{kind}, steps a second", port, many, rounds)
            show(f"fan-out to {FAN:,} and join{kind}, s", port, fan_out, rounds)
            show(f"the same, gathered {WINDOW} at a time", port, windowed, rounds)


def main() -> None:
    """Measure; or be the service that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", default="restate-server", help="the server, if not on PATH")
    parser.add_argument("--serve", action="store_true", help="be the service")
    given = parser.parse_args()
    server = shutil.which(str(given.server))
    if server is None:
        parser.error(f"there is no {given.server}")
    if given.serve:
        asyncio.run(serve(server))
    else:
        measure(server, given.rounds)


if __name__ == "__main__":
    main()
