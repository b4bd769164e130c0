"""Retry policies: whether a failed step is tried again, and after how long.

    @step(retry_policy=retry_policy(
        retry=retry_if_exception_type((TimeoutError, ConnectionError)),
        wait=wait_exponential(max=30) + wait_random(0, 1),
        stop=stop_after_attempt(5) | stop_before_delay(120),
    ))

A policy has three parts. The condition (`retry_...`) looks at the exception, the wait (`wait_...`)
gives the seconds until the next attempt, the stop (`stop_...`) says when it is enough. Conditions
and stops combine with `&` and `|`, waits with `+`; a function of the same parameters may stand for
any of them. Nothing here reads a clock, and with a seed nothing is left to chance.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from inspect import signature
from math import inf
from random import Random
from typing import Generic, Literal, ParamSpec, Protocol, TypeAlias, runtime_checkable

from typing_extensions import TypeIs, deprecated, override

from stepwell.errors import WorkflowRuntimeError

__all__ = [
    "ConstantDelayRetryPolicy",
    "ExponentialBackoffRetryPolicy",
    "RetryCondition",
    "RetryInfo",
    "RetryPolicy",
    "StopCondition",
    "WaitStrategy",
    "can_decide",
    "next_delay",
    "retry_all",
    "retry_always",
    "retry_any",
    "retry_if_exception",
    "retry_if_exception_cause_type",
    "retry_if_exception_message",
    "retry_if_exception_type",
    "retry_if_not_exception_message",
    "retry_if_not_exception_type",
    "retry_never",
    "retry_policy",
    "retry_unless_exception_type",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "time_unit_type",
    "wait_chain",
    "wait_combine",
    "wait_exponential",
    "wait_exponential_jitter",
    "wait_fixed",
    "wait_full_jitter",
    "wait_incrementing",
    "wait_none",
    "wait_random",
    "wait_random_exponential",
]

# ruff: noqa: N801 - the names are those of LlamaIndex Workflows, where they read as verbs

P = ParamSpec("P")

time_unit_type: TypeAlias = int | float | timedelta  # noqa: PYI042 - named so in LlamaIndex Workflows
"""A length of time: seconds, or a `timedelta`."""


# --- what the engine asks ---


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides after each failure of a step whether, and when, it is tried again."""

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up.

        Args:
            elapsed_time: seconds since the first attempt began.
            attempts: how many attempts failed so far, from 1.
            error: what the last one raised.
            seed: makes random waits repeatable. A policy may leave this parameter out.
        """
        ...


@dataclass(frozen=True)
class RetryInfo:
    """What a step can know of its own failed attempts.

    Attributes:
        retry_number: how many attempts failed; 0 in the first one.
        elapsed_seconds: since the first attempt began.
        last_exception: what the last failed attempt raised.
        last_failed_at: when it did.
    """

    retry_number: int = 0
    elapsed_seconds: float = 0.0
    last_exception: Exception | None = None
    last_failed_at: datetime | None = None


def can_decide(policy: object) -> bool:
    """Whether an object can be asked as a `RetryPolicy`."""
    ask = None if isinstance(policy, type) else getattr(policy, "next", None)
    asked = (0.0, 1, Exception())
    return _accepts(ask, *asked) or _accepts(ask, *asked, seed=0)


def next_delay(
    policy: RetryPolicy, elapsed: float, attempts: int, error: Exception, seed: int
) -> float | None:
    """Ask a policy for the seconds until the next attempt, never below 0; `None` is to give up.

    A policy whose `next` has no parameter `seed` is asked without it. What the policy raises
    goes through.

    Raises:
        WorkflowRuntimeError: the answer is neither `None` nor a finite number.
    """
    seeded = _accepts(policy.next, elapsed, attempts, error, seed=seed)
    chance = {"seed": seed} if seeded else {}
    delay: object = policy.next(elapsed, attempts, error, **chance)
    if delay is None:
        return None
    if not _is_finite(delay):
        raise WorkflowRuntimeError(
            f"Retry policy {policy!r} answered {delay!r} to attempt {attempts}, which failed with "
            f"{error!r}. Let its next() return a finite number of seconds, or None to give up."
        )
    return max(0.0, float(delay))


# --- arguments and arithmetic ---

_FINITE = sys.float_info.max
_AMOUNT = (0, _FINITE)
_CHANGE = (-_FINITE, _FINITE)
_LIMIT = (0, inf)


def _check(part: object, **bounds: tuple[time_unit_type, time_unit_type]) -> None:
    """Refuse a part of which a field is no number or time, or lies out of its bounds."""
    for name, (low, high) in bounds.items():
        value: object = getattr(part, name)
        if not isinstance(value, int | float | timedelta):
            raise TypeError(f"{part!r}: give {name} as a number or a timedelta.")
        if not _in_seconds(low) <= _in_seconds(value) <= _in_seconds(high):
            limits = f"{_in_seconds(low):g} and {_in_seconds(high):g}"
            raise ValueError(f"{part!r}: give {name} between {limits}.")


def _is_function(value: object) -> TypeIs[Callable[..., object]]:
    # A class makes parts and is none: called with an error or a number, it would mean yes.
    return callable(value) and not isinstance(value, type)


def _accepts(function: object, *args: object, **kwargs: object) -> bool:
    """Whether a function can be called so; yes, where Python can't tell."""
    if not _is_function(function):
        return False
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # written in C, and keeps its signature to itself
        return True
    return True


