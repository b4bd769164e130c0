import pytest

from support.lab import RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create())
    lab.redis.zadd(lab.same_key, {"d1~0": 1, "d1~9": 2})


def test_names_of_runs_that_are_gone_are_taken_out_and_told(lab: Lab) -> None:
    assert lab.run(lab.prune("d1~0", RUN, "d1~9")) == ["OK", "d1~0", "d1~9"]
    assert lab.redis.zrange(lab.same_key, 0, -1) == [RUN]


def test_names_that_were_not_asked_for_stay(lab: Lab) -> None:
    assert lab.run(lab.prune("d1~0")) == ["OK", "d1~0"]
    assert lab.redis.zrange(lab.same_key, 0, -1) == ["d1~9", RUN]


def test_sent_twice_it_happens_once_and_is_answered_alike(lab: Lab) -> None:
    lab.assert_repeatable(lab.prune("d1~0", RUN))
    assert lab.run(lab.prune("d1~0", RUN)) == ["OK", "d1~0"]


def test_an_index_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.prune())
