"""Everything at once: any sequence of things that can happen, and crashes in between.

After each of them `Drive` checks all laws of a run. At the end the run is driven until nothing is
left to do, and each event must have been handled as often as the plan says.
"""

from collections import Counter
from typing import Annotated, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stepwell._engine.commands import Command, Invoke, Remind
from stepwell._engine.loading import load
from stepwell._engine.state import RunState, Work
from stepwell._engine.ticks import CancelAsked, RetryDue, RunResumed, WaitExpired
from stepwell.collect import Collect, Take
from stepwell.decorators import catch_error, step
from stepwell.events import Event, StartEvent, StepFailedEvent, StopEvent
from stepwell.retry_policy import (
    retry_policy,
    stop_after_attempt,
    stop_never,
    wait_fixed,
    wait_none,
)
from support.engine import Drive, Steps, of_kind, snapshot_of


class Job(Event):
    n: int


class Done(Event):
    n: int


class Left(Event):
    n: int


class Right(Event):
    n: int


class Reply(Event):
    n: int


class Tried(Event):
    n: int


everything = Steps()


@step(workflow=everything)
def begin(ev: StartEvent) -> list[Job]: ...


@step(workflow=everything, num_workers=3)
def spread(ev: Job) -> list[Done] | None: ...


@step(workflow=everything, num_workers=1)
def waits(ev: Left) -> None: ...


@step(
    workflow=everything,
    num_workers=1,
    retry_policy=retry_policy(wait=wait_fixed(5), stop=stop_after_attempt(3)),
)
def tries(ev: Right) -> None: ...


@step(workflow=everything, num_workers=3)
def joins(left: Left, right: Right) -> None: ...


@step(workflow=everything)
def gathers(ev: list[Done]) -> None: ...


@step(workflow=everything)
def takes(ev: Annotated[list[Done], Collect(Take(2))]) -> None: ...


@step(
    workflow=everything,
    num_workers=3,
    retry_policy=retry_policy(wait=wait_none(), stop=stop_never()),
)
def collects(ev: Tried) -> None: ...


class Handlers:
    @catch_error(for_steps=["spread"], max_recoveries=1)
    def scoped(self, ev: StepFailedEvent) -> None: ...

    @catch_error(max_recoveries=2)
    def wild(self, ev: StepFailedEvent) -> StopEvent | None: ...


everything.add_class(Handlers)
PLAN = everything.plan()

picks = st.integers(0, 9)


def what(work: Work) -> tuple[str, str]:
    """A delivery: the step, and what it gets."""
    payload = work.payload if isinstance(work.payload, list) else [work.payload]
    if isinstance(payload[0], StepFailedEvent) if payload else False:
        return work.step, "a failure"
    return work.step, ",".join(str(getattr(event, "n", "-")) for event in payload)