def _check_functions(whole: object, parts: Iterable[object]) -> None:
    for part in parts:
        if not _is_function(part):
            raise TypeError(f"{whole!r}: {part!r} is no function. Give one, or a part made here.")


def _is_exception_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _is_finite(value: object) -> TypeIs[int | float]:
    if isinstance(value, bool):  # to Python a number: False would mean "at once"
        return False
    return isinstance(value, int | float) and abs(value) <= _FINITE


def _in_seconds(time: time_unit_type) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else float(time)


def _grown(first: time_unit_type, base: float, attempts: int) -> float:
    try:
        return _in_seconds(first) * float(base) ** attempts
    except OverflowError:
        return inf if first else 0.0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The `__cause__` of an exception, the one of that, and so on; each once."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        error = cause


# --- a policy of three parts ---


class RetryCondition(Protocol):
    """Says of an exception whether another attempt can help."""

    def __call__(self, error: BaseException, /) -> bool:
        """Return true to go on."""
        ...


class WaitStrategy(Protocol):
    """Gives the seconds before the next attempt."""

    def __call__(self, attempts: int, /, *, seed: int | None = None) -> float:
        """Return seconds; `attempts` counts from 0, the wait after the first failure."""
        ...


class StopCondition(Protocol):
    """Says when it is enough, whatever the exception."""

    def __call__(
        self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0
    ) -> bool:
        """Return true to give up; `attempts` counts failures from 1, times are in seconds."""
        ...


