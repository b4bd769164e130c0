from support.lab import Lab


def test_an_owner_that_died_without_runs_is_forgotten(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann", lease_ms=-1))
    lab.redis.hset(lab.absent_key, "ann", "s:1")
    lab.redis.sadd(lab.mail_key("ann"), "d1~1")
    assert lab.run(lab.bury("ann")) == ["OK"]
    assert lab.names() == set()


def test_an_owner_with_a_lease_is_left_alone(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    before = lab.contents()
    assert lab.run(lab.bury("ann")) == ["KEPT"]
    assert lab.contents() == before


def test_an_owner_with_runs_is_left_alone(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.run(lab.create(owner="ann"))
    before = lab.contents()
    assert lab.run(lab.bury("ann")) == ["KEPT"]
    assert lab.contents() == before


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    lab.assert_repeatable(lab.bury("ann"))


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.bury())
