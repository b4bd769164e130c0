"""Section 10: retry policies. What is not left to chance has the values of LlamaIndex Workflows."""

import inspect
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest
import workflows.retry_policy as _peer
from hypothesis import given
from hypothesis import strategies as st

import stepwell.retry_policy as _ours
from stepwell import Context, Workflow, step
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.retry_policy import (
    RetryInfo,
    RetryPolicy,
    StopCondition,
    WaitStrategy,
    next_delay,
    retry_all,
    retry_always,
    retry_any,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_never,
    retry_policy,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    stop_any,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_full_jitter,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

ours: Any = _ours
peer: Any = _peer

Make = Callable[[Any], Any]
"""Makes a part with the names of either module."""

ATTEMPTS = [*range(8), 40]
ELAPSED = [0.0, 0.9, 1.0, 2.5, 3.0, 100.0]
SEEDS = [None, 0, 1, 77]
SECOND = timedelta(seconds=1)


def by_name(table: dict[str, Any]) -> Any:
    """The rows of a table as parameters, each with its key as its name."""
    return [pytest.param(row, id=name) for name, row in table.items()]


# --- the names ---


MADE_BY_CALLING = [
    name
    for name in _ours.__all__
    if name[0].islower() and name not in {"can_decide", "next_delay", "time_unit_type"}
]
DEPRECATED_FACTORIES = ["ConstantDelayRetryPolicy", "ExponentialBackoffRetryPolicy"]


def test_all_names_of_the_peer_are_there() -> None:
    names = {name for name in dir(peer) if inspect.getmodule(getattr(peer, name)) is peer}
    assert {name for name in names if name[0] != "_"} <= set(_ours.__all__)


@pytest.mark.parametrize("name", MADE_BY_CALLING + DEPRECATED_FACTORIES)
def test_each_name_has_the_parameters_and_the_defaults_of_the_peer(name: str) -> None:
    assert parameters(getattr(ours, name)) == parameters(getattr(peer, name))


def parameters(member: Any) -> list[tuple[str, str, Any]]:
    return [
        (one.name, one.kind.name, described(one.default))
        for one in inspect.signature(member).parameters.values()
    ]


def described(default: Any) -> Any:
    """A default that is an object of the module, by its class and its one number."""
    values: list[Any] = [*getattr(default, "__dict__", {}).values()]
    return (type(default).__name__, values) if values else default


def test_aliases_are_the_same_thing() -> None:
    assert wait_full_jitter(3) == wait_random_exponential(3)
    assert retry_unless_exception_type(OSError) == ours.retry_if_not_exception_type(OSError)


def test_parts_compare_by_value_and_show_how_they_were_made() -> None:
    policy = retry_policy(wait=wait_fixed(1), stop=stop_after_attempt(2) | stop_after_delay(9))
    assert policy == retry_policy(
        wait=wait_fixed(1), stop=stop_any(stop_after_attempt(2), stop_after_delay(9))
    )
    assert repr(policy) == (
        "retry_policy(retry=None, wait=wait_fixed(wait=1), "
        "stop=any(stop_after_attempt(max_attempt_number=2), stop_after_delay(max_delay=9)))"
    )


# --- parts made by a user ---


def _is_bad(error: BaseException) -> bool:
    return "bad" in str(error)


def _silent(error: BaseException) -> bool:
    return not error.args


def _growing(attempts: int, *, seed: int | None = None) -> float:
    return attempts + 0.5


def _late(attempts: int, elapsed_time: float, *, upcoming_sleep: float = 0.0) -> bool:
    return elapsed_time + upcoming_sleep > 2


def _seedless(attempts: int) -> float:
    return 1.0


def _sleepless(attempts: int, elapsed_time: float) -> bool:
    return True


# A function has no operators, says the checker: those of the part beside it do the work.
is_bad: Any = _is_bad
silent: Any = _silent
growing: Any = _growing
late: Any = _late


# --- conditions ---


def linked(error: BaseException, *causes: BaseException) -> BaseException:
    for effect, cause in zip([error, *causes], causes, strict=False):
        effect.__cause__ = cause
    return error


def raised_while_handling() -> BaseException:
    error = KeyError("later")
    error.__context__ = OSError("before")
    return error


ERRORS = {
    "value": ValueError("bad value"),
    "empty": ValueError(),
    "lines": ValueError("first\nbad"),
    "key": KeyError("bad"),
    "timeout": TimeoutError("bad"),
    "interrupt": KeyboardInterrupt(),
    "caused": linked(ValueError("x"), OSError("y")),
    "caused far away": linked(ValueError("x"), KeyError("y"), TimeoutError("z")),
    "in context": raised_while_handling(),
}

CONDITIONS: dict[str, Make] = {
    "predicate": lambda m: m.retry_if_exception(is_bad),
    "type": lambda m: m.retry_if_exception_type(),
    "one type": lambda m: m.retry_if_exception_type(OSError),
    "two types": lambda m: m.retry_if_exception_type(exception_types=(KeyError, ValueError)),
    "no type": lambda m: m.retry_if_exception_type(()),
    "not type": lambda m: m.retry_if_not_exception_type(),
    "not one type": lambda m: m.retry_if_not_exception_type(OSError),
    "unless type": lambda m: m.retry_unless_exception_type((OSError, KeyError)),
    "message": lambda m: m.retry_if_exception_message("bad value"),
    "empty message": lambda m: m.retry_if_exception_message(message=""),
    "match": lambda m: m.retry_if_exception_message(match="bad"),
    "match at the start": lambda m: m.retry_if_exception_message(match="^bad"),
    "match compiled": lambda m: m.retry_if_exception_message(
        match=re.compile("BAD", re.IGNORECASE)
    ),
    "not message": lambda m: m.retry_if_not_exception_message("bad value"),
    "not match": lambda m: m.retry_if_not_exception_message(match="bad"),
    "cause": lambda m: m.retry_if_exception_cause_type(),
    "one cause": lambda m: m.retry_if_exception_cause_type(OSError),
    "any": lambda m: m.retry_any(m.retry_if_exception_type(KeyError), m.retry_never()),
    "all": lambda m: m.retry_all(m.retry_if_exception_type(OSError), m.retry_always()),
    "any of none": lambda m: m.retry_any(),
    "all of none": lambda m: m.retry_all(),
    "always": lambda m: m.retry_always(),
    "never": lambda m: m.retry_never(),
    "and": lambda m: m.retry_if_exception_type(ValueError) & m.retry_if_exception_message("x"),
    "or": lambda m: m.retry_if_exception_type(KeyError) | m.retry_if_exception_message("x"),
    "and a function": lambda m: m.retry_always() & silent,
    "a function and": lambda m: silent & m.retry_always(),
    "or a function": lambda m: m.retry_never() | silent,
    "a function or": lambda m: silent | m.retry_never(),
}


@pytest.mark.parametrize("error", by_name(ERRORS))
@pytest.mark.parametrize("make", by_name(CONDITIONS))
def test_a_condition_decides_as_the_peer_does(make: Make, error: BaseException) -> None:
    assert make(ours)(error) is make(peer)(error)


def test_a_circle_of_causes_has_an_end() -> None:
    one, other = ValueError(), KeyError()
    linked(one, other, one)
    assert retry_if_exception_cause_type(KeyError)(one)
    assert not retry_if_exception_cause_type(ValueError)(one)


@given(st.booleans(), st.booleans())
def test_conditions_combine_by_logic(one: bool, other: bool) -> None:
    a, b = (retry_always() if yes else retry_never() for yes in (one, other))
    assert (a & b)(OSError()) is retry_all(a, b)(OSError()) is (one and other)
    assert (a | b)(OSError()) is retry_any(a, b)(OSError()) is (one or other)


# --- waits ---

CERTAIN_WAITS: dict[str, Make] = {
    "fixed": lambda m: m.wait_fixed(2.5),
    "fixed timedelta": lambda m: m.wait_fixed(wait=SECOND / 4),
    "none": lambda m: m.wait_none(),
    "exponential": lambda m: m.wait_exponential(),
    "exponential, bounded": lambda m: m.wait_exponential(multiplier=3, exp_base=3, max=50, min=4),
    "exponential timedelta": lambda m: m.wait_exponential(max=SECOND * 20, min=SECOND * 2),
    "exponential, shrinking": lambda m: m.wait_exponential(exp_base=0.5),
    "exponential, unbounded": lambda m: m.wait_exponential(max=inf),
    "incrementing": lambda m: m.wait_incrementing(),
    "incrementing, bounded": lambda m: m.wait_incrementing(start=1, increment=2, max=6),
    "incrementing timedelta": lambda m: m.wait_incrementing(SECOND, SECOND * 2, SECOND * 6),
    "incrementing, starting above": lambda m: m.wait_incrementing(start=9, max=6),
    "decrementing": lambda m: m.wait_incrementing(start=5, increment=-2),
    "jitter of nothing": lambda m: m.wait_exponential_jitter(jitter=0),
    "random between equals": lambda m: m.wait_random(2, 2),
    "random below min": lambda m: m.wait_random_exponential(min=60),
    "chain": lambda m: m.wait_chain(m.wait_fixed(1), m.wait_incrementing(0, 3)),
    "chain of a function": lambda m: m.wait_chain(growing),
    "combine": lambda m: m.wait_combine(m.wait_fixed(1), m.wait_exponential()),
    "combine of none": lambda m: m.wait_combine(),
    "plus": lambda m: m.wait_fixed(1) + m.wait_exponential(),
    "plus a function": lambda m: m.wait_fixed(1) + growing,
    "a function plus": lambda m: growing + m.wait_fixed(1),
    "sum": lambda m: sum([m.wait_fixed(1), m.wait_fixed(2), m.wait_incrementing()]),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make", by_name(CERTAIN_WAITS))
def test_a_certain_wait_is_as_long_as_the_peers(make: Make, seed: int | None) -> None:
    mine, theirs = make(ours), make(peer)
    for attempts in ATTEMPTS:
        assert mine(attempts, seed=seed) == theirs(attempts, seed=seed)


RANDOM_WAITS: dict[str, tuple[Make, Callable[[int], tuple[float, float]]]] = {
    "random": (lambda m: m.wait_random(), lambda n: (0, 1)),
    "random timedelta": (lambda m: m.wait_random(SECOND, SECOND * 3), lambda n: (1, 3)),
    "random exponential": (
        lambda m: m.wait_random_exponential(2, 3, max=50, min=1),
        lambda n: (1, min(50, 2 * 3**n)),
    ),
    "full jitter": (lambda m: m.wait_full_jitter(), lambda n: (0, min(60, 2**n))),
    "exponential jitter": (
        lambda m: m.wait_exponential_jitter(initial=2, max=50, jitter=4),
        lambda n: (min(50, 2 * 2**n), min(50, 2 * 2**n + 4)),
    ),
    "sum": (lambda m: m.wait_fixed(3) + m.wait_random(0, 2), lambda n: (3, 5)),
    "chain": (lambda m: m.wait_chain(m.wait_none(), m.wait_random()), lambda n: (0, min(n, 1))),
}


@pytest.mark.parametrize("row", by_name(RANDOM_WAITS))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_wait_keeps_its_bounds_as_the_peer_does(
    row: tuple[Make, Callable[[int], tuple[float, float]]], seed: int | None
) -> None:
    make, bounds = row
    for attempts in ATTEMPTS:
        low, high = bounds(attempts)
        assert low <= make(ours)(attempts, seed=seed) <= high
        assert low <= make(peer)(attempts, seed=seed) <= high


@pytest.mark.parametrize("row", by_name(RANDOM_WAITS))
def test_a_random_wait_is_the_same_for_the_same_seed_and_differs_among_seeds(
    row: tuple[Make, Callable[[int], tuple[float, float]]],
) -> None:
    make, _ = row
    found = [make(ours)(1, seed=seed) for seed in range(20)]
    assert found == [make(ours)(1, seed=seed) for seed in range(20)]
    assert len(set(found)) > 1


def test_a_random_wait_without_a_seed_differs_from_call_to_call() -> None:
    assert len({wait_random()(0) for _ in range(20)}) > 1


@pytest.mark.parametrize("attempts", [2_000, 10**9])
def test_growth_past_all_numbers_ends_at_max(attempts: int) -> None:
    assert wait_exponential(max=50)(attempts) == 50
    assert wait_exponential(exp_base=3, max=inf)(attempts) == inf
    assert wait_exponential(multiplier=0, min=2)(attempts) == 2
    assert wait_exponential_jitter(max=50)(attempts) == 50
    assert 0 <= wait_random_exponential(max=50)(attempts, seed=1) <= 50


def test_jitter_takes_lengths_of_time_too() -> None:
    wait = wait_exponential_jitter(initial=SECOND, max=SECOND * 5, jitter=SECOND / 2)
    assert 2 <= wait(1, seed=3) <= 2.5
    assert wait(9, seed=3) == 5


amounts = st.floats(min_value=0, max_value=1e9)
counts = st.integers(min_value=0, max_value=3_000)
seeds = st.none() | st.integers(min_value=0)


@st.composite
def spans(draw: st.DrawFn) -> tuple[float, float]:
    low, high = sorted([draw(amounts), draw(amounts)])
    return low, high


@st.composite
def waits(draw: st.DrawFn) -> WaitStrategy:
    one, other = draw(amounts), draw(amounts)
    low, high = draw(spans())
    member: WaitStrategy = draw(
        st.sampled_from(
            [
                wait_fixed(one),
                wait_none(),
                wait_incrementing(one, -other, high),
                wait_incrementing(one, other, high),
                wait_exponential(one, other, high, low),
                wait_random_exponential(one, other, high, low),
                wait_exponential_jitter(one, other, high, low),
                wait_random(low, high),
            ]
        )
    )
    return member


@given(st.lists(waits(), min_size=1, max_size=4), counts, seeds)
def test_no_wait_is_negative(parts: list[WaitStrategy], attempts: int, seed: int | None) -> None:
    assert all(part(attempts, seed=seed) >= 0 for part in parts)
    assert wait_chain(*parts)(attempts, seed=seed) >= 0
    assert wait_combine(*parts)(attempts, seed=seed) >= 0


@given(amounts, amounts, spans(), counts, seeds)
def test_growing_waits_stay_between_min_and_max(
    first: float, base: float, span: tuple[float, float], attempts: int, seed: int | None
) -> None:
    low, high = span
    assert low <= wait_exponential(first, base, high, low)(attempts, seed=seed) <= high
    assert low <= wait_random_exponential(first, base, high, low)(attempts, seed=seed) <= high
    assert wait_exponential_jitter(first, base, high, low)(attempts, seed=seed) <= high
    assert wait_incrementing(first, base, high)(attempts, seed=seed) <= high


@given(waits(), waits(), counts, st.integers())
def test_a_sum_waits_for_both(
    one: WaitStrategy, other: WaitStrategy, attempts: int, seed: int
) -> None:
    both = wait_combine(one, other)(attempts, seed=seed)
    assert both == one(attempts, seed=seed) + other(attempts, seed=seed)


@given(st.lists(waits(), min_size=1, max_size=4), counts, st.integers())
def test_the_last_wait_of_a_chain_repeats(
    parts: list[WaitStrategy], attempts: int, seed: int
) -> None:
    turn = parts[attempts] if attempts < len(parts) else parts[-1]
    assert wait_chain(*parts)(attempts, seed=seed) == turn(attempts, seed=seed)


# --- stops ---

STOPS: dict[str, Make] = {
    "attempt": lambda m: m.stop_after_attempt(3),
    "delay": lambda m: m.stop_after_delay(2.5),
    "delay timedelta": lambda m: m.stop_after_delay(max_delay=SECOND),
    "before delay": lambda m: m.stop_before_delay(3),
    "before delay timedelta": lambda m: m.stop_before_delay(SECOND),
    "any": lambda m: m.stop_any(m.stop_after_attempt(3), m.stop_before_delay(3)),
    "all": lambda m: m.stop_all(m.stop_after_attempt(3), m.stop_before_delay(3)),
    "any of none": lambda m: m.stop_any(),
    "all of none": lambda m: m.stop_all(),
    "never": lambda m: m.stop_never(),
    "and": lambda m: m.stop_after_attempt(2) & m.stop_after_delay(1),
    "or": lambda m: m.stop_after_attempt(5) | m.stop_after_delay(3),
    "and a function": lambda m: m.stop_after_attempt(2) & late,
    "a function and": lambda m: late & m.stop_after_attempt(2),
    "or a function": lambda m: m.stop_after_attempt(2) | late,
    "a function or": lambda m: late | m.stop_after_attempt(2),
}


stops = st.one_of(
    st.builds(stop_after_attempt, st.integers(1, 9)),
    st.builds(stop_after_delay, st.floats(0, 9)),
    st.builds(stop_before_delay, st.floats(0, 9)),
    st.just(stop_never()),
)


@given(stops, stops, st.integers(1, 9), st.floats(0, 9), st.floats(0, 9))
def test_and_stops_if_both_do_and_or_if_one_does(
    one: Any, other: Any, attempts: int, elapsed: float, sleep: float
) -> None:
    def asked(stop: StopCondition) -> bool:
        return stop(attempts, elapsed, upcoming_sleep=sleep)

    assert asked(one & other) is asked(stop_all(one, other)) is (asked(one) and asked(other))
    assert asked(one | other) is asked(stop_any(one, other)) is (asked(one) or asked(other))


# --- the policy ---

POLICIES: dict[str, Make] = {
    "default": lambda m: m.retry_policy(),
    "all parts": lambda m: m.retry_policy(
        retry=m.retry_if_exception_type(ValueError),
        wait=m.wait_exponential(),
        stop=m.stop_after_attempt(6),
    ),
    "another type": lambda m: m.retry_policy(m.retry_if_exception_type(OSError)),
    "before delay": lambda m: m.retry_policy(
        wait=m.wait_exponential(), stop=m.stop_before_delay(3)
    ),
    "chain": lambda m: m.retry_policy(
        wait=m.wait_chain(m.wait_fixed(1), m.wait_fixed(2)), stop=m.stop_never()
    ),
    "functions": lambda m: m.retry_policy(
        retry=is_bad,
        wait=growing,
        stop=late,
    ),
}


@pytest.mark.parametrize("error", [ValueError("bad"), ValueError(), KeyError("bad")], ids=repr)
@pytest.mark.parametrize("make", by_name(POLICIES))
def test_a_policy_answers_as_the_peers(make: Make, error: Exception) -> None:
    mine, theirs = make(ours), make(peer)
    for attempts in range(1, 9):
        for elapsed in ELAPSED:
            for seed in SEEDS:
                answer = mine.next(elapsed, attempts, error, seed=seed)
                assert answer == theirs.next(elapsed, attempts, error, seed=seed)


def test_three_attempts_are_three_executions_in_all() -> None:
    policy = retry_policy(wait=wait_none(), stop=stop_after_attempt(3))
    assert [policy.next(0, failed, OSError()) for failed in (1, 2, 3)] == [0, 0, None]


def test_a_policy_gives_the_seed_to_its_wait() -> None:
    policy = retry_policy(wait=wait_random(0, 100))
    assert policy.next(0, 1, OSError(), seed=7) == wait_random(0, 100)(0, seed=7)


def test_whatever_has_a_next_is_a_policy() -> None:
    assert isinstance(retry_policy(), RetryPolicy)
    assert isinstance(Seedless(1.0), RetryPolicy)
    assert not isinstance(wait_fixed(1), RetryPolicy)


# --- what the engine asks ---


class Answering:
    """A policy of the user, which notes the seeds it is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seeds: list[int | None] = []

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> Any:
        self.seeds.append(seed)
        return self.answer

    def __repr__(self) -> str:
        return "my policy"


class Seedless:
    """A policy from before there were seeds, with names of its own."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def next(self, elapsed: float, count: int, problem: Exception) -> Any:
        return self.answer


class TakingAnything:
    """A policy behind a wrapper, which hides its parameters."""

    def next(self, *args: Any, **kwargs: Any) -> float:
        return float(kwargs["seed"])


def ask(policy: Any) -> float | None:
    return next_delay(policy, 1.0, 2, ValueError("bad"), 77)


def test_a_policy_is_asked_with_the_seed_if_it_takes_one() -> None:
    policy = Answering(3)
    assert ask(policy) == 3.0
    assert policy.seeds == [77]
    assert ask(TakingAnything()) == 77.0


def test_a_policy_without_a_seed_is_asked_without_it() -> None:
    assert ask(Seedless(3)) == 3.0


def test_none_is_to_give_up() -> None:
    assert ask(Answering(None)) is None


def test_a_negative_delay_counts_as_zero() -> None:
    assert ask(Answering(-4)) == 0.0


def test_what_a_policy_raises_goes_through() -> None:
    class Broken:
        def next(self, elapsed_time: float, attempts: int, error: Exception) -> float:
            raise TypeError("my own")

    with pytest.raises(TypeError, match="my own"):
        ask(Broken())


@pytest.mark.parametrize(
    "answer", ["3", SECOND, nan, inf, -inf, 10**400, False, True, 1j], ids=repr
)
def test_an_answer_that_is_no_finite_number_is_refused(answer: object) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"my policy.*attempt 2.*finite number"):
        ask(Answering(answer))


# --- bad arguments ---

REFUSED: dict[str, tuple[type[Exception], Callable[[], object]]] = {
    "negative wait": (ValueError, lambda: wait_fixed(-1)),
    "negative timedelta": (ValueError, lambda: wait_fixed(-SECOND)),
    "endless wait": (ValueError, lambda: wait_fixed(inf)),
    "wait of nan": (ValueError, lambda: wait_fixed(nan)),
    "wait of text": (TypeError, lambda: ours.wait_fixed("3")),
    "wait of nothing": (TypeError, lambda: ours.wait_fixed(None)),
    "random, min above max": (ValueError, lambda: wait_random(3, 1)),
    "random, min above max in time": (ValueError, lambda: wait_random(SECOND * 2, 1)),
    "random without end": (ValueError, lambda: wait_random(0, inf)),
    "exponential, min above max": (ValueError, lambda: wait_exponential(min=5, max=1)),
    "exponential, negative": (ValueError, lambda: wait_exponential(multiplier=-1)),
    "exponential, negative base": (ValueError, lambda: wait_exponential(exp_base=-2)),
    "exponential, text": (TypeError, lambda: ours.wait_exponential("1")),
    "random exponential": (ValueError, lambda: wait_random_exponential(min=61)),
    "jitter, negative": (ValueError, lambda: wait_exponential_jitter(jitter=-1)),
    "incrementing, negative start": (ValueError, lambda: wait_incrementing(start=-1)),
    "incrementing, endless": (ValueError, lambda: wait_incrementing(increment=inf)),
    "empty chain": (ValueError, wait_chain),
    "chain of a number": (TypeError, lambda: ours.wait_chain(3)),
    "combine of a number": (TypeError, lambda: ours.wait_combine(3)),
    "plus a number": (TypeError, lambda: ours.wait_fixed(1) + 3),
    "no attempt": (ValueError, lambda: stop_after_attempt(0)),
    "half an attempt": (ValueError, lambda: ours.stop_after_attempt(2.5)),
    "true attempts": (ValueError, lambda: stop_after_attempt(True)),
    "negative delay": (ValueError, lambda: stop_after_delay(-1)),
    "negative delay before": (ValueError, lambda: stop_before_delay(-SECOND)),
    "delay of text": (TypeError, lambda: ours.stop_after_delay("1")),
    "stop or a number": (TypeError, lambda: ours.stop_never() | 3),
    "any of a number": (TypeError, lambda: ours.stop_any(3)),
    "no predicate": (TypeError, lambda: ours.retry_if_exception(3)),
    "predicate of nothing": (TypeError, lambda: ours.retry_if_exception(lambda: True)),
    "type of number": (TypeError, lambda: ours.retry_if_exception_type(3)),
    "list of types": (TypeError, lambda: ours.retry_if_exception_type([ValueError])),
    "no exception": (TypeError, lambda: ours.retry_if_not_exception_type((OSError, int))),
    "no message": (TypeError, retry_if_exception_message),
    "message and match": (TypeError, lambda: retry_if_exception_message("a", "b")),
    "broken match": (re.error, lambda: retry_if_exception_message(match="(")),
    "and a class": (TypeError, lambda: ours.retry_always() & ValueError),
    "a class or": (TypeError, lambda: ValueError | ours.retry_always()),
    "policy of a class": (TypeError, lambda: ours.retry_policy(ValueError)),
    "condition not called": (TypeError, lambda: ours.retry_policy(retry_always)),
    "condition class": (TypeError, lambda: ours.retry_policy(retry_if_exception_type)),
    "wait not called": (TypeError, lambda: ours.retry_policy(wait=wait_none)),
    "wait of a plain number": (TypeError, lambda: ours.retry_policy(wait=3)),
    "wait without seed": (TypeError, lambda: ours.retry_policy(wait=_seedless)),
    "stop without sleep": (TypeError, lambda: ours.retry_policy(stop=_sleepless)),
    "stop of nothing": (TypeError, lambda: ours.retry_policy(stop=None)),
}


@pytest.mark.parametrize("row", by_name(REFUSED))
def test_a_bad_argument_is_refused_at_once(
    row: tuple[type[Exception], Callable[[], object]],
) -> None:
    error, make = row
    with pytest.raises(error):
        make()


def test_the_refusal_names_part_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"wait_random\(min=3, max=1\): give max between 3"):
        wait_random(3, 1)
    with pytest.raises(TypeError, match=r"retry_policy\(.*give as wait .*\(attempts, \*, seed\)"):
        ours.retry_policy(wait=wait_none)


