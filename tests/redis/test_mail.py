from support.lab import RUN, Lab


def test_runs_with_mail_are_told_once(lab: Lab) -> None:
    lab.run(lab.create())
    lab.run(lab.deliver())
    assert lab.run(lab.mail("ann", nonce="n1")) == ["OK", [RUN]]
    assert lab.run(lab.mail("ann", nonce="n2", heard="n1")) == ["OK", []]


def test_what_nobody_heard_is_told_again(lab: Lab) -> None:
    lab.redis.sadd(lab.mail_key("ann"), "d1~1")
    lab.run(lab.mail("ann", nonce="n1"))
    lab.redis.sadd(lab.mail_key("ann"), "d1~2")
    assert lab.run(lab.mail("ann", nonce="n2", heard="n1")) == ["OK", ["d1~2"]]
    lab.redis.sadd(lab.mail_key("ann"), "d1~3")
    late = lab.mail("ann", nonce="n1")
    assert sorted(lab.run(late)[1]) == ["d1~2", "d1~3"]
    found = lab.run(lab.mail("ann", nonce="n3", heard="n2"))
    assert sorted(found[1]) == ["d1~2", "d1~3"]
    assert lab.run(lab.mail("ann", nonce="n4", heard="n3")) == ["OK", []]
    assert not lab.redis.exists(lab.mail_key("ann"))


def test_sent_twice_it_is_answered_alike_although_there_is_more_now(lab: Lab) -> None:
    lab.redis.sadd(lab.mail_key("ann"), "d1~1")
    assert lab.run(lab.mail("ann", nonce="n1")) == ["OK", ["d1~1"]]
    lab.redis.sadd(lab.mail_key("ann"), "d1~2")
    before = lab.contents()
    assert lab.run(lab.mail("ann", nonce="n1")) == ["OK", ["d1~1"]]
    assert lab.contents() == before
    assert lab.run(lab.mail("ann", nonce="n2", heard="n1")) == ["OK", ["d1~2"]]


def test_what_was_told_is_kept_for_an_hour(lab: Lab) -> None:
    lab.redis.sadd(lab.mail_key("ann"), "d1~1")
    lab.run(lab.mail("ann"))
    (name,) = lab.names()
    assert 3500 < lab.redis.ttl(name) <= 3600


def test_where_nothing_is_nothing_is_written(lab: Lab) -> None:
    assert lab.run(lab.mail("ann")) == ["OK", []]
    assert lab.names() == set()


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.mail())
