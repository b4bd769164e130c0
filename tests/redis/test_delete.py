import pytest

from stepwell.storage.records import Lane
from support.lab import LANE, RUN, Lab


@pytest.fixture(autouse=True)
def created(lab: Lab) -> None:
    lab.run(lab.create(owner="ann", nonce="n1"))


@pytest.mark.parametrize("state", ["orphaned", "due", "blocked", "ended"])
def test_nothing_is_left_of_a_deleted_run(lab: Lab, state: str) -> None:
    lab.run(lab.deliver())
    lab.redis.delete(lab.mail_key("ann"))
    if state == "due":
        lab.run(lab.release())
    elif state == "blocked":
        lab.run(lab.block())
    elif state == "ended":
        lab.run(lab.finish("failed"))
    assert lab.run(lab.delete(owner="ann" if state == "orphaned" else "")) == ["OK"]
    assert lab.names() == {lab.owners_key}  # ann may have others


def test_whoever_waits_hears_of_it(lab: Lab) -> None:
    with lab.subscribed(lab.keys.done(RUN)) as message:
        lab.run(lab.delete())
        assert message() == "deleted"


def test_a_run_that_a_living_process_executes_stays(lab: Lab) -> None:
    lab.run(lab.appear("ann"))
    before = lab.contents()
    assert lab.run(lab.delete()) == ["EXECUTED"]
    assert lab.contents() == before


def test_a_run_that_is_elsewhere_than_the_caller_thinks_stays(lab: Lab) -> None:
    before = lab.contents()
    assert lab.run(lab.delete(owner="")) == ["CHANGED", "ann", *LANE]
    assert lab.run(lab.delete(lane=Lane("vip", "Letters"))) == ["CHANGED", "ann", *LANE]
    assert lab.contents() == before


def test_what_is_not_there_is_not_deleted(lab: Lab) -> None:
    lab.run(lab.delete())
    assert lab.run(lab.delete()) == ["GONE"]


def test_a_key_of_another_type_changes_nothing(lab: Lab) -> None:
    lab.assert_types_checked(lab.delete())
