from stepwell.storage.records import Lane
from support.lab import LANE, Lab

VIP = Lane("vip", "Letters")


def fill(lab: Lab, lane: Lane, **instants: int) -> None:
    lab.redis.zadd(lab.keys.due(lab.partition, lane), instants)


def test_runs_that_are_due_are_told_longest_first(lab: Lab) -> None:
    fill(lab, LANE, c=3, a=1, b=2)
    assert lab.run(lab.due(LANE)) == ["OK", -1, 0, "a", "1", 0, "b", "2", 0, "c", "3"]


def test_lanes_come_in_the_order_asked_and_share_the_limit(lab: Lab) -> None:
    fill(lab, LANE, a=1, b=2)
    fill(lab, VIP, c=3, d=4)
    found = ["OK", -1, 0, "c", "3", 0, "d", "4", 1, "a", "1"]
    assert lab.run(lab.due(VIP, LANE, limit=3)) == found
    assert lab.run(lab.due(LANE, limit=1)) == ["OK", -1, 0, "a", "1"]


def test_what_is_due_later_is_not_told_but_when(lab: Lab) -> None:
    now = lab.now_ms()
    fill(lab, LANE, a=now + 60_000, b=now + 90_000)
    fill(lab, VIP, c=now + 30_000)
    code, next_in, *found = lab.run(lab.due(LANE, VIP))
    assert (code, found) == ("OK", [])
    assert 0 < next_in <= 30_000


def test_nothing_is_changed(lab: Lab) -> None:
    fill(lab, LANE, a=1)
    lab.assert_repeatable(lab.due())


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.due(LANE, VIP))