def test_a_function_that_hides_its_signature_is_let_in() -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(vars)
    assert ours.retry_if_exception(vars)(OSError()) is False


# --- the deprecated factories ---

DEPRECATED: dict[str, tuple[str, dict[str, Any]]] = {
    "constant": ("ConstantDelayRetryPolicy", {}),
    "constant, other numbers": ("ConstantDelayRetryPolicy", {"maximum_attempts": 2, "delay": 0.5}),
    "exponential": ("ExponentialBackoffRetryPolicy", {"jitter": False}),
    "exponential, other numbers": (
        "ExponentialBackoffRetryPolicy",
        {
            "maximum_attempts": 7,
            "initial_delay": 3,
            "multiplier": 1.5,
            "max_delay": 10,
            "jitter": False,
        },
    ),
}


@pytest.mark.parametrize("row", by_name(DEPRECATED))
def test_a_deprecated_factory_warns_and_makes_what_it_made(row: tuple[str, dict[str, Any]]) -> None:
    name, options = row
    with pytest.deprecated_call(match="retry_policy"):
        mine = getattr(ours, name)(**options)
    with pytest.deprecated_call():
        theirs = getattr(peer, name)(**options)
    for attempts in range(1, 9):
        assert mine.next(0.0, attempts, OSError()) == theirs.next(0.0, attempts, OSError())


