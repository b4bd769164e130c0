import pytest

from support.lab import HOUR_MS, RUN, Lab


def test_owners_whose_lease_is_over_are_told(lab: Lab) -> None:
    lab.run(lab.appear("dead", lease_ms=-1))
    lab.run(lab.appear("ann"))
    assert lab.run(lab.sweep()) == ["OK", ["dead"], [], [], 1]


def test_owners_that_died_long_ago_are_to_be_buried(lab: Lab) -> None:
    lab.run(lab.appear("old", lease_ms=-120_000))
    assert lab.run(lab.sweep()) == ["OK", ["old"], ["old"], [], 0]


def test_an_owner_is_told_when_it_was_absent_twice(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann"))
        assert lab.run(lab.sweep())[1] == []
    assert lab.run(lab.sweep(absent_ms=HOUR_MS))[1] == []
    assert lab.run(lab.sweep(absent_ms=HOUR_MS))[1] == []
    assert lab.run(lab.sweep(absent_ms=0))[1] == ["ann"]
    assert lab.redis.zscore(lab.owners_key, "ann") <= lab.now_ms()


def test_all_who_are_absent_are_found_among_very_many(lab: Lab) -> None:
    later = lab.now_ms() + 60_000
    lab.redis.zadd(lab.owners_key, {f"living{n}": later for n in range(200)})
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann"))
    found: list[str] = []
    while not found:
        found = lab.run(lab.sweep())[1]
    assert found == ["ann"]


def test_of_very_many_that_died_sixteen_are_told_for_sure(lab: Lab) -> None:
    lab.redis.zadd(lab.owners_key, {f"dead{n}": 1 for n in range(100)})
    assert 16 <= len(lab.run(lab.sweep())[1]) <= 24


@pytest.mark.parametrize("count", [1, 100, 150])
def test_the_names_of_runs_that_expired_are_forgotten_a_hundred_at_once(
    lab: Lab, count: int
) -> None:
    over = {f"d1~{n}": 1 for n in range(count)}
    lab.redis.zadd(lab.runs_key, over)
    lab.redis.zadd(lab.ended_key, over)
    told = lab.run(lab.sweep())[3]
    assert set(told) <= set(over)
    assert len(told) == min(100, count)
    assert lab.redis.zcard(lab.runs_key) == lab.redis.zcard(lab.ended_key) == max(0, count - 100)


def test_runs_that_ended_and_are_kept_keep_their_names(lab: Lab) -> None:
    lab.run(lab.create())
    lab.run(lab.finish())
    lab.run(lab.sweep())
    assert lab.redis.zrange(lab.runs_key, 0, -1) == [RUN]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.sweep())
