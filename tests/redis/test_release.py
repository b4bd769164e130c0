import json

import pytest

from stepwell.storage.records import Lane
from support.lab import HOUR_MS, LANE, RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_a_released_run_has_no_owner_and_is_due_at_once(lab: Lab) -> None:
    started = lab.now_ms()
    assert lab.run(lab.release()) == ["OK"]
    assert "owner" not in lab.fields()
    assert not lab.redis.exists(lab.owned("ann"))
    assert started <= lab.redis.zscore(lab.due_key, RUN) <= lab.now_ms()


def test_it_is_due_later_if_it_says_so_and_never_in_the_past(lab: Lab) -> None:
    later = lab.now_ms() + HOUR_MS
    lab.run(lab.release(due_at=later))
    assert lab.redis.zscore(lab.due_key, RUN) == later


def test_it_is_not_due_at_all_if_only_a_message_can_move_it(lab: Lab) -> None:
    lab.run(lab.release(due_at="", parked=True))
    assert not lab.redis.exists(lab.due_key)
    assert lab.fields()["parked"] == "1"


def test_with_messages_it_is_due_at_once(lab: Lab) -> None:
    lab.run(lab.deliver())
    lab.run(lab.release(due_at=""))
    assert lab.redis.zscore(lab.due_key, RUN) <= lab.now_ms()


def test_whoever_looks_for_work_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.due_channel) as message:
        lab.run(lab.release())
        assert message() == "default:Letters"


def test_the_claim_is_not_counted(lab: Lab) -> None:
    lab.run(lab.release())
    assert lab.fields()["claims"] == "0"


def test_a_run_that_is_elsewhere_than_the_caller_thinks_is_not_touched(lab: Lab) -> None:
    before = lab.contents()
    assert lab.run(lab.release(owner="bob")) == ["CHANGED", "ann", *LANE]
    assert lab.run(lab.release(lane=Lane("vip", "Letters"))) == ["CHANGED", "ann", *LANE]
    assert lab.contents() == before


def test_its_former_owner_may_not_commit(lab: Lab) -> None:
    lab.run(lab.release())
    assert lab.run(lab.commit()) == ["LEASE_LOST", "1"]


def test_the_log_and_whoever_waits_hear_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as message:
        lab.run(lab.release())
        assert message() == "released"
    line = json.loads(lab.redis.lindex(lab.log_key, -1))
    assert (line[0], *line[2:]) == (1, "(released)", 1, 0, "running")


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.release())


def test_a_run_that_ended_is_not_made_due(lab: Lab) -> None:
    lab.run(lab.finish("failed"))
    before = lab.contents()
    assert lab.run(lab.release()) == ["DUP"]
    assert lab.contents() == before


def test_the_run_of_another_is_left_alone(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann"))
    before = lab.contents()
    assert lab.run(lab.release(fence="1:n1")) == ["LEASE_LOST", "2"]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.release()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key, lab.due_key)


def test_books_that_make_no_sense_are_named(lab: Lab) -> None:
    lab.redis.hset(lab.run_key, "token", "x")
    assert lab.run(lab.release()) == ["CORRUPT", "token", "x"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.release())
