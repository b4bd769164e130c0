"""Which suspects are let into one process together."""

from itertools import count

import pytest

from stepwell.storage.records import Claim
from stepwell.worker.isolation import PATIENCE, Isolation

CLAIMS_MAX = 5
NOW = 1000.0

_numbers = count(1)


def claimed(times: int) -> Claim:
    """A run that nobody has seen before, claimed so many times without getting further."""
    number = next(_numbers)
    return Claim(f"run-{number}", f"{times}:{number}", 1, {"workflow": "any"}, claims=times)


def admitted(isolation: Isolation, times: int, number: int, now: float = NOW) -> list[Claim]:
    """Those that are let in of so many runs that were claimed so often."""
    claims = [claimed(times) for _ in range(number)]
    return [claim for claim in claims if isolation.admit(claim, now)]


@pytest.fixture
def isolation() -> Isolation:
    return Isolation(CLAIMS_MAX)


@pytest.mark.parametrize(("times", "most"), [(5, 1), (4, 10), (3, 100)])
def test_with_each_claim_a_run_is_among_fewer_suspects(
    isolation: Isolation, times: int, most: int
) -> None:
    assert len(admitted(isolation, times, 2 * most)) == len(isolation.suspects) == most


@pytest.mark.parametrize("times", [1, CLAIMS_MAX + 1])
def test_runs_that_nobody_died_with_and_those_that_are_not_executed_come_in_always(
    isolation: Isolation, times: int
) -> None:
    assert isolation.admit(claimed(CLAIMS_MAX), NOW)
    assert len(admitted(isolation, times, 20)) == 20
    assert len(isolation.suspects) == 1


def test_many_that_were_taken_over_once_come_in_all(isolation: Isolation) -> None:
    assert len(admitted(isolation, 2, 20_000)) == 20_000


def test_to_a_run_that_nobody_died_with_a_last_claim_does_not_matter() -> None:
    isolation = Isolation(1)
    assert len(admitted(isolation, 1, 20)) == 20


def test_with_two_claims_the_second_one_is_the_last() -> None:
    assert len(admitted(Isolation(2), 2, 20)) == 1


def test_the_number_of_claims_may_be_without_bound() -> None:
    assert len(admitted(Isolation(10**9), 2, 200)) == 200


@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_a_run_in_its_last_claim_and_any_other_suspect_are_never_together(
    isolation: Isolation, times: int
) -> None:
    (last,) = admitted(isolation, CLAIMS_MAX, 1)
    assert not admitted(isolation, times, 3)
    isolation.let_go(last.token)
    assert admitted(isolation, times, 1)
    assert not admitted(isolation, CLAIMS_MAX, 3)


def test_those_that_are_here_keep_out_what_would_be_one_more_than_they_bear(
    isolation: Isolation,
) -> None:
    first, *_ = admitted(isolation, 4, 1)
    assert len(admitted(isolation, 2, 20)) == 9
    isolation.let_go(first.token)
    assert len(admitted(isolation, 2, 20)) == 20


def test_to_let_go_of_one_that_is_not_here_changes_nothing(isolation: Isolation) -> None:
    admitted(isolation, CLAIMS_MAX, 1)
    isolation.let_go(claimed(CLAIMS_MAX).token)
    assert not admitted(isolation, CLAIMS_MAX, 1)


# --- patience ---


@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_no_run_waits_for_ever_as_others_may_wait_for_it(isolation: Isolation, times: int) -> None:
    admitted(isolation, CLAIMS_MAX, 1)
    waiting = claimed(times)
    assert not isolation.admit(waiting, NOW)
    assert not isolation.admit(waiting, NOW + PATIENCE - 1)
    assert isolation.waits(waiting.run_id, NOW + PATIENCE - 1) == PATIENCE - 1
    assert not admitted(isolation, times, 1, NOW + PATIENCE)
    assert isolation.admit(waiting, NOW + PATIENCE)
    assert isolation.waits(waiting.run_id, NOW + PATIENCE) == 0


def test_who_was_let_in_and_comes_again_waits_anew(isolation: Isolation) -> None:
    admitted(isolation, CLAIMS_MAX, 1)
    waiting = claimed(CLAIMS_MAX)
    assert not isolation.admit(waiting, NOW)
    assert isolation.admit(waiting, NOW + PATIENCE)
    isolation.let_go(waiting.token)
    assert not isolation.admit(waiting, NOW + PATIENCE)


def test_runs_that_went_elsewhere_are_forgotten(isolation: Isolation) -> None:
    admitted(isolation, CLAIMS_MAX, 1)
    gone = claimed(CLAIMS_MAX)
    assert not isolation.admit(gone, NOW)
    later = NOW + 2 * PATIENCE
    assert not admitted(isolation, CLAIMS_MAX, 1, later)
    assert isolation.waits(gone.run_id, later) == 0
