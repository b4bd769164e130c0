import json

import pytest

from support.lab import FIELDS, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1", fields={**FIELDS, "work:1": "{}"}))


def test_a_commit_sets_and_deletes_fields(lab: Lab) -> None:
    patch = {"work:1": None, "work:2": "[]", "state:count": "1", "never:there": None}
    assert lab.run(lab.commit(seq=2, cid="c2", patch=patch)) == ["OK"]
    fields = lab.fields()
    assert fields.items() >= {**FIELDS, "work:2": "[]", "state:count": "1", "seq": "2"}.items()
    assert (fields["cid"], fields["token"], fields["owner"]) == ("c2", "1:n1", "ann")
    assert not {"work:1", "never:there"} & fields.keys()


def test_each_boundary_in_it_becomes_a_line_of_the_log(lab: Lab) -> None:
    started = lab.now_ms()
    lab.run(lab.commit(seq=2, log=['"write",1,0.5,"returned"', '"check",2,1.25,"failed"']))
    written, checked = map(json.loads, lab.redis.lrange(lab.log_key, 1, -1))
    assert started <= written[1] == checked[1] <= lab.now_ms()
    assert (written[0], *written[2:]) == (2, "write", 1, 0.5, "returned")
    assert (checked[0], *checked[2:]) == (2, "check", 2, 1.25, "failed")


def test_the_log_keeps_the_last_thousand_lines(lab: Lab) -> None:
    lab.run(lab.commit(log=[f'"step",{n},0,"returned"' for n in range(1500)]))
    lines = lab.redis.lrange(lab.log_key, 0, -1)
    assert len(lines) == 1000
    assert json.loads(lines[-1])[3] == 1499


def test_more_fields_than_lua_can_pass_at_once(lab: Lab) -> None:
    many = {f"work:{n}": str(n) for n in range(2, 9003)}
    lab.run(lab.commit(seq=2, cid="c2", patch=many))
    assert many.items() <= lab.fields().items()
    lab.run(lab.commit(seq=3, cid="c3", patch=dict.fromkeys(many)))
    assert not many.keys() & lab.fields().keys()


def test_sent_twice_it_is_applied_once(lab: Lab) -> None:
    commit = lab.commit(patch={"state:count": "1"})
    lab.assert_repeatable(commit)
    assert lab.run(commit) == ["DUP"]


def test_sent_again_after_the_run_was_taken_over_it_still_happened(lab: Lab) -> None:
    lab.run(lab.commit())
    lab.run(lab.claim(owner="bob", was="ann"))
    assert lab.run(lab.commit()) == ["DUP"]


def test_sent_again_it_is_written_again_so_that_a_replica_can_be_waited_for(lab: Lab) -> None:
    lab.run(lab.commit())
    offset = lab.written()
    assert lab.run(lab.commit()) == ["DUP"]
    assert lab.written() > offset


def test_messages_up_to_the_last_it_took_are_dropped(lab: Lab) -> None:
    for key in ("k1", "k2", "k3"):
        lab.run(lab.deliver(key, key))
    lab.run(lab.commit(seq=2, cid="c2", taken=1))
    assert lab.redis.lrange(lab.inbox_key, 0, -1) == ["2 k2", "3 k3"]
    lab.run(lab.commit(seq=3, cid="c3", taken=1))
    assert lab.redis.lrange(lab.inbox_key, 0, -1) == ["2 k2", "3 k3"]
    lab.run(lab.commit(seq=4, cid="c4", taken=7))
    assert not lab.redis.exists(lab.inbox_key)
    lab.run(lab.commit(seq=5, cid="c5", taken=8))
    assert lab.run(lab.deliver("k4", "k4")) == ["OK", "4"]


def test_progress_forgives_all_claims(lab: Lab) -> None:
    lab.run(lab.commit(seq=2, cid="c2"))
    assert lab.fields()["claims"] == "1"
    lab.run(lab.commit(seq=3, cid="c3", progress=True))
    assert lab.fields()["claims"] == "0"


def test_after_a_claim_the_former_owner_is_refused(lab: Lab) -> None:
    lab.run(lab.claim(owner="bob", was="ann", nonce="n2"))
    before = lab.contents()
    assert lab.run(lab.commit(fence="1:n1", seq=2)) == ["LEASE_LOST", "2"]
    assert lab.contents() == before


def test_the_same_number_with_another_nonce_is_refused(lab: Lab) -> None:
    """Two servers that were one can both have given out number 1."""
    before = lab.contents()
    assert lab.run(lab.commit(fence="1:other")) == ["LEASE_LOST", "1"]
    assert lab.contents() == before


@pytest.mark.parametrize("seq", [0, 1, 3, 10])
def test_a_gap_or_a_step_back_is_refused(lab: Lab, seq: int) -> None:
    before = lab.contents()
    assert lab.run(lab.commit(seq=seq)) == ["OUT_OF_ORDER", "1"]
    assert lab.contents() == before


@pytest.mark.parametrize("field", ["token", "seq", "cid", "format", "workflow", "status"])
def test_a_run_without_what_every_run_has_is_gone(lab: Lab, field: str) -> None:
    lab.redis.hdel(lab.run_key, field)
    before = lab.contents()
    assert lab.run(lab.commit()) == ["GONE"]
    assert lab.contents() == before


def test_a_deleted_run_is_not_made_again(lab: Lab) -> None:
    lab.redis.delete(lab.run_key)
    assert lab.run(lab.commit()) == ["GONE"]
    assert not lab.redis.exists(lab.run_key)


@pytest.mark.parametrize(("field", "text"), [("token", "x"), ("seq", "many")])
def test_books_that_make_no_sense_are_named(lab: Lab, field: str, text: str) -> None:
    lab.redis.hset(lab.run_key, field, text)
    before = lab.contents()
    assert lab.run(lab.commit()) == ["CORRUPT", field, text]
    assert lab.contents() == before


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.commit(patch={"state:a": "1"}, taken=1))
