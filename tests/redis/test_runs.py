from support.lab import Lab


def test_runs_created_last_come_first(lab: Lab) -> None:
    lab.redis.zadd(lab.runs_key, {"a": 1, "b": 3, "c": 2})
    assert lab.run(lab.runs()) == ["OK", "b", "3", "c", "2", "a", "1"]
    assert lab.run(lab.runs(limit=1)) == ["OK", "b", "3"]


def test_pages_follow_each_other_also_within_one_instant(lab: Lab) -> None:
    lab.redis.zadd(lab.runs_key, {f"r{n:02}": n // 10 for n in range(40)})
    names, before, after = list[str](), "+inf", ""
    while reply := lab.run(lab.runs(limit=3, before=before, after=after))[1:]:
        names += reply[::2]
        after, before = reply[-2:]
    assert names == [f"r{n:02}" for n in reversed(range(40))]


def test_a_run_that_is_gone_marks_the_place_as_well(lab: Lab) -> None:
    lab.redis.zadd(lab.runs_key, {"a": 1, "c": 1, "d": 0})
    assert lab.run(lab.runs(before=1, after="b")) == ["OK", "a", "1", "d", "0"]


def test_nothing_is_changed(lab: Lab) -> None:
    lab.redis.zadd(lab.runs_key, {"a": 1})
    lab.assert_repeatable(lab.runs())


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.runs())