def test_the_warning_points_to_the_line_that_called() -> None:
    with pytest.warns(DeprecationWarning, match="wait_fixed") as caught:
        ours.ConstantDelayRetryPolicy()
    assert [warning.filename for warning in caught] == [__file__]


def test_deprecated_exponential_backoff_has_jitter_between_nothing_and_its_delay() -> None:
    with pytest.deprecated_call():
        policy = ours.ExponentialBackoffRetryPolicy()
    for attempts in range(1, 5):
        delays = [policy.next(0.0, attempts, OSError(), seed=seed) for seed in range(50)]
        assert all(0 <= delay <= 2 ** (attempts - 1) for delay in delays)
        assert len(set(delays)) > 1
    assert policy.next(0.0, 5, OSError(), seed=1) is None


# --- RetryInfo ---


def test_retry_info_of_a_first_attempt_is_empty() -> None:
    first = RetryInfo()
    assert (first.retry_number, first.elapsed_seconds) == (0, 0.0)
    assert (first.last_exception, first.last_failed_at) == (None, None)


def test_retry_info_has_the_fields_of_the_peer_in_its_order_and_is_frozen() -> None:
    values = (2, 1.5, OSError("bad"), datetime(2026, 1, 1, tzinfo=UTC))
    mine: Any = RetryInfo(*values)
    assert vars(mine) == vars(peer.RetryInfo(*values))
    with pytest.raises(FrozenInstanceError):
        mine.retry_number = 3


