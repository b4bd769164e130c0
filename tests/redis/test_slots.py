"""Which server has which slot, as servers tell it."""

import pytest
from redis.exceptions import AskError, MovedError

from stepwell.redis.keys import Keys
from stepwell.redis.slots import SLOTS, Node, Redirect, SlotMap, slot_of

ASKED = Node("here", 7000)
A, B, REPLICA = Node("a", 1), Node("b", 2), Node("r", 3)


def row(first: int, last: int, *nodes: tuple[str | None, int]) -> list[object]:
    return [first, last, *([host and host.encode(), port, b"id"] for host, port in nodes)]


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12739),  # of the cluster specification
        ("foo{hash_tag}", 2515),
        ("bar{hash_tag}{other}", 2515),
        (b"foo", 12182),
        ("foo{}", 5542),
        ("ä", slot_of("ä".encode())),
    ],
)
def test_a_slot_is_that_of_the_hash_tag(key: str | bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_all_keys_of_a_partition_share_a_slot() -> None:
    keys = Keys("n", 16)
    run_id = "digest~1"
    partition = keys.partition_of(run_id)
    names = [keys.run(run_id), keys.log(run_id), keys.done(run_id), keys.owner(partition, "ann")]
    assert len({slot_of(name) for name in names}) == 1


def test_the_first_server_of_a_range_is_its_master() -> None:
    slots = SlotMap.parse([row(0, 5, A, REPLICA), row(10, 10, B)], ASKED)
    assert [slots.master_of(slot) for slot in (0, 5, 6, 10, 11)] == [A, A, None, B, None]
    assert slots.masters == {A, B}
    assert set(slots.nodes) == {A, B, REPLICA}


@pytest.mark.parametrize("host", [None, ""])
def test_a_server_without_host_is_where_it_was_asked(host: str | None) -> None:
    assert SlotMap.parse([row(0, 1, (host, 9))], ASKED).master_of(0) == Node("here", 9)


def test_a_server_that_does_not_know_its_host_is_not_known() -> None:
    slots = SlotMap.parse([row(0, 1, ("?", 9))], ASKED)
    assert slots.master_of(0) is None
    assert not slots.nodes


def test_one_slot_moves_and_the_others_stay() -> None:
    before = SlotMap.parse([row(0, SLOTS - 1, A)], ASKED)
    after = before.moved(7, B)
    assert [after.master_of(slot) for slot in (6, 7, 8)] == [A, B, A]
    assert after != before
    assert after.moved(7, A) == before
    assert B in after.nodes


@pytest.mark.parametrize(
    ("error", "redirect"),
    [
        (MovedError("3999 127.0.0.1:6381"), Redirect(3999, Node("127.0.0.1", 6381), for_good=True)),
        (AskError("1 example.org:80"), Redirect(1, Node("example.org", 80), for_good=False)),
        (MovedError("3999 :6381"), Redirect(3999, Node("here", 6381), for_good=True)),
        (MovedError("3999 2001:db8::1:6381"), Redirect(3999, Node("2001:db8::1", 6381), True)),
    ],
)
def test_a_redirect_tells_where_to_go(error: AskError, redirect: Redirect) -> None:
    assert Redirect.of(error, ASKED) == redirect


def test_a_place_is_written_as_in_a_url() -> None:
    assert str(A) == "a:1"
    assert str(Node("::1", 6379)) == "[::1]:6379"
