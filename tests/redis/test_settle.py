import pytest

from support.lab import FIELDS, Lab


@pytest.fixture(autouse=True)
def aside(lab: Lab) -> None:
    """Much was put aside for the next commit."""
    lab.run(lab.create(owner="ann", nonce="n1", fields={**FIELDS, "old": "1"}))
    words = [word for n in range(999) for word in (f"+work:{n}", str(n))]
    lab.run(lab.stage(*words, "-old", ""))


def settle_all(lab: Lab, limit: int = 100) -> int:
    calls, cursor = 0, 0
    while (reply := lab.run(lab.settle(cursor=cursor, limit=limit)))[0] == "OK":
        calls, cursor = calls + 1, int(reply[1])
    assert reply == ["DONE"]
    return calls


def test_what_a_commit_named_is_moved_into_the_run_part_by_part(lab: Lab) -> None:
    assert lab.run(lab.commit(staged=1000)) == ["OK"]
    assert settle_all(lab) > 3
    fields = lab.fields()
    assert fields.items() >= {f"work:{n}": str(n) for n in range(999)}.items()
    assert not {"old", "staged"} & fields.keys()
    assert not lab.redis.exists(lab.stage_key)


def test_it_tells_how_much_it_moved(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    code, _, moved = lab.run(lab.settle(limit=10))
    assert (code, moved > 50) == ("OK", True)


def test_before_the_commit_nothing_is_moved(lab: Lab) -> None:
    before = lab.fields(), lab.redis.hgetall(lab.stage_key)
    assert lab.run(lab.settle()) == ["DONE"]
    assert (lab.fields(), lab.redis.hgetall(lab.stage_key)) == before


def test_a_commit_that_names_more_than_there_is_is_not_applied(lab: Lab) -> None:
    before = lab.fields(), lab.redis.hgetall(lab.stage_key)
    assert lab.run(lab.commit(staged=1001)) == ["UNSTAGED"]
    assert lab.run(lab.finish(staged=1001)) == ["UNSTAGED"]
    assert lab.run(lab.commit(staged=1000, cid="d2")) == ["UNSTAGED"]
    assert (lab.fields(), lab.redis.hgetall(lab.stage_key)) == before


def test_nothing_else_is_committed_meanwhile(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    assert lab.run(lab.commit(staged=1000)) == ["DUP"]
    assert lab.run(lab.commit(seq=3, cid="c3")) == ["SETTLE", "c2"]
    assert lab.run(lab.finish(seq=3, cid="c3")) == ["SETTLE", "c2"]
    assert lab.run(lab.deliver(wait=("work:1", "1"))) == ["SETTLE", "c2"]
    settle_all(lab)
    assert lab.run(lab.commit(seq=3, cid="c3")) == ["OK"]


def test_what_was_named_lives_as_long_as_the_run(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    assert lab.redis.ttl(lab.stage_key) == -1


def test_of_a_run_that_ended_it_can_be_done_later(lab: Lab) -> None:
    lab.run(lab.finish("failed", staged=1000))
    expires_at = lab.redis.pexpiretime(lab.run_key)
    assert abs(lab.redis.pexpiretime(lab.stage_key) - expires_at) <= 1
    settle_all(lab)
    assert "work:998" in lab.fields()
    assert lab.redis.pexpiretime(lab.run_key) == expires_at


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    settle_all(lab)
    lab.run(lab.commit(seq=3, cid="c3", patch={"work:1": None, "old": "2"}))
    before = lab.fields()
    assert lab.run(lab.settle()) == ["DONE"]
    assert lab.fields() == before


def test_what_is_not_there_any_more_is_missed(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    lab.redis.delete(lab.stage_key)
    assert lab.run(lab.settle()) == ["CORRUPT", "staged", "c2"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.run(lab.commit(staged=1000))
    lab.assert_types_checked(lab.settle())