# --- in a run ---


class Attempted(Event):
    """Written to the stream by each attempt."""

    number: int


def failing(policy: Any, failures: int) -> tuple[Workflow, list[RetryInfo]]:
    """A workflow whose only step fails so many times, and what each attempt knew of the others."""
    infos: list[RetryInfo] = []

    class Failing(Workflow):
        @step(retry_policy=policy)
        async def attempt(self, ctx: Context[Any], ev: StartEvent) -> StopEvent:
            infos.append(ctx.retry_info())
            await ctx.store.set("attempts", len(infos))
            ctx.write_event_to_stream(Attempted(number=len(infos)))
            if len(infos) <= failures:
                raise OSError(len(infos))
            return StopEvent(result=await ctx.store.get("attempts"))

    return Failing(), infos


async def test_a_step_runs_three_times_in_all_and_fails_with_its_last_error() -> None:
    workflow, infos = failing(retry_policy(wait=wait_none(), stop=stop_after_attempt(3)), 9)
    with pytest.raises(OSError, match="3"):
        await workflow.run()
    assert len(infos) == 3


async def test_an_attempt_knows_of_those_before() -> None:
    workflow, infos = failing(retry_policy(wait=wait_none()), 2)
    assert await workflow.run() == 3
    assert infos[0] == RetryInfo()
    assert [info.retry_number for info in infos] == [0, 1, 2]
    assert [repr(info.last_exception) for info in infos[1:]] == ["OSError(1)", "OSError(2)"]
    assert all(info.last_failed_at is not None for info in infos[1:])


