import pytest

from support.lab import HOUR_MS, Lab


@pytest.fixture
def seen(lab: Lab) -> None:
    """Ann was seen subscribed, and is not any more."""
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann"))


def test_an_owner_that_nobody_knows_is_gone(lab: Lab) -> None:
    assert lab.run(lab.presence("ann")) == ["GONE"]


def test_an_owner_whose_lease_is_over_is_gone(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann", lease_ms=-1))
        assert lab.run(lab.presence("ann")) == ["GONE"]


def test_a_lease_from_before_the_clock_was_set_back_is_over(lab: Lab) -> None:
    lab.run(lab.appear("ann", lease_ms=HOUR_MS + 60_000))
    assert lab.run(lab.presence("ann")) == ["GONE"]


def test_an_owner_with_a_subscriber_is_present_and_its_mark_cleared(lab: Lab) -> None:
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.appear("ann"))
        lab.redis.hset(lab.absent_key, "ann", "s:1")
        assert lab.run(lab.presence("ann")) == ["PRESENT"]
    assert not lab.redis.exists(lab.absent_key)


def test_an_owner_that_was_never_seen_is_trusted_for_its_lease(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    before = lab.contents()
    for _ in range(3):
        assert lab.run(lab.presence("ann")) == ["PRESENT"]
    assert lab.contents() == before


@pytest.mark.usefixtures("seen")
def test_an_owner_seen_before_the_server_restarted_is_trusted_for_its_lease(lab: Lab) -> None:
    lab.redis.hset(lab.seen_key, "ann", "another incarnation")
    for _ in range(3):
        assert lab.run(lab.presence("ann")) == ["PRESENT"]


@pytest.mark.usefixtures("seen")
def test_the_first_look_at_an_absent_owner_makes_a_mark(lab: Lab) -> None:
    assert lab.run(lab.presence("ann")) == ["SUSPECT"]
    incarnation, marked_at = lab.redis.hget(lab.absent_key, "ann").split(":")
    assert incarnation == lab.redis.info("server")["run_id"]
    assert 0 <= lab.now_ms() - int(marked_at) < HOUR_MS


@pytest.mark.usefixtures("seen")
def test_a_second_look_too_soon_proves_nothing(lab: Lab) -> None:
    lab.run(lab.presence("ann"))
    before = lab.contents()
    assert lab.run(lab.presence("ann", absent_ms=HOUR_MS)) == ["SUSPECT"]
    assert lab.contents() == before


@pytest.mark.usefixtures("seen")
def test_an_owner_absent_at_a_second_look_is_gone_and_its_lease_over(lab: Lab) -> None:
    lab.run(lab.presence("ann"))
    assert lab.run(lab.presence("ann", absent_ms=0)) == ["GONE"]
    assert lab.redis.zscore(lab.owners_key, "ann") <= lab.now_ms()
    assert not lab.redis.exists(lab.seen_key, lab.absent_key)
    assert lab.run(lab.presence("ann")) == ["GONE"]


@pytest.mark.usefixtures("seen")
def test_a_mark_of_another_incarnation_is_made_anew(lab: Lab) -> None:
    lab.redis.hset(lab.absent_key, "ann", "0123:1")
    assert lab.run(lab.presence("ann")) == ["SUSPECT"]
    assert not lab.redis.hget(lab.absent_key, "ann").startswith("0123:")


@pytest.mark.usefixtures("seen")
def test_a_mark_of_the_future_is_made_anew(lab: Lab) -> None:
    here, later = lab.redis.info("server")["run_id"], lab.now_ms() + HOUR_MS
    lab.redis.hset(lab.absent_key, "ann", f"{here}:{later}")
    assert lab.run(lab.presence("ann")) == ["SUSPECT"]
    assert int(lab.redis.hget(lab.absent_key, "ann").split(":")[1]) < later


@pytest.mark.usefixtures("seen")
def test_an_owner_that_renews_clears_its_name(lab: Lab) -> None:
    lab.run(lab.presence("ann"))
    with lab.subscribed(lab.channel("ann")):
        lab.run(lab.renew("ann"))
    assert lab.run(lab.presence("ann")) == ["SUSPECT"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.presence())
