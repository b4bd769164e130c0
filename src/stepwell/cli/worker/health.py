"""Answers over HTTP whether a worker lives, and whether it is ready. Needs Starlette and Uvicorn.

GET /health/live    200: the process answers
GET /health/ready   200: it looked for runs and renewed its lease lately; else 503
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typing_extensions import override

from stepwell.errors import WorkflowConfigurationError
from stepwell.worker import Health

__all__ = ["serve_health"]


@asynccontextmanager
async def serve_health(health: Callable[[], Health], port: int) -> AsyncGenerator[int]:
    """Answer on all addresses of this machine; yield the port.

    Args:
        health: tells how the worker is.
        port: 0 for one that is free.

    Raises:
        WorkflowConfigurationError: the port can't be had.
    """
    listening = _listen(port)
    config = uvicorn.Config(
        _make_app(health), log_config=None, log_level="warning", access_log=False, lifespan="off"
    )
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise WorkflowConfigurationError(
            f"--health-port {port} can't be had ({error}): give another one, or 0 for one that is "
            "free"
        ) from error


def _make_app(health: Callable[[], Health]) -> Starlette:
    async def live(_: Request) -> JSONResponse:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> JSONResponse:
        now = health()
        return JSONResponse({"ready": now.ready, **asdict(now)}, 200 if now.ready else 503)

    return Starlette(routes=[Route("/health/live", live), Route("/health/ready", ready)])


class _Server(uvicorn.Server):
    """Leaves the signals to the worker."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