async def test_what_a_failed_attempt_did_stands() -> None:
    workflow, _ = failing(retry_policy(wait=wait_none()), 2)
    handler = workflow.run()
    streamed = [ev.number async for ev in handler.stream_events() if isinstance(ev, Attempted)]
    assert streamed == [1, 2, 3]
    assert await handler == 3


async def test_each_attempt_of_a_run_has_a_seed_of_its_own() -> None:
    policy = Answering(0)
    workflow, _ = failing(policy, 3)
    await workflow.run()
    assert None not in policy.seeds
    assert len(set(policy.seeds)) == 3


async def test_a_policy_of_a_user_without_seed_is_followed() -> None:
    workflow, infos = failing(Seedless(0), 4)
    assert await workflow.run() == 5
    assert len(infos) == 5


async def test_a_policy_that_raises_fails_the_run_with_its_own_error() -> None:
    def broken(error: BaseException) -> bool:
        raise ZeroDivisionError("my own")

    workflow, infos = failing(retry_policy(broken), 1)
    with pytest.raises(ZeroDivisionError, match="my own"):
        await workflow.run()
    assert len(infos) == 1


async def test_a_policy_with_a_useless_answer_fails_the_run_by_name() -> None:
    workflow, _ = failing(Answering("soon"), 1)
    with pytest.raises(WorkflowRuntimeError, match="my policy answered 'soon'"):
        await workflow.run()


class Job(Event):
    """One of those that wait for the only worker of a step."""

    number: int


async def test_a_retry_goes_to_the_head_of_the_queue() -> None:
    order: list[int] = []

    class Queue(Workflow):
        @step
        async def send(self, ctx: Context[Any], ev: StartEvent) -> Job | None:
            for number in range(3):
                ctx.send_event(Job(number=number))

        @step(num_workers=1, retry_policy=retry_policy(wait=wait_none()))
        async def work(self, ctx: Context[Any], ev: Job) -> StopEvent | None:
            order.append(ev.number)
            if order == [0]:
                raise OSError("once")
            return StopEvent() if ev.number == 2 else None

    await Queue().run()
    assert order == [0, 0, 1, 2]
