from support.lab import Lab


def test_a_lease_lasts_on_from_now(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=1))
    started = lab.now_ms()
    assert lab.run(lab.renew("ann", lease_ms=5000))[2] == 0
    assert started <= lab.redis.zscore(lab.owners_key, "ann") - 5000 <= lab.now_ms()


def test_its_owner_is_told_the_time_and_whether_it_had_lapsed(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=-1))
    started = lab.now_ms()
    code, now, _, lapsed = lab.run(lab.renew("ann"))
    assert (code, started <= int(now) <= lab.now_ms(), lapsed) == ("OK", True, 1)
    assert lab.run(lab.renew("ann"))[3] == 0


def test_a_subscriber_clears_the_mark_of_absence(lab: Lab) -> None:
    lab.redis.hset(lab.absent_key, "ann", "s:1")
    lab.run(lab.renew("ann"))
    assert lab.redis.exists(lab.absent_key)
    with lab.subscribed(lab.channel("ann")):
        assert lab.run(lab.renew("ann"))[2] == 1
    assert not lab.redis.exists(lab.absent_key)
    assert lab.redis.hexists(lab.seen_key, "ann")


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.renew())
