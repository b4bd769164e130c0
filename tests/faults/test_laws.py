"""The checker of histories: it has nothing to say of a good one, and finds what is bad in a bad."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.history import (
    Answer,
    Body,
    Fault,
    Final,
    History,
    Line,
    Send,
    Start,
    Way,
    read_bodies,
)
from support.journal import JOURNALS
from support.laws import LAWS, violations

ONE, TWO = 101, 102
"""Two processes."""


def body(token: str, began: float, *, after: str = "", pid: int = ONE, ends: bool = True) -> Body:
    ended, way = (began + 0.5, Way.RETURNED) if ends else (None, None)
    return Body("run", token, pid, began, (after,) if after else (), ended, way)


def line(seq: int, step: str = "link", attempt: int = 1) -> Line:
    return Line(seq, 0, step, attempt, "StepReturned")


def good() -> History:
    """Two bodies, two signals, no fault."""
    log = (line(1, "(enqueued)"), line(1, "(claimed)", 2), line(2), line(3), line(3))
    final = Final("run", "completed", [1, 2], {"count": 2}, ("x", "y"), log)
    return History(
        starts=[Start("run", Answer.OK, [1, 2], {"count": 2}, frozenset({"a", "b"}))],
        sends=[Send("run", "x", Answer.OK, "ann"), Send("run", "y", Answer.OK, "ann")],
        results=[("run", [1, 2])],
        bodies=[body("a", 1), body("b", 2, after="a")],
        finals={"run": final},
    )


def with_final(**changes: object) -> History:
    history = good()
    history.finals["run"] = replace(history.finals["run"], **changes)  # pyright: ignore[reportArgumentType]  as the cases below say
    return history


def with_bodies(*bodies: Body, faults: tuple[Fault, ...] = ()) -> History:
    return replace(good(), bodies=list(bodies), faults=list(faults))


def with_sends(*sends: Send) -> History:
    return replace(good(), sends=list(sends))


def without_final() -> History:
    return replace(good(), finals={}, results=[])


KILL = Fault("kill", 1.2, 1.3, frozenset({ONE}))
FREEZE = Fault("freeze", 1.2, 3.5, frozenset({ONE}), freezes=True)
FAILOVER = Fault("failover", 2.2, 3.5, forgets=True)

X, Y = Send("run", "x", Answer.OK, "ann"), Send("run", "y", Answer.OK, "ann")

BAD: list[tuple[str, Callable[[], History]]] = [
    ("started_runs_are_there", without_final),
    (
        "refused_runs_are_not",
        lambda: replace(good(), starts=[Start("run", Answer.REFUSED)], bodies=[]),
    ),
    ("runs_end", lambda: with_final(status="running")),
    ("runs_end", lambda: with_final(status="quarantined")),
    ("results_are_right", lambda: replace(with_final(result=[1]), results=[])),
    ("results_are_right", lambda: replace(good(), results=[("run", [1, 2]), ("run", [2])])),
    ("sums_are_exact", lambda: with_final(state={"count": 3})),
    ("sums_are_exact", lambda: with_final(state={})),
    ("work_is_done", lambda: with_bodies(body("a", 1))),
    ("work_is_done", lambda: with_bodies(body("a", 1), body("b", 2, after="a", ends=False))),
    ("work_is_done", lambda: with_bodies(*good().bodies, body("c", 3))),
    ("bodies_repeat_for_a_reason", lambda: with_bodies(*good().bodies, body("b", 3))),
    (  # the fault hit a third process
        "bodies_repeat_for_a_reason",
        lambda: with_bodies(
            body("a", 1, ends=False),
            body("a", 1.4, pid=TWO),
            body("b", 2, after="a"),
            faults=(replace(KILL, pids=frozenset({103})),),
        ),
    ),
    (  # the fault came before the first of them began
        "bodies_repeat_for_a_reason",
        lambda: with_bodies(
            body("a", 1.35, ends=False),
            body("a", 1.5, pid=TWO),
            body("b", 2, after="a"),
            faults=(KILL,),
        ),
    ),
    (  # one fault, two more executions
        "bodies_repeat_for_a_reason",
        lambda: with_bodies(
            body("a", 1, ends=False),
            body("a", 1.4, pid=TWO, ends=False),
            body("a", 1.6, pid=TWO),
            body("b", 2, after="a", pid=TWO),
            faults=(KILL,),
        ),
    ),
    (
        "committed_bodies_stay_done",
        lambda: with_bodies(*good().bodies, body("a", 3, pid=TWO), faults=(KILL,)),
    ),
    (  # it had slept, but went on long ago
        "committed_bodies_stay_done",
        lambda: with_bodies(*good().bodies, body("a", 4), faults=(FREEZE,)),
    ),
    ("acknowledged_signals_arrive", lambda: with_final(received=("x",))),
    (  # the second time it was refused, but the first time it was taken
        "acknowledged_signals_arrive",
        lambda: replace(
            with_final(received=("x",)), sends=[X, Y, Send("run", "y", Answer.REFUSED, "ann")]
        ),
    ),
    ("signals_arrive_once", lambda: with_final(received=("x", "y", "x"))),
    (
        "refused_signals_do_not_arrive",
        lambda: with_sends(X, Send("run", "y", Answer.REFUSED, "ann")),
    ),
    ("refused_signals_do_not_arrive", lambda: with_sends(X)),
    ("signals_keep_their_order", lambda: with_sends(Y, X)),
    ("commits_are_numbered", lambda: with_final(log=(line(1), line(3)))),
    ("commits_are_numbered", lambda: with_final(log=(line(2), line(1)))),
    ("epochs_grow", lambda: with_final(log=(line(1, "(claimed)", 2), line(1, "(claimed)", 2)))),
]

GOOD: dict[str, Callable[[], History]] = {
    "no fault": good,
    "a start that nobody knows of, and no run": lambda: replace(
        without_final(), starts=[Start("run", Answer.UNKNOWN)]
    ),
    "a killed process": lambda: with_bodies(
        body("a", 1, ends=False), body("a", 1.4, pid=TWO), body("b", 2, after="a"), faults=(KILL,)
    ),
    "a process that was killed after its last word": lambda: with_bodies(
        body("a", 0.8), body("a", 1.4, pid=TWO), body("b", 2, after="a"), faults=(KILL,)
    ),
    "a frozen process that goes on where it stood": lambda: with_bodies(
        body("a", 1.4, pid=TWO), body("b", 2, after="a"), body("a", 3), faults=(FREEZE,)
    ),
    "a wait that was released": lambda: with_bodies(
        replace(body("a", 1), way=Way.RESTED), body("a", 1.4), body("b", 2, after="a")
    ),
    "a failover that lost a commit": lambda: with_bodies(
        *good().bodies, body("a", 3), body("b", 3.2, after="a"), faults=(FAILOVER,)
    ),
    "a signal that is sent again": lambda: with_sends(
        Send("run", "x", Answer.UNKNOWN, "ann"), X, Y, Y
    ),
    "a signal of which nobody knows": lambda: replace(
        with_final(received=("x",)), sends=[X, Send("run", "y", Answer.UNKNOWN, "ann")]
    ),
    "senders that overtake one another": lambda: with_sends(replace(Y, sender="bob"), X),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD.keys())
def test_a_good_history_breaks_no_law(history: Callable[[], History]) -> None:
    assert violations(history()) == []


@pytest.mark.parametrize(("law", "history"), BAD)
def test_a_bad_history_breaks_its_law(law: str, history: Callable[[], History]) -> None:
    assert {found.law for found in violations(history())} == {law}


def test_every_law_has_a_history_that_breaks_it() -> None:
    assert {law for law, _ in BAD} == {law.__name__ for law in LAWS}


def test_a_violation_names_the_law_the_run_and_the_proof() -> None:
    [found] = violations(with_final(state={"count": 3}))
    assert str(found) == "sums_are_exact: run run: state count is 3, not 2"


WRITER = """
import asyncio, os, signal
from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from support.journal import body

class Telling(Workflow):
    @step
    async def tell(self, ev: StartEvent, ctx: Context) -> StopEvent:
        with body(ctx, "a"):
            pass
        try:
            with body(ctx, "b", after=["a"]):
                raise ValueError
        except ValueError:
            pass
        try:
            with body(ctx, "c") as note, note.rest():
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            pass
        try:
            with body(ctx, "d") as note:
                with note.rest():
                    pass
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            pass
        with body(ctx, "e"):
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    await Telling().run(run_id="the-run")

asyncio.run(main())
"""


def test_bodies_are_read_as_they_were_written(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", WRITER],
        env={JOURNALS: str(tmp_path), "PYTHONPATH": tests},
        check=False,
    )
    bodies = read_bodies(tmp_path)
    assert done.returncode == -9
    assert {one.run_id for one in bodies} == {"the-run"}
    assert [(one.token, one.after, one.way) for one in bodies] == [
        ("a", (), Way.RETURNED),
        ("b", ("a",), Way.FAILED),
        ("c", (), Way.RESTED),
        ("d", (), Way.CUT),
        ("e", (), None),
    ]
