"""Checkpointers: where the runs of a workflow become durable."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from importlib.metadata import entry_points
from math import inf
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from typing_extensions import override

from stepwell._names import kind_of
from stepwell._runtime.commits import Durability
from stepwell.context.context import Context, HasPlan
from stepwell.durable import loader
from stepwell.durable.session import Session
from stepwell.errors import ContextStateError, RunNotFound, WorkflowValidationError
from stepwell.storage.protocol import RunStore

__all__ = ["Checkpointer", "checked_choice", "checked_durability", "find_checkpointer"]


_of_urls: WeakValueDictionary[str, "Checkpointer"] = WeakValueDictionary()
"""What a URL meant, as long as anybody uses it: workflows with the same one share a connection."""
_finding = threading.Lock()


class Attachable(Protocol):
    """A workflow, as far as a checkpointer must know it."""

    _checkpointer: Any
    _durability: Any


_WorkflowT = TypeVar("_WorkflowT")


class Checkpointer(ABC):
    """Makes runs durable in some store.

    There are four ways to give one to a run: `Workflow(checkpointer=...)`, `attach(workflow)`,
    starting the run inside `with checkpointer:`, and a step that asks for it as a resource. The
    last one commits only when the step says so: by `snapshot(ctx)` or `ctx.checkpoint()`.

    Inside `async with checkpointer:` the connection is kept open between runs.

    Args:
        durability: when a step boundary becomes durable: before anything that follows from it
            happens ("sync"), soon and in order ("async"), or at the end and on demand ("exit").
        reuse: whether a start without `run_id` goes on with an interrupted run of the same input
            ("interrupted"), or always begins a new one ("never").
        on_lost: what a handler does whose run another process took over: wait for that one's
            result ("follow"), or raise LeaseLost ("raise").
        lease: how long this process may be silent before its runs go elsewhere, in seconds.
        stall_limit: how long, in seconds, a step may block the event loop before they do.
    """

    _stack: ClassVar[ContextVar[tuple["Checkpointer", ...]]] = ContextVar(
        "stepwell_checkpointers", default=()
    )

    def __init__(
        self,
        *,
        durability: Literal["sync", "async", "exit"] = "sync",
        reuse: Literal["interrupted", "never"] = "interrupted",
        on_lost: Literal["follow", "raise"] = "follow",
        lease: float = 15.0,
        stall_limit: float = 300.0,
    ) -> None:
        self.durability = checked_durability(durability)
        self.reuse = checked_choice("reuse", reuse, ("interrupted", "never"))
        self.on_lost = checked_choice("on_lost", on_lost, ("follow", "raise"))
        self.lease = _checked_lease(lease)
        self.stall_limit = _checked_stall_limit(stall_limit)
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()

    @property
    @abstractmethod
    def identity(self) -> tuple[str, ...]:
        """Names the store; checkpointers of the same identity are equal."""

    @abstractmethod
    def connect(self) -> RunStore:
        """Return a store that is not open yet."""

    @staticmethod
    def current() -> "Checkpointer | None":
        """Return the checkpointer of the `with` block that this code runs in."""
        stack = Checkpointer._stack.get()
        return stack[-1] if stack else None

    def attach(self, workflow: _WorkflowT, *, durability: str | None = None) -> _WorkflowT:
        """Make the runs of a workflow durable; for classes whose `__init__` takes no keyword.

        Args:
            workflow: an instance.
            durability: when a step boundary becomes durable, if not as the checkpointer says.

        Returns:
            The workflow.
        """
        if isinstance(workflow, type) or not hasattr(workflow, "__stepwell_plan__"):
            raise WorkflowValidationError(
                f"attach() was given {kind_of(workflow)}: give it an instance of a workflow class"
            )
        attached = cast("Attachable", workflow)
        attached._checkpointer = self  # pyright: ignore[reportPrivateUsage]  pydantic models take no public ones
        attached._durability = None if durability is None else checked_durability(durability)  # pyright: ignore[reportPrivateUsage]  the same
        return workflow

    async def snapshot(self, ctx: Context[Any]) -> None:
        """Make durable what the step has done so far.

        Raises:
            ContextStateError: the run of this context does not commit to this checkpointer.
            EncodingError: a value has no durable form.
            LeaseLost: another process owns the run now.
            StoreError: the store can't be reached, or refuses.
        """
        if not isinstance(ctx, Context):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
            raise TypeError(
                f"snapshot() was given {kind_of(ctx)}: give it the context that the step was given"
            )
        if not ctx.serves(self):
            raise ContextStateError(
                "snapshot(ctx): the run of this context does not commit to this checkpointer. "
                "Give it to the workflow (checkpointer=..., or attach()), or let the step ask for "
                "it: Annotated[RedisCheckpointer, Resource(factory)]."
            )
        await ctx.checkpoint()

    async def load(self, workflow: HasPlan, run_id: str) -> Context[Any]:
        """Return the context of a stored run, ended or not, as of its last commit.

        Another run can start from it: `workflow.run(ctx=ctx)`.

        Raises:
            RunNotFound: there is no run of that name.
            RunBlocked: the run needs a step that the workflow does not have.
            RunCorrupt: a field can't be read.
            StoreError: the store can't be reached, or refuses.
        """
        async with self.session() as session:
            fields = await session.store.read(run_id)
        if fields is None:
            raise RunNotFound(f"there is no run {run_id!r} in {' '.join(self.identity)}")
        ctx: Context[Any] = Context(workflow)
        loader.load_into(ctx.internals, run_id, fields)
        return ctx

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """Use the connection of this event loop; the last one to leave closes it."""
        shared = self._sessions.setdefault(asyncio.get_running_loop(), _Shared(self._new_session))
        session = await shared.enter()
        try:
            yield session
        finally:
            await shared.leave()

    def _new_session(self) -> Session:
        return Session(self.connect, self.lease, self.stall_limit)

    def __enter__(self) -> Self:
        Checkpointer._stack.set((*Checkpointer._stack.get(), self))
        return self

    def __exit__(self, *exc_info: object) -> None:
        Checkpointer._stack.set(Checkpointer._stack.get()[:-1])

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await self._sessions.setdefault(loop, _Shared(self._new_session)).enter()
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__()
        await self._sessions[asyncio.get_running_loop()].leave()

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpointer) and self.identity == other.identity

    @override
    def __hash__(self) -> int:
        return hash(self.identity)


class _Shared:
    """A session that lives as long as somebody is in it."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._session: Session | None = None
        self._users = 0
        self._lock = asyncio.Lock()

    async def enter(self) -> Session:
        async with self._lock:
            if self._session is None:
                session = self._make()
                await session.open()
                self._session = session
            self._users += 1
            return self._session

    async def leave(self) -> None:
        async with self._lock:
            self._users -= 1
            if self._users == 0 and self._session is not None:
                session, self._session = self._session, None
                await session.close()


