from support.lab import RUN, Lab


def test_a_run_is_no_more_in_the_list_of_its_owner(lab: Lab) -> None:
    lab.redis.sadd(lab.owned("ann"), RUN, "d1~2")
    assert lab.run(lab.disown()) == ["OK"]
    assert lab.redis.smembers(lab.owned("ann")) == {"d1~2"}


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.redis.sadd(lab.owned("ann"), RUN, "d1~2")
    lab.assert_repeatable(lab.disown())


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.disown())
