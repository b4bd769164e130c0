import pytest

from stepwell.storage.records import Lane
from support.lab import HOUR_MS, LANE, RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_a_message_waits_after_its_number(lab: Lab) -> None:
    assert lab.run(lab.deliver("hello you", "k1")) == ["OK", "1"]
    assert lab.run(lab.deliver("", "k2")) == ["OK", "2"]
    assert lab.redis.lrange(lab.inbox_key, 0, -1) == ["1 hello you", "2 "]
    assert lab.redis.zrange(lab.sent_key, 0, -1, withscores=True) == [("k1", 1), ("k2", 2)]
    assert lab.fields()["sends"] == "2"


def test_its_owner_gets_mail_and_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")) as message:
        lab.run(lab.deliver())
        assert message() == RUN
    assert lab.redis.smembers(lab.mail_key("ann")) == {RUN}
    assert not lab.redis.exists(lab.due_key)


def test_a_run_that_nobody_owns_is_due_now_and_whoever_looks_for_work_hears_of_it(lab: Lab) -> None:
    lab.run(lab.release(due_at=""))
    with lab.subscribed(lab.due_channel) as message:
        lab.run(lab.deliver(owner=""))
        assert message() == "default:Letters"
    assert 0 < lab.redis.zscore(lab.due_key, RUN) <= lab.now_ms()


def test_a_run_that_is_due_longer_stays_before_others(lab: Lab) -> None:
    lab.run(lab.release())
    lab.redis.zadd(lab.due_key, {RUN: 5})
    lab.run(lab.deliver(owner=""))
    assert lab.redis.zscore(lab.due_key, RUN) == 5


def test_a_run_that_would_be_due_later_is_due_now(lab: Lab) -> None:
    lab.run(lab.release(due_at=lab.now_ms() + HOUR_MS))
    lab.run(lab.deliver(owner=""))
    assert lab.redis.zscore(lab.due_key, RUN) <= lab.now_ms()


@pytest.mark.parametrize("status", ["pending", "blocked"])
def test_a_run_that_waits_for_its_time_or_for_code_is_moved_by_what_is_urgent_only(
    lab: Lab, status: str
) -> None:
    lab.run(lab.release(due_at=""))
    lab.redis.hset(lab.run_key, "status", status)
    lab.run(lab.deliver(key="k1", owner=""))
    assert not lab.redis.exists(lab.due_key)
    lab.run(lab.deliver(key="k2", owner="", urgent=True))
    assert lab.redis.exists(lab.due_key)


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.deliver())
    assert lab.run(lab.deliver()) == ["DUP"]


def test_sent_again_after_it_was_taken_it_still_happened(lab: Lab) -> None:
    lab.run(lab.deliver())
    lab.run(lab.finish(taken=1))
    before = lab.contents()
    assert lab.run(lab.deliver()) == ["DUP"]
    assert lab.contents() == before


def test_of_the_keys_the_last_ones_are_known(lab: Lab) -> None:
    for number in range(5):
        lab.run(lab.deliver(key=f"k{number}", keys_max=3))
    assert lab.redis.zrange(lab.sent_key, 0, -1) == ["k2", "k3", "k4"]


def test_a_run_that_ended_takes_nothing(lab: Lab) -> None:
    lab.run(lab.finish("failed"))
    before = lab.contents()
    assert lab.run(lab.deliver()) == ["OVER", "failed"]
    assert lab.contents() == before


def test_a_wait_that_is_not_as_its_sender_saw_it_takes_nothing(lab: Lab) -> None:
    lab.run(lab.commit(patch={"wait:1:a": "[1]"}))
    before = lab.contents()
    assert lab.run(lab.deliver(wait=("wait:1:a", "[2]"))) == ["CLOSED", "wait:1:a"]
    assert lab.run(lab.deliver(wait=("wait:1:b", "[1]"))) == ["CLOSED", "wait:1:b"]
    assert lab.contents() == before
    assert lab.run(lab.deliver(wait=("wait:1:a", "[1]"))) == ["OK", "1"]


def test_an_inbox_that_is_full_takes_nothing(lab: Lab) -> None:
    lab.run(lab.deliver(key="k1", inbox_max=1))
    before = lab.contents()
    assert lab.run(lab.deliver(key="k2", inbox_max=1)) == ["FULL"]
    assert lab.contents() == before


def test_a_run_that_is_elsewhere_than_the_caller_thinks_is_not_touched(lab: Lab) -> None:
    before = lab.contents()
    assert lab.run(lab.deliver(owner="bob")) == ["CHANGED", "ann", *LANE]
    assert lab.run(lab.deliver(lane=Lane("vip", "Letters"))) == ["CHANGED", "ann", *LANE]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.deliver()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key, lab.inbox_key)


def test_books_that_make_no_sense_are_named(lab: Lab) -> None:
    lab.redis.hset(lab.run_key, "sends", "many")
    assert lab.run(lab.deliver()) == ["CORRUPT", "sends", "many"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.deliver())
