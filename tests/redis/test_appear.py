from support.lab import Lab


def test_an_owner_that_appears_has_a_lease_by_the_servers_clock(lab: Lab) -> None:
    started = lab.now_ms()
    code, now, *_ = lab.run(lab.appear("ann", lease_ms=5000))
    assert (code, started <= int(now) <= lab.now_ms()) == ("OK", True)
    assert started <= lab.redis.zscore(lab.owners_key, "ann") - 5000 <= lab.now_ms()


def test_without_a_subscriber_it_was_not_seen(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    assert not lab.redis.exists(lab.seen_key)


def test_with_a_subscriber_it_was_seen_on_this_server(lab: Lab) -> None:
    lab.redis.hset(lab.absent_key, "ann", "s:1")
    with lab.subscribed(lab.channel("ann")):
        assert lab.run(lab.appear("ann"))[2:] == [[], 1, 1]
        assert lab.run(lab.appear("ann"))[2:] == [[], 1, 0]
    assert lab.redis.hgetall(lab.seen_key) == {"ann": lab.redis.info("server")["run_id"]}
    assert not lab.redis.exists(lab.absent_key)


def test_owners_that_are_long_gone_are_told(lab: Lab) -> None:
    lab.run(lab.appear("old", lease_ms=-120_000))
    lab.run(lab.appear("late", lease_ms=-1))
    assert lab.run(lab.appear("ann"))[2:] == [["old"], 0, 1]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.appear())
