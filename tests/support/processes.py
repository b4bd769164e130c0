"""Children: Python programs that a test starts, listens to, and kills."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Child"]


class Child:
    """A Python program in a process of its own.

    async with Child(source, "argument", env={"STORE": url}) as child:
        await child.line("ready")
        child.kill()
        assert await child.exit() == -signal.SIGKILL

    Its stderr is that of the test. On leaving, it is killed if it still runs, and collected.

    Args:
        program: a file to run, or source text.
        *arguments: its `sys.argv[1:]`.
        env: variables on top of those of the test.
        cwd: its working directory.
    """

    def __init__(
        self,
        program: Path | str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        start = [str(program)] if isinstance(program, Path) else ["-c", program]
        self._command = [sys.executable, "-u", *start, *arguments]
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.kill()
        await self.exit()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    async def line(self, start: str = "") -> str:
        """The next line of its stdout that starts so; all lines read are kept in `lines`.

        Raises:
            EOFError: it closed its stdout without such a line.
        """
        stdout = self._stdout()
        while raw := await stdout.readline():
            line = raw.decode().rstrip("\n")
            self.lines.append(line)
            if line.startswith(start):
                return line
        raise EOFError(f"no line that starts with {start!r}, only {self.lines}")

    def kill(self) -> None:
        """SIGKILL, from any thread; nothing happens if it has ended."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, from any thread; nothing happens if it has ended."""
        process = self._running()
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it ended, and the loop has not noticed yet
                os.kill(process.pid, number)

    async def exit(self) -> int:
        """Wait for its end, and read the rest of its lines. Negative: the signal that ended it."""
        rest = await self._stdout().read()
        self.lines += rest.decode().splitlines()
        return await self._running().wait()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("use `async with Child(...)`: it was not started")
        return self._process

    def _stdout(self) -> asyncio.StreamReader:
        stdout = self._running().stdout
        if stdout is None:
            raise RuntimeError("its stdout is a pipe")
        return stdout
