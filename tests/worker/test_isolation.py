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


# --- turns ---


def let_all_go(isolation: Isolation) -> None:
    for one in isolation.suspects:
        isolation.let_go(one.token)


def test_others_give_way_to_a_run_in_its_last_claim_until_it_had_its_turn(
    isolation: Isolation,
) -> None:
    admitted(isolation, 2, 2)
    last = claimed(CLAIMS_MAX)
    assert not isolation.admit(last, NOW)
    assert not admitted(isolation, 4, 1, NOW + 1)
    let_all_go(isolation)
    assert not admitted(isolation, 2, 1, NOW + 2)
    assert isolation.admit(last, NOW + 3)
    isolation.let_go(last.token)
    assert admitted(isolation, 2, 1, NOW + 3)


def test_they_give_way_to_a_run_that_may_be_among_ten_as_well(isolation: Isolation) -> None:
    among_ten = claimed(4)
    here = admitted(isolation, 2, 10)
    assert not isolation.admit(among_ten, NOW)
    isolation.let_go(here[0].token)
    assert not admitted(isolation, 3, 1)
    assert isolation.admit(among_ten, NOW)


def test_nobody_gives_way_to_a_run_that_others_keep_out(isolation: Isolation) -> None:
    (last,) = admitted(isolation, CLAIMS_MAX, 1)
    assert not admitted(isolation, 4, 1, NOW)
    isolation.let_go(last.token)
    assert admitted(isolation, 2, 1, NOW)


def test_they_give_way_half_of_the_time_at_most(isolation: Isolation) -> None:
    admitted(isolation, 2, 1)
    tried = [NOW + tenths / 10 for tenths in range(int(PATIENCE * 40))]
    let_in = list[float]()
    for now in tried:
        assert not admitted(isolation, CLAIMS_MAX, 1, now)
        let_in += [now] * len(admitted(isolation, 2, 1, now))
    assert len(let_in) == pytest.approx(len(tried) / 2, abs=2)
    assert NOW + PATIENCE <= let_in[0] < NOW + PATIENCE + 0.2


def test_of_runs_in_their_last_claim_one_comes_after_the_other(isolation: Isolation) -> None:
    admitted(isolation, 2, 1)
    waiting = [claimed(CLAIMS_MAX) for _ in range(4)]
    assert not any(isolation.admit(one, NOW) for one in waiting)
    let_all_go(isolation)
    for number, one in enumerate(waiting, start=1):
        assert isolation.admit(one, NOW + number)
        assert not any(isolation.admit(other, NOW + number) for other in waiting[number:])
        isolation.let_go(one.token)