class _Rule(Generic[P]):
    """A yes or no, which `&` and `|` combine: what conditions and stops have in common."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        raise NotImplementedError

    def __and__(self, other: Callable[P, bool]) -> "_Rule[P]":
        return _Joined(all, (self, other))

    def __rand__(self, other: Callable[P, bool]) -> "_Rule[P]":
        return _Joined(all, (other, self))

    def __or__(self, other: Callable[P, bool]) -> "_Rule[P]":
        return _Joined(any, (self, other))

    def __ror__(self, other: Callable[P, bool]) -> "_Rule[P]":
        return _Joined(any, (other, self))


@dataclass(frozen=True, repr=False)
class _Joined(_Rule[P]):
    join: Callable[[Iterable[object]], bool]
    rules: tuple[Callable[P, bool], ...]

    def __post_init__(self) -> None:
        _check_functions(self, self.rules)

    @override
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        return self.join(rule(*args, **kwargs) for rule in self.rules)

    def __repr__(self) -> str:
        return f"{self.join.__name__}({', '.join(map(repr, self.rules))})"


_Condition: TypeAlias = _Rule[[BaseException]]
_Stop: TypeAlias = _Rule[...]  # a ParamSpec can't spell the keyword; `StopCondition` does


class _Wait:
    """Seconds, which `+` and `sum` add up."""

    def __call__(self, attempts: int, *, seed: int | None = None) -> float:
        return self._seconds(attempts, Random(seed))  # noqa: S311 - spreads load, hides nothing

    def _seconds(self, attempts: int, chance: Random) -> float:
        raise NotImplementedError

    def __add__(self, other: WaitStrategy) -> "_Wait":
        return _Sum((self, other))

    def __radd__(self, other: WaitStrategy | Literal[0]) -> "_Wait":
        return self if other == 0 else _Sum((other, self))  # `sum` begins with 0


@dataclass(frozen=True)
class _Sum(_Wait):
    strategies: tuple[WaitStrategy, ...]

    def __post_init__(self) -> None:
        _check_functions(self, self.strategies)

    @override
    def __call__(self, attempts: int, *, seed: int | None = None) -> float:
        return sum((wait(attempts, seed=seed) for wait in self.strategies), 0.0)


@dataclass(frozen=True)
class _Chain(_Wait):
    strategies: tuple[WaitStrategy, ...]

    def __post_init__(self) -> None:
        _check_functions(self, self.strategies)

    @override
    def __call__(self, attempts: int, *, seed: int | None = None) -> float:
        wait = self.strategies[min(attempts, len(self.strategies) - 1)]
        return wait(attempts, seed=seed)


# --- conditions: which exceptions ---


@dataclass(frozen=True)
class retry_if_exception(_Condition):
    """Retry if the predicate says so.

    Args:
        predicate: called with the exception.

    Raises:
        TypeError: it can't be called with one argument.
    """

    predicate: Callable[[BaseException], bool]

    def __post_init__(self) -> None:
        if not _accepts(self.predicate, Exception()):
            raise TypeError(f"{self!r}: give a function of one argument, the exception.")

    @override
    def __call__(self, error: BaseException) -> bool:
        return bool(self.predicate(error))


@dataclass(frozen=True)
class retry_if_exception_type(_Condition):
    """Retry exceptions of these types.

    Args:
        exception_types: a class of exceptions, or a tuple of them.

    Raises:
        TypeError: it is something else.
    """

    exception_types: type[BaseException] | tuple[type[BaseException], ...] = Exception

    def __post_init__(self) -> None:
        given = self.exception_types
        if not all(map(_is_exception_type, given if isinstance(given, tuple) else (given,))):
            raise TypeError(f"{self!r}: give a class of exceptions, or a tuple of them.")

    @override
    def __call__(self, error: BaseException) -> bool:
        return isinstance(error, self.exception_types)


@dataclass(frozen=True)
class retry_if_not_exception_type(retry_if_exception_type):
    """Retry exceptions of all other types; arguments as for `retry_if_exception_type`."""

    @override
    def __call__(self, error: BaseException) -> bool:
        return not super().__call__(error)


retry_unless_exception_type = retry_if_not_exception_type
"""The same by another name."""


@dataclass(frozen=True)
class retry_if_exception_cause_type(retry_if_exception_type):
    """Retry what was raised `from` such an exception, at whatever remove.

    Arguments as for `retry_if_exception_type`. The exception itself does not count, nor does
    one that was merely being handled when it was raised (`__context__`).
    """

    @override
    def __call__(self, error: BaseException) -> bool:
        return any(isinstance(cause, self.exception_types) for cause in _causes(error))


@dataclass(frozen=True)
class retry_if_exception_message(_Condition):
    """Retry by the text of the exception, `str(error)`.

    Args:
        message: the whole text.
        match: a regular expression to be found anywhere in it.

    Raises:
        TypeError: both are given, or none.
        re.error: the expression is malformed.
    """

    message: str | None = None
    match: str | re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if (self.message is None) == (self.match is None):
            raise TypeError(f"{self!r}: give either message or match.")
        if self.match is not None:
            re.compile(self.match)

    @override
    def __call__(self, error: BaseException) -> bool:
        if self.match is not None:
            return re.search(self.match, str(error)) is not None
        return str(error) == self.message


@dataclass(frozen=True)
class retry_if_not_exception_message(retry_if_exception_message):
    """Retry all other texts; arguments as for `retry_if_exception_message`."""

    @override
    def __call__(self, error: BaseException) -> bool:
        return not super().__call__(error)


def retry_any(*retries: RetryCondition) -> _Condition:
    """Retry if one of the conditions says so, as `|` does; of none it never does."""
    return _Joined(any, retries)


def retry_all(*retries: RetryCondition) -> _Condition:
    """Retry if all conditions say so, as `&` does; of none it always does."""
    return _Joined(all, retries)


def retry_always() -> _Condition:
    """Retry whatever the exception."""
    return retry_all()


def retry_never() -> _Condition:
    """Retry no exception."""
    return retry_any()


# --- waits: how long until the next attempt ---


@dataclass(frozen=True)
class wait_fixed(_Wait):
    """Wait equally long each time.

    Args:
        wait: seconds or a timedelta, finite and at least 0.

    Raises:
        TypeError: it is no length of time.
        ValueError: it is negative or not finite.
    """

    wait: time_unit_type

    def __post_init__(self) -> None:
        _check(self, wait=_AMOUNT)

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        return _in_seconds(self.wait)


def wait_none() -> wait_fixed:
    """Try again at once."""
    return wait_fixed(0)


@dataclass(frozen=True)
class wait_incrementing(_Wait):
    """Wait `start`, then each time `increment` longer: between 0 and `max`.

    Args:
        start: the first wait, seconds or a timedelta.
        increment: seconds or a timedelta; if negative, waits get shorter.
        max: the longest wait, seconds or a timedelta; infinity is none.

    Raises:
        TypeError: one of them is no length of time.
        ValueError: one is not finite, or `start` or `max` is negative.
    """

    start: time_unit_type = 0.0
    increment: time_unit_type = 100.0
    max: time_unit_type = inf

    def __post_init__(self) -> None:
        _check(self, start=_AMOUNT, increment=_CHANGE, max=_LIMIT)

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        grown = _in_seconds(self.start) + _in_seconds(self.increment) * attempts
        return max(0.0, min(grown, _in_seconds(self.max)))


@dataclass(frozen=True)
class wait_exponential(_Wait):
    """Wait `multiplier * exp_base ** attempts` seconds: between `min` and `max`.

    Args:
        multiplier: the first wait in seconds.
        exp_base: by what each wait is longer than the one before.
        max: the longest wait, seconds or a timedelta; at least `min`.
        min: the shortest wait, seconds or a timedelta.

    Raises:
        TypeError: one of them is no number or length of time.
        ValueError: one of them is negative or not finite, or `min` is above `max`.
    """

    multiplier: int | float = 1.0
    exp_base: int | float = 2.0
    max: time_unit_type = 60.0
    min: time_unit_type = 0.0

    def __post_init__(self) -> None:
        _check(self, multiplier=_AMOUNT, exp_base=_AMOUNT, min=_AMOUNT, max=(self.min, inf))

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        grown = _grown(self.multiplier, self.exp_base, attempts)
        return max(_in_seconds(self.min), min(grown, _in_seconds(self.max)))


@dataclass(frozen=True)
class wait_random_exponential(wait_exponential):
    """Wait a random time between `min` and what `wait_exponential` waits; same arguments.

    "Full jitter" in Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        return chance.uniform(_in_seconds(self.min), super()._seconds(attempts, chance))


