import json
from typing import Any

import pytest

from support.lab import FIELDS, RUN, Lab


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
    lab.run(lab.claim(owner="bob", was="ann"))
    assert not lab.redis.exists(lab.owners_key, lab.seen_key, lab.absent_key)


def test_a_former_owner_with_another_run_stays_listed(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.redis.sadd(lab.owned("ann"), "d1~2")
    lab.run(lab.claim(owner="bob", was="ann"))
    assert lab.redis.zrange(lab.owners_key, 0, -1) == ["ann"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_a_run_that_ended_badly_runs_again_for_good(lab: Lab, status: str) -> None:
    lab.run(lab.finish(status))
    reply = lab.run(lab.claim(owner="bob", was=""))
    assert context(reply)["status"] == status
    fields = lab.fields()
    assert fields["status"] == "running"
    assert "ended_at" not in fields
    assert all(lab.redis.ttl(name) == -1 for name in lab.names())


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


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.claim(was="ann")) == ["GONE"]
    assert not lab.redis.exists(lab.run_key)


def test_books_that_make_no_sense_are_named(lab: Lab) -> None:
    lab.redis.hset(lab.run_key, "token", "x")
    assert lab.run(lab.claim(was="ann")) == ["CORRUPT", "token", "x"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.claim(was="ann"))
