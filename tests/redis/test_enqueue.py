import json

import pytest

from support.lab import FIELDS, HOUR_MS, RUN, Lab


def test_an_enqueued_run_has_no_owner_and_its_books(lab: Lab) -> None:
    assert lab.run(lab.enqueue(nonce="n1")) == ["OK"]
    fields = lab.fields()
    created_at = int(fields.pop("created_at"))
    assert fields == {
        **FIELDS, "status": "pending", "token": "1:", "digest": "d1", "queue": "default",
        "tags": "{}", "claims": "0", "parked": "1", "seq": "1", "cid": "n1",
    }  # fmt: skip
    (line,) = lab.redis.lrange(lab.log_key, 0, -1)
    assert json.loads(line) == [1, created_at, "(enqueued)", 1, 0, ""]
    assert lab.redis.zrange(lab.runs_key, 0, -1, withscores=True) == [(RUN, created_at)]
    assert lab.redis.zrange(lab.same_key, 0, -1) == [RUN]


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_it_is_due_when_it_was_told_to_be(lab: Lab, delay_ms: int) -> None:
    lab.run(lab.enqueue(delay_ms))
    due_at = int(lab.fields()["created_at"]) + delay_ms
    assert lab.redis.zrange(lab.due_key, 0, -1, withscores=True) == [(RUN, due_at)]


def test_whoever_looks_for_work_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.due_channel) as message:
        lab.run(lab.enqueue(HOUR_MS))
        assert message() == "default:Letters"


def test_sent_twice_it_happens_once(lab: Lab) -> None:
    lab.assert_repeatable(lab.enqueue())


def test_sent_again_after_somebody_went_on_with_it_it_still_happened(lab: Lab) -> None:
    lab.run(lab.enqueue(nonce="n1"))
    lab.run(lab.claim(nonce="n2"))
    lab.run(lab.commit(fence="2:n2"))
    before = lab.contents()
    assert lab.run(lab.enqueue(nonce="n1")) == ["OK"]
    assert lab.contents() == before


def test_the_second_creator_of_an_id_changes_nothing(lab: Lab) -> None:
    lab.run(lab.enqueue(nonce="n1"))
    before = lab.contents()
    assert lab.run(lab.enqueue(nonce="n2")) == ["EXISTS"]
    assert lab.run(lab.create(nonce="n2")) == ["EXISTS"]
    assert lab.contents() == before


def test_a_message_with_the_name_of_its_creation_is_another(lab: Lab) -> None:
    lab.run(lab.enqueue(nonce="n1"))
    assert lab.run(lab.deliver(key="k1", owner="")) == ["OK", "1"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.enqueue())
