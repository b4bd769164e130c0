from support.lab import Lab


def test_the_first_open_founds_the_namespace(lab: Lab) -> None:
    assert lab.run(lab.open(partitions=4)) == ["OK"]
    assert lab.redis.hgetall(lab.keys.meta) == {"format": "1", "partitions": "4"}


def test_it_can_be_opened_again_and_again(lab: Lab) -> None:
    lab.assert_repeatable(lab.open())


def test_other_numbers_are_answered_with_those_that_hold(lab: Lab) -> None:
    lab.run(lab.open(partitions=4))
    before = lab.contents()
    assert lab.run(lab.open(partitions=8)) == ["DIFFERS", "1", "4"]
    assert lab.run(lab.open(layout="2")) == ["DIFFERS", "1", "4"]
    assert lab.contents() == before


def test_a_half_written_foundation_is_not_completed(lab: Lab) -> None:
    lab.redis.hset(lab.keys.meta, "format", "1")
    assert lab.run(lab.open()) == ["DIFFERS", "1", ""]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.open())


def test_a_missing_permission_is_named_before_anything_is_written(lab: Lab) -> None:
    lab.redis.execute_command(
        "ACL", "SETUSER", "clerk", "on", "nopass", "~*", "&*", "+@all", "-zadd"
    )
    try:
        lab.redis.execute_command("AUTH", "clerk", "any")
        assert lab.run(lab.open()) == ["DENIED", "ZADD"]
        assert lab.contents() == {}
    finally:
        lab.redis.execute_command("AUTH", "default", "")
        lab.redis.execute_command("ACL", "DELUSER", "clerk")
