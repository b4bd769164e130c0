"""Waits: a step stands still until an event comes that fits, or is run again when it has come.

A sleep is a wait that no event fits: only its deadline ends it.

An event fits one wait or several: all that name its class, and whose requirements it meets, whether
their steps stand in them or are on the way back, after a failure or a crash. One that nobody takes
is kept, since the wait that it is meant for may not have begun.
"""

from collections.abc import Iterator
from functools import partial

from stepwell._engine import collecting, scheduling
from stepwell._engine.commands import Command, Forget, Publish, Remind, Warn
from stepwell._engine.matching import Index
from stepwell._engine.plan import Plan
from stepwell._engine.state import Kept, Question, RunState, Waiter, Work
from stepwell._engine.ticks import StepSuspended, WaitBegun, WaitDropped, WaitExpired
from stepwell.events import Event, HumanResponseEvent

__all__ = [
    "KEPT_MAX",
    "answer",
    "ask",
    "begin",
    "drop",
    "expire",
    "fits_a_wait",
    "forget",
    "is_full",
    "keep",
    "leave",
    "open_wait",
    "reopen",
    "suspend",
]

KEPT_MAX = 1000
"""How many events a run keeps that nobody has taken, and how many questions."""


def begin(plan: Plan, state: RunState, tick: WaitBegun) -> list[Command]:
    """A running step waits: it gives its worker to others, unless what it waits for is there."""
    work, name, waiters = tick.work, tick.name, tick.work.progress.waiters
    is_new = name not in waiters
    waiter = waiters.setdefault(name, tick.waiter)
    waiter.requirements = tick.waiter.requirements
    waiter.answer = _take_kept(plan, state, work, waiter)
    state.note(f"wait:{work.id}:{name}", waiter)
    if waiter.answer is not None:
        waiter.is_sole = True
        work.progress.over.append(name)
        return [*_close(state, work, name), scheduling.wake(work)]
    open_wait(state, work, name)
    work.progress.standing.add(name)
    return (_introduce(tick) if is_new else []) + _hold(plan, state, work)


def _hold(plan: Plan, state: RunState, work: Work) -> list[Command]:
    """A step that waits needs no worker, nor a place in the line for one."""
    queue = state.queues[work.step]
    if work.id in queue.suspended:
        return []
    was_in_line = work.is_held
    queue.release(work)
    queue.suspended[work.id] = work
    work.is_held = True
    told = [scheduling.wake(work)] if was_in_line else []
    return told + scheduling.fill(plan.steps[work.step], queue)


def _introduce(tick: WaitBegun) -> list[Command]:
    commands: list[Command] = []
    if tick.waiter.question is not None:
        commands.append(Publish(tick.waiter.question))
    if tick.timeout is not None:
        commands.append(Remind(tick.timeout, WaitExpired(tick.work, tick.name, tick.waiter)))
    return commands


def answer(
    plan: Plan, state: RunState, event: Event, only: str | None = None
) -> tuple[set[str], list[Command]]:
    """Give an event to all waits that it fits; return their steps, and what is to be done.

    With `only`, to those of this step.
    """
    if not state.waits:
        _note_answer(state, event)
        return set(), []
    commands: list[Command] = []
    fitting = [
        (work, name) for work, name in _fitting(plan, state, event) if only in (None, work.step)
    ]
    for work, name in fitting:
        waiter = work.progress.waiters[name]
        waiter.answer, waiter.is_sole = event, len(fitting) == 1
        commands += _settle(plan, state, work, name)
    if not any(work.progress.waiters[name].question for work, name in fitting):
        _note_answer(state, event)
    return {work.step for work, _ in fitting}, commands


def expire(plan: Plan, state: RunState, tick: WaitExpired) -> list[Command]:
    """The deadline of a wait has come: its step goes on without the event."""
    waiter, work = tick.waiter, tick.work
    is_over = work.is_done or not waiter.is_open
    if is_over or work.progress.waiters.get(tick.name) is not waiter:
        return []
    waiter.expired = True
    return _settle(plan, state, work, tick.name)


def drop(plan: Plan, state: RunState, tick: WaitDropped) -> list[Command]:
    """A step was made to stop waiting: it runs already, so it needs no free worker."""
    work, queue = tick.work, state.queues[tick.work.step]
    waiter = work.progress.waiters.get(tick.name)
    commands: list[Command] = []
    if waiter is not None and not waiter.is_read:
        commands += _close(state, work, tick.name)
        del work.progress.waiters[tick.name]
        state.note(f"wait:{work.id}:{tick.name}", None)
        commands += _give_back(plan, state, waiter)
    if work.is_held and not work.progress.standing:
        queue.release(work)
        queue.running[work.id] = work
    return commands


def _give_back(plan: Plan, state: RunState, waiter: Waiter) -> list[Command]:
    """An event that only a wait got which is no more is there for others."""
    if waiter.answer is None or waiter.is_read or not waiter.is_sole:
        return []
    woken, commands = answer(plan, state, waiter.answer)
    return commands if woken else commands + keep(state, waiter.answer)


def suspend(plan: Plan, state: RunState, tick: StepSuspended) -> list[Command]:
    """A step that waits has left: when its event is there it is run again from its first line."""
    work, queue = tick.work, state.queues[tick.work.step]
    collecting.put_back(state, [work])
    if work.id in queue.suspended:
        work.is_held = False
        return []
    queue.release(work)
    return scheduling.put_first(plan.steps[work.step], queue, work)