wait_full_jitter = wait_random_exponential
"""The same by another name."""


@dataclass(frozen=True)
class wait_exponential_jitter(_Wait):
    """Wait `initial * exp_base ** attempts` seconds and up to `jitter` more: `max` in all.

    Args:
        initial: the first wait, seconds or a timedelta.
        exp_base: by what each wait is longer than the one before.
        max: the longest wait, jitter included, seconds or a timedelta.
        jitter: the most that chance adds, seconds or a timedelta.

    Raises:
        TypeError: one of them is no number or length of time.
        ValueError: one of them is negative or not finite.
    """

    initial: time_unit_type = 1.0
    exp_base: int | float = 2.0
    max: time_unit_type = 60.0
    jitter: time_unit_type = 1.0

    def __post_init__(self) -> None:
        _check(self, initial=_AMOUNT, exp_base=_AMOUNT, max=_LIMIT, jitter=_AMOUNT)

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        grown = _grown(self.initial, self.exp_base, attempts)
        return min(grown + chance.uniform(0, _in_seconds(self.jitter)), _in_seconds(self.max))


@dataclass(frozen=True)
class wait_random(_Wait):
    """Wait a random time between `min` and `max`, each as likely as the other.

    Args:
        min: the shortest wait, seconds or a timedelta.
        max: the longest wait, seconds or a timedelta; at least `min`.

    Raises:
        TypeError: one of them is no length of time.
        ValueError: one of them is negative or not finite, or `min` is above `max`.
    """

    min: time_unit_type = 0.0
    max: time_unit_type = 1.0

    def __post_init__(self) -> None:
        _check(self, min=_AMOUNT, max=(self.min, _FINITE))

    @override
    def _seconds(self, attempts: int, chance: Random) -> float:
        return chance.uniform(_in_seconds(self.min), _in_seconds(self.max))


def wait_chain(*strategies: WaitStrategy) -> _Wait:
    """Wait by one strategy after the other; the last one repeats.

    Raises:
        TypeError: one of them can't be called.
        ValueError: there is none.
    """
    if not strategies:
        raise ValueError("wait_chain() has nothing to wait by: give it one strategy at least.")
    return _Chain(strategies)


def wait_combine(*strategies: WaitStrategy) -> _Wait:
    """Wait as long as all strategies together, as `+` does; of none, not at all.

    Raises:
        TypeError: one of them can't be called.
    """
    return _Sum(strategies)


# --- stops: when it is enough ---


