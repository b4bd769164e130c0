import json

import pytest

from stepwell.storage.records import Lane
from support.lab import LANE, RUN, Lab


@pytest.fixture(autouse=True)
def owned(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_the_run_of_an_owner_that_is_gone_is_due_at_once(lab: Lab) -> None:
    lab.run(lab.deliver())
    assert lab.run(lab.orphan()) == ["OK"]
    fields = lab.fields()
    assert (fields["token"], fields["claims"], "owner" in fields) == ("1:", "1", False)
    assert lab.redis.zscore(lab.due_key, RUN) <= lab.now_ms()
    assert not lab.redis.exists(lab.owned("ann"), lab.mail_key("ann"))
    assert lab.redis.zrange(lab.owners_key, 0, -1) == ["ann"]


def test_its_former_owner_may_not_commit(lab: Lab) -> None:
    lab.run(lab.orphan())
    assert lab.run(lab.commit()) == ["LEASE_LOST", "1"]


def test_all_hear_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as news, lab.subscribed(lab.due_channel) as due:
        lab.run(lab.orphan())
        assert (news(), due()) == ("orphaned", "default:Letters")
    line = json.loads(lab.redis.lindex(lab.log_key, -1))
    assert (line[0], *line[2:]) == (1, "(orphaned)", 1, 0, "running")


def test_an_owner_that_came_back_keeps_its_run(lab: Lab) -> None:
    lab.run(lab.renew("ann"))
    before = lab.contents()
    assert lab.run(lab.orphan()) == ["OWNED"]
    assert lab.contents() == before


def test_a_run_that_went_to_another_meanwhile_is_only_no_longer_listed(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann"))
    lab.redis.sadd(lab.owned("ann"), RUN)
    assert lab.run(lab.orphan()) == ["CHANGED", "bob", *LANE]
    assert not lab.redis.exists(lab.owned("ann"), lab.due_key)
    assert lab.fields()["owner"] == "bob"


def test_a_run_that_is_in_another_lane_is_not_touched(lab: Lab) -> None:
    before = lab.contents()
    assert lab.run(lab.orphan(lane=Lane("vip", "Letters"))) == ["CHANGED", "ann", *LANE]
    assert lab.contents() == before


def test_a_deleted_run_is_no_longer_listed_and_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.orphan()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key, lab.owned("ann"), lab.due_key)


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.run(lab.orphan())
    before = lab.contents()
    assert lab.run(lab.orphan())[0] == "CHANGED"
    assert lab.contents() == before


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.orphan())