def _settle(plan: Plan, state: RunState, work: Work, name: str) -> list[Command]:
    """A wait is over. A step that stands in others too needs no worker to hear of it."""
    stood = name in work.progress.standing
    state.note(f"wait:{work.id}:{name}", work.progress.waiters[name])
    commands = _close(state, work, name)
    if not stood:
        return commands
    work.progress.over.append(name)
    queue = state.queues[work.step]
    if work.id not in queue.suspended:
        return commands
    if work.progress.standing:
        return [*commands, scheduling.wake(work)]
    del queue.suspended[work.id]
    return commands + scheduling.put_woken(plan.steps[work.step], queue, work)


# --- the open waits ---


def open_wait(state: RunState, work: Work, name: str) -> None:
    """Let events reach a wait."""
    waiter = work.progress.waiters[name]
    waits = state.waits.setdefault(waiter.event_type, Index())
    waits.remove((work.id, name))
    waits.add((work.id, name), work, waiter.requirements)


def _close(state: RunState, work: Work, name: str) -> list[Command]:
    """Let no event reach a wait any more."""
    waiter = work.progress.waiters[name]
    work.progress.standing.discard(name)
    waits = state.waits.get(waiter.event_type)
    if waits is not None:
        waits.remove((work.id, name))
        if not waits.entries:
            del state.waits[waiter.event_type]
    return [Forget(waiter)] if waiter.deadline is not None else []


def leave(work: Work) -> None:
    """The step stands nowhere any more: it failed, or was stopped. Its waits stay open."""
    if work.begun is not None:
        work.begun.standing.clear()
        work.begun.over.clear()


def forget(plan: Plan, state: RunState, work: Work) -> list[Command]:
    """The step is done: it waits for nothing any more, and what it never read is for others."""
    commands: list[Command] = []
    for name, waiter in work.progress.waiters.items():
        commands += _close(state, work, name)
        commands += _give_back(plan, state, waiter)
    return commands


def fits_a_wait(plan: Plan, state: RunState, event: Event, step: str | None = None) -> bool:
    """Whether a step waits for this event: this one, or any."""
    return any(step in (None, work.step) for work, _ in _fitting(plan, state, event))


def _fitting(plan: Plan, state: RunState, event: Event) -> Iterator[tuple[Work, str]]:
    cls = type(event)
    for wanted, waits in state.waits.items():
        if wanted is not cls and (wanted is None or not issubclass(cls, wanted)):
            continue
        for (_, name), work in waits.candidates(partial(_attribute, event)):
            if _fits(plan, work, work.progress.waiters[name], event):
                yield work, name


def _fits(plan: Plan, work: Work, waiter: Waiter, event: Event) -> bool:
    wanted = waiter.event_type
    if wanted is None:
        return False
    exact = type(event) is wanted
    if not exact and not (plan.steps[work.step].subclasses and isinstance(event, wanted)):
        return False
    return waiter.requirements is not None and all(
        _attribute(event, key) == value for key, value in waiter.requirements.items()
    )


def _attribute(event: Event, name: str) -> object:
    return getattr(event, name, None)


# --- events that nobody took ---


def is_full(state: RunState) -> bool:
    """Whether the run keeps as many events as it may."""
    return len(state.kept) >= KEPT_MAX


def keep(state: RunState, event: Event) -> list[Command]:
    """Keep an event for a wait that may begin."""
    if is_full(state):
        return [Warn(_too_many(event))]
    number = state.new_id()
    state.kept[number] = Kept(event)
    state.note(f"kept:{number}", state.kept[number])
    return []


def _take_kept(plan: Plan, state: RunState, work: Work, waiter: Waiter) -> Event | None:
    for number, kept in state.kept.items():
        if _fits(plan, work, waiter, kept.event):
            del state.kept[number]
            state.note(f"kept:{number}", None)
            return kept.event
    return None


def _too_many(event: Event) -> str:
    return (
        f"{type(event).__name__} is taken by no step, and {KEPT_MAX} such events are kept "
        f"already: it was dropped. Add a step that takes it, or wait for it."
    )


# --- questions to a human ---


def ask(state: RunState, event: Event) -> None:
    """Remember a question, to ask it again if the run goes on elsewhere before the answer.

    A step that is run again asks again: that is the same question.
    """
    if any(_is_same(question.event, event) for question in state.questions.values()):
        return
    if len(state.questions) >= KEPT_MAX:
        _forget_oldest_question(state)
    number = state.new_id()
    state.questions[number] = Question(event)
    state.note(f"question:{number}", state.questions[number])


def _is_same(one: Event, other: Event) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  a user's value may refuse to be compared: then it is another
        return False


def _note_answer(state: RunState, event: Event) -> None:
    """An answer to no wait with a question of its own closes the question that was asked first."""
    if state.questions and isinstance(event, HumanResponseEvent):
        _forget_oldest_question(state)


def _forget_oldest_question(state: RunState) -> None:
    number = next(iter(state.questions))
    del state.questions[number]
    state.note(f"question:{number}", None)


# --- after a crash ---


def reopen(state: RunState, now: float) -> list[Command]:
    """The run goes on in another life: ask again what was not answered, and let time go on."""
    commands: list[Command] = [Publish(question.event) for question in state.questions.values()]
    for waits in state.waits.values():
        for (_, name), work in waits.entries.items():
            waiter = work.progress.waiters[name]
            if waiter.question is not None:
                commands.append(Publish(waiter.question))
            if waiter.deadline is not None:
                expire = WaitExpired(work, name, waiter)
                commands.append(Remind(max(0.0, waiter.deadline - now), expire))
    return commands
