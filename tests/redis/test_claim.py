import json
from typing import Any

import pytest

from stepwell.storage.records import Lane
from support.lab import FIELDS, HOUR_MS, LANE, RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def context(reply: list[Any]) -> dict[str, str]:
    """The fields in the reply to a claim."""
    flat = reply[3]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_the_run_of_an_owner_that_is_gone_is_moved_with_a_new_token(lab: Lab) -> None:
    lab.run(lab.commit(seq=2, cid="c2", patch={"state:a": "1"}))
    reply = lab.run(lab.claim(owner="bob", was="ann", nonce="n2"))
    assert reply[:3] == ["OK", "2:n2", "2"]
    assert context(reply).items() >= {**FIELDS, "state:a": "1"}.items()
    fields = lab.fields()
    assert (fields["token"], fields["owner"], fields["seq"]) == ("2:n2", "bob", "2")
    assert lab.redis.smembers(lab.owned("bob")) == {RUN}
    assert not lab.redis.exists(lab.owned("ann"))


def test_the_claimer_may_commit(lab: Lab) -> None:
    lab.run(lab.claim(nonce="n2", was="ann"))
    assert lab.run(lab.commit(fence="2:n2", seq=2)) == ["OK"]


def test_a_former_owner_without_runs_is_forgotten(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.redis.hset(lab.seen_key, "ann", "s")
    lab.redis.hset(lab.absent_key, "ann", "s:1")
    lab.redis.sadd(lab.mail_key("ann"), RUN)
    lab.run(lab.claim(owner="bob", was="ann"))
    assert lab.redis.zrange(lab.owners_key, 0, -1) == ["bob"]
    assert not lab.redis.exists(lab.seen_key, lab.absent_key, lab.mail_key("ann"))


def test_a_former_owner_with_another_run_stays_listed(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.redis.sadd(lab.owned("ann"), "d1~2")
    lab.run(lab.claim(owner="bob", was="ann"))
    assert set(lab.redis.zrange(lab.owners_key, 0, -1)) == {"ann", "bob"}


def test_a_claimer_that_nobody_knows_is_listed_without_a_lease(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann"))
    assert lab.redis.zscore(lab.owners_key, "bob") <= lab.now_ms()


def test_a_claimer_with_a_lease_keeps_it(lab: Lab) -> None:
    lab.run(lab.appear("bob"))
    ends_at = lab.redis.zscore(lab.owners_key, "bob")
    lab.run(lab.claim(owner="bob", was="ann"))
    assert lab.redis.zscore(lab.owners_key, "bob") == ends_at


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_a_run_that_ended_badly_runs_again_for_good(lab: Lab, status: str) -> None:
    lab.run(lab.finish(status))
    reply = lab.run(lab.claim(owner="bob", was=""))
    assert context(reply)["status"] == status
    fields = lab.fields()
    assert fields["status"] == "running"
    assert "ended_at" not in fields
    assert all(lab.redis.ttl(name) == -1 for name in lab.names())
    assert not lab.redis.exists(lab.ended_key)


def test_a_released_run_is_not_due_any_more(lab: Lab) -> None:
    lab.run(lab.release())
    assert lab.run(lab.claim(owner="bob", was=""))[0] == "OK"
    assert not lab.redis.exists(lab.due_key)


def test_the_log_tells_of_it(lab: Lab) -> None:
    lab.run(lab.finish("failed"))
    lab.run(lab.claim())
    line = json.loads(lab.redis.lindex(lab.log_key, -1))
    assert (line[0], *line[2:]) == (2, "(claimed)", 2, 0, "failed")


def test_whoever_waits_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as message:
        lab.run(lab.claim(was="ann"))
        assert message() == "claimed"


def test_sent_twice_it_happens_once_and_is_answered_alike(lab: Lab) -> None:
    lab.run(lab.finish("failed"))
    first = lab.run(lab.claim())
    lab.assert_repeatable(lab.claim())
    again = lab.run(lab.claim())
    assert again[:3] == first[:3]
    assert context(again)["status"] == "failed"


def test_of_two_claimers_one_wins(lab: Lab) -> None:
    assert lab.run(lab.claim(owner="bob", was="ann", nonce="n2"))[0] == "OK"
    before = lab.contents()
    assert lab.run(lab.claim(owner="cid", was="ann", nonce="n3")) == ["CHANGED"]
    assert lab.run(lab.claim(owner="cid", was="", nonce="n3")) == ["CHANGED"]
    assert lab.contents() == before


def test_a_released_run_is_not_taken_from_its_former_owner(lab: Lab) -> None:
    lab.run(lab.release())
    assert lab.run(lab.claim(owner="bob", was="ann")) == ["CHANGED"]


def test_the_run_of_an_owner_with_a_lease_is_left_to_it(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=60_000))
    before = lab.contents()
    assert lab.run(lab.claim(owner="bob", was="ann")) == ["OWNED"]
    assert lab.contents() == before


def test_a_completed_run_is_not_claimed(lab: Lab) -> None:
    lab.run(lab.finish("completed"))
    before = lab.contents()
    assert lab.run(lab.claim(was="")) == ["TERMINAL"]
    assert lab.contents() == before


def test_claims_are_counted_until_the_run_ends(lab: Lab) -> None:
    assert lab.run(lab.claim(owner="bob", was="ann", nonce="n2"))[4] == "2"
    assert lab.run(lab.claim(owner="ann", was="bob", nonce="n3"))[4] == "3"
    assert lab.fields()["claims"] == "3"
    lab.run(lab.finish("failed", fence="3:n3", owner="ann"))
    assert lab.run(lab.claim(owner="bob", was="", nonce="n4"))[4] == "1"


def test_sent_twice_it_tells_twice_that_the_run_was_parked(lab: Lab) -> None:
    lab.run(lab.release(parked=True))
    assert [lab.run(lab.claim())[4:6] for _ in range(2)] == [["1", "0"], ["1", "0"]]
    lab.run(lab.release(fence="2:n2", owner="bob"))
    assert lab.run(lab.claim(nonce="n3"))[4:6] == ["1", ""]


def test_messages_come_with_it(lab: Lab) -> None:
    lab.run(lab.deliver("hello", "k1"))
    assert lab.run(lab.claim(was="ann"))[6] == ["1 hello"]


@pytest.mark.parametrize(("waiting", "told"), [(100, 100), (101, 100), (1000, 100)])
def test_only_the_first_hundred_messages_come_with_it(lab: Lab, waiting: int, told: int) -> None:
    lab.redis.rpush(lab.inbox_key, *(f"{number} hello" for number in range(1, waiting + 1)))
    messages = lab.run(lab.claim(was="ann"))[6]
    assert messages == [f"{number} hello" for number in range(1, told + 1)]


@pytest.mark.parametrize(("fields", "size"), [(300, 5000), (20, 100_000), (5001, 1)])
def test_of_a_large_run_only_what_the_caller_must_know_is_told(
    lab: Lab, fields: int, size: int
) -> None:
    many = {f"state:{number}": "x" * size for number in range(fields)}
    lab.redis.hset(lab.run_key, mapping=many)
    lab.redis.hset(lab.run_key, "status", "pending")
    told = {"status": "pending", "queue": "default", "staged": ""}
    assert context(lab.run(lab.claim(was="ann"))) == told
    assert context(lab.run(lab.claim(was="ann"))) == told


def test_the_lane_in_which_it_waits_is_told(lab: Lab) -> None:
    lab.run(lab.release())
    before = lab.contents()
    elsewhere = Lane("vip", "Letters")
    assert lab.run(lab.claim(lane=elsewhere)) == ["LANE", *LANE]
    assert lab.contents() == before


def test_what_is_not_due_yet_is_not_claimed_as_due(lab: Lab) -> None:
    lab.run(lab.release(due_at=lab.now_ms() + HOUR_MS))
    before = lab.contents()
    assert lab.run(lab.claim(due=True)) == ["EARLY"]
    assert lab.contents() == before
    assert lab.run(lab.claim())[0] == "OK"


def test_what_was_due_before_is_not_claimed_for_that(lab: Lab) -> None:
    """A try that comes late, after others had the run, would take it for nobody."""
    since = lab.now_ms() - HOUR_MS
    lab.run(lab.release())
    lab.redis.zadd(lab.due_key, {RUN: since})
    lab.run(lab.claim(nonce="n2", due=True, since=since))
    lab.run(lab.release("2:n2", "bob"))
    before = lab.contents()
    assert lab.run(lab.claim("eve", nonce="n3", due=True, since=since)) == ["CHANGED"]
    assert lab.contents() == before
    now = lab.redis.zscore(lab.due_key, RUN)
    assert lab.run(lab.claim("eve", nonce="n3", due=True, since=int(now)))[0] == "OK"


@pytest.mark.parametrize("what", ["gone", "owned", "ended", "in another lane"])
def test_what_is_due_and_should_not_be_waits_no_longer(lab: Lab, what: str) -> None:
    if what == "gone":
        lab.redis.delete(lab.run_key)
    elif what == "ended":
        lab.run(lab.finish("failed"))
    elif what == "in another lane":
        lab.run(lab.release(due_at=""))
        lab.redis.hset(lab.run_key, "queue", "vip")
    lab.redis.zadd(lab.due_key, {RUN: 1})
    assert lab.run(lab.claim(due=True))[0] in ("GONE", "CHANGED", "TERMINAL", "LANE")
    assert not lab.redis.exists(lab.due_key)


def test_a_blocked_run_is_not_blocked_any_more(lab: Lab) -> None:
    lab.run(lab.block())
    assert lab.run(lab.claim())[0] == "OK"
    assert not lab.redis.exists(lab.blocked_key)


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.claim(was="ann")) == ["GONE"]
    assert not lab.redis.exists(lab.run_key)


def test_books_that_make_no_sense_are_named(lab: Lab) -> None:
    lab.redis.hset(lab.run_key, "token", "x")
    assert lab.run(lab.claim(was="ann")) == ["CORRUPT", "token", "x"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.claim(was="ann"))