def find_checkpointer(source: Checkpointer | str, **options: Any) -> Checkpointer:
    """Return the checkpointer that is meant: itself, or the one for a URL, with these options.

    Packages offer URL schemes by entry points of the group `stepwell.stores`.

    Raises:
        WorkflowValidationError: it is neither, or no store is known for the scheme of the URL.
        TypeError, ValueError: there is no such option, or it means nothing.
    """
    if isinstance(source, Checkpointer):
        if options:
            raise TypeError(
                f"{', '.join(options)}: a checkpointer has its options already. Give them to it, "
                f"or give a URL here"
            )
        return source
    if not isinstance(source, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users may give anything
        raise WorkflowValidationError(
            f"checkpointer= takes a checkpointer or a URL, not {kind_of(source)}: give "
            f"RedisCheckpointer(...) or 'redis://host:6379'"
        )
    scheme = source.partition(":")[0]
    known = {point.name: point for point in entry_points(group="stepwell.stores")}
    if scheme not in known:
        raise WorkflowValidationError(
            f"checkpointer={scheme + ':...'!r}: no store is known for this scheme; "
            f"known are {', '.join(sorted(known))}. Write it as in 'redis://host:6379'"
        )
    make = known[scheme].load()
    if options:
        return make(source, **options)
    with _finding:
        return _of_urls.setdefault(source, make(source))


def checked_durability(name: str) -> Durability:
    """Return the durability of a name.

    Raises:
        ValueError: there is none of that name.
    """
    return Durability(checked_choice("durability", name, tuple(Durability)))


def _checked_lease(lease: object) -> float:
    lease = _checked_number("lease", lease)
    if not 1 <= lease < inf:
        raise ValueError(f"lease={lease}: a lease lasts at least one second, and not for ever")
    return lease


def _checked_stall_limit(seconds: object) -> float:
    seconds = _checked_number("stall_limit", seconds)
    if not seconds > 0:
        raise ValueError(f"stall_limit={seconds}: give seconds, more than none")
    return seconds


def _checked_number(option: str, seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{option}={seconds!r:.80}: give seconds, as a number")
    return seconds


def checked_choice(option: str, value: str, known: tuple[str, ...]) -> str:
    """Return the value of an option that has a few.

    Raises:
        ValueError: it is none of them.
    """
    if value not in known:
        choices = ", ".join(repr(str(one)) for one in known)
        raise ValueError(f"{option}={value!r}: choose one of {choices}")
    return value
