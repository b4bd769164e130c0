import json

import pytest

from support.lab import RUN, Lab

DAY = 86400


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_a_completed_run_has_no_owner_and_is_kept_for_a_week(lab: Lab) -> None:
    started = lab.now_ms()
    assert lab.run(lab.finish("completed")) == ["OK"]
    fields = lab.fields()
    assert started <= int(fields["ended_at"]) <= lab.now_ms()
    assert (fields["status"], fields["seq"], fields["cid"]) == ("completed", "2", "c2")
    assert "owner" not in fields
    indexes = {lab.runs_key, lab.ended_key, lab.owners_key}
    assert lab.names() == {lab.run_key, lab.log_key} | indexes
    assert 6 * DAY < lab.redis.ttl(lab.run_key) <= 7 * DAY
    assert lab.redis.pexpiretime(lab.log_key) - lab.redis.pexpiretime(lab.run_key) <= 1


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_any_other_end_is_kept_for_a_month_and_found_by_its_input(lab: Lab, status: str) -> None:
    lab.run(lab.finish(status))
    assert lab.redis.zrange(lab.same_key, 0, -1) == [RUN]
    own = {lab.run_key, lab.log_key, lab.same_key}
    assert lab.names() == own | {lab.runs_key, lab.ended_key, lab.owners_key}
    assert all(29 * DAY < lab.redis.ttl(name) <= 30 * DAY for name in own)


def test_when_its_time_to_live_is_over_is_noted_for_the_sweep(lab: Lab) -> None:
    lab.run(lab.finish("failed"))
    ended_at = int(lab.fields()["ended_at"])
    over = ended_at + 30 * DAY * 1000
    assert lab.redis.zrange(lab.ended_key, 0, -1, withscores=True) == [(RUN, over)]
    assert abs(lab.redis.pexpiretime(lab.run_key) - over) <= 1


def test_messages_that_nobody_read_are_counted_in_the_log_and_go_with_the_run(lab: Lab) -> None:
    for key in ("k1", "k2", "k3"):
        lab.run(lab.deliver(key, key))
    lab.run(lab.finish("completed", taken=1))
    line = json.loads(lab.redis.lindex(lab.log_key, -1))
    assert (line[0], *line[2:]) == (2, "(unread)", 1, 0, "2")
    assert lab.redis.lrange(lab.inbox_key, 0, -1) == ["2 k2", "3 k3"]
    for key in (lab.inbox_key, lab.sent_key):
        assert abs(lab.redis.pexpiretime(key) - lab.redis.pexpiretime(lab.run_key)) <= 1


def test_a_run_that_belongs_to_another_than_the_caller_thinks_is_not_touched(lab: Lab) -> None:
    before = lab.contents()
    assert lab.run(lab.finish(owner="bob")) == ["CHANGED", "ann"]
    assert lab.contents() == before


def test_sent_again_it_is_written_again_so_that_a_replica_can_be_waited_for(lab: Lab) -> None:
    lab.run(lab.finish())
    offset = lab.written()
    assert lab.run(lab.finish()) == ["DUP"]
    assert lab.written() > offset


def test_other_runs_of_the_same_input_stay_in_the_index(lab: Lab) -> None:
    lab.redis.zadd(lab.same_key, {"d1~0": 1})
    lab.run(lab.finish("completed"))
    assert lab.redis.zrange(lab.same_key, 0, -1) == ["d1~0"]
    assert 29 * DAY < lab.redis.ttl(lab.same_key) <= 30 * DAY


def test_nobody_holds_it_from_then_on(lab: Lab) -> None:
    lab.run(lab.finish("failed", seq=2))
    before = lab.contents()
    assert lab.run(lab.commit(seq=3, cid="c3")) == ["LEASE_LOST", "1"]
    assert lab.contents() == before


def test_whoever_waits_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as message:
        lab.run(lab.finish("failed"))
        assert message() == "failed"


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.finish("completed"))


def test_after_a_claim_the_former_owner_is_refused(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann"))
    before = lab.contents()
    assert lab.run(lab.finish()) == ["LEASE_LOST", "2"]
    assert lab.run(lab.finish(fence="2:n2", seq=5)) == ["OUT_OF_ORDER", "1"]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.finish()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key)


def test_books_that_make_no_sense_are_named(lab: Lab) -> None:
    lab.redis.hset(lab.run_key, "seq", "many")
    assert lab.run(lab.finish()) == ["CORRUPT", "seq", "many"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.finish())