@dataclass(frozen=True)
class stop_after_attempt(_Stop):
    """Give up when so many attempts failed: 3 are the first one and two retries.

    Args:
        max_attempt_number: how many, at least 1.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """

    max_attempt_number: int

    def __post_init__(self) -> None:
        if type(self.max_attempt_number) is not int or self.max_attempt_number < 1:
            raise ValueError(f"{self!r}: give a whole number of at least 1.")

    @override
    def __call__(self, attempts: int, elapsed_time: float, *, upcoming_sleep: float = 0.0) -> bool:
        return attempts >= self.max_attempt_number


@dataclass(frozen=True)
class stop_after_delay(_Stop):
    """Give up when this time has passed since the first attempt began.

    The wait before the last attempt may end later; `stop_before_delay` does not let it.

    Args:
        max_delay: seconds or a timedelta, at least 0.

    Raises:
        TypeError: it is no length of time.
        ValueError: it is negative.
    """

    max_delay: time_unit_type

    def __post_init__(self) -> None:
        _check(self, max_delay=_LIMIT)

    @override
    def __call__(self, attempts: int, elapsed_time: float, *, upcoming_sleep: float = 0.0) -> bool:
        return elapsed_time >= _in_seconds(self.max_delay)


@dataclass(frozen=True)
class stop_before_delay(stop_after_delay):
    """Give up when the next attempt would begin at this time or later; same argument."""

    @override
    def __call__(self, attempts: int, elapsed_time: float, *, upcoming_sleep: float = 0.0) -> bool:
        return super().__call__(attempts, elapsed_time + upcoming_sleep)


def stop_any(*stops: StopCondition) -> _Stop:
    """Give up when one of the stops says so, as `|` does; of none it never does."""
    return _Joined(any, stops)


def stop_all(*stops: StopCondition) -> _Stop:
    """Give up when all stops say so, as `&` does; of none it does at once."""
    return _Joined(all, stops)


def stop_never() -> _Stop:
    """Never give up; the condition, or the `timeout` of the run, has to."""
    return stop_any()


# --- the policy ---


@dataclass(frozen=True)
class retry_policy:
    """A `RetryPolicy` of a condition, a wait and a stop.

    Args:
        retry: which exceptions are retried; left out, all of them.
        wait: how long to wait before the next attempt.
        stop: when it is enough.

    Raises:
        TypeError: one of them can't be called as its family is. A forgotten pair of brackets, as
            in `wait=wait_none`, is found here.
    """

    retry: RetryCondition | None = None
    wait: WaitStrategy = wait_fixed(5)
    stop: StopCondition = stop_after_attempt(3)

    def __post_init__(self) -> None:
        if self.retry is not None and not _accepts(self.retry, Exception()):
            raise TypeError(f"{self!r}: give as retry what can be called with (error).")
        if not _accepts(self.wait, 0, seed=None):
            raise TypeError(f"{self!r}: give as wait what can be called with (attempts, *, seed).")
        if not _accepts(self.stop, 1, 0.0, upcoming_sleep=0.0):
            raise TypeError(
                f"{self!r}: give as stop what can be called with "
                "(attempts, elapsed_time, *, upcoming_sleep)."
            )

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or `None`; see `RetryPolicy`."""
        if self.retry is not None and not self.retry(error):
            return None
        delay = self.wait(max(0, attempts - 1), seed=seed)
        return None if self.stop(attempts, elapsed_time, upcoming_sleep=delay) else delay


@deprecated("Use retry_policy(wait=wait_fixed(delay), stop=stop_after_attempt(n)).")
def ConstantDelayRetryPolicy(  # noqa: N802 - once a class, in LlamaIndex Workflows
    maximum_attempts: int = 3, delay: float = 5
) -> RetryPolicy:
    """Wait `delay` seconds, and give up when `maximum_attempts` failed."""
    return retry_policy(wait=wait_fixed(delay), stop=stop_after_attempt(maximum_attempts))


@deprecated("Use retry_policy(wait=wait_random_exponential(...), stop=stop_after_attempt(n)).")
def ExponentialBackoffRetryPolicy(  # noqa: N802 - once a class, in LlamaIndex Workflows
    maximum_attempts: int = 5,
    initial_delay: float = 1.0,
    multiplier: float = 2.0,
    max_delay: float = 60.0,
    jitter: bool = True,
) -> RetryPolicy:
    """Wait `initial_delay` seconds, each time `multiplier` times longer, up to `max_delay`.

    With `jitter` the wait is random, between 0 and that.
    """
    strategy = wait_random_exponential if jitter else wait_exponential
    wait = strategy(multiplier=initial_delay, exp_base=multiplier, max=max_delay)
    return retry_policy(wait=wait, stop=stop_after_attempt(maximum_attempts))
