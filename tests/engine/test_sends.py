"""Events that a step sends: delivered once, although the step may run again from its first line."""

import pytest

from stepwell._engine import routing
from stepwell._engine.commands import Invoke, Warn
from stepwell._engine.state import Work
from stepwell._engine.ticks import CancelAsked, RunResumed
from stepwell.decorators import step
from stepwell.events import Event, StartEvent, StopEvent
from support.engine import Drive, Steps, invoked, of_kind


class A(Event):
    n: int = 0


sending = Steps()


@step(workflow=sending)
def sender(ev: StartEvent) -> A | None: ...


@step(workflow=sending)
def receiver(ev: A) -> StopEvent | None: ...


@pytest.fixture
def run() -> Drive:
    drive = Drive(sending.plan())
    drive.start()
    return drive


def again(run: Drive) -> Work:
    """The sender's next attempt, after a crash."""
    run.crash()
    return run.only("sender")


def received(run: Drive) -> list[int]:
    queue = run.state.queues["receiver"]
    works = [*queue.running.values(), *queue.waiting]
    return [work.payload.n for work in works if isinstance(work.payload, A)]


def test_a_sent_event_is_delivered_at_once(run: Drive) -> None:
    assert list(invoked(run.sends(run.only("sender"), A(n=1), "d1"))) == [("receiver", A(n=1))]


def test_without_a_digest_every_send_is_delivered(run: Drive) -> None:
    for _ in range(2):
        run.sends(run.only("sender"), A(n=1))
    assert received(run) == [1, 1]
    assert run.only("sender").progress.sent == []


def test_a_send_of_an_earlier_life_is_taken_as_made(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    run.sends(run.only("sender"), A(n=2), "d2")
    sender = again(run)
    assert run.sends(sender, A(n=1), "d1") == []
    assert run.sends(sender, A(n=2), "d2") == []
    run.sends(sender, A(n=3), "d3")
    assert received(run) == [1, 2, 3]


def test_equal_events_are_told_apart_by_their_position(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "same")
    sender = again(run)
    run.sends(sender, A(n=1), "same")
    run.sends(sender, A(n=1), "same")
    assert received(run) == [1, 1]


def test_another_event_at_the_same_position_is_delivered_and_reported(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    run.sends(run.only("sender"), A(n=2), "d2")
    sender = again(run)
    (warning,) = of_kind(run.sends(sender, A(n=9), "d9"), Warn)
    assert "SendDiverged: step 'sender'" in warning.message
    assert "position 0 (A)" in warning.message
    assert run.sends(sender, A(n=2), "d2") == []
    assert received(run) == [1, 2, 9]


def test_a_diverged_send_is_remembered_as_the_new_one(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    run.sends(again(run), A(n=9), "d9")
    assert run.sends(again(run), A(n=9), "d9") == []


def test_what_was_sent_is_forgotten_with_the_work(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    assert "sent:1:0" in run.map
    run.returns(run.only("sender"))
    assert "sent:1:0" not in run.map


def test_positions_start_anew_at_a_checkpoint(run: Drive) -> None:
    sender = run.only("sender")
    run.sends(sender, A(n=1), "d1")
    routing.forget_sends(run.state, sender)
    run.sends(sender, A(n=2), "d2")
    assert [one.digest for one in sender.progress.sent] == ["d2"]
    assert run.sends(again(run), A(n=2), "d2") == []


def test_a_failed_step_does_not_send_again_when_the_run_goes_on(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    run.fails(run.only("sender"))
    commands = run.crash()
    assert [one.work.step for one in of_kind(commands, Invoke)] == ["sender", "receiver"]
    assert run.sends(run.only("sender"), A(n=1), "d1") == []


def test_a_step_that_was_stopped_does_not_send_again_in_the_same_process(run: Drive) -> None:
    run.sends(run.only("sender"), A(n=1), "d1")
    run.tick(CancelAsked())
    run.tick(RunResumed())
    assert run.sends(run.only("sender"), A(n=1), "d1") == []
    assert received(run) == [1]


def test_a_send_after_the_step_has_ended_leaves_nothing_behind(run: Drive) -> None:
    """A task that the step left running may still send; its work is gone from the map."""
    sender = run.only("sender")
    run.returns(sender)
    run.sends(sender, A(n=1), "d1")
    assert received(run) == [1]
    assert not [name for name in run.map if name.startswith("sent:")]
