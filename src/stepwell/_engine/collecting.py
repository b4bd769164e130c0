"""Fan-in: streams that gather what a list return led to, and the buffers of `collect_events`."""

from collections.abc import Iterable, Sequence

from stepwell._engine import scheduling
from stepwell._engine.commands import Command, Warn
from stepwell._engine.plan import Plan, StepPlan
from stepwell._engine.state import Buffer, Buffered, Gathered, RunState, Scope, Stream, Work
from stepwell.events import Event

__all__ = ["collect", "gather", "keep_offers", "leave", "open_stream", "put_back"]


def open_stream(state: RunState, producer: str, scope: Scope) -> Stream:
    """Open the stream of one list return; it counts as one open piece of the stream around it."""
    stream = Stream(state.new_id(), producer, scope)
    state.streams[stream.id] = stream
    state.note(f"join:{stream.id}", stream)
    if scope:
        state.streams[scope[-1]].open += 1
    stream.open = 1
    return stream


def leave(plan: Plan, state: RunState, scope: Scope) -> list[Command]:
    """One piece of the innermost stream is done; the last one closes the stream."""
    commands: list[Command] = []
    while scope:
        stream = state.streams[scope[-1]]
        stream.open -= 1
        if stream.open:
            break
        commands += _close(plan, state, stream)
        scope = stream.scope
    return commands


def _close(plan: Plan, state: RunState, stream: Stream) -> list[Command]:
    """Hand each gathering step its list, empty ones included."""
    commands: list[Command] = []
    for name in dict.fromkeys([*plan.steps[stream.producer].joins, *stream.batches]):
        if name not in stream.fired:
            commands += _fire(state, stream, plan.steps[name])
    del state.streams[stream.id]
    state.note(f"join:{stream.id}", None)
    return commands


def gather(state: RunState, step: StepPlan, event: Event, scope: Scope) -> list[Command]:
    """Keep an event for a step that takes lists; `Take(n)` has its list with the n-th."""
    if not scope:
        return [Warn(_outside(step, event))]
    stream = state.streams[scope[-1]]
    if step.name in stream.fired:
        return []
    stream.arrived += 1
    gathered = Gathered(step.name, event)
    batch = stream.batches.setdefault(step.name, {})
    batch[stream.arrived] = gathered
    state.note(f"join:{stream.id}:{stream.arrived}", gathered)
    if len(batch) != step.take:
        return []
    commands = _fire(state, stream, step)
    state.note(f"join:{stream.id}", stream)
    return commands


def _fire(state: RunState, stream: Stream, step: StepPlan) -> list[Command]:
    stream.fired.add(step.name)
    batch = stream.batches.pop(step.name, {})
    for number in batch:
        state.note(f"join:{stream.id}:{number}", None)
    events = [gathered.event for gathered in batch.values()]
    return scheduling.enqueue(state, step, events, stream.scope)


def collect(
    state: RunState, work: Work, event: Event, expected: Sequence[type[Event]], buffer: str
) -> list[Event] | None:
    """Offer an event to a buffer; return the events in the order of `expected` once all are there.

    What an unfinished step offered or took becomes final, and durable, when that step is done:
    `keep_offers` and `put_back` say how.
    """
    if not expected:
        return []
    cls = type(event)
    if buffer in work.settled or cls not in expected:
        return None
    waiting = state.buffers.setdefault((work.step, buffer), Buffer())
    if waiting.counts.get(cls, 0) >= expected.count(cls) and not waiting.holds(expected):
        return None
    work.offered[buffer] = Buffered(work.step, buffer, event, work.id)
    waiting.add(work.offered[buffer])
    if not waiting.holds(expected):
        return None
    taken = waiting.take(expected)
    work.taken += taken
    if not waiting.kept:
        del state.buffers[work.step, buffer]
    return [one.event for one in taken]


def keep_offers(state: RunState, work: Work) -> None:
    """A step is done: what it took is gone for good, what it offered stays for others."""
    for one in work.taken:
        giver = state.queues[one.step].running.get(one.work)
        if giver is not None and giver is not work:
            giver.settled.add(one.buffer)
            state.note(f"work:{giver.id}", giver)
        elif one.work != work.id:
            state.note(f"buffer:{one.work}:{one.buffer}", None)
    own = {id(one) for one in work.taken}
    for buffer, one in work.offered.items():
        if buffer not in work.settled and id(one) not in own:
            state.note(f"buffer:{work.id}:{buffer}", one)


def put_back(state: RunState, works: Iterable[Work]) -> None:
    """Steps were stopped or failed: their next attempts find the buffers as these ones did."""
    unfinished = {work.id for work in state.works()}
    for work in works:
        for one in work.taken:
            if one.work not in unfinished:
                state.buffers.setdefault((one.step, one.buffer), Buffer()).add(one)
        for one in work.offered.values():
            waiting = state.buffers.get((one.step, one.buffer))
            if waiting and one in waiting.kept:
                waiting.remove(one)
        work.taken, work.offered = [], {}


def _outside(step: StepPlan, event: Event) -> str:
    return (
        f"{type(event).__name__} was sent outside of any stream: step {step.name!r}, which takes "
        f"lists of it, can't gather it. Return it from a step instead of sending it."
    )
