import pytest

from support.lab import RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


def test_what_is_put_aside_does_not_show_in_the_run(lab: Lab) -> None:
    before = lab.fields()
    assert lab.run(lab.stage("+a", "1", "-b", "")) == ["OK"]
    assert lab.run(lab.stage("+c", "2")) == ["OK"]
    assert lab.fields() == before
    assert lab.redis.hgetall(lab.stage_key) == {"cid": "c2", "+a": "1", "-b": "", "+c": "2"}


def test_what_no_commit_names_is_forgotten_after_a_day(lab: Lab) -> None:
    lab.run(lab.stage("+a", "1"))
    assert 86_000 < lab.redis.ttl(lab.stage_key) <= 86_400


def test_what_another_commit_put_aside_is_dropped(lab: Lab) -> None:
    lab.run(lab.stage("+a", "1", cid="c2"))
    lab.run(lab.stage("+b", "2", cid="d2"))
    assert lab.redis.hgetall(lab.stage_key) == {"cid": "d2", "+b": "2"}


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.run(lab.stage("+a", "1"))
    before = lab.redis.hgetall(lab.stage_key)
    assert lab.run(lab.stage("+a", "1")) == ["OK"]
    assert lab.redis.hgetall(lab.stage_key) == before


def test_it_is_fenced_like_the_commit_it_belongs_to(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann", nonce="n2"))
    before = lab.contents()
    assert lab.run(lab.stage("+a", "1")) == ["LEASE_LOST", "2"]
    assert lab.run(lab.stage("+a", "1", fence="2:n2", seq=5)) == ["OUT_OF_ORDER", "1"]
    assert lab.contents() == before


def test_while_the_last_commit_is_not_settled_nothing_is_put_aside(lab: Lab) -> None:
    lab.run(lab.stage("+a", "1"))
    lab.run(lab.commit(staged=1))
    before = lab.contents()
    assert lab.run(lab.stage("+b", "2", seq=3, cid="c3")) == ["SETTLE", "c2"]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.stage("+a", "1")) == ["GONE"]
    assert not lab.redis.exists(lab.run_key, lab.stage_key)


def test_it_goes_when_the_run_is_deleted(lab: Lab) -> None:
    lab.run(lab.stage("+a", "1"))
    assert lab.run(lab.delete()) == ["OK"]
    assert lab.names() == {lab.owners_key}  # ann may have others


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.stage("+a", RUN))
