"""Objects that mean nothing outside the process that made them."""

import asyncio
from io import IOBase
from socket import socket
from threading import Event, Lock, RLock, Thread
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)

_PROCESS_BOUND = (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    Event,
    FunctionType,
    GeneratorType,
    IOBase,
    MethodType,
    ModuleType,
    Thread,
    asyncio.AbstractEventLoop,
    asyncio.Condition,
    asyncio.Event,
    asyncio.Future,
    asyncio.Lock,
    asyncio.Queue,
    asyncio.Semaphore,
    socket,
    type(Lock()),
    type(RLock()),
)


def is_process_bound(value: object) -> bool:
    """Whether the value is a lock, a socket, a function, a task or the like."""
    return isinstance(value, _PROCESS_BOUND)
