from support.lab import Lab


def test_runs_that_other_code_blocked_are_due_now(lab: Lab) -> None:
    lab.redis.hset(lab.blocked_key, mapping={"a": "p1", "b": "p2", "c": "p3"})
    assert lab.run(lab.unblock(fingerprint="p2")) == ["OK", "0", 2]
    assert lab.redis.hgetall(lab.blocked_key) == {"b": "p2"}
    assert lab.redis.zrange(lab.due_key, 0, -1) == ["a", "c"]
    assert lab.redis.zscore(lab.due_key, "a") <= lab.now_ms()


def test_whoever_looks_for_work_hears_of_it(lab: Lab) -> None:
    lab.redis.hset(lab.blocked_key, "a", "p1")
    with lab.subscribed(lab.due_channel) as message:
        lab.run(lab.unblock())
        assert message() == "default:Letters"


def test_no_more_are_moved_than_it_was_told(lab: Lab) -> None:
    lab.redis.hset(lab.blocked_key, mapping={f"r{n}": "p1" for n in range(5)})
    assert lab.run(lab.unblock(limit=3))[2] == 3
    assert lab.run(lab.unblock(limit=3))[2] == 2


def test_of_very_many_it_looks_at_a_part_and_tells_where_it_stopped(lab: Lab) -> None:
    mine = {f"r{n}": "p2" for n in range(20_000)}
    lab.redis.hset(lab.blocked_key, mapping=mine | {f"x{n}": "p1" for n in range(50)})
    cursor, found, looks = 0, 0, 0
    while looks == 0 or cursor:
        _, at, more = lab.run(lab.unblock(fingerprint="p2", cursor=cursor))
        cursor, found, looks = int(at), found + more, looks + 1
    assert found == 50
    assert looks > 2


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.redis.hset(lab.blocked_key, "a", "p1")
    lab.run(lab.unblock())
    lab.redis.zadd(lab.due_key, {"a": 1})
    assert lab.run(lab.unblock()) == ["OK", "0", 0]
    assert lab.redis.zscore(lab.due_key, "a") == 1


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.unblock())
