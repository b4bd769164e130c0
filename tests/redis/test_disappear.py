from support.lab import RUN, Lab


def test_an_owner_without_runs_leaves_nothing(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann"))
    lab.redis.hset(lab.absent_key, "ann", "s:1")
    lab.redis.sadd(lab.mail_key("ann"), "d1~1")
    assert lab.run(lab.disappear("ann")) == ["OK"]
    assert lab.names() == set()


def test_an_owner_with_runs_stays_listed_with_a_lease_that_is_over(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    lab.run(lab.create(owner="ann"))
    assert lab.run(lab.disappear("ann")) == ["OWNING", 1]
    assert lab.redis.zscore(lab.owners_key, "ann") <= lab.now_ms()
    assert lab.run(lab.claim(owner="bob", was="ann"))[0] == "OK"


def test_an_owner_with_runs_that_was_forgotten_is_listed_again(lab: Lab) -> None:
    lab.redis.sadd(lab.owned("ann"), RUN)
    assert lab.run(lab.disappear("ann")) == ["OWNING", 1]
    assert lab.redis.zscore(lab.owners_key, "ann") <= lab.now_ms()


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    lab.assert_repeatable(lab.disappear("ann"))


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.disappear())
