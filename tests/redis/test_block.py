import json

import pytest

from support.lab import LANE, RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_a_blocked_run_has_no_owner_and_is_not_due(lab: Lab) -> None:
    assert lab.run(lab.block(fingerprint="p1")) == ["OK"]
    fields = lab.fields()
    assert (fields["status"], fields["error"], fields["token"]) == ("blocked", '"why"', "1:")
    assert (fields["claims"], "owner" in fields) == ("0", False)
    assert lab.redis.hgetall(lab.blocked_key) == {RUN: "p1"}
    assert not lab.redis.exists(lab.due_key, lab.owned("ann"))


def test_the_log_and_whoever_waits_hear_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as message:
        lab.run(lab.block(fingerprint="p1"))
        assert message() == "blocked"
    line = json.loads(lab.redis.lindex(lab.log_key, -1))
    assert (line[0], *line[2:]) == (1, "(blocked)", 1, 0, "p1")


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.block())


def test_the_run_of_another_is_left_alone(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann"))
    before = lab.contents()
    assert lab.run(lab.block(fence="1:n1")) == ["LEASE_LOST", "2"]
    assert lab.run(lab.block(fence="2:n2", owner="ann")) == ["CHANGED", "bob", *LANE]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.block()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key, lab.blocked_key)


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.block())