class Machine(RuleBasedStateMachine):
    """Feeds ticks; remembers what was delivered and what was handled."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Drive(PLAN)
        self.came = 0
        self.now = 0.0
        self.handled: Counter[int] = Counter()
        self.made: dict[int, tuple[str, str]] = {}
        self.reminders: list[Remind] = []
        self.collected: list[int] = []
        self.pending: dict[int, list[Event] | None] = {}

    # --- carrying out what is asked ---

    def do(self, commands: list[Command]) -> None:
        for work in self.run.state.works():
            self.made.setdefault(work.id, what(work))
        for command in commands:
            if isinstance(command, Invoke):
                self.pending.pop(command.work.id, None)
        self.reminders += of_kind(commands, Remind)
        self.check_against_a_copy()

    def check_against_a_copy(self) -> None:
        """Somebody who takes over now starts the work that is there, and all of it once."""
        copy = load(PLAN, snapshot_of(PLAN, self.run.state))
        assert works_of(copy) == works_of(self.run.state)
        assert {*copy.waits} == {*self.run.state.waits}

    @property
    def running(self) -> list[Work]:
        """The works whose steps are at it; a step in line for a worker after a wait stands."""
        return [work for queue in self.run.state.queues.values() for work in queue.running.values()]

    def pick(self, works: list[Work], pick: int) -> Work:
        return works[pick % len(works)]

    # --- rules ---

    @initialize()
    def start(self) -> None:
        self.do(self.run.start())

    @rule(kind=st.sampled_from([Job, Left, Right, Tried, Reply]), times=st.integers(1, 3))
    def comes(self, kind: type[Any], times: int) -> None:
        for _ in range(times):
            self.came += 1
            self.do(self.run.receives(kind(n=self.came)))

    @precondition(lambda self: self.running)
    @rule(pick=picks)
    def returns(self, pick: int) -> None:
        self.finish(self.pick(self.running, pick))

    def finish(self, work: Work) -> None:
        self.handled[work.id] += 1
        if work.step == "collects":
            self.end_collecting(work)
        self.do(self.run.returns(work))

    def end_collecting(self, work: Work) -> None:
        if work.id not in self.pending:
            self.collect(work)
        taken = self.pending.pop(work.id)
        self.collected += [event.n for event in taken or [] if isinstance(event, Tried)]

    def collect(self, work: Work) -> None:
        self.pending[work.id] = self.run.collects(work, [Tried] * 3)

    @precondition(lambda self: self.run.running("collects"))
    @rule(pick=picks)
    def offers(self, pick: int) -> None:
        work = self.pick(self.run.running("collects"), pick)
        if work.id not in self.pending:
            self.collect(work)

    @precondition(lambda self: self.run.running("begin") + self.run.running("spread"))
    @rule(pick=picks, number=st.integers(0, 4))
    def fans_out(self, pick: int, number: int) -> None:
        work = self.pick(self.run.running("begin") + self.run.running("spread"), pick)
        kind = Job if work.step == "begin" else Done
        self.handled[work.id] += 1
        self.do(self.run.fans_out(work, *(kind(n=n) for n in range(number))))

    @precondition(lambda self: self.can_fail())
    @rule(pick=picks)
    def fails(self, pick: int) -> None:
        work = self.pick(self.can_fail(), pick)
        failures = work.failure.count if work.failure else 0
        self.pending.pop(work.id, None)
        self.do(self.run.fails(work, now=self.now, took=1.0))
        if work.is_done:
            self.handled[work.id] += 1
        else:
            assert work.failure is not None
            assert work.failure.count == failures + 1
            assert failures < 2 or work.step == "collects"

    def can_fail(self) -> list[Work]:
        """A failure of any other would end the run."""
        return [
            work
            for work in self.running
            if (handler := PLAN.handlers.get(work.step))
            and work.lineage.recoveries.get(handler, 0) < PLAN.steps[handler].max_recoveries
        ]

    @precondition(lambda self: self.running)
    @rule(pick=picks, kind=st.sampled_from([Left, Right, Reply]))
    def sends(self, pick: int, kind: type[Any]) -> None:
        self.came += 1
        work = self.pick(self.running, pick)
        self.do(self.run.sends(work, kind(n=self.came), f"d{self.came}"))

    @precondition(lambda self: self.run.running("waits"))
    @rule(name=st.sampled_from("ab"), deadline=st.sampled_from([None, 3.0]))
    def waits_for_a_reply(self, name: str, deadline: float | None) -> None:
        work = self.run.running("waits")[0]
        waiter = work.progress.waiters.get(name)
        if waiter is None or waiter.is_open:
            due = None if deadline is None else self.now + deadline
            self.do(self.run.waits(work, Reply, name, deadline=due))

    @precondition(lambda self: self.run.running("waits"))
    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def sleeps(self, seconds: float) -> None:
        work = self.run.running("waits")[0]
        waiter = work.progress.waiters.get("s")
        if waiter is None or waiter.is_open:
            self.do(self.run.sleeps(work, self.now + seconds, now=self.now))

    @precondition(lambda self: self.run.suspended("waits"))
    @rule(pick=picks, how=st.sampled_from(["drop", "suspend", "return", "fail", "again"]))
    def a_waiting_step_goes_on(self, pick: int, how: str) -> None:
        work = self.pick(self.run.suspended("waits"), pick)
        if not work.is_held:
            return
        if how == "drop":
            self.do(self.run.drops(work, next(iter(work.progress.waiters))))
        elif how == "suspend":
            self.do(self.run.suspends(work))
        elif how == "return":
            self.finish(work)
        elif how == "again":
            self.do(self.run.waits(work, Reply, "c"))
        elif work in self.can_fail():
            self.do(self.run.fails(work))

    @precondition(lambda self: self.held_in_line())
    @rule(how=st.sampled_from(["drop", "return", "again"]))
    def a_step_in_line_goes_on(self, how: str) -> None:
        work = self.held_in_line()[0]
        if how == "drop":
            self.do(self.run.drops(work, next(iter(work.progress.waiters))))
        elif how == "return":
            self.finish(work)
        else:
            self.do(self.run.waits(work, Reply, "d"))

    def held_in_line(self) -> list[Work]:
        return list(self.run.state.queues["waits"].woken)

    @precondition(lambda self: self.reminders)
    @rule(pick=picks)
    def time_passes(self, pick: int) -> None:
        remind = self.reminders.pop(pick % len(self.reminders))
        assert isinstance(remind.tick, RetryDue | WaitExpired)
        self.now += remind.delay
        self.do(self.run.tick(remind.tick))

    @rule()
    def crashes(self) -> None:
        self.forget()
        self.do(self.run.crash(self.now))

    @rule()
    def is_given_back_in_peace(self) -> None:
        attempts = {work.id: work.attempt for work in self.run.state.works()}
        self.forget()
        self.do(self.run.crash(self.now, interrupted=False))
        assert attempts == {work.id: work.attempt for work in self.run.state.works()}

    @rule()
    def is_cancelled_and_resumed(self) -> None:
        self.forget()
        self.run.tick(CancelAsked())
        self.do(self.run.tick(RunResumed(self.now)))

    def forget(self) -> None:
        self.pending.clear()
        self.reminders.clear()

    # --- the end ---

    def teardown(self) -> None:
        """All that is left is done: what waits gets its event, what failed its next attempt."""
        for _ in range(1000):
            if not self.work_left():
                break
            for work in self.running:
                if work.id in self.run.state.queues[work.step].running:
                    self.finish(work)
            for work in list(self.run.delayed("tries")):
                self.do(self.run.retries(work))
            self.give_replies()
            self.end_sleeps()
        assert not self.work_left()
        assert not self.run.state.streams
        self.check_that_all_was_handled_once()

    def work_left(self) -> bool:
        queues = self.run.state.queues.values()
        return any(next(queue.works(), None) for queue in queues)

    def give_replies(self) -> None:
        if self.run.suspended("waits"):
            self.came += 1
            self.do(self.run.receives(Reply(n=self.came)))

    def end_sleeps(self) -> None:
        for work in self.run.suspended("waits"):
            if "s" in work.progress.waiters:
                self.do(self.run.expires(work, "s"))

    def check_that_all_was_handled_once(self) -> None:
        parts = {part.id for parts in self.run.state.parts.values() for part in parts.works()}
        joined = {number for number, (name, got) in self.made.items() if self.was_a_part(name, got)}
        assert {*self.made} == {*self.handled} | parts | joined
        assert set(self.handled.values()) <= {1}
        kept = [
            one.event.n
            for b in self.run.state.buffers.values()
            for one in b.kept
            if isinstance(one.event, Tried)
        ]
        given = [int(got) for name, got in self.made.values() if name == "collects"]
        assert sorted(self.collected + kept) == sorted(given)
        assert len(kept) < 3

    def was_a_part(self, name: str, got: str) -> bool:
        return name == "joins" and "," not in got


def works_of(state: RunState) -> list[tuple[int, str, int, list[str]]]:
    return sorted(
        (work.id, work.step, work.attempt, sorted(work.progress.waiters)) for work in state.works()
    )


Machine.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestMachine = Machine.TestCase
