"""What must be true of every history, whatever was broken in it.

Each law is a function that finds what breaks it; its name is the law.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from support.history import ANYTHING, Answer, Body, Final, History, Start, Way

__all__ = ["LAWS", "Violation", "violations"]

COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Violation:
    """A law, the run that it was broken in, and the shortest proof."""

    law: str
    run_id: str
    proof: str

    def __str__(self) -> str:
        return f"{self.law}: run {self.run_id}: {self.proof}"


Found = Iterator[tuple[str, str]]
"""Runs, each with the proof against it."""


def violations(history: History) -> list[Violation]:
    """Everything that breaks a law."""
    return [
        Violation(law.__name__, run_id, proof) for law in LAWS for run_id, proof in law(history)
    ]


# clients


def started_runs_are_there(history: History) -> Found:
    """A run whose start was acknowledged is not lost."""
    for start in history.starts:
        if start.answer is Answer.OK and start.run_id not in history.finals:
            yield start.run_id, "its start was acknowledged, and there is no such run"


def refused_runs_are_not(history: History) -> Found:
    """A start that was refused left nothing."""
    acknowledged = {one.run_id for one in history.starts if one.answer is not Answer.REFUSED}
    for start in history.starts:
        if start.run_id in history.finals and start.run_id not in acknowledged:
            yield start.run_id, "its start was refused, and there it is"


def runs_end(history: History) -> Found:
    """No run is stuck, set aside, or failed."""
    for final in history.finals.values():
        if final.status != COMPLETED:
            yield final.run_id, f"is {final.status}; its log ends {_end_of_log(final)}"


def results_are_right(history: History) -> Found:
    """A run ends with what its input says, once, and everybody is told the same."""
    for start, final in _completed(history):
        if start.result is not ANYTHING and final.result != start.result:
            yield start.run_id, f"ended with {final.result!r}, not {start.result!r}"
    for run_id, result in history.results:
        final = history.finals.get(run_id)
        if final is not None and final.result != result:
            yield run_id, f"a client was told {result!r}, and the store has {final.result!r}"


def sums_are_exact(history: History) -> Found:
    """What a committed step added to the state is there once."""
    for start, final in _completed(history):
        for key, right in start.sums.items():
            if final.state.get(key) != right:
                yield start.run_id, f"state {key} is {final.state.get(key)}, not {right}"


# bodies


def work_is_done(history: History) -> Found:
    """A run that completed executed all of its bodies to their end, and nothing else."""
    returned = defaultdict[str, set[str]](set)
    begun = defaultdict[str, set[str]](set)
    for body in history.bodies:
        begun[body.run_id].add(body.token)
        if body.way in (Way.RETURNED, Way.FAILED):
            returned[body.run_id].add(body.token)
    for start, _ in _completed(history):
        if missing := start.tokens - returned[start.run_id]:
            yield start.run_id, f"completed without {', '.join(sorted(missing))}"
        if start.tokens and (foreign := begun[start.run_id] - start.tokens):
            yield start.run_id, f"executed {', '.join(sorted(foreign))}, which it has not"


def bodies_repeat_for_a_reason(history: History) -> Found:
    """A body is executed again only if a fault cut it off, or it was released while it rested.

    So there are no more executions than there are faults that hit the run, times its steps in
    flight; and without faults, one of each.
    """
    for first, again in _repeated(history):
        if first.way is not Way.RESTED and not _cut_off(history, first, again):
            yield first.run_id, f"for no reason again: {first}; then {again}"


def committed_bodies_stay_done(history: History) -> Found:
    """Nothing is executed again once something began that its commit made possible."""
    followers = _followers(history)
    for again in {again for _, again in _repeated(history)}:
        follower = followers.get((again.run_id, again.token))
        if follower and follower.began < again.began and not _may_not_know(history, again):
            yield again.run_id, f"committed before, and again: {again}; it was before {follower}"


# signals


def acknowledged_signals_arrive(history: History) -> Found:
    """What was acknowledged to its sender is received."""
    for final, token, answers in _signals(history):
        if Answer.OK in answers and token not in final.received:
            yield final.run_id, f"{token} was acknowledged, and never received"


def signals_arrive_once(history: History) -> Found:
    """However often something is sent under one key, it is received once."""
    for final in history.finals.values():
        for token, times in Counter(final.received).items():
            if times > 1:
                yield final.run_id, f"{token} was received {times} times"


def refused_signals_do_not_arrive(history: History) -> Found:
    """What was refused is not received, nor what nobody sent."""
    sent = {(one.run_id, one.token) for one in history.sends}
    for final, token, answers in _signals(history):
        if answers == {Answer.REFUSED} and token in final.received:
            yield final.run_id, f"{token} was refused, and received"
    for final in history.finals.values():
        for token in final.received:
            if (final.run_id, token) not in sent:
                yield final.run_id, f"{token} was received, and nobody sent it"


def signals_keep_their_order(history: History) -> Found:
    """A run receives what one sender sends in the order in which that one sent it."""
    sent = defaultdict[tuple[str, str], list[str]](list)
    for one in history.sends:
        if one.answer is Answer.OK and one.token not in sent[one.run_id, one.sender]:
            sent[one.run_id, one.sender].append(one.token)
    for (run_id, sender), tokens in sent.items():
        final = history.finals.get(run_id)
        received = [one for one in dict.fromkeys(final.received if final else ()) if one in tokens]
        if received != [token for token in tokens if token in received]:
            yield run_id, f"{sender} sent {tokens}, and received were {received}"


# the store


def commits_are_numbered(history: History) -> Found:
    """The number of a run grows by one with each commit."""
    for final in history.finals.values():
        for before, after in pairwise(final.log):
            if after.seq - before.seq not in (0, 1):
                yield final.run_id, f"{before} is followed by {after}"


def epochs_grow(history: History) -> Found:
    """Every claim has an epoch of its own, one more than the last."""
    for final in history.finals.values():
        claims = [line for line in final.log if line.step == "(claimed)"]
        for before, after in pairwise(claims):
            if after.attempt != before.attempt + 1:
                yield final.run_id, f"{before} is followed by {after}"


LAWS: tuple[Callable[[History], Found], ...] = (
    started_runs_are_there,
    refused_runs_are_not,
    runs_end,
    results_are_right,
    sums_are_exact,
    work_is_done,
    bodies_repeat_for_a_reason,
    committed_bodies_stay_done,
    acknowledged_signals_arrive,
    signals_arrive_once,
    refused_signals_do_not_arrive,
    signals_keep_their_order,
    commits_are_numbered,
    epochs_grow,
)


def _completed(history: History) -> Iterator[tuple[Start, Final]]:
    for start in history.starts:
        final = history.finals.get(start.run_id)
        if final is not None and final.status == COMPLETED:
            yield start, final


def _end_of_log(final: Final) -> str:
    return " ".join(f"[{line.seq} {line.step} {line.outcome}]" for line in final.log[-4:])


def _repeated(history: History) -> Iterator[tuple[Body, Body]]:
    """Each body that was executed again, with the next time."""
    executions = defaultdict[tuple[str, str], list[Body]](list)
    for body in sorted(history.bodies, key=lambda body: body.began):
        executions[body.run_id, body.token].append(body)
    for times in executions.values():
        yield from pairwise(times)


def _cut_off(history: History, first: Body, again: Body) -> bool:
    return any(fault.lies_between(first, again) for fault in history.faults)


def _followers(history: History) -> dict[tuple[str, str], Body]:
    """The first body that began after a token was committed."""
    followers: dict[tuple[str, str], Body] = {}
    for body in sorted(history.bodies, key=lambda body: body.began):
        for token in body.after:
            followers.setdefault((body.run_id, token), body)
    return followers


def _may_not_know(history: History, body: Body) -> bool:
    """Whether its process slept through the commit, or the store forgot it."""
    return any(
        (fault.forgets or fault.freezes)
        and fault.hits(body)
        and fault.began <= body.began <= fault.over
        for fault in history.faults
    )


def _signals(history: History) -> Iterator[tuple[Final, str, set[Answer]]]:
    """What was sent to runs that are there, with all that its senders were answered."""
    answers = defaultdict[tuple[str, str], set[Answer]](set)
    for one in history.sends:
        answers[one.run_id, one.token].add(one.answer)
    for (run_id, token), told in answers.items():
        if run_id in history.finals:
            yield history.finals[run_id], token, told
