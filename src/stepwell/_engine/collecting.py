"""Fan-in: streams that gather what a list return led to, and the buffers of `collect_events`."""

from collections.abc import Iterable, Sequence

from stepwell._engine import joining, scheduling
from stepwell._engine.commands import Command, Warn
from stepwell._engine.plan import Plan, StepPlan
from stepwell._engine.state import (
    Buffer,
    Buffered,
    Gathered,
    Lineage,
    RunState,
    Scope,
    Stream,
    Work,
)
from stepwell.events import Event

__all__ = ["collect", "gather", "keep_offers", "leave", "open_stream", "put_back"]


def open_stream(state: RunState, producer: str, lineage: Lineage) -> Stream:
    """Open the stream of one list return; it counts as one open piece of the stream around it."""
    stream = Stream(state.new_id(), producer, lineage)
    state.streams[stream.id] = stream
    state.note(f"join:{stream.id}", stream)
    if lineage.scope:
        state.streams[lineage.scope[-1]].open += 1
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
    for name in dict.fromkeys([*plan.steps[stream.producer].gathered_by, *stream.batches]):
        if name not in stream.fired:
            commands += _fire(state, stream, plan.steps[name])
    commands += joining.drop_leftovers(plan, state, (*stream.scope, stream.id))
    del state.streams[stream.id]
    state.note(f"join:{stream.id}", None)
    return commands


def gather(
    plan: Plan, state: RunState, step: StepPlan, event: Event, lineage: Lineage
) -> list[Command]:
    """Keep an event for a step that takes lists; `Take(n)` has its list with the n-th."""
    if not lineage.scope:
        return [Warn(_outside(step, event))]
    stream = state.streams[lineage.scope[-1]]
    if step.name not in plan.steps[stream.producer].gathered_by:
        return [Warn(_not_gathered(step, event, stream))]
    if step.name in stream.fired:
        return []
    stream.arrived += 1
    gathered = Gathered(step.name, event, lineage.recoveries)
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
    events = [gathered.event for gathered in batch.values()]
    lineage = stream.lineage.joined(gathered.recoveries for gathered in batch.values())
    return scheduling.enqueue(state, step, events, lineage, (stream.id, batch))


def collect(
    state: RunState, work: Work, event: Event, expected: Sequence[type[Event]], buffer: str
) -> list[Event] | None:
    """Offer an event to a buffer; return the events in the order of `expected` once all are there.

    What an unfinished step offered or took becomes final, and durable, when that step is done:
    `keep_offers` and `put_back` say how.
    """
    if not expected:
        return []
    progress, cls = work.progress, type(event)
    position = progress.offers
    progress.offers += 1
    if position in progress.settled or cls not in expected:
        return None
    waiting = state.buffers.setdefault((work.step, buffer), Buffer())
    if waiting.counts.get(cls, 0) >= expected.count(cls) and not waiting.holds(expected):
        return None
    progress.offered[position] = Buffered(work.step, buffer, event, work.id, position, work)
    waiting.add(progress.offered[position])
    if not waiting.holds(expected):
        return None
    taken = waiting.take(expected)
    progress.taken += taken
    if not waiting.kept:
        del state.buffers[work.step, buffer]
    return [one.event for one in taken]


def keep_offers(state: RunState, work: Work) -> None:
    """A step is done: what it took is gone for good, what it offered stays for others."""
    progress = work.progress
    for one in progress.taken:
        if not one.stands and one.giver is not work:
            _settle(state, one)
        state.note(_field(one), None)
    own = {id(one) for one in progress.taken}
    for position, one in progress.offered.items():
        if position not in progress.settled and id(one) not in own:
            state.note(_field(one), one)


def _settle(state: RunState, one: Buffered) -> None:
    """An event is out of the hands of its giver, whose step may be run again."""
    if one.giver is not None:
        one.giver.progress.settled.add(one.position)
        state.note(f"work:{one.work}", one.giver)


def _field(one: Buffered) -> str:
    return f"buffer:{one.work}:{one.position}"


def put_back(state: RunState, works: Iterable[Work]) -> None:
    """Steps were stopped or failed: their next attempts find the buffers as these ones did.

    What others gave them goes back. What they gave is theirs again, to be offered once more, unless
    a step has taken it that goes on.
    """
    stopped = [work.begun for work in works if work.begun is not None]
    taken = [one for progress in stopped for one in progress.taken]
    offered = {id(one): one for progress in stopped for one in progress.offered.values()}
    for progress in stopped:
        progress.taken, progress.offered = [], {}
    for one in taken:
        if offered.pop(id(one), None) is None or one.stands:
            state.buffers.setdefault((one.step, one.buffer), Buffer()).add(one)
    for one in offered.values():
        if not one.stands and not _withdraw(state, one):
            _settle(state, one)
            state.note(_field(one), one)


def _withdraw(state: RunState, one: Buffered) -> bool:
    """Take an event out of its buffer; False if it is not there, since a step has taken it."""
    waiting = state.buffers.get((one.step, one.buffer))
    if waiting is None or one not in waiting.kept:
        return False
    waiting.remove(one)
    if not waiting.kept:
        del state.buffers[one.step, one.buffer]
    return True


def _not_gathered(step: StepPlan, event: Event, stream: Stream) -> str:
    return (
        f"{type(event).__name__} came in a stream of step {stream.producer!r}, which never leads "
        f"to step {step.name!r} by the annotations of its steps, so that step can't gather it. An "
        "error handler in a stream returns what the failing step would have led to."
    )


def _outside(step: StepPlan, event: Event) -> str:
    return (
        f"{type(event).__name__} was sent outside of any stream: step {step.name!r}, which takes "
        f"lists of it, can't gather it. Return it from a step instead of sending it."
    )
