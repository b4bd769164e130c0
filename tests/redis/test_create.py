import json

from support.lab import FIELDS, RUN, Lab


def test_a_created_run_has_its_fields_and_the_books_beside_them(lab: Lab) -> None:
    started = lab.now_ms()
    assert lab.run(lab.create(owner="ann", nonce="n1", fields={**FIELDS, "input": "{}"})) == ["OK"]
    fields = lab.fields()
    assert started <= int(fields.pop("created_at")) <= lab.now_ms()
    assert fields == {
        **FIELDS,
        "input": "{}",
        "token": "1:n1",
        "owner": "ann",
        "digest": "d1",
        "seq": "1",
        "cid": "n1",
        "queue": "default",
        "tags": "{}",
        "claims": "1",
    }


def test_it_is_its_owners_and_found_by_its_input(lab: Lab) -> None:
    lab.run(lab.create(owner="ann"))
    assert lab.redis.smembers(lab.owned("ann")) == {RUN}
    assert lab.redis.zrange(lab.same_key, 0, -1) == [RUN]
    created_at = int(lab.fields()["created_at"])
    assert lab.redis.zrange(lab.runs_key, 0, -1, withscores=True) == [(RUN, created_at)]


def test_a_creator_that_nobody_knows_is_listed_without_a_lease(lab: Lab) -> None:
    lab.run(lab.create(owner="ann"))
    assert lab.redis.zscore(lab.owners_key, "ann") == int(lab.fields()["created_at"])


def test_a_creator_with_a_lease_keeps_it(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    ends_at = lab.redis.zscore(lab.owners_key, "ann")
    lab.run(lab.create(owner="ann"))
    assert lab.redis.zscore(lab.owners_key, "ann") == ends_at


def test_what_an_earlier_run_of_the_name_left_is_not_its_own(lab: Lab) -> None:
    lab.redis.rpush(lab.inbox_key, "1 hello")
    lab.redis.zadd(lab.sent_key, {"k1": 1})
    lab.redis.zadd(lab.ended_key, {RUN: 1})
    lab.run(lab.create())
    assert not lab.redis.exists(lab.inbox_key, lab.sent_key, lab.ended_key)


def test_the_index_of_an_older_failure_lives_on(lab: Lab) -> None:
    lab.redis.zadd(lab.same_key, {"d1~0": 1})
    lab.redis.expire(lab.same_key, 100)
    lab.run(lab.create())
    assert lab.redis.ttl(lab.same_key) == -1


def test_a_run_with_an_id_of_the_users_own_is_not_indexed(lab: Lab) -> None:
    lab.run(lab.create(run_id="order-17"))
    assert not lab.redis.exists(lab.same_key)


def test_its_log_begins_with_it(lab: Lab) -> None:
    lab.redis.rpush(lab.log_key, "left over from an earlier run of this name")
    lab.run(lab.create())
    (line,) = lab.redis.lrange(lab.log_key, 0, -1)
    created_at = int(lab.fields()["created_at"])
    assert json.loads(line) == [1, created_at, "(created)", 1, 0, ""]


def test_more_fields_than_lua_can_pass_at_once(lab: Lab) -> None:
    many = {f"work:{n}": str(n) for n in range(9001)}
    assert lab.run(lab.create(fields={**FIELDS, **many})) == ["OK"]
    assert many.items() <= lab.fields().items()


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.create())


def test_the_second_creator_of_an_id_changes_nothing(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))
    before = lab.contents()
    assert lab.run(lab.create(owner="bob", nonce="n2")) == ["EXISTS"]
    assert lab.run(lab.create(owner="ann", nonce="n2")) == ["EXISTS"]
    assert lab.contents() == before


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.create())
